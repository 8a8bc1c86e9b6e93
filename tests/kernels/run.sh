#!/bin/bash
# The kernels at their small size, natively and under reheat: same output and exit status.
#
#   tests/kernels/run.sh [-c control=full,hot=2]... [-j JOBS] [-k "NAME..."]
#
# As tests/e2e/run.sh. Without -c: default settings, all fragments kept, a small cache, and control=full.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
compare_title=kernels
# shellcheck source=tests/e2e/compare.sh
source "$here/../e2e/compare.sh"

compare_configs "$@"
if [[ ${#COMPARE_REST[@]} -gt 0 ]]; then
    echo "run.sh: unknown argument ${COMPARE_REST[0]}" >&2
    exit 2
fi
if [[ " $* " != *" -c "* ]]; then
    COMPARE_CONFIGS=(default 'control=sampled,trial=0,hot=2' 'rate=0,cache=64K' 'control=full,hot=2,bailout=0' control=full
        'control=full,hot=2,cache=64K,bailout=0')
fi
list=$("$here/build.sh" "${KERNELS:-$compare_build/kernels}")

# $1: name, $2: program, $3: argument, $4: empty for native, else a configuration.
run_kernel() {
    COMPARE_COMMAND=("$2" "$3")
    if [[ -z ${4-} ]]; then
        compare_native "$1"
    else
        compare_reheat "$1" "$4"
    fi
}

wanted() {
    local name small program
    while IFS=$'\t' read -r name _ small _ program; do
        if compare_wanted "$name"; then
            echo "$name $program $small"
        fi
    done <<<"$list"
}

wanted | compare_each run_kernel
for config in "${COMPARE_CONFIGS[@]}"; do
    wanted | sed "s/\$/ $config/"
done | compare_each run_kernel
compare_close ""
