#!/bin/bash
# needs: redis-server redis-cli redis-benchmark /usr/bin/python3
# A server under load: replies, a saving child, a client that is cut off, shutdown by signal.
set -euo pipefail
port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cli() {
    redis-cli -p "$port" "$@"
}

start() {
    redis-server --port "$port" --bind 127.0.0.1 --save '' --enable-debug-command yes --dir "$PWD" \
        --logfile "$PWD/log" &
    server=$!
    trap 'kill -KILL $server 2>/dev/null || true' EXIT
    for ((i = 0; i < 200; i++)); do
        [[ $(cli ping 2>/dev/null) == PONG ]] && return
        sleep 0.05
    done
    echo "no answer"
    exit 1
}

start
for ((i = 0; i < 500 * SIZE; i++)); do
    printf 'SET key%d value%d\nINCRBY count %d\nLPUSH list%d x%d\nZADD set %d m%d\nHSET hash f%d %d\n' \
        "$i" "$i" "$i" "$((i % 7))" "$i" "$((i * 7919 % 1000))" "$i" "$((i % 50))" "$i"
done | cli | sha256sum
cli eval 'local s = 0 for i = 1, 200000 do s = (s * 31 + i) % 1000003 end return s' 0
cli sort list3 alpha limit 0 3
cli zrange set 0 4
redis-benchmark -q -h 127.0.0.1 -p "$port" -n "$((2000 * SIZE))" -c 8 -P 4 -t set,get,incr,lpush,zadd,mset >/dev/null
redis-benchmark -q -h 127.0.0.1 -p "$port" -n "$((500 * SIZE))" -c 8 -r 1000 -t set >/dev/null
cli get counter:__rand_int__
cli llen mylist
cli save
cli bgsave >/dev/null
for ((i = 0; i < 200; i++)); do
    [[ $(cli info persistence) == *rdb_bgsave_in_progress:0* ]] && break
    sleep 0.02
done
cli info persistence | grep -E 'bgsave_status|saves'
cli debug reload
cli wrong command 2>&1
before=$(cli dbsize)
kill -TERM "$server"
wait "$server" || echo "status $?"
start
[[ $(cli dbsize) == "$before" ]] && echo "all there again"
cli shutdown nosave
wait "$server" || echo "status $?"
grep -c 'bye bye' log || true
rm -f log dump.rdb
trap - EXIT
