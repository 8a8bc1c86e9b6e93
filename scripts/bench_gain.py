#!/usr/bin/python3
"""Compares what the report says was gained with what was: on the kernels of tests/kernels, native and reheat.

Each kernel runs once with its full size and once with a multiple of it; what the second takes longer is after the trials,
natively and under reheat. So the quotient of the two differences is the speed-up of what was kept, with a 95 % interval over
rounds; beside it stands the estimate, exp(gain), of the reports of the longer runs. Kernels of which nothing was kept are
named and left out.
"""
import argparse
import math
import statistics
import sys

sys.dont_write_bytecode = True  # no __pycache__ in the tree
import bench  # noqa: E402
import bench_kernels  # noqa: E402

HEAD = f"{'kernel':<12}{'measured':>9}{'95 % interval':>18}{'estimate':>10}{'of the runs':>18}"


def cpu_of(program, system, args):
    """CPU seconds of one run, and the gain that its report gives."""
    run = bench.run_once(program, system, args.reheat_options, args.timeout)
    print(f"  {program.name} {program.command[1]} {system}: {run.cpu:.2f} s", file=sys.stderr)
    return run.cpu, (run.report or {}).get("gain")


def bench_kernel(kernel, args):
    """(logs of the measured speed-up, gains of the reports), one of each for a round."""
    name, _, argument, path = kernel
    size = int(argument["full"])
    short, long = (bench.Program(name, "/dev/null", "-", [path, str(n)]) for n in (size, size * args.times))
    logs, gains = [], []
    for _ in range(args.rounds):
        runs = {}  # by (the longer one?, system)
        for program, system in ((short, "native"), (long, "reheat"), (short, "reheat"), (long, "native")):
            runs[program is long, system] = cpu_of(program, system, args)
        native = runs[True, "native"][0] - runs[False, "native"][0]
        reheat = runs[True, "reheat"][0] - runs[False, "reheat"][0]
        if runs[True, "reheat"][1] is not None and native > 0 and reheat > 0:
            logs.append(math.log(native / reheat))
            gains.append(runs[True, "reheat"][1])
    return logs, gains


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times", type=int, default=2, help="the longer run's size, in full sizes")
    parser.add_argument("--kernels", default="", help="comma-separated names; default all")
    parser.add_argument("--reheat-options", default="", help="key=value,... for reheat run")
    parser.add_argument("--build", default=str(bench.ROOT / "build/kernels"), help="directory of the programs")
    parser.add_argument("--timeout", type=int, default=300, help="seconds for one run")
    args = parser.parse_args()
    names = [name for name in args.kernels.split(",") if name]
    print(HEAD)
    for kernel in bench_kernels.load_kernels(args.build):
        if names and kernel[0] not in names:
            continue
        logs, gains = bench_kernel(kernel, args)
        if not logs:
            print(f"{kernel[0]:<12}nothing kept", flush=True)
            continue
        ratio, low, high = bench.interval(logs)
        bounds = "-" if low is None else f"[{low:.3f}, {high:.3f}]"
        estimates = [math.exp(gain) for gain in gains]
        spread = f"{min(estimates):.3f} to {max(estimates):.3f}"
        print(f"{kernel[0]:<12}{ratio:>9.3f}{bounds:>18}{statistics.geometric_mean(estimates):>10.3f}{spread:>18}", flush=True)


if __name__ == "__main__":
    main()
