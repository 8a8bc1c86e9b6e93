#!/bin/bash
# Compiles the kernels that are missing or older than their source, and prints a line for each:
#
#   NAME <tab> GOAL <tab> SMALL <tab> FULL <tab> PROGRAM
#
#   tests/kernels/build.sh DIRECTORY
#
# Lines of a source's first comment say what is made of it:
#   kernel: NAME GOAL SMALL FULL FLAGS    a program; GOAL is the native time divided by the time under reheat that is
#                                         hoped for, SMALL and FULL are its argument for tests and for measuring
#   libs: NAMES                           libraries of lib/ that its programs are linked with
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:?directory}"
bin=$(cd "$1" && pwd)

# The values of the lines "KEY:" in the first comment of $1.
directive() {
    sed -n "1,/\*\//s/^.\* $2: *\([^*]*[^* ]\).*/\1/p" "$1"
}

# The program is written aside and renamed: another build or run of it may be under way.
compile() {
    local program=$1 source=$2 compiler=gcc
    shift 2
    [[ $program -nt $source && $program -nt $0 ]] && return
    [[ $source == *.c ]] || compiler=g++
    "$compiler" "$@" -Wall -Wextra -o "$program.$$" "$source" -L"$bin" "${libraries[@]}" -Wl,-rpath,"$bin"
    mv "$program.$$" "$program"
}

libraries=()
for source in "$here"/lib/*.c; do
    compile "$bin/lib$(basename "${source%.c}").so" "$source" -O2 -fPIC -shared
done
for source in "$here"/*.c "$here"/*.cc; do
    libraries=()
    for library in $(directive "$source" libs); do
        libraries+=("-l$library")
    done
    while read -r name goal small full flags; do
        read -r -a flags <<<"$flags"
        compile "$bin/$name" "$source" "${flags[@]}"
        printf '%s\t%s\t%s\t%s\t%s\n' "$name" "$goal" "$small" "$full" "$bin/$name"
    done < <(directive "$source" kernel)
done
