#!/bin/bash
# The twelve real programs, natively and under reheat: same output, exit status and files.
#
#   tests/e2e/run.sh [-c control=full,hot=2]... [-j JOBS] [-k "NAME..."]
#
# Without -c: the configurations in compare.sh. -k keeps programs by name.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
compare_title=programs
# shellcheck source=tests/e2e/compare.sh
source "$here/compare.sh"
# shellcheck source=scripts/programs.sh
source "$here/../../scripts/programs.sh"

compare_configs "$@"
if [[ ${#COMPARE_REST[@]} -gt 0 ]]; then
    echo "run.sh: unknown argument ${COMPARE_REST[0]}" >&2
    exit 2
fi
work=${WORK:-$compare_build/work}
"$here/../../scripts/workloads.sh" small "$work"

# $1: name, $2: empty for native, else a configuration.
run_program() {
    local name=$1 config=${2-}
    # A directory of its own, so that the output has the same name in every run.
    local directory=$COMPARE_DIR/$name/files-$config
    if ! programs_load "$name" "$work/small" output; then
        echo "not ok - $name [${config:-native}] # ${PROGRAM_COMMAND[0]} or its input is missing" |
            tee -a "$COMPARE_DIR/results"
        return
    fi
    mkdir -p "$directory"
    cd "$directory"
    COMPARE_STDIN=$PROGRAM_STDIN COMPARE_OUTPUT=$PROGRAM_OUTPUT COMPARE_COMMAND=("${PROGRAM_COMMAND[@]}")
    if [[ -z $config ]]; then
        compare_native "$name"
    else
        compare_reheat "$name" "$config"
    fi
}

wanted() {
    local name
    for name in $(programs_names); do
        if compare_wanted "$name"; then
            echo "$name"
        fi
    done
}

wanted | compare_each run_program
for config in "${COMPARE_CONFIGS[@]}"; do
    wanted | sed "s/\$/ $config/"
done | compare_each run_program
compare_close ""
