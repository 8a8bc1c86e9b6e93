#include "tracer/path.h"

void path_clear(struct path *p) { p->count = 0; }

void path_note(struct path *p, struct app_pc pc, struct app_pc target)
{
    uint64_t h = pc.v * 0x9e3779b97f4a7c15u ^ target.v * 0xc2b2ae3d27d4eb4fu; /* golden ratio; xxHash's prime 2 */
    p->branch[p->count++ % PATH_KEEPS] = (uint32_t)(h >> 32);
}

/* The branch `ago` before the last one. */
static uint32_t branch(const struct path *p, uint64_t ago) { return p->branch[(p->count - 1 - ago) % PATH_KEEPS]; }

uint32_t path_round(const struct path *p)
{
    uint64_t known = p->count < PATH_KEEPS ? p->count : PATH_KEEPS;
    for (uint32_t round = 1; round <= PATH_LONGEST; round++) {
        uint64_t same = 0, least = 2 * round < PATH_LEAST ? PATH_LEAST : 2 * round;
        if (least + round > known)
            return 0;
        while (same < least && branch(p, same) == branch(p, same + round))
            same++;
        if (same == least)
            return round;
    }
    return 0;
}

bool path_repeats(const struct path *p, uint32_t round)
{
    return p->count > round && round < PATH_KEEPS && branch(p, 0) == branch(p, round);
}

bool path_is_short(const struct path *p) { return p->count < PATH_KEEPS; }
