#!/bin/bash
# needs: mawk gawk sort grep sed
# Filters in pipelines over generated text.
set -euo pipefail
mawk -v n="$((20000 * SIZE))" 'BEGIN {
    srand(1); for (i = 0; i < n; i++) printf "%d,%s%d,%.3f\n", rand() * 1e6, "key", i % 997, i / 7
}' >data
sort -t, -k2,2 -k1,1n data | sha256sum
sort --parallel=2 -S 1M -rn data | sha256sum
sort -u -t, -k2,2 data | wc -l
grep -cE '^[0-9]*(12|34)+[0-9]*,key[0-9]{2},' data
grep -oE 'key[0-9]*7' data | sort | uniq -c | sort -rn | head -n 5
grep -c -P '(?<=,)key(\d)\1,' data || true
sed -E -e 's/^([0-9]+),([a-z]+)([0-9]+)/\3 \2 \1/' -e '/9\.9/d' -e 'y/abc/xyz/' data | sha256sum
mawk -F, '{ s[$2] += $1; n[$2]++ } END { for (k in s) printf "%s %d %d\n", k, s[k], n[k] }' data | sort | sha256sum
gawk -F, '{ s[$2] += length($3) } END { PROCINFO["sorted_in"] = "@ind_str_asc"; for (k in s) print k, s[k] }' data | md5sum
cut -d, -f2 data | tr '[:lower:]' '[:upper:]' | paste -sd' ' | fold -w 72 | tail -n 2
split -l 5000 data part.
join -t, -1 2 -2 2 <(sort -t, -k2,2 data | head -n 50) <(sort -t, -k2,2 data | tail -n 50) | wc -l
comm -12 <(sort part.aa) <(sort part.ab) | wc -l
head -n 3 <(yes | nl)
diff <(head -n 100 data) <(head -n 101 data | tail -n 100) | wc -l || true
od -An -tx1 data | tail -n 1
