#include "runtime/verify.h"

#include "fragcache/recover.h"
#include "optimizer/liveness.h"
#include "runtime/base/maps.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/careful.h"
#include "runtime/control.h"
#include "runtime/dispatch.h"
#include "runtime/several.h"
#include "runtime/stats.h"
#include "runtime/thread.h"
#include "runtime/verify_report.h"
#include "tracer/block.h"

#define STEPS_MOST 4096
#define RED_ZONE 128u
#define DEAD_STACK (1u << 20) /* below the red zone: nobody's */

static const struct options *settings;
static struct stores *made, *own; /* by the fragment, by the program */
static uint8_t *start_vectors, *made_vectors, *own_vectors;
static uint32_t vector_bytes;

/* What the fragment came to. */
static struct {
    struct cpu_state state; /* the program's, recovered */
    bool faults;
} left;
static int own_steps; /* that the program's run has made */

void verify_init(const struct options *o) { settings = o; }
bool verify_on(void) { return settings && settings->verify; }

static bool buffers_get(void)
{
    uint32_t a = 13, b, c = 0, d;
    if (vector_bytes)
        return true;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    made = mem_map(sizeof *made);
    own = mem_map(sizeof *own);
    start_vectors = mem_map(b);
    made_vectors = mem_map(b);
    own_vectors = mem_map(b);
    if (!made || !own || !start_vectors || !made_vectors || !own_vectors)
        return false;
    vector_bytes = b;
    return true;
}

static void vectors_save(uint8_t *area) /* NOLINT(readability-non-const-parameter): asm writes it */
{
    __asm__ volatile("xsave64 %0" : "+m"(*(char(*)[4096])area) : "a"(-1), "d"(-1) : "memory");
}

static void vectors_load(const uint8_t *area)
{
    __asm__ volatile("xrstor64 %0" : : "m"(*(const char(*)[4096])area), "a"(-1), "d"(-1) : "memory");
}

/* What a fragment had borrowed where it was stopped. */
static void vectors_recovered(uint8_t *area, const struct cpu_state *s)
{
    for (unsigned i = 0; i < VECTOR_COUNT; i++)
        if (s->vectors & 1u << REG_VECTOR(VECTOR_FIRST + i))
            mem_copy(area + 160 + 16 * (VECTOR_FIRST + i), &s->vector[i], 16);
}

/* Not the addresses and the opcode of the last x87 instruction, nor the header (SDM volume 1, 13.4). */
static bool vectors_equal(void)
{
    static const struct {
        uint32_t from, to;
    } parts[] = {{0, 5}, {24, 28}, {32, 416}, {576, 0}};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        uint32_t to = parts[i].to ? parts[i].to : vector_bytes;
        if (mem_compare(made_vectors + parts[i].from, own_vectors + parts[i].from, to - parts[i].from) != 0)
            return false;
    }
    return true;
}

/* --- the two runs */

/* False: it cannot be taken back. The thread's context is the fragment's afterwards. */
static bool run_fragment(struct thread *t, const struct fragment *f)
{
    struct careful c = {.pc = f->entry.v, .end = f->start.v + f->len};
    made->count = 0;
    left.faults = false;
    for (int i = 0; i < STEPS_MOST; i++) {
        uint64_t at = c.pc;
        enum careful_result r = careful_look(&c);
        r = r == STEP_DONE ? careful_step(t, &c, made) : r;
        if (r == STEP_CANNOT)
            return false;
        left.faults = r == STEP_FAULT;
        if (left.faults || c.pc - f->start.v >= f->len || c.pc <= at)
            break;
    }
    struct cpu_state *s = &left.state;
    const struct code_region *region = code_region_find(c.pc);
    mem_copy(s->gpr, t->ctx.gpr, sizeof s->gpr);
    s->rflags = t->ctx.rflags;
    s->pc = c.pc;
    s->vectors = 0;
    if (region && c.pc == region->leave.v) {
        const struct frag_exit *e = fc_exit(c.slots.exit_id);
        s->pc = e ? e->target.v : 0;
    } else if (region) {
        return fc_recover(s, &c.slots) || (s->pc = 0, true);
    }
    return true;
}

static bool is_dead_stack(uint64_t at, uint64_t sp) { return sp - RED_ZONE - 1 - at < DEAD_STACK; }

static bool covered(const struct stores *l, int n, uint64_t at)
{
    for (int i = 0; i < n; i++)
        if (at - l->list[i].at < l->list[i].len)
            return true;
    return false;
}

/* What the fragment wrote is there; what only the program wrote is what was there before. */
static bool memory_equal(uint64_t sp)
{
    for (int i = 0; i < made->count; i++) {
        const struct store *s = &made->list[i];
        for (uint32_t k = 0; k < s->len; k++)
            if (*(const uint8_t *)(s->at + k) != s->made[k] && !is_dead_stack(s->at + k, sp))
                return false;
    }
    for (int i = 0; i < own->count; i++) {
        const struct store *s = &own->list[i];
        for (uint32_t k = 0; k < s->len; k++)
            if (*(const uint8_t *)(s->at + k) != s->old[k] && !is_dead_stack(s->at + k, sp) &&
                !covered(made, made->count, s->at + k) && !covered(own, i, s->at + k))
                return false;
    }
    return true;
}

static struct live_set difference(const struct thread *t)
{
    struct live_set d = {0, (uint16_t)((t->ctx.rflags ^ left.state.rflags) & (FL_STATUS | FL_DF))};
    for (unsigned i = 0; i < 16; i++)
        if (t->ctx.gpr[i] != left.state.gpr[i])
            d.gpr |= (uint16_t)(1u << i);
    return d;
}

static bool none(struct live_set d) { return !d.gpr && !d.flags; }

/* Of what may be passed to nobody (facts.c), it may stay unknown whether it is read. */
static bool may_differ(struct live_set d) { return !(d.gpr & ~(1u << 11)) && !(d.flags & FL_DF); }

/* One more instruction of the program: what of d has not been overwritten. False: it is read. */
static bool settle(struct live_set *d, const struct insn *in)
{
    if ((liveness_gpr_read(in) & d->gpr) || (in->flags_read & d->flags))
        return false;
    d->gpr &= (uint16_t)~in->gpr_full;
    d->flags &= (uint16_t)~in->flags_killed;
    return true;
}

enum outcome_of { SAME, DIFFERENT, UNKNOWN };

/* Where the program is, and how that compares. */
static enum outcome_of compare_here(struct thread *t, struct live_set *d, const char **what)
{
    vectors_save(own_vectors);
    *d = difference(t);
    if (!memory_equal(t->ctx.gpr[R_RSP]))
        *what = "memory";
    else if (!vectors_equal())
        *what = "vectors";
    else
        return none(*d) ? SAME : UNKNOWN;
    return DIFFERENT;
}

static bool text_around(uint64_t pc, struct careful *c)
{
    const struct map_range *r = maps_find(app_pc(pc));
    c->pc = pc;
    c->end = r ? r->end : 0;
    c->text = true;
    return r && r->kind == MAP_TEXT;
}

/* The program's own run: until it comes to where the fragment came, in the same state. */
static enum outcome_of run_program(struct thread *t, uint64_t tag, struct app_pc *pc, const char **what)
{
    struct careful c = {0};
    struct live_set d = {0, 0};
    bool settling = false;
    own->count = own_steps = 0;
    *what = left.faults ? "a fault where there is none" : "another way";
    bool known = text_around(tag, &c);
    for (int i = 0; i < STEPS_MOST && known; i++) {
        enum careful_result r = careful_look(&c);
        if (r == STEP_DONE && settling && !settle(&d, &c.in)) {
            settling = false;
            *what = "registers or flags";
        } else if (settling && none(d)) {
            *pc = app_pc(c.pc);
            return SAME;
        }
        r = r == STEP_DONE ? careful_step(t, &c, own) : r;
        own_steps += r == STEP_DONE;
        *pc = app_pc(c.pc);
        if (r == STEP_FAULT || r == STEP_CANNOT)
            return settling && !may_differ(d) && r == STEP_CANNOT ? DIFFERENT : settling && may_differ(d) ? SAME : UNKNOWN;
        /* It has come there already when only that differs which may: when it comes by again, it is further on. */
        if (c.pc == left.state.pc && !left.faults && !(settling && may_differ(d))) {
            enum outcome_of o = compare_here(t, &d, what);
            if (o == SAME)
                return SAME;
            settling = settling || o == UNKNOWN;
        }
        if (c.pc >= c.end || c.pc < tag)
            known = text_around(c.pc, &c);
    }
    if (!known)
        return settling && may_differ(d) ? SAME : UNKNOWN;
    return settling && may_differ(d) ? SAME : DIFFERENT;
}

/* Its heads are not recorded again. Where hooks lead into fragments, all are withdrawn. */
static void withdraw(struct thread *t, struct fragment *f)
{
    const struct app_pc heads[] = {f->found_at, f->tag};
    stats_declined(RC_MISMATCH);
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct block *b = block_find(heads[i]);
        if (!b)
            continue;
        b->declined = RC_MISMATCH;
        b->fragment = NULL;
    }
    if (settings->control == CONTROL_SAMPLED)
        dispatch_flush_fragments(t);
    else
        (void)fc_retire(f);
}

bool verify_entry(struct thread *t, struct fragment *f, struct app_pc *pc)
{
    const char *what = "";
    if (!buffers_get() || !thread_alone(t))
        return false;
    if (careful_begin() != RC_OK)
        return false;
    struct cpu_ctx start = t->ctx;
    vectors_save(start_vectors);
    bool can = run_fragment(t, f);
    vectors_save(made_vectors);
    vectors_recovered(made_vectors, &left.state);
    careful_undo(made);
    t->ctx = start;
    vectors_load(start_vectors);
    *pc = f->tag;
    enum outcome_of o = can ? run_program(t, f->tag.v, pc, &what) : UNKNOWN;
    struct cpu_state end = {.rflags = t->ctx.rflags, .pc = pc->v};
    mem_copy(end.gpr, t->ctx.gpr, sizeof end.gpr);
    careful_end();
    stats.verified += o == SAME;
    stats.verify_skipped += o == UNKNOWN;
    if (o == DIFFERENT) {
        struct cpu_state from = {.rflags = start.rflags, .pc = f->tag.v};
        mem_copy(from.gpr, start.gpr, sizeof from.gpr);
        stats.mismatches++;
        stats.mismatch_id = stats.mismatch_id ? stats.mismatch_id : f->id;
        stats.mismatch_passes |= f->passes;
        verify_report(settings->mismatch_path, f, what, &from, &left.state, &end, made);
        withdraw(t, f);
    }
    /* Without a step, the next one must be an ordinary one: it may fault, where the program's handler sees it. */
    return can && own_steps;
}

bool verify_reach(struct thread *t, struct app_pc *pc, struct app_pc to)
{
    struct careful c = {0};
    bool known = buffers_get() && text_around(pc->v, &c) && thread_alone(t) && careful_begin() == RC_OK;
    if (!known)
        return false;
    own->count = 0;
    for (enum careful_result r = STEP_DONE; r == STEP_DONE && c.pc < to.v;) {
        own->count = 0; /* not to be taken back */
        r = careful_look(&c);
        r = r == STEP_DONE && c.in.kind == IK_PLAIN ? careful_step(t, &c, own) : STEP_CANNOT;
    }
    careful_end();
    *pc = app_pc(c.pc);
    return c.pc == to.v;
}

void verify_note(struct fragment *f, const struct trace *t, const struct insn *insns, int n)
{
    if (!verify_on())
        return;
    verify_report_keep(f, t, insns, n);
}

struct fragment *verify_due(uint64_t from, uint64_t to)
{
    struct fragment *due = NULL;
    if (several_now())
        return NULL; /* what others write in between would be taken for a difference */
    for (struct fragment *f = fc_newest(); f; f = f->next) {
        if (!f->live || f->tag.v < from || f->tag.v >= to)
            continue;
        if (f->unverified)
            f->unverified--;
        else if (!due)
            due = f;
    }
    if (due)
        due->unverified = (uint32_t)settings->verify - 1;
    return due;
}
