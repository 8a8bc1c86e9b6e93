#!/bin/bash
# Small end-to-end cases, natively and under reheat: the programs in src/ and shell commands.
#
#   tests/e2e/cases.sh [-c control=full,hot=2]... [-j JOBS] [-k "NAME..."] [--list]
#
# Each program in src/ prints a deterministic result. Lines of its first comment say how it is used:
#   build: FLAGS     compiler flags
#   libs: NAMES      libraries from src/lib it is linked with; plugins: NAMES, libraries it loads itself
#   run: ARGUMENTS   one case; without such a line there is one, without arguments
#   except: CONTROL  not under configurations that begin so: what the README's limits say of it
#   stdin: FILE      its standard input, a file of this directory
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
compare_title=cases
# shellcheck source=tests/e2e/compare.sh
source "$here/compare.sh"

export BIN=${BIN:-$compare_build/e2e/bin}
export LC_ALL=C

# shellcheck disable=SC2016 # the inner shell expands them
declare -A shell_cases=(
    [true]='exec /bin/true'
    [false]='exec /bin/false'
    [pipeline]='for i in 1 2 3; do /bin/echo $i | /usr/bin/tr 1 x; done'
    [pipe-in]='seq 30000 | "$BIN/copy"; echo "${PIPESTATUS[@]}"'
    [closed-pipe]='"$BIN/copy" < <(seq 200000) | head -n 3; echo "${PIPESTATUS[0]}"'
    [many-arguments]='exec "$BIN/arguments" $(seq 20000)'
    [big-environment]='export BIG=$(printf %0120000d 7); for i in $(seq 500); do export "V$i=$i"; done
        exec "$BIN/arguments" one two'
    [empty-environment]='exec -c "$BIN/arguments" "" "a b" "*"'
    [status-of-children]='for how in 3 segv abort "_exit 9"; do "$BIN/status" $how; echo "= $?"; done 2>&1 |
        grep -v "line 1"'
    [subshells]='f() { (( $1 == 0 )) && return 3; ( f $(( $1 - 1 )); ); }; f 8; echo $?'
    [background]='for i in 1 2 3 4; do "$BIN/recursion" & done | sort; wait; echo done'
    [killed]='"$BIN/copy" < <(exec sleep 20) & sleep 0.2; kill $!; wait $!; echo $?'
    [stopped]='"$BIN/threads" & p=$!; for i in 1 2 3 4 5; do kill -STOP $p; sleep 0.02; kill -CONT $p; sleep 0.02
        done 2>/dev/null; wait $p; echo $?'
    [here-document]='sort -rn <<<"$(seq 2000)" | awk "{ s += NR * \$1 } END { print s }"'
    [find-xargs]='find /usr/share/perl/ -name "*.pm" | sort | head -n 60 | xargs wc -c | tail -n 1'
    [no-file-size]='(ulimit -f 0; for n in recursion indirect; do "$BIN/$n"; echo $?; done) | cat
        (ulimit -f 0; exec "$BIN/recursion") | cat; echo "${PIPESTATUS[0]}"'
    [make]='cd "$(mktemp -d)" && printf "all: a b\na b:\n\t@echo \$@; sleep 0\n" >Makefile && make -s -j2 | sort'
)

# The value of the line "KEY:" in the first comment of $1.
directive() {
    sed -n "1,/\*\//s/^.\* $2: *\([^*]*\).*/\1/p" "$1"
}

# Compiles $1 (a file of src/) unless that was done since it was last changed.
build_program() {
    local source=$1 name library compiler=gcc libraries=() flags=()
    name=$(basename "${source%.*}")
    [[ $BIN/$name -nt $source && $BIN/$name -nt $0 ]] && return
    for library in $(directive "$source" libs); do
        libraries+=("-l$library")
    done
    read -r -a flags <<<"$(directive "$source" build)"
    [[ $source == *.c ]] || compiler=g++
    [[ $compiler == g++ ]] || flags+=(-std=gnu2x)
    # shellcheck disable=SC2016 # $ORIGIN is the loader's
    "$compiler" "${flags[@]}" -o "$BIN/$name" "$source" -L"$BIN" "${libraries[@]}" -lm -Wl,-rpath,'$ORIGIN'
}

build_library() {
    gcc -std=gnu2x -O2 -fPIC -fexceptions -shared -o "$BIN/lib$(basename "${1%.c}").so" "$1"
}

build_all() {
    local source
    mkdir -p "$BIN"
    for source in "$here"/src/lib/*.c; do
        echo "$source"
    done | compare_each build_library
    for source in "$here"/src/*.c "$here"/src/*.cc; do
        echo "$source"
    done | compare_each build_program
}

# Every case's name: a program's, with its arguments joined by dashes, or shell-NAME.
case_names() {
    local source name arguments
    for source in "$here"/src/*.c "$here"/src/*.cc; do
        name=$(basename "${source%.*}")
        directive "$source" run | while read -r arguments; do
            echo "$name.${arguments// /-}"
        done | grep . || echo "$name"
    done
    printf 'shell-%s\n' "${!shell_cases[@]}" | sort
}

# $1: name, $2: empty for native, else a configuration.
run_case() {
    local name=$1 program input
    COMPARE_STDIN=/dev/null
    if [[ $name == shell-* ]]; then
        COMPARE_COMMAND=(/bin/bash -c "${shell_cases[${name#shell-}]}")
    else
        program=${name%%.*}
        for input in $(directive "$here/src/$program.c" except 2>/dev/null); do
            [[ ${2-} != "$input"* ]] || return 0
        done
        COMPARE_COMMAND=("$BIN/$program")
        if [[ $name == *.* ]]; then
            read -r -a arguments <<<"$(tr - ' ' <<<"${name#*.}")"
            COMPARE_COMMAND+=("${arguments[@]}")
        fi
        for input in $(directive "$here/src/$program.c" stdin 2>/dev/null); do
            COMPARE_STDIN=$here/$input
        done
    fi
    if [[ -z ${2-} ]]; then
        compare_native "$name"
    else
        compare_reheat "$name" "$2"
    fi
}

wanted() {
    local name
    case_names | while read -r name; do
        if compare_wanted "$name"; then
            echo "$name"
        fi
    done
}

if [[ ${1-} == --list ]]; then
    case_names
    exit 0
fi
if [[ ${1-} == --build ]]; then # for others, into BIN
    build_all
    exit 0
fi
compare_configs "$@"
if [[ ${#COMPARE_REST[@]} -gt 0 ]]; then
    echo "cases.sh: unknown argument ${COMPARE_REST[0]}" >&2
    exit 2
fi
build_all
wanted | compare_each run_case
for config in "${COMPARE_CONFIGS[@]}"; do
    wanted | sed "s/\$/ $config/"
done | compare_each run_case
compare_close ""
