#!/bin/bash
# Scripted failures: with the Nth call of a primitive failing, a program's output and status stay what they are, and
# where something was refused for good the report says so.
#
#   tests/e2e/faults.sh [-s "SECTION..."] [-c CONTROL]... [-p "PRIMITIVE..."] [-n "N..."] [-k "NAME..."] [-j JOBS]
#
# Sections; all by default:
#   calls      each primitive of the option `fail` (-p), for some of its calls (-n), under some settings (-c)
#   samplers   the sources of CPU samples: as another user, with perf refused, under system call filters
#   ways       the ways of writing code, on all cases and two programs
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
compare_title=faults
COMPARE_SECONDS=${COMPARE_SECONDS:-30}
# shellcheck source=tests/e2e/compare.sh
source "$here/compare.sh"
export LC_ALL=C

primitives=(mmap munmap mprotect mremap open open_mem code_write membarrier perf_event_open timer_create timer_settime
    rt_sigaction)
counts=(1 2 3 5 10 50 1+)
programs=(bzip2 lua threads)
BIN=$compare_build/e2e/faults-bin
input=$BIN/input

build_all() {
    mkdir -p "$BIN"
    gcc -std=gnu2x -O2 -pthread -o "$BIN/threads_dlclose" "$here/faults/threads_dlclose.c"
    gcc -std=gnu2x -O2 -o "$BIN/refuse" "$here/faults/refuse.c"
    (cd "$compare_root" && gcc -std=gnu2x -O1 -DREHEAT_HOSTED -I. -o "$BIN/rates" tests/e2e/faults/rates.c \
        runtime/sampler.c runtime/base/fail.c runtime/base/mem.c)
    g++ -O2 -o "$BIN/virtual" "$here/../kernels/virtual.cc"
    gcc -std=gnu2x -O2 -fPIC -shared -o "$BIN/libplug_a.so" "$here/src/lib/plug_a.c"
    gcc -std=gnu2x -O2 -fPIC -shared -o "$BIN/libplug_b.so" "$here/src/lib/plug_b.c"
    # Text that compresses: the same on every machine.
    awk 'BEGIN { for (i = 0; i < 90000; i++) { x = (x * 69069 + 12345) % 65536; print x % 997, i * 7 % 1013, "word" x % 31 } }' >"$input"
}

# Sets COMPARE_COMMAND to that of program $1.
command_of() {
    COMPARE_STDIN=/dev/null
    case $1 in
        bzip2) COMPARE_STDIN=$input COMPARE_COMMAND=(bzip2 -9 -c) ;;
        lua) COMPARE_COMMAND=(lua5.4 -e 'local t, s = {}, 0
            for i = 1, 3000000 do local k = i % 1009; t[k] = (t[k] or 0) + i; s = s ~ (t[k] * 31) end
            print(s, #string.rep("x", 1000):gsub("x", "yz"))') ;;
        virtual) COMPARE_COMMAND=("$BIN/virtual" 350) ;;
        threads) COMPARE_COMMAND=("$BIN/threads_dlclose" apart "$BIN/libplug_a.so" "$BIN/libplug_b.so") ;;
        together | across) COMPARE_COMMAND=("$BIN/threads_dlclose" "$1" "$BIN/libplug_a.so" "$BIN/libplug_b.so") ;;
    esac
}

run_native() {
    command_of "$1"
    compare_native "$1"
}

# True when the report $1 has a line that matches $2.
report_has() { grep -qE "$2" "$1"; }

# What a report must show, for a failure that lasts. Nothing: the runtime can do without it.
expected_of() {
    local config=$1 failure=${1##*fail=}
    case $failure in
        mmap@1+) echo '"happened": true' ;;
        rt_sigaction@1+ | timer_create@1+ | timer_settime@1+)
            if [[ $config == control=sampled* ]]; then
                echo '"reason": "no_sampling"'
            fi
            ;;
        code_write@1+ | mremap@1+) echo '"code_write"' ;;
        open_mem@1+) echo '"write": "page"' ;;
        perf_event_open@1+) echo '"sampler_reason": "perf_refused"' ;;
    esac
}

# Prints what is wrong with the report of a run under $2, or nothing.
report_wrong() {
    local report=$1 config=$2 failure=${2##*fail=} expected
    if [[ ! -s $report ]]; then
        # The report's own file may be the one that was not to be opened.
        [[ $failure == open@* ]] || echo "no report"
        return
    fi
    [[ $config == *fail=* ]] || return 0
    report_has "$report" '"faults": 0' && return
    expected=$(expected_of "$config")
    if [[ -n $expected ]] && ! report_has "$report" "$expected"; then
        echo "the report does not show $expected"
    fi
}

# $1: program, $2: configuration, then what the report must match, separated by ";", and a command to put before `reheat run`.
run_fault() {
    local program=$1 config=$2 expected=() results why label fired one
    IFS=';' read -r -a expected <<<"${3-}"
    shift $(($# < 3 ? $# : 3))
    command_of "$program"
    label=$config${1:+ under ${1##*/} ${2-} ${3-}}
    results=$COMPARE_DIR/$program/$label
    results=${results//[ ,]/_}
    compare_split "$config"
    COMPARE_COMMAND=("$@" "$REHEAT_BIN" run "${compare_options[@]}" -o "stats=$results/report.json" -- "${COMPARE_COMMAND[@]}")
    mkdir -p "$results"
    chmod 777 "$results"
    compare_execute "$results"
    why=$(compare_difference "$COMPARE_DIR/$program/native" "$results")
    [[ -n $why ]] || why=$(report_wrong "$results/report.json" "$config")
    for one in ${expected[@]+"${expected[@]}"}; do
        [[ -n $why ]] || report_has "$results/report.json" "$one" || why="the report does not show $one"
    done
    if [[ -z $why ]]; then
        fired=$(grep -oE '"faults": [0-9]+' "$results/report.json" 2>/dev/null || true)
        echo "ok - $program [$label]${fired:+ # $fired}" | tee -a "$COMPARE_DIR/results"
        rm -r "$results"
    else
        echo "not ok - $program [$label] # $why; see ${results#"$compare_root"/}" | tee -a "$COMPARE_DIR/results"
    fi
}

controls=()
sections=(calls samplers ways)
rest=()
while [[ $# -gt 0 ]]; do
    case $1 in
        -s) read -r -a sections <<<"$2"; shift 2 ;;
        -c) controls+=("$2"); shift 2 ;;
        -p) read -r -a primitives <<<"$2"; shift 2 ;;
        -n) read -r -a counts <<<"$2"; shift 2 ;;
        *) rest+=("$1"); shift ;;
    esac
done
[[ ${#controls[@]} -gt 0 ]] || controls=('control=sampled,trial=0' 'control=sampled,trial=1' control=full)
compare_configs -c none ${rest[@]+"${rest[@]}"}

each_program() {
    local program
    for program in "${programs[@]}"; do
        if compare_wanted "$program"; then
            echo "$program${*:+ $*}"
        fi
    done
}

# A primitive that no run ever called was not tested.
check_fired() {
    local primitive=$1
    # Without a report, it was the report that could not be opened.
    if grep -qE "fail=$primitive@(.*\"faults\": [1-9]|[0-9+]*]\$)|not ok .*fail=$primitive@" "$COMPARE_DIR/results"; then
        echo "ok - $primitive was called"
    else
        echo "not ok - $primitive was called # no run made such a call"
    fi | tee -a "$COMPARE_DIR/results"
}

section_calls() {
    local control primitive n way
    for control in "${controls[@]}"; do
        printf '%s\n' "together $control" "across $control"
        for primitive in ${primitives[@]+"${primitives[@]}"}; do
            # Pages are moved only where code is written that way.
            way=
            [[ $primitive != mremap ]] || way=write=page,
            for n in "${counts[@]}"; do
                each_program "$control,${way}fail=$primitive@$n"
            done
        done
    done | compare_each run_fault
    for primitive in ${primitives[@]+"${primitives[@]}"}; do
        check_fired "$primitive"
    done
}

# The sampler by itself: $1 "" or a failure.
check_rates() {
    local why status=0
    why=$("$BIN/rates" "$@") || status=$?
    if [[ $status -eq 0 ]]; then
        echo "ok - rates${1:+ [$1]}"
    else
        echo "not ok - rates${1:+ [$1]} # $why"
    fi | tee -a "$COMPARE_DIR/results"
}

section_samplers() {
    local nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups) control perf=0 other
    "$BIN/rates" >/dev/null || perf=$?
    check_rates perf_event_open@1+
    check_rates mmap@1+
    [[ $perf -eq 3 ]] || check_rates
    for control in 'control=sampled,trial=0' control=full; do
        # Without perf there are the signals of control=sampled.
        [[ $control == control=full ]] && other='"sampler": "none"' || other='"sampler": "timer"'
        if [[ $perf -eq 3 ]]; then
            run_fault lua "$control" "$other;"'"sampler_reason": "perf_(refused|filter)"'
            continue
        fi
        run_fault lua "$control" '"sampler": "perf_(hw|clock)"'
        run_fault lua "$control,rate=0" "$other;"'"sampler_reason": "perf_off"'
        run_fault lua "$control,fail=perf_event_open@1+" "$other;"'"sampler_reason": "perf_refused"'
        run_fault lua "$control" "$other;"'"sampler_reason": "perf_filter"' "$BIN/refuse" perf_event_open errno
        run_fault lua "$control" "$other;"'"sampler_reason": "perf_filter"' "$BIN/refuse" perf_event_open kill
        run_fault bzip2 "$control" '' "$BIN/refuse" membarrier errno
        run_fault bzip2 "$control,write=page" '' "$BIN/refuse" mremap errno
        [[ $control == control=full ]] && other='"happened": false' || other='"reason": "no_sampling";"sampler": "none"'
        run_fault bzip2 "$control" "$other" "$BIN/refuse" timer_create errno
        # Up to perf_event_paranoid 2 everybody may sample himself; 3 is Debian's, 4 Ubuntu's.
        if [[ $(id -u) -ne 0 || ! -x $(command -v setpriv) ]] || ! "${nobody[@]}" test -x "$REHEAT_BIN"; then
            continue # not root, or in a directory that only root may enter
        fi
        if [[ $(cat /proc/sys/kernel/perf_event_paranoid) -le 2 ]]; then
            run_fault lua "$control" '"sampler": "perf_(hw|clock)"' "${nobody[@]}"
        else
            run_fault lua "$control" '"sampler_reason": "perf_refused"' "${nobody[@]}"
        fi
    done
    # What is found is tried, whatever the samples come from.
    if [[ $perf -ne 3 ]]; then
        run_fault virtual control=sampled '"sampler": "perf_hw"|"sampler_reason": "perf_cost";"phase": "trial"|"trials": .*: [1-9]'
    fi
    run_fault virtual 'control=sampled,fail=perf_event_open@1+' '"sampler": "timer";"sampler_rate": 0;"phase": "trial"|"trials": .*: [1-9]'
    run_fault virtual 'control=sampled,rate=0' '"sampler_reason": "perf_off";"phase": "trial"|"trials": .*: [1-9]'
}

section_ways() {
    local way control configs=()
    for control in "${controls[@]}"; do
        for way in mem page; do
            run_fault bzip2 "$control,write=$way" "\"write\": \"$way\""
            run_fault lua "$control,write=$way" "\"write\": \"$way\""
        done
    done
    configs=(-c 'control=sampled,write=page' -c 'control=full,hot=2,bailout=0,write=page' -c 'control=full,hot=2,write=mem')
    COMPARE_DIR=$COMPARE_DIR/cases "$here/cases.sh" -j "$COMPARE_JOBS" "${configs[@]}" |
        grep -E '^(not )?ok' | tee -a "$COMPARE_DIR/results" || true
}

build_all
chmod 777 "$COMPARE_DIR" # for runs as another user
printf '%s\n' "${programs[@]}" together across virtual | compare_each run_native
chmod 777 "$COMPARE_DIR"/*
for section in "${sections[@]}"; do
    "section_$section"
done
compare_close ""
