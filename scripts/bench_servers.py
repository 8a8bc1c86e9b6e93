#!/usr/bin/python3
"""Compares user+system CPU time of servers under load on loopback: native and reheat.

A run starts the server, has it answer a fixed number of requests, ends it, and takes the CPU time of the server and of its
children. A round runs native, reheat, reheat, native; the figure is as in bench.py. The redis load is redis-benchmark's
SET and GET with pipelining; nginx serves a small file with keep-alive (`nginx`), and a text that it compresses for each
request (`nginx-gzip`), with one worker process.
"""
import argparse
import collections
import json
import math
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True  # no __pycache__ in the tree
import bench  # noqa: E402

NGINX = """daemon off; worker_processes 1; pid {dir}/pid; error_log /dev/null;
events {{ worker_connections 256; }}
http {{
  access_log off; keepalive_requests 1000000; types {{ text/plain txt; }}
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4;
  scgi_temp_path {dir}/t5;
  server {{ listen 127.0.0.1:{port}; root {dir}; location /text.txt {{ gzip on; gzip_http_version 1.0; gzip_types text/plain; }} }}
}}
"""
Server = collections.namedtuple("Server", "name command load requests")
SERVERS = (
    Server(
        "redis",
        "redis-server --port {port} --bind 127.0.0.1 --save '' --appendonly no --daemonize no --logfile /dev/null",
        "redis-benchmark -p {port} -t set,get -n {n} -P 16 -c 20 -d 64 -r 100000 -q",
        2000000,
    ),
    Server("nginx", "nginx -c {dir}/conf -p {dir}", "ab -q -k -c 20 -n {n} http://127.0.0.1:{port}/small.txt", 150000),
    Server(
        "nginx-gzip",
        "nginx -c {dir}/conf -p {dir}",
        "ab -q -k -c 8 -n {n} -H Accept-Encoding:gzip http://127.0.0.1:{port}/text.txt",
        1500,
    ),
)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.01)
    sys.exit(f"bench_servers.py: nothing listens on port {port}")


def words_of(text, **values):
    return [word.replace("''", "") for word in text.format(**values).split()]


def run_once(server, system, args):
    """CPU seconds of one server for its requests, and its report."""
    with tempfile.TemporaryDirectory(prefix="reheat-bench-") as scratch:
        os.chmod(scratch, 0o755)  # a worker is another user
        values = {"dir": scratch, "port": free_port(), "n": max(1, int(server.requests * args.scale))}
        pathlib.Path(scratch, "conf").write_text(NGINX.format(**values))
        pathlib.Path(scratch, "small.txt").write_text("all is well\n" * 40)
        lines = (f"{i * i % 9973} {i * 7919 % 65537:x} the quick brown fox {i % 17}\n" for i in range(8000))
        pathlib.Path(scratch, "text.txt").write_text("".join(lines))
        # The worker writes its report as another user.
        reports = tempfile.mkdtemp(prefix="reports-", dir=scratch)
        os.chmod(reports, 0o777)
        prefix = bench.prefix_of(system, args.reheat_options, reports)
        with open(os.devnull, "r+b") as null:
            process = subprocess.Popen(
                prefix + words_of(server.command, **values), stdin=null, stdout=null, stderr=null, env=dict(os.environ)
            )
            wait_for(values["port"])
            load = subprocess.run(words_of(server.load, **values), stdin=null, stdout=null, stderr=null, check=False)
        process.send_signal(signal.SIGTERM)
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
        if load.returncode:
            sys.exit(f"bench_servers.py: the load of {server.name} failed")
        kept = 0
        for path in pathlib.Path(reports).glob("*.json"):
            kept += (json.loads(path.read_text()).get("trials") or {}).get("kept", 0)
        return usage.ru_utime + usage.ru_stime, kept


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--servers", default="", help="comma-separated names; default all")
    parser.add_argument("--scale", type=float, default=1.0, help="times the requests of one run")
    parser.add_argument("--reheat-options", default="", help="key=value,... for reheat run")
    args = parser.parse_args()
    chosen = [s for s in SERVERS if not args.servers or s.name in args.servers.split(",")]
    print(f"{'server':<12}{'native s':>9}{'reheat':>24}{'kept':>6}")
    for server in chosen:
        logs, natives, kept = [], [], 0
        for number in range(args.rounds):
            runs = [(s, run_once(server, s, args)) for s in ("native", "reheat", "reheat", "native")]
            native = [cpu for s, (cpu, _) in runs if s == "native"]
            reheat = [cpu for s, (cpu, _) in runs if s == "reheat"]
            kept += sum(k for _, (_, k) in runs)
            natives += native
            logs.append(math.log(sum(reheat) / sum(native)))
            print(f"  {server.name} {number + 1}/{args.rounds}: {native} {reheat}", file=sys.stderr)
        ratio, low, high = bench.interval(logs)
        figures = {"ratio": ratio, "low": low, "high": high, "identical": True}
        print(f"{server.name:<12}{statistics.fmean(natives):>9.2f}{bench.cell(figures):>24}{kept:>6}", flush=True)


if __name__ == "__main__":
    main()
