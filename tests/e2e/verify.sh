#!/bin/bash
# Entries of fragments verified in living processes (verify=): tests/e2e/verify.sh LIBRARY BROKEN-LIBRARY FUZZ
#
# With the product's library nothing may differ. With the one that plants mistakes (plant=break:NAME) each mistake must be
# found, the output still be the native one, and the trace that was written down be one that FUZZ can replay.
# One line a test; the last line is the sum.
set -uo pipefail
library=$(realpath "${1:?library}") broken=$(realpath "${2:?library with mistakes}") fuzz=$(realpath "${3:?fuzzer}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
unset REHEAT LD_PRELOAD
export LC_ALL=C

lua='local t = {} for i = 1, 3000 do t[i % 100] = (t[i % 100] or 0) + i end print(t[5])'
# shellcheck disable=SC2016 # awk's own
awk='BEGIN { for (i = 0; i < 300; i++) { s = s (i % 7); a[i % 50] += i } for (k in a) t += a[k]; print length(s), t }'
long='local t = {} for i = 1, 6000000 do t[i % 100] = (t[i % 100] or 0) + i end print(t[5])'
head -c 3000 /usr/lib/x86_64-linux-gnu/libc.so.6 >"$work/data"

ok() { passed=$((passed + 1)) && echo "ok - $*"; }
not_ok() { failed=$((failed + 1)) && echo "not ok - $*"; }

# run LIBRARY SETTINGS COMMAND...: sets same, entries, mismatches; leaves mm and mm.trace.
run() {
    local lib=$1 settings=$2
    shift 2
    rm -f "$work"/stats "$work"/mm*
    "$@" >"$work/native" 2>&1
    timeout 120 env REHEAT="$settings,stats=$work/stats,mismatch=$work/mm" LD_PRELOAD="$lib" "$@" >"$work/out" 2>&1
    same=0
    if cmp -s "$work/native" "$work/out"; then same=1; fi
    entries=$(sed -n 's/.*"verify": {"entries": \([0-9]*\).*/\1/p' "$work/stats" 2>/dev/null)
    mismatches=$(sed -n 's/.*"verify": {.*"mismatches": \([0-9]*\).*/\1/p' "$work/stats" 2>/dev/null)
}

# sound NAME SETTINGS LEAST COMMAND...
sound() {
    local name=$1 settings=$2 least=$3
    shift 3
    run "$library" "$settings" "$@"
    if [[ $same -eq 1 && ${entries:-0} -ge $least && $mismatches == 0 ]]; then
        ok "$name, $settings: $entries entries"
    else
        not_ok "$name, $settings: output same $same, entries ${entries:-none}, mismatches ${mismatches:-none}; requirement: 1, $least or more, 0"
        head -n 40 "$work/mm" 2>/dev/null | sed 's/^/#   /'
    fi
}

sound lua control=full,hot=2,bailout=0,verify=1 10000 lua5.4 -e "$lua"
sound awk control=full,hot=2,bailout=0,verify=5 3000 gawk "$awk"
sound bzip2 control=full,hot=10,bailout=0,verify=50 500 bzip2 -9 -c "$work/data"
sound lua control=sampled,verify=1,trial=0,hot=5 100 lua5.4 -e "$long"
sound lua control=sampled,verify=1 20 lua5.4 -e "$long"

for name in drop-store swap-condition wrong-condition wrong-exit stale-load forget-flags wrong-return drop-guard drop-sp \
    wrong-back-edge forget-exit; do
    run "$broken" "control=full,hot=2,bailout=0,verify=1,plant=break:$name" lua5.4 -e "$lua"
    replay=$("$fuzz" --states 1 --replay "$work/mm.trace" 2>/dev/null)
    if [[ $same -eq 1 && ${mismatches:-0} -gt 0 && -s $work/mm && $replay == *"records=$mismatches "* ]]; then
        ok "$name: $mismatches mismatches in $entries entries"
    else
        not_ok "$name: output same $same, mismatches ${mismatches:-none}, $replay; requirement: 1, some, as many records"
    fi
done

echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
