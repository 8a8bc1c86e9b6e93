#!/bin/bash
# needs: gcc
# builds: eintr
# No system call is cut short by our signals.
exec "$BIN/eintr" "$((3000 * SIZE))"
