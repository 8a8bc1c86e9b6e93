#!/bin/bash
# Runs parts of the test suite and adds up their results.
#
#   tests/all.sh 'NAME: COMMAND'...
#
# COMMAND is a shell's. A part's last line is "N passed, N failed" or "N passed, N failed, N skipped". A part without
# such a line is one test: its exit status. So is a part that exits with an error and admits no failure. Passed tests are counted, not
# shown. The last line is the sum of all; the exit status is 0 when nothing failed and something passed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0 skipped=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT

for part in "$@"; do
    name=${part%%:*}
    start=$SECONDS
    printf -- '-- %s: ' "$name"
    bash -c "${part#*: }" >"$output" 2>&1 </dev/null
    status=$?
    if [[ $(tail -n 1 "$output") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
        p=${BASH_REMATCH[1]} f=${BASH_REMATCH[2]} s=${BASH_REMATCH[4]:-0}
        [[ $status -eq 0 || $f -gt 0 ]] || f=1
    else
        p=$((status == 0)) f=$((status != 0)) s=0
    fi
    echo "$p passed, $f failed, $s skipped ($((SECONDS - start)) s)"
    if [[ $f -gt 0 ]]; then
        grep -E '^not ok' -A 12 "$output" | grep -v '^ok' | head -n 200 | grep . || tail -n 40 "$output"
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done

if [[ $skipped -gt 0 ]]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[[ $failed -eq 0 && $passed -gt 0 ]]
