#!/bin/bash
# Makes the inputs of the twelve real programs, each of a fixed size.
#
#   scripts/workloads.sh small|full [DIRECTORY]     default directory: build/work
#
# Leaves DIRECTORY/small or DIRECTORY/full; does nothing when it is already there. small: about half a
# second for each program (tests), full: some seconds (bench). All but one input come from data.py; a part of
# each compressor's input is the machine's own binaries, cut to size.
#
# cc1 compiles, in full, the sqlite3 amalgamation. Debian ships none, so it is taken from $SQLITE_C if that is
# set, else from the npm package below if npm is there, else a generated unit of similar size stands in.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
size=${1-}
case $size in
    small) scale=6 functions=50 ;;
    full) scale=60 functions=1200 ;;
    *)
        echo "usage: $0 small|full [DIRECTORY]" >&2
        exit 2
        ;;
esac
parent=$(mkdir -p "${2:-$root/build/work}" && cd "${2:-$root/build/work}" && pwd)
final=$parent/$size
[[ -e $final/complete ]] && exit 0

amalgamation_package=better-sqlite3@11.10.0
amalgamation_sha256=e80215754ac6cfaefe272342efd581b6dbefdbdc21f96bd83fcb698bee9d36a5

work=$(mktemp -d "$parent/.making.XXXXXX")
trap 'rm -rf "$work"' EXIT

data() {
    env -u PYTHONPATH -u PYTHONHOME /usr/bin/python3 "$root/scripts/workloads/data.py" "$@"
}

# Writes $1 KiB of the machine's own binaries, padded with generated records.
binaries() {
    { cat /usr/lib/x86_64-linux-gnu/libc.so.6 /usr/bin/perl /usr/bin/gawk; data binary $(($1 * 1024)) 9; } \
        2>/dev/null | head -c $(($1 * 1024)) || true
}

# $1: name, $2: KiB in all. One eighth is binaries, the rest generated.
compressor_input() {
    local binary=$(($2 / 8))
    data mixed $((($2 - binary) * 1024)) "${#1}" >"$work/$1.bin"
    binaries "$binary" >>"$work/$1.bin"
}

is_amalgamation() {
    [[ $(sha256sum "$1" | cut -d ' ' -f 1) == "$amalgamation_sha256" ]]
}

# Leaves the source to compile in unit.c and says in unit.origin where it came from.
compiler_input() {
    local fetched=$work/fetched
    if [[ $size == full && -n ${SQLITE_C-} ]]; then
        cp "$SQLITE_C" "$work/unit.c"
        echo "$SQLITE_C" >"$work/unit.origin"
    elif [[ $size == full ]] && command -v npm >/dev/null && mkdir "$fetched" &&
        (cd "$fetched" && npm pack --silent "$amalgamation_package" && tar -xzf ./*.tgz) >/dev/null 2>&1 &&
        is_amalgamation "$fetched/package/deps/sqlite3/sqlite3.c"; then
        cp "$fetched/package/deps/sqlite3/sqlite3.c" "$work/unit.c"
        echo "sqlite3 amalgamation from $amalgamation_package" >"$work/unit.origin"
    else
        data c "$functions" 5 >"$work/unit.c"
        echo "generated" >"$work/unit.origin"
        [[ $size == small ]] || echo "workloads.sh: no sqlite3 amalgamation here; cc1 compiles a generated unit" >&2
    fi
    rm -rf "$fetched"
    (cd "$work" && /usr/bin/gcc -E -P unit.c -o unit.i && rm unit.c)
}

compressor_input plain $((scale * 850))
compressor_input bunzip2 $((scale * 2048))
/usr/bin/bzip2 -9 -c "$work/bunzip2.bin" >"$work/plain.bz2"
rm "$work/bunzip2.bin"
compressor_input gzip $((scale * 450))
compressor_input xz $((scale * 150))
compressor_input zstd $((scale * 160))
compressor_input 7z $((scale * 150))
data sql $((scale * 2000)) 3 >"$work/joins.sql"
data table $((scale * 1000000)) 4 >"$work/table.txt"
compiler_input
echo "$scale" >"$work/scale"
touch "$work/complete"
chmod 755 "$work"
rm -rf "$final"
mv -T "$work" "$final"
