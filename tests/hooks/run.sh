#!/bin/bash
# Hooks under load: threads running through sites that are hooked and unhooked, and random instructions of real binaries.
#
#   tests/hooks/run.sh [--cycles N] [--sites N] [--seed S] [--only NAME]     default: 20000 cycles, 20000 sites
#
# BUILD: where to build (build). The last line is "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${BUILD:-build}/hooks
cycles=20000 sites=20000 rest=()
while [[ $# -gt 0 ]]; do
    case $1 in
        --cycles) cycles=$2 ;;
        --sites) sites=$2 ;;
        --seed | --only) rest+=("$1" "$2") ;;
        *)
            echo "usage: $0 [--cycles N] [--sites N] [--seed S] [--only NAME]" >&2
            exit 2
            ;;
    esac
    shift 2
done

mkdir -p "$out"
flags=(-std=gnu2x -O2 -g -Wall -Wextra -Wshadow -Wconversion -Werror -I. -D_GNU_SOURCE -DREHEAT_HOSTED
    -fno-strict-aliasing -fcf-protection=none)
freestanding=(-ffreestanding -mgeneral-regs-only -fno-tree-loop-distribute-patterns) # calls nothing of a hooked libc
for source in runtime/base/{codemem,codewrite,fail,maps,mem}.c tracer/{asm,asm_copy}.c fragcache/{hook,landing,poke,pun,site}.c; do
    ${CC:-gcc} "${flags[@]}" "${freestanding[@]}" -c -o "$out/$(basename "$source" .c).o" "$source"
done
${CC:-gcc} "${flags[@]}" -o "$out/hook_stress" tests/hooks/hook_stress.c tracer/decode.c "$out"/*.o -lZydis -lpthread
${CC:-gcc} -shared -nostdlib -DSITES -Wl,-z,now -o "$out/sites.so" tests/hooks/hook_stress.c
"$out/hook_stress" --cycles "$cycles" --sites "$sites" "${rest[@]}" "$out/sites.so"
