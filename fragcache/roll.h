/* Rolling forward: an instruction of a hammock that recovery does in the CPU's place. Moves and sums of registers, by
 * condition or not; nothing that could fail or that anybody else sees. The fields of its recipe:
 *
 *   first = second + stacked * scale + disp     (to = base + index * scale + disp), when cc holds
 *   pc: disp | cc << 32 | scale << 40 | narrow << 48; cc: ROLL_ALWAYS or a condition; scale: signed, -1 takes a sum back */
#ifndef REHEAT_ROLL_H
#define REHEAT_ROLL_H

#include "fragcache/lower.h"
#include "tracer/interp.h"

#define ROLL_ALWAYS 16u

static inline struct recipe roll_recipe(const struct hammock_step *t)
{
    uint64_t cc = t->kind == HAMMOCK_CMOV ? t->cc : ROLL_ALWAYS;
    uint64_t pc = (uint32_t)t->sum.disp | cc << 32 | (uint64_t)t->sum.scale << 40 | (uint64_t)t->sum.narrow << 48;
    return (struct recipe){.pc = pc, .first = t->reg, .second = t->sum.base, .stacked = t->sum.index, .from = PC_ROLL};
}

/* first += index * sign + disp; R_NONE: no index. What was done is taken back so. */
static inline struct recipe roll_back_recipe(unsigned reg, unsigned index, int sign, int32_t disp)
{
    uint64_t pc = (uint32_t)disp | (uint64_t)ROLL_ALWAYS << 32 | (uint64_t)(uint8_t)sign << 40;
    return (struct recipe){
        .pc = pc, .first = (uint8_t)reg, .second = (uint8_t)reg, .stacked = (uint8_t)index, .from = PC_ROLL};
}

static inline void roll_forward(uint64_t gpr[16], uint64_t rflags, const struct recipe *r)
{
    unsigned cc = r->pc >> 32 & 0xff;
    uint64_t v = (uint64_t)(int64_t)(int32_t)(uint32_t)r->pc;
    if (r->second < R_NONE)
        v += gpr[r->second];
    if (r->stacked < R_NONE)
        v += gpr[r->stacked] * (uint64_t)(int64_t)(int8_t)(uint8_t)(r->pc >> 40);
    if (cc == ROLL_ALWAYS || interp_condition(cc, rflags))
        gpr[r->first] = r->pc >> 48 & 1 ? (uint32_t)v : v;
}

#endif
