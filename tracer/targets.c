#include "tracer/targets.h"

#include "runtime/base/mem.h"

#define BRANCHES 1024u /* a power of 2 */
#define PROBES 4u

static struct branch_targets *table; /* mapped when the first branch is met; NULL: nothing is counted */

static struct branch_targets *place_of(uint64_t after, uint32_t probe)
{
    return &table[((uint32_t)((after * 0x9e3779b97f4a7c15ULL) >> 40) + probe) & (BRANCHES - 1)];
}

const struct branch_targets *targets_find(struct app_pc after)
{
    for (uint32_t i = 0; table && i < PROBES; i++)
        if (place_of(after.v, i)->after == after.v)
            return place_of(after.v, i);
    return NULL;
}

/* Its own place, or that of the one that ran least. */
static struct branch_targets *place_get(uint64_t after)
{
    struct branch_targets *best = place_of(after, 0);
    for (uint32_t i = 0; i < PROBES; i++) {
        struct branch_targets *b = place_of(after, i);
        if (b->after == after)
            return b;
        if (b->runs < best->runs)
            best = b;
    }
    *best = (struct branch_targets){.after = after};
    return best;
}

static void count_at(struct branch_targets *b, int i)
{
    uint64_t target = b->target[i];
    uint32_t count = b->count[i] + 1;
    for (; i && b->count[i - 1] < count; i--) {
        b->count[i] = b->count[i - 1];
        b->target[i] = b->target[i - 1];
    }
    b->count[i] = count;
    b->target[i] = target;
}

void targets_note(struct app_pc after, struct app_pc target)
{
    if (!table && !(table = mem_map(BRANCHES * sizeof *table)))
        return;
    struct branch_targets *b = place_get(after.v);
    int i = 0;
    if (b->runs == UINT32_MAX)
        return;
    b->runs++;
    while (i < TARGETS_KEPT - 1 && b->target[i] && b->target[i] != target.v)
        i++;
    b->target[i] = target.v; /* the rarest one's count is inherited */
    count_at(b, i);
}

void targets_forget(void)
{
    if (table)
        mem_zero(table, BRANCHES * sizeof *table);
}
