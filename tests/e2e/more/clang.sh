#!/bin/bash
# needs: clang
# Another compiler: one large process with a C++ runtime.
set -euo pipefail
for ((i = 0; i < SIZE; i++)); do
    for level in 0 2; do
        clang -std=gnu2x -O$level -g0 -c "$MORE/pool.c" -o "pool$i.$level.o"
    done
done
clang -std=gnu2x -O2 -S -emit-llvm -Wno-everything "$MORE/pool.c" -o - | sha256sum
echo 'int f(void) { return undeclared; }' >bad.c
clang -c bad.c || echo "status $?"
