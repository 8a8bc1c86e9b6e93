#include "tests/fuzz/shared.h"

#include <string.h>

#define MAX_STEPS 600

struct step {
    uint64_t pc, gpr[16];
};
struct access {
    uint64_t at;
    uint16_t bytes;
    bool stores, branch, known; /* branch: the target of an indirect one; known: a return's, which the fragment need not read */
};
static struct run {
    struct step step[MAX_STEPS];
    struct access access[2 * MAX_STEPS];
    int steps, accesses;
} natively, optimized, *stepped;
static bool in_time;

static bool note_step(uint64_t pc, const struct state *s)
{
    if (pc - WORLD_PADS < WORLD_PAD_COUNT * WORLD_PAD_STRIDE)
        return true;
    in_time &= stepped->steps < MAX_STEPS;
    if (!in_time)
        return false;
    struct step *p = &stepped->step[stepped->steps++];
    p->pc = pc;
    memcpy(p->gpr, s->gpr, sizeof p->gpr);
    return true;
}

static uint64_t address_of(const struct insn *in, const uint64_t *gpr)
{
    if (in->rip_relative)
        return in->target;
    uint64_t at = (uint64_t)(int64_t)in->mem_disp;
    if (in->mem_base != R_NONE)
        at += gpr[in->mem_base];
    if (in->mem_index != R_NONE)
        at += gpr[in->mem_index] * in->mem_scale;
    return in->mem_narrow ? (uint32_t)at : at;
}

/* The program's own memory: not the fragment's tables, nor what never changes. */
static bool is_shared(uint64_t at, uint64_t sp)
{
    bool data = at - WORLD_DATA < 8192, private = at < sp && at - WORLD_STACK < 4096;
    return (data && !private) || at - WORLD_CONSTS < sizeof(((struct memory *)0)->consts);
}

struct finding {
    struct run *run;
    uint64_t sp;
};

/* nop and prefetch: they name memory, and load nothing that is looked at. */
static bool is_hint(const struct insn *in)
{
    const uint8_t *op = in->bytes + in->modrm_at - 1;
    return in->modrm_at >= 2 && op[-1] == 0x0f && (op[0] == 0x0d || (op[0] >= 0x18 && op[0] <= 0x1f)) && !in->xmm;
}

/* The decoder's gate is not for signal handlers: afterwards. Text does not change meanwhile. */
static void find_accesses(void *arg)
{
    const struct finding *f = arg;
    f->run->accesses = 0;
    for (int i = 0; i < f->run->steps; i++) {
        const struct step *p = &f->run->step[i];
        struct insn in;
        decode_made((const void *)(uintptr_t)p->pc, INSN_MAX_BYTES, app_pc(p->pc), &in);
        if (in.kind == IK_RET && is_shared(p->gpr[R_RSP], f->sp))
            f->run->access[f->run->accesses++] = (struct access){p->gpr[R_RSP], 8, false, true, true};
        if (in.seg != SEG_FLAT || is_hint(&in) || !(in.mem_read || in.mem_write))
            continue;
        uint64_t at = address_of(&in, p->gpr);
        if (is_shared(at, f->sp) && in.mem_read)
            f->run->access[f->run->accesses++] = (struct access){at, in.mem_bytes, false, in.kind != IK_PLAIN, false};
        if (is_shared(at, f->sp) && in.mem_write)
            f->run->access[f->run->accesses++] = (struct access){at, in.mem_bytes, true, false, false};
    }
}

static bool run_to_pad(const struct subject *sub, struct run *run, const struct state *from, const struct memory *m, uint64_t pc)
{
    static struct state s;
    s = *from;
    run->steps = 0;
    stepped = run;
    in_time = true;
    world_memory_set(m);
    struct left l = world_run_stepped(&s, pc, note_step);
    for (int laps = 0; in_time && laps < MAX_STEPS && (l.kind == LEFT_EXIT || l.kind == LEFT_LOOKUP); laps++) {
        uint64_t to = l.kind == LEFT_LOOKUP                       ? l.target
                      : l.id < (uint32_t)sub->out.exit_count ? sub->out.exits[l.id].target
                                                                   : 0;
        l = world_run_stepped(&s, to, note_step);
    }
    struct finding f = {run, from->gpr[R_RSP]};
    return in_time && l.kind == LEFT_PAD && decode_gate(find_accesses, &f) == RC_OK;
}

static bool same(const struct access *a, const struct access *b)
{
    return a->at == b->at && a->bytes == b->bytes && a->stores == b->stores;
}

enum verdict shared_compare(const struct subject *sub, const struct state *s, const struct memory *m)
{
    subject_link(sub, true);
    if (!run_to_pad(sub, &natively, s, m, sub->ir.tag.v) ||
        !run_to_pad(sub, &optimized, s, m, sub->at.v + sub->out.entry))
        return V_SKIPPED;
    int k = 0;
    for (int i = 0; i < optimized.accesses; i++) {
        while (k < natively.accesses && natively.access[k].known && !same(&optimized.access[i], &natively.access[k]))
            k++;
        if (k < natively.accesses && same(&optimized.access[i], &natively.access[k]))
            k++;
        else if (k && natively.access[k - 1].branch && same(&optimized.access[i], &natively.access[k - 1]))
            continue; /* a guard's miss looks again, and goes where it then says */
        else if (!sub->ir.hammock_count || optimized.access[i].stores)
            return V_DIFFERENT;
    }
    while (k < natively.accesses && natively.access[k].known)
        k++;
    return k == natively.accesses ? V_SAME : V_DIFFERENT;
}
