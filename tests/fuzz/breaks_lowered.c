/* Mistakes of the lowering: in its bytes, exits and recipes. */
#include <string.h>

#include "tests/fuzz/breaks.h"
#include "tests/fuzz/world.h"

/* An exit that restores the wrong register's value. */
static void forget_restore(struct lowered *out, uint32_t roll)
{
    for (uint32_t k = 0; k < (uint32_t)out->exit_count; k++) {
        const struct lowered_exit *e = &out->exits[(roll + k) % (uint32_t)out->exit_count];
        if (e->saved) {
            bool general = e->saved & REGS_GENERAL;
            out->bytes[e->restore + (general ? 5 : 6)] ^= general ? 8 : 16; /* mov R, fs:[saved]; movups */
            return;
        }
    }
}

static void forget_saved(struct lowered *out, uint32_t roll)
{
    for (uint32_t k = 0; k < (uint32_t)out->recipe_count; k++) {
        struct recipe *r = &out->recipes[(roll + k) % (uint32_t)out->recipe_count];
        if (r->saved) {
            r->saved &= r->saved - 1;
            return;
        }
    }
}

/* Behind the body, where misses are: goes where another target of the chain would. */
static void wrong_chain(struct lowered *out, uint32_t roll)
{
    for (uint32_t k = 0; k < (uint32_t)out->exit_count; k++) {
        struct lowered_exit *e = &out->exits[(roll + k) % (uint32_t)out->exit_count];
        if (e->branch >= out->body_end && !e->back) {
            e->target += WORLD_PAD_STRIDE; /* the next pad */
            return;
        }
    }
}

/* mov rcx, fs:[spill0] in front of an exit there becomes mov r9. */
static void forget_chain_register(struct lowered *out, uint32_t roll)
{
    static const uint8_t reload[] = {0x64, 0x48, 0x8b, 0x0c, 0x25};
    for (uint32_t k = 0; k < (uint32_t)out->exit_count; k++) {
        const struct lowered_exit *e = &out->exits[(roll + k) % (uint32_t)out->exit_count];
        uint8_t *at = out->bytes + e->branch - 1 - ASM_SLOT_BYTES;
        if (e->branch >= out->body_end && memcmp(at, reload, sizeof reload) == 0) {
            at[1] = 0x4c;
            return;
        }
    }
}

/* Recovery does not know of vector registers. */
static void forget_vectors(struct lowered *out)
{
    for (int i = 0; i < out->recipe_count; i++)
        out->recipes[i].saved &= REGS_GENERAL;
}

void break_lowered(struct lowered *out, const char *name, uint32_t roll)
{
    if (strcmp(name, "wrong-recipe") == 0 && out->recipe_count > 1) {
        int i = 1 + (int)(roll % (uint32_t)(out->recipe_count - 1));
        out->recipes[i].pc = out->recipes[i - 1].pc;
    } else if (strcmp(name, "forget-restore") == 0) {
        forget_restore(out, roll);
    } else if (strcmp(name, "unsaved-recipe") == 0) {
        forget_saved(out, roll);
    } else if (strcmp(name, "wrong-chain") == 0) {
        wrong_chain(out, roll);
    } else if (strcmp(name, "forget-chain-register") == 0) {
        forget_chain_register(out, roll);
    } else if (strcmp(name, "unsaved-vector") == 0) {
        forget_vectors(out);
    }
}
