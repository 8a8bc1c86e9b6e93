#!/usr/bin/python3
"""What reheat costs a process that is over soon: user+system CPU time, native against the preloaded library.

    scripts/bench_startup.py --systems control=off,control=sampled --rounds 200

Three programs: /bin/true; one that computes for about 10 ms; a shell that starts 2,000 processes. In a round each system
runs twice, in the order A B C C B A. The figures are medians over rounds, of the times, and of the difference and the
ratio to the same round's native runs, with the 95 % interval of the median that order statistics give. `run` in front
of a system's settings (run:control=sampled) starts it with `reheat run` instead of the bare preload.
"""
import argparse
import json
import math
import os
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOALS = {"10 ms": ("difference", 1.0, "ms"), "2,000 processes": ("ratio", 1.05, "")}
LOOP = "BEGIN { for (i = 0; i < n; i++) s = (s * 31 + i) % 65521; print s }"


def run_once(command, environment, null):
    """CPU seconds of the process and of the children it waited for, and wall seconds."""
    actions = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1)]
    start = time.monotonic()
    pid = os.posix_spawn(command[0], command, environment, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"bench_startup.py: {command[0]} ended with status {status}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - start


def median_interval(values):
    """Median, and the order statistics that enclose it with 95 % confidence (binomial, normal approximation)."""
    ordered, n = sorted(values), len(values)
    half = 0.98 * math.sqrt(n)
    low, high = max(0, math.floor(n / 2 - half)), min(n - 1, math.ceil(n / 2 + half))
    return statistics.median(ordered), ordered[low], ordered[high]


def prepare(system, command, tool, library):
    """The command and environment in which `system` (SETTINGS or run:SETTINGS; empty: native) runs `command`."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    if system.startswith("run:"):
        options = [word for option in system[4:].split("+") for word in ("-o", option)]
        return [tool, "run", *options, "--", *command], environment
    if system != "native":
        environment.update(LD_PRELOAD=library, REHEAT=system.replace("+", ","))
    return command, environment


def measure(command, systems, rounds, args, null):
    """{system: (CPU ms of each round, wall ms of each round)}; a round's figure is the mean of its two runs."""
    ways = {system: prepare(system, command, args.tool, args.library) for system in systems}
    times = {system: ([], []) for system in systems}
    for number in range(rounds + 1):
        sums = {system: [0.0, 0.0] for system in systems}
        for system in systems + systems[::-1]:
            for k, seconds in enumerate(run_once(*ways[system], null)):
                sums[system][k] += seconds * 500
        for system in systems if number else ():  # the first round only warms caches
            times[system][0].append(sums[system][0])
            times[system][1].append(sums[system][1])
    return times


def calibrate(null):
    """Iterations that take mawk about 10 ms."""
    count = 100000
    for _ in range(6):
        seconds = min(run_once(loop(count), {"LC_ALL": "C"}, null)[0] for _ in range(5))
        count = max(1000, int(count * 0.010 / max(seconds, 1e-4)))
    return count


def loop(count):
    return ["/usr/bin/mawk", "-v", f"n={count}", LOOP]


def summarize(times):
    result = {}
    native = times["native"]
    for system, (cpu, wall) in times.items():
        figures = {"cpu_ms": median_interval(cpu), "wall_ms": median_interval(wall)}
        if system != "native":
            for k, name in ((0, "cpu"), (1, "wall")):
                pairs = list(zip(times[system][k], native[k]))
                figures[f"{name}_difference_ms"] = median_interval([a - b for a, b in pairs])
                figures[f"{name}_ratio"] = median_interval([a / b for a, b in pairs])
        result[system] = figures
    return result


def cell(figures, digits):
    return "{:.{d}f} [{:.{d}f}, {:.{d}f}]".format(*figures, d=digits)


def print_program(name, result):
    print(name)
    for system, figures in result.items():
        line = f"  {system:<22} CPU {cell(figures['cpu_ms'], 3)} ms, wall {figures['wall_ms'][0]:.3f} ms"
        if system != "native":
            line += f"; CPU {cell(figures['cpu_difference_ms'], 3)} ms more, ratio {cell(figures['cpu_ratio'], 3)}"
            if name in GOALS:
                kind, most, unit = GOALS[name]
                reached = figures["cpu_difference_ms" if kind == "difference" else "cpu_ratio"][0] <= most
                line += f" ({kind} at most {most} {unit}".rstrip() + f": {'yes' if reached else 'NO'})"
        print(line, flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", default="control=off,control=sampled,run:control=sampled",
                        help="comma-separated; + stands between settings of one system; default %(default)s")
    parser.add_argument("--rounds", type=int, default=200, help="of the two short programs")
    parser.add_argument("--shell-rounds", type=int, default=7, help="of the shell, 0: leave it out")
    parser.add_argument("--processes", type=int, default=2000, help="that the shell starts")
    parser.add_argument("--tool", default=os.environ.get("REHEAT_BIN", str(ROOT / "build/reheat")))
    parser.add_argument("--json", default="", help="file for the figures")
    args = parser.parse_args()
    args.library = str(pathlib.Path(args.tool).resolve().parent / "libreheat.so")
    for path in (args.tool, args.library):
        if not os.access(path, os.R_OK):
            parser.error(f"{path} is not there; run make, or set REHEAT_BIN")
    return args


def main():
    args = parse_arguments()
    null = os.open("/dev/null", os.O_RDWR)
    systems = ["native"] + [system for system in args.systems.split(",") if system]
    shell = ["/bin/bash", "-c", f"for ((i = 0; i < {args.processes}; i++)); do /bin/true; done"]
    programs = [
        ("/bin/true", ["/bin/true"], args.rounds),
        ("10 ms", loop(calibrate(null)), args.rounds),
        (f"{args.processes:,} processes", shell, args.shell_rounds),
    ]
    results = {}
    for name, command, rounds in programs:
        if rounds:
            results[name] = summarize(measure(command, systems, rounds, args, null))
            print_program(name, results[name])
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(results, indent=1) + "\n")
    return 0


sys.exit(main())
