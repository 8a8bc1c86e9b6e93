#include "fragcache/recover.h"

#include "fragcache/hook.h"
#include "fragcache/roll.h"
#include "runtime/base/codemem.h"
#include "runtime/base/mem.h"
#include "tracer/asm.h"

#define MAX_REGIONS 8
#define FIRST_PLACES 256u

struct place {
    uint64_t start, end;
    const struct recipe *recipes;
    int count;
};

/* Sorted by start. One that is full is replaced by a larger one and stays for those who are reading it. */
struct places {
    uint32_t cap, count;
    struct place at[];
};

static struct places *tables[MAX_REGIONS]; /* by region */

static struct places *places_grow(struct places *old)
{
    uint32_t cap = old ? old->cap * 2 : FIRST_PLACES;
    struct places *p = mem_map(sizeof *p + cap * sizeof p->at[0]);
    if (!p)
        return NULL;
    p->cap = cap;
    p->count = old ? old->count : 0;
    if (old)
        mem_copy(p->at, old->at, old->count * sizeof p->at[0]);
    return p;
}

rc_t recover_add(struct cache_pc start, uint32_t len, const struct recipe *recipes, int count)
{
    const struct code_region *r = code_region_find(start.v);
    size_t i = r ? (size_t)(r - code_region_get(0)) : MAX_REGIONS;
    if (i >= MAX_REGIONS)
        return RC_ASSERT;
    struct places *p = tables[i];
    if (!p || p->count == p->cap) {
        p = places_grow(p);
        if (!p)
            return RC_NO_MEMORY;
        __atomic_store_n(&tables[i], p, __ATOMIC_RELEASE);
    }
    uint32_t n = p->count;
    while (n && p->at[n - 1].start >= start.v)
        n--; /* never became code */
    if (n && p->at[n - 1].end > start.v)
        return RC_ASSERT;
    p->at[n] = (struct place){start.v, start.v + len, recipes, count};
    __atomic_store_n(&p->count, n + 1, __ATOMIC_RELEASE);
    return RC_OK;
}

void recover_forget(void)
{
    for (int i = 0; i < MAX_REGIONS; i++)
        if (tables[i])
            __atomic_store_n(&tables[i]->count, 0, __ATOMIC_RELEASE);
}

static const struct place *place_find(size_t region, uint64_t pc)
{
    const struct places *p = region < MAX_REGIONS ? __atomic_load_n(&tables[region], __ATOMIC_ACQUIRE) : NULL;
    uint32_t low = 0, high = p ? __atomic_load_n(&p->count, __ATOMIC_ACQUIRE) : 0;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (p->at[mid].start <= pc)
            low = mid + 1;
        else
            high = mid;
    }
    return low && pc < p->at[low - 1].end ? &p->at[low - 1] : NULL;
}

static const struct recipe *recipe_find(const struct place *p, uint64_t pc)
{
    uint64_t offset = pc - p->start;
    int low = 0, high = p->count;
    while (low < high) {
        int mid = (low + high) / 2;
        if (p->recipes[mid].at <= offset)
            low = mid + 1;
        else
            high = mid;
    }
    return low ? &p->recipes[low - 1] : NULL;
}

static void apply(struct cpu_state *s, const struct recipe *r, const struct tls_slots *slots)
{
    s->pc = r->from == PC_RDX ? s->gpr[R_RDX] : r->from == PC_SLOT ? slots->target : r->pc;
    if (r->first != R_NONE)
        s->gpr[r->first] = slots->spill0;
    if (r->second != R_NONE)
        s->gpr[r->second] = slots->spill1;
    if (r->stacked != R_NONE)
        s->gpr[r->stacked] = *(const uint64_t *)s->gpr[R_RSP];
    s->gpr[R_RSP] += r->rsp_add;
    for (unsigned i = 0; i < 16; i++)
        if (r->saved & 1u << i)
            s->gpr[i] = slots->saved[i];
    s->vectors = r->saved & REGS_VECTOR;
    for (unsigned i = 0; i < VECTOR_COUNT; i++)
        if (s->vectors & 1u << REG_VECTOR(VECTOR_FIRST + i))
            s->vector[i] = slots->vectors[i];
}

/* enter: until its last instruction, jmp fs:[target], rdi is the context. */
static void recover_enter(struct cpu_state *s, const struct tls_slots *slots)
{
    static const uint8_t jmp_slot[] = {0x64, 0xff, 0x24, 0x25};
    if (mem_compare((const void *)s->pc, jmp_slot, sizeof jmp_slot) != 0) {
        const struct cpu_ctx *ctx = (const struct cpu_ctx *)s->gpr[R_RDI];
        mem_copy(s->gpr, ctx->gpr, sizeof s->gpr);
        s->rflags = ctx->rflags;
    }
    s->pc = slots->target;
}

/* Offsets in lookup_miss (tracer/stubs.c): the target is stored; rdx, rcx are reloaded. */
#define MISS_STORED (2 * ASM_SLOT_BYTES)

static bool recover_stub(struct cpu_state *s, const struct code_region *r, const struct tls_slots *slots)
{
    struct recipe done = {.first = R_RCX, .second = R_RDX, .stacked = R_NONE, .from = PC_RDX};
    if (s->pc >= r->lookup_miss.v && s->pc < r->thread_start.v) {
        if (s->pc - r->lookup_miss.v >= MISS_STORED)
            done.from = PC_SLOT;
        apply(s, &done, slots);
        return true;
    }
    if (s->pc < r->enter.v || s->pc >= r->leave.v)
        return false;
    recover_enter(s, slots);
    return true;
}

static bool recover_fragment(struct cpu_state *s, const struct code_region *r, const struct tls_slots *slots)
{
    const struct place *p = place_find((size_t)(r - code_region_get(0)), s->pc);
    const struct recipe *recipe = p ? recipe_find(p, s->pc) : NULL;
    if (!recipe)
        return false;
    for (; recipe->from == PC_ROLL; recipe++)
        roll_forward(s->gpr, s->rflags, recipe);
    apply(s, recipe, slots);
    return true;
}

bool fc_faults_again(uint64_t pc)
{
    const struct code_region *r = code_region_find(pc);
    const struct place *p = r ? place_find((size_t)(r - code_region_get(0)), pc) : NULL;
    const struct recipe *recipe = p ? recipe_find(p, pc) : NULL;
    return recipe && recipe->from == PC_AGAIN;
}

bool fc_recover(struct cpu_state *s, const struct tls_slots *slots)
{
    struct app_pc native;
    struct cpu_state found = *s;
    found.vectors = 0;
    const struct code_region *r = code_region_find(s->pc);
    bool in_stub = r && r->enter.v && s->pc < r->stubs.next;
    if (in_stub) {
        if (!recover_stub(&found, r, slots))
            return false;
        r = code_region_find(found.pc); /* enter may have been on its way into other code of ours */
    }
    if (r && !recover_fragment(&found, r, slots))
        return false;
    if (!r && hook_native_pc(found.pc, &native))
        found.pc = native.v;
    else if (!r && !in_stub)
        return false;
    *s = found;
    return true;
}
