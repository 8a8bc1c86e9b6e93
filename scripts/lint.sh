#!/bin/bash
# The checks of `make lint`: layers, file sizes, shellcheck, cppcheck, clang-tidy. Exits 1 when one fails.
#
#   scripts/lint.sh [layers|size|shell|python|cppcheck|tidy]...      default: all
#
# CLANG_TIDY_FLAGS are the compiler flags for clang-tidy, JOBS how many of it run at once. A tool that is not
# installed is named and passed over, except with STRICT=1. ROOT is the tree to look at.
set -euo pipefail

cd "${ROOT:-$(dirname "$0")/..}"
ROOT=$PWD
CLANG_TIDY_FLAGS=${CLANG_TIDY_FLAGS:--std=gnu2x -D_GNU_SOURCE -I.}
layer_folders=(runtime tracer optimizer fragcache injector)
longest_file=600
failures=0

complain() {
    echo "$1" >&2
    failures=$((failures + 1))
}

# The files of the layers whose extension is one of the letters of $1.
sources() {
    local folder
    for folder in "${layer_folders[@]}"; do
        [[ ! -d $folder ]] || find "$folder" -name "*.[$1]"
    done | sort -u
}

# The layer that the file $1 (path from the root) belongs to.
layer_of() {
    case $1 in
        runtime/proto.h | runtime/options.def | runtime/reasons.def | runtime/base/reasons.def) echo shared ;;
        runtime/base/*) echo base ;;
        runtime/* | tracer/* | optimizer/* | fragcache/* | injector/*) echo "${1%%/*}" ;;
        *) echo none ;;
    esac
}

layer_may_include() {
    case $1 in
        base) echo base shared ;;
        shared) echo shared ;;
        tracer) echo base tracer ;;
        optimizer) echo base tracer optimizer ;;
        fragcache) echo base tracer optimizer fragcache ;;
        runtime) echo base tracer optimizer fragcache runtime shared ;;
        injector) echo injector shared ;;
        *) echo ;;
    esac
}

# The project file that `#include "$2"` in the file $1 names, or nothing.
included_file() {
    local base
    for base in "$(dirname "$1")" . runtime; do
        if [[ -e $base/$2 ]]; then
            realpath --relative-to=. "$base/$2"
            return
        fi
    done
}

check_layers() {
    local file from line name target to
    while read -r file; do
        from=$(layer_of "$file")
        while IFS=: read -r line name; do
            target=$(included_file "$file" "$name")
            if [[ -z $target ]]; then
                complain "$file:$line: includes \"$name\", which is no file of the project"
                continue
            fi
            to=$(layer_of "$target")
            [[ " $(layer_may_include "$from") " == *" $to "* ]] ||
                complain "$file:$line: layer $from may not include $target (layer $to)"
        done < <(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$file" | sed -E 's/^([0-9]+):[^"]*"([^"]*)".*/\1:\2/')
    done < <(sources chS)
}

project_files() {
    find . \( -path ./build -o -path ./.git \) -prune -o -type f \( "$@" \) -print | sort
}

check_size() {
    local file lines
    while read -r file; do
        lines=$(wc -l <"$file")
        [[ $lines -le $longest_file ]] || complain "$file: $lines lines; the end is $longest_file"
    done < <(project_files -name '*.c' -o -name '*.cc' -o -name '*.h' -o -name '*.S' -o -name '*.def' -o -name '*.sh' \
        -o -name '*.py')
}

has_tool() {
    command -v "$1" >/dev/null && return
    if [[ ${STRICT-0} == 1 ]]; then
        complain "lint: $1 is not installed (scripts/deps.sh lint)"
    else
        echo "lint: $1 is not installed, passed over (scripts/deps.sh lint)" >&2
    fi
    return 1
}

check_shell() {
    local files
    has_tool shellcheck || return 0
    mapfile -t files < <(project_files -name '*.sh' -o -path './.ci/run')
    [[ ${#files[@]} -eq 0 ]] || shellcheck "${files[@]}" || complain "shellcheck found the above"
}

check_python() {
    local file
    while read -r file; do
        /usr/bin/python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' "$file" ||
            complain "$file: does not parse"
    done < <(project_files -name '*.py')
}

check_cppcheck() {
    local files
    has_tool cppcheck || return 0
    mapfile -t files < <(sources c)
    [[ ${#files[@]} -gt 0 ]] || return 0
    cppcheck --quiet --error-exitcode=1 --std=c11 --language=c -I. --inline-suppr -j "${JOBS:-2}" \
        --enable=warning,portability --suppress=missingInclude --suppress=missingIncludeSystem \
        --suppress=unknownMacro --suppress=normalCheckLevelMaxBranches "${files[@]}" || complain "cppcheck found the above"
}

check_tidy() {
    local files
    has_tool clang-tidy || return 0
    mapfile -t files < <(sources c)
    [[ ${#files[@]} -gt 0 ]] || return 0
    # One file a run: its analyzer takes what it saw of va_list along to the next file.
    # shellcheck disable=SC2016 # the inner shell expands them
    printf '%s\0' "${files[@]}" |
        xargs -0 -n 1 -P "${JOBS:-2}" sh -c 'flags=$1; shift; exec clang-tidy --quiet "$@" -- $flags 2>/dev/null' tidy \
            "$CLANG_TIDY_FLAGS" || complain "clang-tidy found the above"
}

[[ $# -gt 0 ]] || set -- layers size shell python cppcheck tidy
for check in "$@"; do
    case $check in
        layers | size | shell | python | cppcheck | tidy) "check_$check" ;;
        *)
            echo "usage: $0 [layers|size|shell|python|cppcheck|tidy]..." >&2
            exit 2
            ;;
    esac
done
[[ $failures -eq 0 ]]
