/* Encoding of a form with chosen operands. */
#ifndef REHEAT_FUZZ_ENCODE_H
#define REHEAT_FUZZ_ENCODE_H

#include <stdbool.h>

#include "tests/fuzz/forms.h"
#include "tests/fuzz/program.h"

struct operands {
    unsigned size;   /* bytes: 1, 2, 4, 8 */
    bool lock, wide; /* wide: 256 bits */
    bool high;       /* byte registers 4 to 7 are ah, ch, dh, bh: no REX prefix */
    unsigned reg, vvvv, cc;
    bool is_mem, rip;
    unsigned rm;           /* a register, or the base */
    unsigned index, scale; /* R_NONE without; scale as a power of two */
    int32_t disp;          /* rip: offset in the constants */
    uint64_t imm;
};

/* False when it cannot be expressed: ah and its kin together with registers that need a REX prefix. */
bool encode_form(const struct form *f, const struct operands *o, struct item *out);

#endif
