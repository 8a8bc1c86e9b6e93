#!/usr/bin/python3
"""Generates workload inputs: data.py KIND SIZE SEED writes to stdout.

KIND   text, source, table, binary or mixed (SIZE: bytes), c (SIZE: functions), sql (SIZE: rows)
The same arguments give the same bytes on every machine.
"""
import random
import struct
import sys

SYLLABLES = "ba ce di fo gu ha ke li mo nu pra ste vil kor ten dar ish on er al ment tion ly que".split()
KEYWORDS = "if else for while return static const int long char struct void unsigned break".split()


def vocabulary(rng, count):
    return ["".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 4))) for _ in range(count)]


def zipf_weights(count):
    total, out = 0.0, []
    for rank in range(count):
        total += 1.0 / (rank + 2)
        out.append(total)
    return out


def text(rng):
    words = vocabulary(rng, 6000)
    weights = zipf_weights(len(words))
    while True:
        line = rng.choices(words, cum_weights=weights, k=rng.randint(6, 16))
        yield (" ".join(line).capitalize() + rng.choice([".\n", ",\n", "\n", ".\n\n"])).encode()


def source(rng):
    names = vocabulary(rng, 800)
    weights = zipf_weights(len(names))
    depth = 0
    while True:
        a, b, c = rng.choices(names, cum_weights=weights, k=3)
        kind = rng.random()
        if kind < 0.12 and depth < 6:
            line = f"{rng.choice(KEYWORDS[:4])} ({a} < {b}[{rng.randint(0, 99)}]) {{"
            depth += 1
        elif kind < 0.24 and depth:
            depth -= 1
            yield b"    " * depth + b"}\n"
            continue
        elif kind < 0.3:
            line = f"/* {a} {b} {c} */"
        else:
            line = f"{a}->{b} = {c}({a}, {rng.randint(0, 1 << rng.randint(1, 16))});"
        yield ("    " * depth + line + "\n").encode()


def table(rng):
    names = vocabulary(rng, 300)
    stamp = 1_600_000_000
    for row in range(1, 1 << 40):
        stamp += rng.randint(0, 90)
        a, b = rng.choice(names), rng.choice(names)
        status = rng.choice(["200", "200", "200", "304", "404", "500"])
        yield f"{row};{stamp};{a}.{b};{status};{rng.randint(0, 9999)};{rng.random():.4f}\n".encode()


def binary(rng):
    """Records as compilers and databases leave them: small integers, pointers, doubles, noise."""
    base = 0x5555_0000_0000
    while True:
        base += rng.randint(0, 512)
        yield struct.pack("<IHHQd", rng.randint(0, 300), rng.randint(0, 7), 0, base, rng.random())
        if rng.random() < 0.05:
            yield rng.getrandbits(256).to_bytes(32, "little")


def mixed(rng):
    parts = [text(rng), source(rng), table(rng), binary(rng)]
    while True:
        part, size = rng.choice(parts), 0
        while size < 40_000:
            piece = next(part)
            size += len(piece)
            yield piece


def c_function(rng, number):
    """One self-contained C function that calls only functions before it."""
    callee = f"f{rng.randrange(number)}" if number else "(long)labs"
    second = "(a)" if number == 0 else "(a, t)"
    lines = [f"static long f{number}(long a, long b)", "{"]
    lines += ["    long t = a ^ b, s[8] = {0};", "    struct node n = {a, b, 0, {0}};"]
    for _ in range(rng.randint(4, 12)):
        k, m = rng.randint(1, 97), rng.randint(0, 7)
        lines.append(
            rng.choice(
                [
                    f"    for (int i = 0; i < {k}; i++) s[i & 7] += t * i + {m};",
                    f"    if (t % {k} == {m}) t += {callee}{second}; else n.key -= s[{m}];",
                    f"    switch (t & 7) {{ case {m}: t += {k}; break; case {(m + 3) % 8}: t ^= b; break;"
                    f" case {(m + 5) % 8}: s[{m}]--; break; default: t = t * {k} + 1; }}",
                    f"    n.weight = n.weight * 0.{k} + (double)s[{m}]; t += (long)n.weight;",
                    f"    snprintf(n.name, sizeof n.name, \"%ld-{k}\", t); t += n.name[{m}];",
                    f"    while (b > {k}) {{ b = b / 2 - {m}; s[{m}] += b; if (s[{m}] > 1000) break; }}",
                    f"    table[(unsigned long)t % 64] = n; t += table[{k % 64}].key;",
                ]
            )
        )
    lines += ["    return t + s[1] + n.key;", "}", ""]
    return "\n".join(lines)


def c_unit(rng, count):
    yield b"#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <math.h>\n"
    yield b"struct node { long key, other; double weight; char name[24]; };\nstatic struct node table[64];\n"
    for number in range(count):
        yield (c_function(rng, number) + "\n").encode()
    calls = "\n".join(f"    t += f{number}(t, {number});" for number in range(count))
    yield f"int main(void)\n{{\n    long t = 1;\n{calls}\n    return (int)(t & 1);\n}}\n".encode()


def sql(rng, count):
    names = vocabulary(rng, 500)
    yield b"CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT, city INTEGER, score REAL);\n"
    yield b"CREATE TABLE sale(id INTEGER PRIMARY KEY, person INTEGER, amount INTEGER, note TEXT);\n"
    yield b"BEGIN;\n"
    for row in range(count):
        yield f"INSERT INTO person VALUES({row},'{rng.choice(names)}{row % 97}',{rng.randrange(200)},".encode()
        yield f"{rng.random():.6f});\n".encode()
        for sale in range(2):
            yield f"INSERT INTO sale VALUES({row * 2 + sale},{rng.randrange(count)},".encode()
            yield f"{rng.randrange(10000)},'{rng.choice(names)} {rng.choice(names)}');\n".encode()
    yield b"COMMIT;\nCREATE INDEX sale_person ON sale(person);\n"
    for query in SQL_QUERIES:
        yield (query + "\n").encode()


SQL_QUERIES = [
    "SELECT city,count(*),sum(amount),round(avg(score),6) FROM person p JOIN sale s ON s.person=p.id"
    " GROUP BY city ORDER BY 3 DESC LIMIT 20;",
    "SELECT p.name,max(s.amount) FROM person p LEFT JOIN sale s ON s.person=p.id"
    " WHERE p.name LIKE '%or%' GROUP BY p.id ORDER BY 2 DESC,1 LIMIT 20;",
    "SELECT a.city,count(*) FROM person a JOIN person b ON a.city=b.city AND a.score<b.score"
    " WHERE a.city<40 GROUP BY a.city ORDER BY 1 LIMIT 40;",
    "WITH RECURSIVE n(i,x) AS (SELECT 1,7 UNION ALL SELECT i+1,(x*1103515245+12345)%2147483648 FROM n"
    " WHERE i<(SELECT count(*) FROM person)*10) SELECT count(DISTINCT x%9973),sum(x) FROM n;",
    "SELECT substr(note,1,3) k,count(*),group_concat(DISTINCT length(note)) FROM sale GROUP BY k"
    " ORDER BY 2 DESC,1 LIMIT 20;",
    "UPDATE sale SET amount=amount*2+1 WHERE person%3=0;",
    "SELECT id,amount,sum(amount) OVER (ORDER BY id ROWS 10 PRECEDING) FROM sale ORDER BY 3 DESC,1 LIMIT 20;",
    "DELETE FROM person WHERE id%7=0; SELECT count(*),sum(score)>0 FROM person;",
]
STREAMS = {"text": text, "source": source, "table": table, "binary": binary, "mixed": mixed}


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    kind, size, rng = sys.argv[1], int(sys.argv[2]), random.Random(int(sys.argv[3]))
    out = sys.stdout.buffer
    if kind in ("c", "sql"):
        out.writelines((c_unit if kind == "c" else sql)(rng, size))
        return
    left = size
    for piece in STREAMS[kind](rng):
        out.write(piece[:left])
        left -= len(piece)
        if left <= 0:
            return


main()
