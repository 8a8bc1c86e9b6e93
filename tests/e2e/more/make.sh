#!/bin/bash
# needs: make gcc
# A small project built in parallel, twice, and a target that fails.
set -euo pipefail
modules=$((4 * SIZE))
for ((i = 0; i < modules; i++)); do
    cat >"m$i.c" <<END
#include <stdio.h>
#include <string.h>
int m$i(int x) { char t[64]; int s = 0;
for (int k = 0; k < x; k++) s += snprintf(t, sizeof t, "%d", k ^ $i); return s; }
END
    echo "int m$i(int);" >>all.h
    echo "s += m$i(2000 + $i);" >>calls.inc
done
cat >main.c <<'END'
#include <stdio.h>
#include "all.h"
int main(void) { int s = 0;
#include "calls.inc"
printf("%d\n", s); }
END
cat >Makefile <<'END'
objects := $(patsubst %.c,%.o,$(sort $(wildcard *.c)))
program: $(objects)
	@$(CC) -o $@ $^
%.o: %.c
	@$(CC) -O1 -g0 -c $< && echo $@ >>order
bad: ; @exit 3
sub: ; @$(MAKE) --no-print-directory program
END
make -s -j2 sub
./program
sort order
rm order
touch -d '+1 minute' m1.c
make -j2 program 2>/dev/null | sort
make bad || echo "status $?"
