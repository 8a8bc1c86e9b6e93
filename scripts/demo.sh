#!/bin/bash
# What `make demo` shows: Debian's bzip2 and python3, unmodified, natively, under reheat as it is by default, and with
# every instruction run from the cache. Fails when an output differs.
#
#   scripts/demo.sh REHEAT DIRECTORY
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
reheat=$1
mkdir -p "$2"
cd "$2"

words=$PWD/words.txt script=$PWD/primes.py
/usr/bin/python3 "$here/workloads/data.py" mixed $((24 << 20)) 1 >"$words"
cat >"$script" <<'PYTHON'
def primes(limit):
    sieve = bytearray([1]) * limit
    for n in range(2, int(limit ** 0.5) + 1):
        if sieve[n]:
            for multiple in range(n * n, limit, n):
                sieve[multiple] = 0
    return [n for n in range(2, limit) if sieve[n]]

counts = {}
for p in primes(10_000_000):
    counts[p % 100] = counts.get(p % 100, 0) + 1
print(sorted(counts.items()))
PYTHON

# under SETTING NAME COMMAND...: a run under reheat, the comparison, the report
under() {
    local setting=$1 name=$2 pid status=0
    shift 2
    printf '== under reheat, %-15s ' "$setting:"
    time {
        "$reheat" run -o "$setting" -- "$@" >"$name.reheat" &
        pid=$!
        wait "$pid" || status=$?
    }
    if [[ $status -ne 0 ]] || ! cmp "$name.native" "$name.reheat"; then
        echo "demo: $name under reheat does not do what it does natively (exit status $status)" >&2
        exit 1
    fi
    echo "   output identical, $(wc -c <"$name.native") bytes"
    echo
    "$reheat" report "$pid" | sed -n 1,30p # the hottest of the fragments
    echo
}

# show NAME COMMAND...
show() {
    local name=$1 TIMEFORMAT='%U s user, %S s system'
    shift
    echo "==== $*"
    printf '== natively:                     '
    time "$@" >"$name.native"
    under control=sampled "$name" "$@"
    under control=full "$name" "$@"
}

exec 2>&1
show bzip2 /usr/bin/bzip2 -9 -c "$words"
show python3 /usr/bin/python3 "$script"
