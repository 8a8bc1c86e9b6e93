/* What every unit test includes: cmocka with what it wants before it, and the few helpers all of them use. */
#ifndef REHEAT_UNIT_H
#define REHEAT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/rc.h"
#include "runtime/base/types.h"

#define assert_ok(e) assert_int_equal((int)(e), RC_OK)
#define assert_rc(e, expected) assert_int_equal((int)(e), expected)

struct insn;

/* Bytes from text like "48 89 c8"; returns how many. */
size_t unit_bytes(const char *hex, uint8_t *out, size_t cap);
/* Decodes the first instruction of `hex` as if it lay at `pc`. */
struct insn unit_decode(const char *hex, uint64_t pc);
struct insn unit_decode_bytes(const uint8_t *bytes, size_t len, uint64_t pc);
/* All facts that are not at their neutral value, as one line. */
const char *unit_describe(const struct insn *in);

#endif
