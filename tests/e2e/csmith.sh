#!/bin/bash
# Random C programs from csmith, natively and under reheat, compiled -O0, -O2 and -O3 -march=native.
#
#   tests/e2e/csmith.sh [-n COUNT] [-s FIRST_SEED] [-c control=full,hot=1]... [-j JOBS]
#
# COUNT programs (default 50) with consecutive seeds. They are over before a CPU sample comes, so only control=full
# (-c; default control=full,hot=2,bailout=0) reaches them. One that needs more than 2 s natively is skipped and counted.
# What fails keeps its source under build/e2e/csmith; csmith.sh -n 1 -s SEED runs it again.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
compare_title=csmith
# shellcheck source=tests/e2e/compare.sh
source "$here/compare.sh"

levels=('-O0' '-O2' '-O3 -march=native')
native_seconds=2

[[ " $* " == *" -c "* ]] || set -- -c control=full,hot=2,bailout=0 "$@"
compare_configs "$@"
count=50 first=1
set -- "${COMPARE_REST[@]}"
while [[ $# -gt 0 ]]; do
    case $1 in
        -n) count=$2; shift 2 ;;
        -s) first=$2; shift 2 ;;
        *)
            echo "csmith.sh: unknown argument $1" >&2
            exit 2
            ;;
    esac
done
include=/usr/include/csmith

# $1: seed
run_seed() {
    local seed=$1 level name source=$COMPARE_DIR/$1.c config failed=false
    if ! csmith --seed "$seed" --output "$source" >/dev/null; then
        echo "not ok - csmith $seed # csmith failed" | tee -a "$COMPARE_DIR/results"
        return
    fi
    for level in "${levels[@]}"; do
        name=$seed${level// /}
        COMPARE_COMMAND=("$COMPARE_DIR/$name.program")
        # shellcheck disable=SC2086 # a level is several words
        if ! gcc $level -w -I "$include" -o "${COMPARE_COMMAND[0]}" "$source" 2>"$COMPARE_DIR/$name.log"; then
            echo "not ok - csmith $name # does not compile" | tee -a "$COMPARE_DIR/results"
            continue
        fi
        rm "$COMPARE_DIR/$name.log"
        COMPARE_SECONDS=$native_seconds compare_execute "$COMPARE_DIR/$name/native"
        if [[ $(cat "$COMPARE_DIR/$name/native/status") == 124 ]]; then
            echo "skipped - csmith $name # needs more than $native_seconds s natively" >>"$COMPARE_DIR/results"
            rm -r "${COMPARE_DIR:?}/$name" "${COMPARE_COMMAND[0]}"
            continue
        fi
        for config in "${COMPARE_CONFIGS[@]}"; do
            compare_reheat "$name" "$config"
            [[ ! -e $COMPARE_DIR/$name/$config ]] || failed=true
        done
        if ! $failed; then
            rm -r "${COMPARE_DIR:?}/$name" "${COMPARE_COMMAND[0]}"
        fi
    done
    $failed || rm "$source"
}

seq "$first" $((first + count - 1)) | compare_each run_seed
touch "$COMPARE_DIR/results"
compare_close "$(grep -c '^skipped' "$COMPARE_DIR/results" || true)"
