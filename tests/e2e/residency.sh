#!/bin/bash
# Where samples fall with trial=0, and what the report says of those that are in no fragment: programs of known shape.
#
#   tests/e2e/residency.sh [LIBRARY]
#
# Each check is one line, `ok - NAME` or `not ok - NAME # why`; the last line is `N passed, N failed`. Needs gcc and python3.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
library=${1:-${REHEAT_LIBRARY:-$root/build/libreheat.so}}
work=$(mktemp -d)
passed=0 failed=0
trap 'rm -rf "$work"' EXIT
export LC_ALL=C
unset REHEAT LD_PRELOAD
gcc -std=gnu2x -O2 -o "$work/shapes" "$here/residency/shapes.c" || exit 1

# $1: name, $2: shape, $3: settings, $4: what must hold, in python: share(reason) of the native ones, residency.
check() {
    local name=$1 why
    REHEAT="trial=0,rate=2000,stats=$work/report${3:+,$3}" LD_PRELOAD="$library" "$work/shapes" "$2" >"$work/output"
    why=$(python3 - "$work/report" "$4" <<'END'
import json, sys
r = json.load(open(sys.argv[1]))
s = r["samples"]
why = s["native_why"]
share = lambda *reasons: sum(why.get(x, 0) for x in reasons) / max(1, s["total"])
residency = s["fragment"] / max(1, s["total"])
if s["total"] < 100:
    print("only %d samples" % s["total"])
elif sum(why.values()) != s["native"]:
    print("%d native samples, %d with a reason" % (s["native"], sum(why.values())))
elif not eval(sys.argv[2]):
    print("%s: residency %.3f, %s" % (sys.argv[2], residency, why))
END
    ) || why="no report: $why"
    [[ $(cat "$work/output") == 1 ]] || why="wrong output"
    if [[ -z $why ]]; then
        passed=$((passed + 1))
        echo "ok - $name"
    else
        failed=$((failed + 1))
        echo "not ok - $name # $why"
    fi
}

check "a loop" loop "" 'residency > 0.9'
check "flat code" flat "" 'residency > 0.35 and share("too_short") < 0.1'
check "flat code, too little of it hot" flat hot=1000000 'residency < 0.25 and share("cold", "budget", "unseen") > 0.6'
check "generated code" jit "" 'residency < 0.1 and share("not_file_text") > 0.9'
echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
