#!/bin/bash
# needs: gcc
# builds: small_altstack
# No second signal frame on the program's alternate stack. Functions are bound early: binding takes stack, too.
export LD_BIND_NOW=1
exec "$BIN/small_altstack"
