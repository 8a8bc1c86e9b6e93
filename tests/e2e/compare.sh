# shellcheck shell=bash
# How the end-to-end tests run a command natively and under reheat and compare the two. Sourced.
#
#   compare_configs ARGS...     takes -c CONFIG, -j JOBS, -k WORDS out of ARGS; the rest is left in COMPARE_REST
#   compare_native NAME         runs COMPARE_COMMAND natively; its results become the reference
#   compare_reheat NAME CONFIG  runs it under reheat and prints one TAP line
#   compare_each FUNCTION       calls FUNCTION for each line on stdin (words are its arguments), JOBS at a time
#   compare_close SKIPPED       prints the closing line (SKIPPED: a number or empty); fails when a test failed or none ran
#
# A run is: standard input from COMPARE_STDIN, in COMPARE_SECONDS at most; standard output, standard error, exit
# status and the file COMPARE_OUTPUT (empty: none) are compared. REHEAT_BIN is the reheat program,
# COMPARE_DIR where results go; what is built or left goes below BUILD. The configuration "default" has no settings.
# Set before sourcing: compare_title.

compare_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
compare_build=$(realpath -m "${BUILD:-$compare_root/build}")
REHEAT_BIN=${REHEAT_BIN:-$compare_build/reheat}
COMPARE_DIR=${COMPARE_DIR:-$compare_build/e2e/${compare_title:?}}
COMPARE_SECONDS=${COMPARE_SECONDS:-150}
COMPARE_STDIN=/dev/null
COMPARE_OUTPUT=
COMPARE_COMMAND=()
COMPARE_JOBS=2
COMPARE_CONFIGS=()
COMPARE_KEEP=
COMPARE_REST=()

ulimit -c 0

compare_configs() {
    while [[ $# -gt 0 ]]; do
        case $1 in
            -c) COMPARE_CONFIGS+=("$2"); shift 2 ;;
            -j) COMPARE_JOBS=$2; shift 2 ;;
            -k) COMPARE_KEEP=$2; shift 2 ;;
            *) COMPARE_REST+=("$1"); shift ;;
        esac
    done
    [[ ${#COMPARE_CONFIGS[@]} -gt 0 ]] ||
        COMPARE_CONFIGS=(default 'control=sampled,trial=0,hot=2' 'control=full,hot=2' control=full 'control=full,hot=2,cache=64K')
    if [[ ! -x $REHEAT_BIN ]]; then
        echo "$REHEAT_BIN is not there; run make, or set REHEAT_BIN" >&2
        exit 2
    fi
    rm -rf "$COMPARE_DIR"
    mkdir -p "$COMPARE_DIR"
}

# True when no -k was given or one of its words is part of $1.
compare_wanted() {
    local word
    [[ -n $COMPARE_KEEP ]] || return 0
    for word in $COMPARE_KEEP; do
        [[ $1 == *"$word"* ]] && return 0
    done
    return 1
}

# $1: directory for the results, then a command to put in front.
compare_execute() {
    local results=$1 status=0
    shift
    mkdir -p "$results"
    [[ -z $COMPARE_OUTPUT ]] || rm -f "$COMPARE_OUTPUT"
    # The outer redirection drops bash's own "Segmentation fault" notice.
    {
        timeout -k 2 "$COMPARE_SECONDS" "$@" "${COMPARE_COMMAND[@]}" \
            <"$COMPARE_STDIN" >"$results/stdout" 2>"$results/stderr" || status=$?
    } 2>/dev/null
    echo "$status" >"$results/status"
    if [[ -n $COMPARE_OUTPUT && -e $COMPARE_OUTPUT ]]; then
        mv "$COMPARE_OUTPUT" "$results/output"
    fi
}

compare_native() {
    compare_execute "$COMPARE_DIR/$1/native"
    if [[ $(cat "$COMPARE_DIR/$1/native/status") == 124 ]]; then
        echo "not ok - $1 [native] # needs more than $COMPARE_SECONDS s" | tee -a "$COMPARE_DIR/results"
    fi
}

# "-o key=value" for each comma-separated part of $1, in the array compare_options; none for "default".
compare_split() {
    local part parts
    compare_options=()
    [[ $1 != default ]] || return 0
    IFS=, read -r -a parts <<<"$1"
    for part in "${parts[@]}"; do
        compare_options+=(-o "$part")
    done
}

# Prints why $2 differs from $1, or nothing.
compare_difference() {
    local native=$1 reheat=$2 what
    if ! cmp -s "$native/status" "$reheat/status"; then
        if [[ $(cat "$reheat/status") == 124 ]]; then
            echo "no end after $COMPARE_SECONDS s"
        else
            echo "exit status $(cat "$reheat/status"), native $(cat "$native/status")"
        fi
        return
    fi
    if [[ -n $COMPARE_OUTPUT && ! -e $native/output ]]; then
        echo "the native run left no $COMPARE_OUTPUT"
        return
    fi
    for what in stdout stderr output; do
        [[ -e $native/$what || -e $reheat/$what ]] || continue
        cmp -s "$native/$what" "$reheat/$what" || { echo "$what differs"; return; }
    done
}

compare_reheat() {
    local name=$1 config=$2 results why
    results=$COMPARE_DIR/$name/$config
    compare_split "$config"
    compare_execute "$results" "$REHEAT_BIN" run "${compare_options[@]}" --
    why=$(compare_difference "$COMPARE_DIR/$name/native" "$results")
    if [[ -z $why ]]; then
        echo "ok - $name [$config]" | tee -a "$COMPARE_DIR/results"
        rm -r "$results"
    else
        echo "not ok - $name [$config] # $why; see ${results#"$compare_root"/}" | tee -a "$COMPARE_DIR/results"
    fi
}

compare_each() {
    local function=$1 words
    while read -r -a words; do
        while [[ $(jobs -pr | wc -l) -ge $COMPARE_JOBS ]]; do
            wait -n || true
        done
        "$function" "${words[@]}" </dev/null &
    done
    wait
}

compare_close() {
    local passed failed
    touch "$COMPARE_DIR/results"
    passed=$(grep -c '^ok' "$COMPARE_DIR/results" || true)
    failed=$(grep -c '^not ok' "$COMPARE_DIR/results" || true)
    echo "$passed passed, $failed failed${1:+, $1 skipped}"
    [[ $failed -eq 0 && $passed -gt 0 ]]
}
