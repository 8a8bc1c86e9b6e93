#!/bin/bash
# Runs unit test programs: one TAP line a test, and at the end the sum.
#
#   tests/unit/run.sh PROGRAM...
#
# A program that dies (a signal, a sanitizer's report) is a failed test of its own, with what it printed.
set -uo pipefail
passed=0 failed=0
export CMOCKA_MESSAGE_OUTPUT=TAP UBSAN_OPTIONS=print_stacktrace=1
export ASAN_OPTIONS=detect_leaks=1:handle_segv=0:handle_sigill=0
unset REHEAT LD_PRELOAD

for program in "$@"; do
    name=$(basename "$program")
    output=$(timeout 60 "$program" 2>&1)
    status=$?
    sed -nE "s/^(not ok|ok) [0-9]+ - /\1 - $name: /p" <<<"$output"
    p=$(grep -c '^ok ' <<<"$output")
    f=$(grep -c '^not ok ' <<<"$output")
    if [[ $f -gt 0 || $status -ne 0 || $p -eq 0 ]]; then
        if [[ $f -eq 0 ]]; then
            echo "not ok - $name: exit status $status"
            f=1
        fi
        grep -v '^ok ' <<<"$output" | tail -n 60 | sed 's/^/#   /'
    fi
    passed=$((passed + p)) failed=$((failed + f))
done
echo "$passed passed, $failed failed"
[[ $failed -eq 0 && $passed -gt 0 ]]
