#!/bin/bash
# Traces of real commands, recorded (record=FILE) and replayed: tests/fuzz/record.sh FUZZ
#
# FUZZ is the fuzzer without ASan. REHEAT_BIN names the `reheat` program. One line a test; the last line is the sum.
set -uo pipefail
fuzz=${1:?fuzzer}
reheat=${REHEAT_BIN:-build/reheat}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
unset REHEAT LD_PRELOAD

# check NAME "SETTING..." LEAST COMMAND...: at least LEAST traces, none of which differs when it is replayed.
check() {
    local name=$1 least=$3 setting options=() result faults records
    read -r -a settings <<<"$2"
    shift 3
    for setting in "${settings[@]}"; do
        options+=(-o "$setting")
    done
    rm -f "$work/record"
    "$reheat" run "${options[@]}" -o "record=$work/record" -- "$@" >"$work/out" 2>"$work/err"
    result=$("$fuzz" --seed "${SEED:-1}" --replay "$work/record" 2>"$work/why")
    records=$(sed -n 's/.* records=\([0-9]*\) .*/\1/p' <<<"$result")
    faults=$("$fuzz" --seed "${SEED:-1}" --faults 1000 --replay "$work/record" 2>>"$work/why")
    if [[ ${records:-0} -ge $least && $result == *" mismatches=0 "* && $faults == *" mismatches=0 "* ]]; then
        passed=$((passed + 1))
        echo "ok - $name, ${settings[*]}: $result; $faults"
    else
        failed=$((failed + 1))
        echo "not ok - $name, ${settings[*]}: $result; $faults; requirement: $least records or more, no mismatch"
        cat "$work/err" "$work/why" | head -n 60 | sed 's/^/#   /'
    fi
}

head -c 3000000 /usr/lib/x86_64-linux-gnu/libc.so.6 >"$work/data"
check gzip "control=full hot=20 bailout=0" 50 gzip -9 -c "$work/data"
check awk "control=full hot=20 bailout=0" 200 gawk 'BEGIN { for (i = 0; i < 30000; i++) s = s (i % 7); print length(s) }'
# shellcheck disable=SC2016 # perl's own variables
check perl "control=sampled hot=2 trial=0" 1 perl -e 'for my $i (1 .. 9000000) { $s += $i * 3 ^ $s & 255 } print $s'

echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
