#include "tests/fuzz/breaks_recipe.h"

#include <string.h>

#include "fragcache/roll.h"

/* The instruction before. */
static bool stale_pc(struct recipe *r, const struct recipe *before)
{
    bool other = before && r->from == PC_KNOWN && before->from == PC_KNOWN && before->pc != r->pc;
    r->pc = other ? before->pc : r->pc;
    return other;
}

/* Not yet, or no longer, in the slot. */
static bool lose_spill(struct recipe *r, const struct recipe *before)
{
    (void)before;
    bool had = r->first != R_NONE && r->from != PC_ROLL;
    if (!had)
        return false;
    r->first = R_NONE;
    return had;
}

static bool lose_second_spill(struct recipe *r, const struct recipe *before)
{
    (void)before;
    bool had = r->second != R_NONE && r->from != PC_ROLL;
    if (!had)
        return false;
    r->second = R_NONE;
    return had;
}

static bool spill_too_long(struct recipe *r, const struct recipe *before)
{
    bool ends = before && before->from != PC_ROLL && before->first != R_NONE && r->first == R_NONE && r->from == PC_KNOWN;
    r->first = ends ? before->first : r->first;
    return ends;
}

static bool lose_branch(struct recipe *r, const struct recipe *before)
{
    bool had = before && r->from == PC_RDX;
    r->from = had ? PC_KNOWN : r->from;
    return had;
}

/* A conditional move, done whatever the condition. */
static bool roll_always(struct recipe *r, const struct recipe *before)
{
    bool had = r->from == PC_ROLL && (r->pc >> 32 & 0xff) != ROLL_ALWAYS;
    (void)before;
    if (had)
        r->pc = (r->pc & ~(0xffULL << 32)) | (uint64_t)ROLL_ALWAYS << 32;
    return had;
}

/* The move before, instead. */
static bool roll_again(struct recipe *r, const struct recipe *before)
{
    uint32_t at = r->at;
    bool had = r->from == PC_ROLL && before && before->from == PC_ROLL;
    if (had)
        *r = *before;
    r->at = at;
    return had;
}

/* What is to be taken back is not. */
static bool keep_done(struct recipe *r, const struct recipe *before)
{
    bool had = r->from == PC_ROLL && (r->pc >> 40 & 0xff) == 0xff;
    (void)before;
    if (had)
        r->from = PC_KNOWN, r->second = R_NONE, r->first = R_NONE;
    return had;
}

static bool lower_stack(struct recipe *r, const struct recipe *before)
{
    (void)before;
    r->rsp_add += 8;
    return true;
}

static const struct {
    const char *name;
    bool (*apply)(struct recipe *r, const struct recipe *before);
} breaks[] = {
    {"stale-pc", stale_pc},
    {"lose-spill", lose_spill},
    {"lose-second-spill", lose_second_spill},
    {"spill-too-long", spill_too_long},
    {"lose-branch", lose_branch},
    {"roll-always", roll_always},
    {"roll-again", roll_again},
    {"keep-done", keep_done},
    {"lower-stack", lower_stack},
};

bool break_recipe(struct lowered *out, const char *name, uint32_t roll)
{
    size_t k = 0;
    while (k < ARRAY_LEN(breaks) && strcmp(breaks[k].name, name) != 0)
        k++;
    if (k == ARRAY_LEN(breaks))
        return false;
    uint32_t n = (uint32_t)out->recipe_count;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = (roll % n + i) % n;
        if (breaks[k].apply(&out->recipes[at], at ? &out->recipes[at - 1] : NULL))
            return true;
    }
    return false;
}

const char *break_recipe_name(int i)
{
    return i >= 0 && (size_t)i < ARRAY_LEN(breaks) ? breaks[i].name : NULL;
}
