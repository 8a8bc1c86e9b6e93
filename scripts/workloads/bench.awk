# Fields, associative arrays, string functions and arithmetic over a semicolon-separated table.
BEGIN { FS = ";" }
{
    hits[$3]++
    sum[$4] += $5 * $6
    split($3, part, ".")
    pair[part[1], substr(part[2], 1, 2)] += length($0)
    if ($3 ~ /^(ba|ke).*o.*(er|al|on)/) matched++
    if ($5 % 7 == 3) { gsub(/[aeiou]/, "<&>", $3); changed += length($3) }
    x = (x * 1103 + $5) % 65537
    line[NR % 1000] = toupper($3) sprintf("%08.3f", $6 * x)
}
END {
    n = asorti(hits, names)
    for (i = 1; i <= n && i <= 20; i++) print names[i], hits[names[i]]
    for (s in sum) order[++m] = s
    asort(order)
    for (i = 1; i <= m; i++) printf "%s %.4f\n", order[i], sum[order[i]]
    k = asort(pair)
    print NR, matched, changed, x, k, pair[1], pair[k], line[7]
}
