#!/usr/bin/python3
"""Compares user+system CPU time of the twelve real programs: native, reheat, qemu-x86_64, valgrind.

A round runs native and reheat in the order A B B A; its figure is the ratio of the two sums. The result is the
geometric mean over rounds with a 95 % t-interval of the log ratios. The slow systems run in --slow-rounds of
the rounds, against the native runs around them. Every run's output is compared with the first native run's.
"""
import argparse
import collections
import hashlib
import json
import math
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SYSTEMS = ("native", "reheat", "qemu", "valgrind")
SLOW = ("qemu", "valgrind")
# Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom; normal from 30 on.
STUDENT = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)

Program = collections.namedtuple("Program", "name stdin output command")
Run = collections.namedtuple("Run", "cpu wall status digest report")


def load_programs(work):
    """The list of programs.tsv, with its placeholders replaced except %o."""
    scale = (work / "scale").read_text().strip()
    cc1 = subprocess.run(["/usr/bin/gcc", "-print-prog-name=cc1"], stdout=subprocess.PIPE, text=True, check=True)
    programs = []
    for line in (ROOT / "scripts/programs.tsv").read_text().splitlines():
        if line.startswith("#"):
            continue
        for mark, value in (("%cc1", cc1.stdout.strip()), ("%w", str(work)), ("%k", scale)):
            line = line.replace(mark, value)
        name, stdin, output, command = line.replace("%s", str(ROOT / "scripts/workloads")).split("\t")
        programs.append(Program(name, "/dev/null" if stdin == "-" else stdin, output, command.split()))
    return programs


def clean_environment():
    """As programs.sh: nothing in it changes what the programs print."""
    drop = ("PYTHON", "PERL", "LUA_", "XZ_", "REHEAT", "LD_PRELOAD", "GZIP", "BZIP", "ZSTD_", "AWKPATH")
    env = {key: value for key, value in os.environ.items() if not key.startswith(drop)}
    env.update(LC_ALL="C", TZ="UTC", PYTHONHASHSEED="0", PYTHONDONTWRITEBYTECODE="1")
    env.update(PERL_HASH_SEED="0", PERL_PERTURB_KEYS="0")
    return env


def prefix_of(system, options, reports):
    if system == "reheat":
        words = [os.environ.get("REHEAT_BIN", str(ROOT / "build/reheat")), "run"]
        for option in filter(None, options.split(",")):
            words += ["-o", option]
        return words + ["-o", f"stats={reports}/%p.json", "--"]
    return {"native": [], "qemu": ["/usr/bin/qemu-x86_64"], "valgrind": ["/usr/bin/valgrind", "-q", "--tool=none"]}[system]


def run_once(program, system, options, timeout):
    with tempfile.TemporaryDirectory(prefix="reheat-bench-") as scratch:
        words = prefix_of(system, options, scratch) + [w.replace("%o", f"{scratch}/out") for w in program.command]
        stdout = f"{scratch}/stdout"
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, program.stdin, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, stdout, os.O_WRONLY | os.O_CREAT, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, f"{scratch}/stderr", os.O_WRONLY | os.O_CREAT, 0o600),
        ]
        start = time.monotonic()
        pid = os.posix_spawn(words[0], words, clean_environment(), file_actions=actions, setpgroup=0)

        def expire(_signal, _frame):
            os.killpg(pid, signal.SIGKILL)

        signal.signal(signal.SIGALRM, expire)
        signal.alarm(timeout)
        _, status, usage = os.wait4(pid, 0)  # of the process and the children it waited for
        signal.alarm(0)
        digest = hashlib.sha256()
        for path in (stdout, program.output.replace("%o", f"{scratch}/out")):
            if path != "-":
                digest.update(pathlib.Path(path).read_bytes() if os.path.exists(path) else b"missing")
        try:
            report = json.loads(pathlib.Path(f"{scratch}/{pid}.json").read_text())
        except (OSError, ValueError):
            report = None
        return Run(usage.ru_utime + usage.ru_stime, time.monotonic() - start, status, digest.hexdigest(), report)


def interval(logs):
    """Geometric mean of the ratios and the bounds of its 95 % interval (None when there is one ratio only)."""
    mean = statistics.fmean(logs)
    if len(logs) < 2:
        return math.exp(mean), None, None
    freedom = len(logs) - 1
    t = STUDENT[freedom - 1] if freedom <= len(STUDENT) else 2.131 if freedom < 30 else 1.96
    half = t * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def bench_program(program, args):
    """Runs all rounds of one program; returns {system: figures}."""
    fast = [system for system in args.systems if system not in SLOW]
    runs = {system: [] for system in args.systems}
    logs = {system: [] for system in args.systems}
    for number in range(args.rounds):
        order = fast + fast[::-1]
        if number < args.slow_rounds:
            order = fast + [system for system in args.systems if system in SLOW] + fast[::-1]
        cpu = collections.defaultdict(list)
        for system in order:
            run = run_once(program, system, args.reheat_options, args.timeout)
            runs[system].append(run)
            cpu[system].append(run.cpu)
            print(f"  {program.name} {number + 1}/{args.rounds} {system}: {run.cpu:.2f} s", file=sys.stderr)
        base = statistics.fmean(cpu["native"])
        for system, times in cpu.items():
            logs[system].append(math.log(max(statistics.fmean(times), 1e-4) / max(base, 1e-4)))
    reference = runs["native"][0]
    result = {}
    for system in args.systems:
        if not runs[system]:
            continue
        ratio, low, high = interval(logs[system])
        same = all(run.digest == reference.digest and run.status == reference.status for run in runs[system])
        report = next((run.report for run in runs[system] if run.report), None)
        result[system] = {
            "ratio": ratio,
            "low": low,
            "high": high,
            "identical": same,
            "cpu_seconds": [round(run.cpu, 4) for run in runs[system]],
            "wall_seconds": [round(run.wall, 4) for run in runs[system]],
            "residency": report and report.get("residency"),
            "bailout": report and (report.get("bailout") or {}).get("reason"),
        }
    return result


def cell(figures):
    if figures is None:
        return "-"
    text = f"{figures['ratio']:.3f}"
    if figures["low"] is not None:
        text += f" [{figures['low']:.3f}, {figures['high']:.3f}]"
    return text if figures["identical"] else text + " DIFFERS"


def print_table(results, systems):
    others = [system for system in systems if system != "native"]
    print(f"{'program':<10}{'native s':>9}" + "".join(f"{s:>24}" for s in others) + f"{'residency':>11}  bail-out")
    for name, result in results.items():
        native = statistics.fmean(result["native"]["cpu_seconds"])
        reheat = result.get("reheat") or {}
        residency = reheat.get("residency")
        row = f"{name:<10}{native:>9.2f}" + "".join(f"{cell(result.get(s)):>24}" for s in others)
        print(row + f"{'-' if residency is None else format(residency, '.3f'):>11}  {reheat.get('bailout') or '-'}")
    means = []
    for system in others:
        ratios = [result[system]["ratio"] for result in results.values() if system in result]
        means.append(f"{statistics.geometric_mean(ratios):.3f}" if ratios else "-")
    print(f"{'geo. mean':<10}{'':>9}" + "".join(f"{mean:>24}" for mean in means))


def measure_startup(args, count=100):
    """Median wall time of /bin/true in milliseconds, native and under reheat, alternating."""
    program = Program("true", "/dev/null", "-", ["/bin/true"])
    times = {"native": [], "reheat": []}
    for _ in range(count):
        for system in times:
            times[system].append(run_once(program, system, args.reheat_options, args.timeout).wall * 1000)
    return {system: statistics.median(values) for system, values in times.items()}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-rounds", type=int, default=1, help="rounds in which qemu and valgrind run")
    parser.add_argument("--programs", default="", help="comma-separated names; default all")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="comma-separated, default %(default)s")
    parser.add_argument("--size", choices=("small", "full"), default="full")
    parser.add_argument("--reheat-options", default="", help="key=value,... for reheat run")
    parser.add_argument("--work", default=str(ROOT / "build/work"), help="directory of the inputs")
    parser.add_argument("--json", default=str(ROOT / "build/bench.json"), help="file for the results")
    parser.add_argument("--timeout", type=int, default=900, help="seconds for one run")
    parser.add_argument("--startup", action="store_true", help="only the start-up time of /bin/true, 100 runs each")
    args = parser.parse_args()
    args.systems = args.systems.split(",")
    for system in args.systems:
        if system not in SYSTEMS:
            parser.error(f"unknown system '{system}'")
    if "native" not in args.systems:
        args.systems.insert(0, "native")
    return args


def main():
    args = parse_arguments()
    for system in args.systems:
        prefix = prefix_of(system, "", "")
        if prefix and not os.access(prefix[0], os.X_OK):
            sys.exit(f"bench.py: {prefix[0]} is not there (see --systems)")
    if args.startup:
        medians = measure_startup(args)
        print(f"true: native {medians['native']:.3f} ms, reheat {medians['reheat']:.3f} ms,"
              f" difference {medians['reheat'] - medians['native']:.3f} ms")
        return 0
    subprocess.run([ROOT / "scripts/workloads.sh", args.size, args.work], check=True)
    programs = load_programs(pathlib.Path(args.work).resolve() / args.size)
    names = [name for name in args.programs.split(",") if name]
    unknown = set(names) - {program.name for program in programs}
    if unknown:
        sys.exit(f"bench.py: no program {', '.join(sorted(unknown))}")
    results = {p.name: bench_program(p, args) for p in programs if not names or p.name in names}
    print_table(results, args.systems)
    origin = (pathlib.Path(args.work) / args.size / "unit.origin").read_text().strip()
    print(f"cc1 compiled: {origin}")
    pathlib.Path(args.json).parent.mkdir(parents=True, exist_ok=True)
    summary = {"size": args.size, "rounds": args.rounds, "reheat_options": args.reheat_options, "unit": origin}
    pathlib.Path(args.json).write_text(json.dumps({**summary, "programs": results}, indent=1) + "\n")
    return 0 if all(f["identical"] for result in results.values() for f in result.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
