"""Dictionaries, classes, generators, strings, sorting, json, regex; the argument scales the work."""
import json
import re
import sys
from collections import Counter, defaultdict


class Vector:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __add__(self, other):
        return Vector(self.x + other.x, self.y + other.y)

    def dot(self, other):
        return self.x * other.x + self.y * other.y


def vectors(n):
    total, step = Vector(0.0, 0.0), Vector(0.5, 1.5)
    for _ in range(n):
        total = total + step
    return total.dot(step)


def words(n):
    state = 12345
    for _ in range(n):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        yield "w%d" % (state % 2003)


def counting(n):
    counts, lengths = Counter(), defaultdict(list)
    for word in words(n):
        counts[word] += 1
        lengths[len(word)].append(word)
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:3]
    return top, {k: len(v) for k, v in sorted(lengths.items())}


def documents(n):
    rows = [{"id": i, "name": f"name-{i * 7919 % 1009}", "tags": [i % 3, i % 5, None, True], "v": i / 7} for i in range(n)]
    back = json.loads(json.dumps(rows))
    back.sort(key=lambda row: (row["name"], -row["id"]))
    return back[0]["id"], sum(row["v"] for row in back)


def queens(n, row=0, columns=0, left=0, right=0):
    if row == n:
        return 1
    found, free = 0, ((1 << n) - 1) & ~(columns | left | right)
    while free:
        bit = free & -free
        free -= bit
        found += queens(n, row + 1, columns | bit, (left | bit) << 1, (right | bit) >> 1)
    return found


def patterns(n):
    text = " ".join(words(n))
    total = 0
    for match in re.finditer(r"w(\d)(\d*)5\b", text):
        total += len(match.group(2))
    return total, len(re.sub(r"w(\d+)", lambda m: m.group(1)[::-1], text))


def failing(n):
    caught = 0
    for i in range(n):
        try:
            [0, 1, 2][i % 5]
        except IndexError:
            caught += 1
    return caught


for turn in range(int(sys.argv[1])):
    print(turn, vectors(60000), counting(30000), documents(2500), queens(7), patterns(15000), failing(30000))
