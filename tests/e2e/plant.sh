#!/bin/bash
# Planted faults: fragments made slower, or faster, than the code they replace (plant=), and what their trials find.
#
#   tests/e2e/plant.sh [-n N] [-k "SHAPE..."] [-s SECONDS] [-q]
#
#   -n N   N runs with slower fragments and N with faster ones, by 5, 8, 15 and 30 percent in turn. How much work that
#          takes is measured first, for each shape of tests/e2e/plant/shapes.c; it stays in build/plant/calibration.
#   -q     six runs of each kind with large differences; half a minute.
#   -s     CPU seconds that a run may take (8; 5 with -q).
#
# A run of a slower fragment is right when nothing is kept (with -q: when it is found slower), one of a faster fragment when
# something is. One line a run: the least slowdown asked for (permille), the one that was measured without a trial, the
# verdict, its trial's CPU time; at the end counts and times. The exit status is 1 when more than 5 of 200 slower ones were
# kept, or more than 10 of 200 faster ones were not. Logs of wrong runs stay in build/plant. One process runs at a time.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
library=${REHEAT_LIBRARY:-$root/build/libreheat.so}
out=$root/build/plant
shapes=(tight stream rows-short rows-long calls chase flat phases)
targets=(50 80 150 300) # permille
runs=20 seconds=8 quick=0
export LC_ALL=C
unset REHEAT LD_PRELOAD

while getopts n:k:s:q option; do
    case $option in
        n) runs=$OPTARG ;;
        k) read -r -a shapes <<<"$OPTARG" ;;
        s) seconds=$OPTARG ;;
        q) quick=1 runs=6 seconds=5 shapes=(tight rows-short rows-long) ;;
        *) exit 2 ;;
    esac
done
mkdir -p "$out"
gcc -std=gnu2x -O2 -o "$out/shapes" "$here/plant/shapes.c" || exit 1
settings=control=sampled,passes=none,unroll=1

# --- how much to plant

# Microseconds of shape $1 with settings $2, none: natively; the least of three.
measure() {
    local least=0 us
    for _ in 1 2 3; do
        us=$(env ${2:+REHEAT="$2" LD_PRELOAD="$library"} "$out/shapes" "$1" 8000 2>&1 >/dev/null)
        if [[ $least -eq 0 || $us -lt $least ]]; then least=$us; fi
    done
    echo "$least"
}

measure_planted() { measure "$1" "$settings,trial=0${2:+,plant=slow:all:$2}"; }

# Prints "SHAPE KIND TARGET UNITS PERMILLE" for each target: slow against the native time, fast against a fragment's. The time
# is level until the planted work is the longest chain of a pass, and a straight line from there on.
calibrate_shape() {
    local shape=$1 native fragment units=32 t t2 slope base target n got try kind
    native=$(measure "$shape")
    fragment=$(measure_planted "$shape")
    t=$(measure_planted "$shape" $units)
    while [[ $t -lt $((fragment * 16 / 10)) && $units -lt 1024 ]]; do
        units=$((units * 2))
        t=$(measure_planted "$shape" $units)
    done
    t2=$(measure_planted "$shape" $((units * 3 / 2)))
    slope=$(((t2 - t) * 1000 / (units / 2))) # nanoseconds for each unit
    for kind in slow fast; do
        base=$native
        if [[ $kind == fast ]]; then base=$fragment; fi
        for target in "${targets[@]}"; do
            n=$((units - (t - base - base * target / 1000) * 1000 / slope))
            for try in 1 2 3 4; do
                n=$((n < 1 ? 1 : n))
                got=$((($(measure_planted "$shape" $n) - base) * 1000 / base))
                if [[ $got -ge $((target - 5)) || $try -eq 4 ]]; then break; fi
                n=$((n + 1 + (target - got) * base / slope))
            done
            echo "$shape $kind $target $n $got"
        done
    done
}

calibrate() {
    local shape
    touch "$out/calibration"
    for shape in "${shapes[@]}"; do
        grep -q "^$shape " "$out/calibration" || calibrate_shape "$shape" >>"$out/calibration"
    done
}

# --- one run

# Nothing is left to be judged of what log $1 tells about: something was kept, or all fragments were tried by themselves.
judged() {
    awk '/: kept,/ { kept = 1 } /: fragment [0-9]/ { made++ }
        / trial of 1 fragments from/ { tried++ }
        END { exit !(kept || (made && tried >= made)) }' "$1"
}

# The verdict that log $1 ends with, and the CPU milliseconds and blocks of its trial.
verdict_of() {
    awk '/: kept,/ { if (!kept) say($0, "kept"); kept = 1 }
        /% of the samples: / && !kept { split($0, v, /% of the samples: |,/); for (i in v) if (v[i] ~ /^(slower|neutral)$/) word = v[i]
            if (/without a clock/) word = "unsteady-clock"
            if (word != "neutral" || !said) { say($0, word); said = 1 } }
        /no trial of/ && !kept && !said { verdict = "no-trial"; ms = 0; blocks = 0 }
        /: fragment / { made = 1 }
        function say(line, w) { verdict = w; match(line, /[0-9]+ blocks/); blocks = substr(line, RSTART) + 0
            match(line, /[0-9]+ ms/); ms = substr(line, RSTART) + 0
            if (line ~ /iterations counted/) counted = "-counted" }
        END { print (verdict ? verdict counted : made ? "undecided" : "no-fragment"), ms + 0, blocks + 0 }' "$1"
}

# $1: slow or fast, $2: shape, $3: units. Leaves the log in $log.
log=$out/log
run() {
    local pid
    : >"$log"
    REHEAT=$settings,log=$log,verbose=1,plant=$1:all:$3 LD_PRELOAD=$library \
        "$out/shapes" "$2" $((seconds * 20000)) >/dev/null 2>&1 &
    pid=$!
    while [[ -d /proc/$pid && $(awk '{ print $3 }' "/proc/$pid/stat" 2>/dev/null) != Z ]]; do
        sleep 0.1
        if judged "$log"; then kill "$pid" 2>/dev/null; fi
    done
    wait "$pid" 2>/dev/null
}

# --- all

if [[ $quick -eq 0 ]]; then calibrate; fi
: >"$out/results"
for ((i = 0; i < runs; i++)); do
    for kind in slow fast; do
        shape=${shapes[i % ${#shapes[@]}]}
        target=${targets[i / ${#shapes[@]} % ${#targets[@]}]}
        units=120 got=large
        if [[ $quick -eq 0 ]]; then
            read -r units got < <(awk -v s="$shape" -v k="$kind" -v t="$target" '$1 == s && $2 == k && $3 == t { print $4, $5 }' "$out/calibration")
        fi
        run "$kind" "$shape" "$units"
        read -r verdict ms blocks < <(verdict_of "$log")
        right=yes
        if [[ ($kind == slow && $verdict == kept*) || ($kind == fast && $verdict != kept*) ||
            ($quick -eq 1 && $kind == slow && $verdict != slower*) ]]; then
            right=NO
            cp "$log" "$out/wrong-$kind-$shape-$target-$i.log"
        fi
        echo "$kind $shape $target units=$units measured=$got $verdict $ms ms $blocks blocks right=$right" | tee -a "$out/results"
    done
done

# Median and 90th percentile of the milliseconds of verdicts that match $2 in runs of kind $1.
times_of() {
    awk -v k="$1" -v w="$2" '$1 == k && $6 ~ w { print $7 }' "$out/results" | sort -n |
        awk '{ v[NR] = $1 } END { if (NR) printf "median %d, p90 %d CPU ms\n", v[int((NR + 1) / 2)], v[int(NR * 0.9 + 0.5)]; else print "none" }'
}

count_of() { awk -v k="$1" -v r="$2" '$1 == k && $NF == "right=" r' "$out/results" | wc -l; }

for kind in slow fast; do
    echo "# $kind: $(awk -v k=$kind '$1 == k { n[$6]++ } END { for (v in n) printf "%s %d  ", v, n[v] }' "$out/results")"
done
echo "# time to the verdict: slow, slower: $(times_of slow '^slower'); fast, kept: $(times_of fast '^kept')"
slow_wrong=$(count_of slow NO) fast_wrong=$(count_of fast NO)
echo "# slow: $((runs - slow_wrong)) of $runs retired; fast: $((runs - fast_wrong)) of $runs kept"
if [[ $quick -eq 1 ]]; then
    awk '{ print ($NF == "right=yes" ? "ok - " : "not ok - ") "planted " $1 " " $2 ": " $6 }' "$out/results"
    echo "$((2 * runs - slow_wrong - fast_wrong)) passed, $((slow_wrong + fast_wrong)) failed"
    [[ $((slow_wrong + fast_wrong)) -eq 0 ]]
    exit
fi
[[ $((slow_wrong * 200)) -le $((5 * runs)) && $((fast_wrong * 200)) -le $((10 * runs)) ]]
