#!/bin/bash
# needs: gcc g++ ar ranlib
# The compiler, assembler and linker: same objects and programs, and errors that are the same.
set -euo pipefail
for ((i = 0; i < 2 * SIZE; i++)); do
    cp "$MORE/pool.c" "unit$i.c"
    echo "int unit$i(int x) { int s = 0; for (int k = 0; k < x; k++) s += k * $i ^ x; return s; }" >>"unit$i.c"
    gcc -std=gnu2x -O2 -g0 -c "unit$i.c"
    gcc -std=gnu2x -O0 -g -c "unit$i.c" -o "debug$i.o"
done
gcc -std=gnu2x -O1 -flto -pthread -Wl,--build-id=none unit0.c -o lto
cat >templates.cc <<'END'
#include <algorithm>
#include <map>
#include <string>
#include <vector>
int main()
{
    std::map<std::string, std::vector<int>> m;
    for (int i = 0; i < 100; i++)
        m[std::to_string(i % 7)].push_back(i);
    for (auto &p : m)
        std::sort(p.second.rbegin(), p.second.rend());
    return m["3"][0];
}
END
g++ -O2 -g0 templates.cc -o templates
./templates || echo "status $?"
ar Drcs all.a unit0.o debug0.o
echo 'int f(void) { return undeclared; }' >bad.c
gcc -c bad.c || echo "status $?"
gcc unit0.o unit0.o -o twice 2>&1 | grep -c multiple || true
