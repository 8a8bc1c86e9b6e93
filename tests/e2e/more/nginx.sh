#!/bin/bash
# needs: nginx ab /usr/bin/python3
# A server with worker processes: replies under load, reload, reopening of logs, new workers, graceful shutdown.
set -euo pipefail
port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir -p html tmp
seq 1 20000 >html/large.txt
echo hello >html/index.html
user=
((EUID)) || user='user root;'
cat >nginx.conf <<END
$user worker_processes 2; daemon off; pid $PWD/pid; error_log $PWD/error.log;
events { worker_connections 64; }
http {
    access_log $PWD/access.log; gzip on; gzip_types text/plain; gzip_min_length 100; sendfile on;
    client_body_temp_path tmp/body; proxy_temp_path tmp/proxy; fastcgi_temp_path tmp/f;
    uwsgi_temp_path tmp/u; scgi_temp_path tmp/s;
    types { text/html html; text/plain txt; }
    server {
        listen 127.0.0.1:$port; root $PWD/html;
        location /back/ { proxy_pass http://127.0.0.1:$port/; }
        location /moved { return 301 /index.html; }
        location ~ ^/echo/(\w+)\$ { return 200 "\$1 generation=GENERATION\n"; }
    }
}
END
sed -i s/GENERATION/1/ nginx.conf
nginx -p "$PWD" -c nginx.conf -t 2>/dev/null && echo "configuration good"

cat >client.py <<'END'
import hashlib, http.client, sys, time
port, wanted = int(sys.argv[1]), sys.argv[2]
for attempt in range(400):
    try:
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        c.request("GET", "/echo/ready")
        if wanted in c.getresponse().read().decode(): break
    except OSError: pass
    time.sleep(0.02)
else: sys.exit("no answer")
c = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
for path in ("/", "/large.txt", "/back/large.txt", "/missing", "/moved", "/echo/abc", "/echo/a-b"):
    for headers in ({}, {"Accept-Encoding": "gzip"}, {"Range": "bytes=100-199"}):
        c.request("GET", path, headers=headers)
        r = c.getresponse()
        print(path, r.status, r.getheader("Content-Encoding"), hashlib.sha256(r.read()).hexdigest()[:16])
c.request("POST", "/", body=b"x" * 100000); r = c.getresponse(); print(r.status, len(r.read()))
END
client() {
    /usr/bin/python3 client.py "$port" "$1"
}

nginx -p "$PWD" -c nginx.conf 2>/dev/null &
server=$!
trap 'kill -QUIT $server 2>/dev/null; sleep 0.3; kill -KILL $server 2>/dev/null || true' EXIT
client generation=1
load() {
    ab -q -n "$1" -c 4 "${@:2}" 2>&1 | grep -E '^(Complete|Failed|Non-2xx|Document Length|HTML transferred)' || true
}
load "$((400 * SIZE))" -k "http://127.0.0.1:$port/"
load "$((100 * SIZE))" -H 'Accept-Encoding: gzip' "http://127.0.0.1:$port/large.txt"
load "$((60 * SIZE))" "http://127.0.0.1:$port/back/large.txt"
sed -i s/generation=1/generation=2/ nginx.conf
kill -HUP "$server"
client generation=2
mv access.log old.log
kill -USR1 "$server"
for ((i = 0; i < 200; i++)); do
    [[ -e access.log ]] && break
    sleep 0.02
done
client generation=2 | sha256sum
worker=$(pgrep -P "$server" | head -n 1)
kill -KILL "$worker"
client generation=2 | sha256sum
kill -QUIT "$server"
wait "$server" || echo "status $?"
trap - EXIT
grep -cE 'exited with code [1-9]|alert.*exited on signal (4|6|7|8|11|15)' error.log || true
rm -rf error.log access.log old.log nginx.conf tmp pid
