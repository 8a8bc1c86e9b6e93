#!/bin/bash
# More real programs, natively and under reheat: same output, exit status and files.
#
#   tests/e2e/more.sh [-c control=full,hot=2]... [-j JOBS] [-k "NAME..."] [-n SIZE] [-r TIMES] [--list]
#
# Each script more/NAME.sh is one case. It runs under reheat with all it starts, in an empty directory of its own;
# what it leaves there is compared too. Lines of its first comment say what it wants:
#   needs: COMMANDS  without one of them the case is skipped
#   builds: NAMES    programs made of more/NAME.c, found in $BIN
# It sees SIZE: 1, what `make test` runs, or -n or MORE_SIZE; about a factor of time. -r runs every case that many times
# under each configuration.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
compare_title='more'
# shellcheck source=tests/e2e/compare.sh
source "$here/compare.sh"

size=${MORE_SIZE:-1} times=1
export BIN=${BIN:-$compare_build/e2e/more-bin} MORE=$here/more

# The words of the lines "KEY:" in the first comment of case $1.
directive() {
    sed -n "2,/^[^#]/s/^# $2: //p" "$MORE/$1.sh"
}

case_names() {
    local script
    for script in "$MORE"/*.sh; do
        basename "$script" .sh
    done
}

# Prints the first command that case $1 needs and this machine has not.
command_missing() {
    local word
    for word in $(directive "$1" needs); do
        command -v "$word" >/dev/null || { echo "$word"; return; }
    done
}

build_program() {
    [[ $# -eq 0 || $BIN/$1 -nt $MORE/$1.c ]] && return
    gcc -std=gnu2x -O2 -Wall -Wextra -pthread -o "$BIN/$1" "$MORE/$1.c"
}

# Nothing of the caller's environment or configuration may show in what the programs print.
clean_environment() {
    local name
    for name in $(compgen -e); do
        case $name in
            BIN | MORE | TMPDIR | BASHOPTS | SHELLOPTS) ;;
            *) export -n "${name?}" ;;
        esac
    done
    export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LC_ALL=C TZ=UTC HOME=/nonexistent SIZE=$size
    export PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 GIT_CONFIG_NOSYSTEM=1
}

# $1: case, $2: directory of the results, then what to put in front.
execute() {
    local name=$1 results=$2 files=$COMPARE_DIR/$1/files
    shift 2
    rm -rf "$files"
    mkdir -p "$files"
    cd "$files"
    COMPARE_COMMAND=(/bin/bash "$MORE/$name.sh")
    compare_execute "$results" "$@"
    find . ! -type d -printf '%p %y %m %l\n' | sort >"$results/output"
    find . -type f -print0 | sort -z | xargs -0r sha256sum >>"$results/output"
}

run_reheat() {
    local name=$1 config=$2 round why results=$COMPARE_DIR/$1/$2
    compare_split "$config"
    for ((round = 1; round <= times; round++)); do
        execute "$name" "$results" "$REHEAT_BIN" run "${compare_options[@]}" --
        why=$(compare_difference "$COMPARE_DIR/$name/native" "$results")
        if [[ -n $why ]]; then
            why+=" in run $round; see ${results#"$compare_root"/}"
            break
        fi
    done
    if [[ -z $why ]]; then
        echo "ok - $name [$config]" | tee -a "$COMPARE_DIR/results"
        rm -r "$results"
    else
        echo "not ok - $name [$config] # $why" | tee -a "$COMPARE_DIR/results"
    fi
}

# All runs of a case use the same directory, so they follow each other.
run_case() {
    [[ $# -gt 0 ]] || return 0
    local name=$1 config status
    execute "$name" "$COMPARE_DIR/$name/native"
    status=$(cat "$COMPARE_DIR/$name/native/status")
    if [[ $status != 0 ]]; then
        echo "not ok - $name [native] # exit status $status" | tee -a "$COMPARE_DIR/results"
        return
    fi
    for config in "${COMPARE_CONFIGS[@]}"; do
        run_reheat "$name" "$config"
    done
}

if [[ ${1-} == --list ]]; then
    case_names
    exit 0
fi
compare_configs "$@"
if [[ " $* " != *" -c "* ]]; then
    COMPARE_CONFIGS=(default 'control=sampled,trial=0' control=full)
fi
set -- "${COMPARE_REST[@]}"
while [[ $# -gt 0 ]]; do
    case $1 in
        -n) size=$2; shift 2 ;;
        -r) times=$2; shift 2 ;;
        *) echo "more.sh: unknown argument $1" >&2; exit 2 ;;
    esac
done
COMPARE_SECONDS=$((COMPARE_SECONDS * size))

skipped=0 cases=() programs=()
for name in $(case_names); do
    compare_wanted "$name" || continue
    missing=$(command_missing "$name")
    if [[ -n $missing ]]; then
        echo "skipped - $name # there is no $missing"
        skipped=$((skipped + 1))
        continue
    fi
    cases+=("$name")
    read -r -a words <<<"$(directive "$name" builds)"
    programs+=("${words[@]}")
done
mkdir -p "$BIN"
printf '%s\n' "${programs[@]}" | sort -u | compare_each build_program
(
    clean_environment
    printf '%s\n' "${cases[@]}" | compare_each run_case
)
compare_close "$skipped"
