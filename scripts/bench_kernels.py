#!/usr/bin/python3
"""Compares user+system CPU time of the kernels in tests/kernels: native and reheat.

Each kernel shows one thing that an optimizer of running code can gain. As bench.py: a round runs native, reheat,
reheat, native; the figure is the native time divided by the time under reheat (more than 1: faster), the geometric
mean over rounds with its 95 % interval. The goal is what each kernel's source hopes for.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

sys.dont_write_bytecode = True  # no __pycache__ in the tree
import bench  # noqa: E402

HEAD = f"{'kernel':<12}{'native s':>9}{'speed-up':>10}{'95 % interval':>18}{'goal':>6}{'residency':>11}  bail-out"


def load_kernels(directory):
    """Builds the kernels; returns (name, goal, {size: argument}, program) for each."""
    build = bench.ROOT / "tests/kernels/build.sh"
    lines = subprocess.run([build, directory], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    kernels = []
    for line in lines:
        name, goal, small, full, program = line.split("\t")
        kernels.append((name, float(goal), {"small": small, "full": full}, program))
    return kernels


def inverse(ratio):
    return None if ratio is None else 1 / ratio


def bench_kernel(kernel, args):
    """All rounds of one kernel: the figures of bench_program, and the speed-up with its bounds."""
    name, goal, argument, program = kernel
    result = bench.bench_program(bench.Program(name, "/dev/null", "-", [program, argument[args.size]]), args)
    reheat = result["reheat"]
    speedup = {key: inverse(reheat[of]) for key, of in (("speedup", "ratio"), ("low", "high"), ("high", "low"))}
    return {"goal": goal, **speedup, **result}


def row(name, result):
    reheat = result["reheat"]
    bounds = "-" if result["low"] is None else f"[{result['low']:.3f}, {result['high']:.3f}]"
    residency = "-" if reheat["residency"] is None else f"{reheat['residency']:.3f}"
    text = f"{name:<12}{statistics.fmean(result['native']['cpu_seconds']):>9.2f}{result['speedup']:>10.3f}{bounds:>18}"
    text += f"{result['goal']:>6.2f}{residency:>11}  {reheat['bailout'] or '-'}"
    return text if reheat["identical"] else text + "  DIFFERS"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kernels", default="", help="comma-separated names; default all")
    parser.add_argument("--reheat-options", default="", help="key=value,... for reheat run")
    parser.add_argument("--size", choices=("small", "full"), default="full")
    parser.add_argument("--build", default=str(bench.ROOT / "build/kernels"), help="directory of the programs")
    parser.add_argument("--json", default=str(bench.ROOT / "build/bench-kernels.json"), help="file for the results")
    parser.add_argument("--timeout", type=int, default=300, help="seconds for one run")
    args = parser.parse_args()
    args.systems, args.slow_rounds = ["native", "reheat"], 0
    return args


def main():
    args = parse_arguments()
    program = bench.prefix_of("reheat", "", "")[0]
    if not os.access(program, os.X_OK):
        sys.exit(f"bench_kernels.py: {program} is not there; run make, or set REHEAT_BIN")
    kernels = load_kernels(args.build)
    names = [name for name in args.kernels.split(",") if name]
    unknown = set(names) - {kernel[0] for kernel in kernels}
    if unknown:
        sys.exit(f"bench_kernels.py: no kernel {', '.join(sorted(unknown))}")
    results = {}
    print(HEAD)
    for kernel in kernels:
        if not names or kernel[0] in names:
            results[kernel[0]] = bench_kernel(kernel, args)
            print(row(kernel[0], results[kernel[0]]), flush=True)
    print(f"{'geo. mean':<21}{statistics.geometric_mean([r['speedup'] for r in results.values()]):>10.3f}")
    summary = {"size": args.size, "rounds": args.rounds, "reheat_options": args.reheat_options, "kernels": results}
    pathlib.Path(args.json).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(args.json).write_text(json.dumps(summary, indent=1) + "\n")
    return 0 if all(result["reheat"]["identical"] for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
