#!/bin/bash
# shellcheck disable=SC2116
# Very many short processes, subshells and builtins.
set -euo pipefail
n=$((100 * SIZE))
for ((i = 0; i < n; i++)); do
    /bin/true
done
for ((i = 0; i < n / 2; i++)); do
    /bin/false || status=$?
    x=$(echo $((i * i)))
    (exit $((i % 7))) || status=$?
done
echo "$x $status"
total=0
for ((i = 0; i < n * 100; i++)); do
    total=$(((total * 31 + i) % 1000003))
    printf -v text '%05d' "$total"
    [[ $text =~ ([0-9])\1 ]] && total=$((total + 1))
done
echo "$total"
declare -A count
for word in $(seq "$((n * 20))"); do
    count[${word: -1}]=$((${count[${word: -1}]:-0} + word))
done
for key in 0 1 2 3 4 5 6 7 8 9; do
    echo "$key ${count[$key]}"
done
trap 'echo child' CHLD
sleep 0.05 &
wait
trap 'echo term' TERM
kill -TERM $$
seq 200 | while read -r line; do echo "$line" | tr 1 2; done | sort | uniq -c | sort -rn | head -n 3
