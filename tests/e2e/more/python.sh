#!/bin/bash
# needs: /usr/bin/python3
# Threads, child processes by fork and by spawn, pipes and signals.
set -euo pipefail
/usr/bin/python3 - <<'END'
import concurrent.futures, hashlib, os, queue, random, re, signal, subprocess, sys, threading, time, zlib
size = int(os.environ["SIZE"])

def work(seed):
    r = random.Random(seed)
    words = ["".join(r.choices("abcdef", k=5)) for _ in range(3000 * size)]
    text = " ".join(sorted(words)).encode()
    return hashlib.sha256(zlib.compress(text) + str(len(re.findall(rb"a[bc]+d", text))).encode()).hexdigest()[:16]

print([work(i) for i in range(2)])
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(list(pool.map(work, range(8))))

q, out = queue.Queue(2), []
def consumer():
    while (item := q.get()) is not None:
        out.append(item * item)
threads = [threading.Thread(target=consumer) for _ in range(3)]
for t in threads: t.start()
for i in range(300 * size): q.put(i)
for t in threads: q.put(None)
for t in threads: t.join()
print(sum(out))

for i in range(10 * size):
    subprocess.run(["/bin/true"], check=True)
print(subprocess.run("echo out; echo err >&2; exit 7", shell=True, capture_output=True))
with subprocess.Popen(["/usr/bin/sort", "-n"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as p:
    print(p.communicate("\n".join(str(i * 7 % 1000) for i in range(1000)))[0][:20].split())
try:
    subprocess.run(["/bin/sleep", "20"], timeout=0.1)
except subprocess.TimeoutExpired:
    print("timeout")
p = subprocess.Popen(["/bin/sleep", "20"]); p.terminate(); print(p.wait())

for i in range(5 * size):
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(w, work(i).encode())
        os._exit(i)
    print(os.read(r, 100).decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os.close(r); os.close(w)

signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
signal.setitimer(signal.ITIMER_REAL, 0.02)
signal.pause()
start = time.thread_time()
while time.thread_time() - start < 0.05: work(1)
print("end")
END
/usr/bin/python3 -c 'import sys; sys.exit("message")' || echo "status $?"
/usr/bin/python3 -c 'def f(n): return f(n + 1)
try: f(0)
except RecursionError as e: print(e)'
