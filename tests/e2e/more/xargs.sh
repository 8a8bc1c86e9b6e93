#!/bin/bash
# needs: xargs find
# Parallel children of one parent, many arguments, and statuses passed on.
# shellcheck disable=SC2016 # the inner shells expand them
set -euo pipefail
seq "$((40 * SIZE))" | xargs -P2 -I% sh -c 'echo $((% * %))' | sort -n | sha256sum
seq 20000 | xargs -n 500 echo | sha256sum
seq 4 | xargs -P2 -n1 sh -c 'exit $(($1 - 1))' - || echo "status $?"
seq 3 | xargs -n1 sh -c 'kill -9 $$' 2>&1 || echo "status $?"
find /usr/share/perl/ -name '*.pm' -print0 | sort -z | sed -z -n "1,$((30 * SIZE))p" | xargs -0 -P2 -n4 sha256sum | sort -k2 | sha256sum
find /usr/share/perl/ -name '*.pm' -exec wc -c {} + | sort -n | tail -n 2
timeout 0.05 sleep 5 || echo "status $?"
