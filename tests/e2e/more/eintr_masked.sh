#!/bin/bash
# needs: gcc
# builds: eintr
# The same where the program blocks all signals and unblocks them only while it waits.
exec "$BIN/eintr" masked "$((3000 * SIZE))"
