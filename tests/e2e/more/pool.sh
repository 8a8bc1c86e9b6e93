#!/bin/bash
# needs: gcc
# builds: pool
# Threads that wait for each other in every way pthreads offers.
set -euo pipefail
for threads in 1 2 7; do
    "$BIN/pool" $threads "$((400 * SIZE))"
done
