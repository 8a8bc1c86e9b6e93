#include "tracer/record.h"

/* An indirect branch this restless is not worth a guard: the trace ends in a lookup instead. */
#define RESTLESS_RUNS 8
#define RESTLESS_SHARE 4 /* changes of target per this many runs */

rc_t rec_may_contain(const struct block *b)
{
    switch ((enum map_kind)b->map_kind) {
    case MAP_TEXT: break;
    case MAP_LOADER: return RC_LOADER;
    case MAP_SELF: return RC_SELF;
    case MAP_VDSO:
    case MAP_VOLATILE:
    case MAP_NONE: return RC_NOT_FILE_TEXT;
    }
    switch ((enum insn_kind)b->kind) {
    case IK_SYSCALL: return RC_SYSCALL;
    case IK_XBEGIN:
    case IK_STRANGE: return RC_UNSUPPORTED;
    default: return RC_OK;
    }
}

void rec_start(struct recorder *r, struct app_pc head, int max_insns)
{
    r->active = true;
    r->max_insns = max_insns;
    r->depth = 0;
    r->restless = false;
    r->round = r->passed = 0;
    r->trace.head = head;
    r->trace.steps = r->trace.insns = 0;
    r->trace.end = TRACE_DIRECT;
}

void rec_abort(struct recorder *r) { r->active = false; }

/* Leaves before the last instruction of `step`. */
static void cut(struct recorder *r, int step)
{
    r->trace.end = TRACE_BEFORE;
    for (; r->trace.steps > step + 1; r->trace.steps--)
        r->trace.insns -= r->insns[r->trace.steps - 1];
}

static enum rec_verdict finish(struct recorder *r, enum trace_end end)
{
    r->trace.end = end;
    r->active = false;
    if (r->native && r->depth > 0) /* the call that stays open */
        cut(r, r->open_step);
    if (r->round && end != TRACE_LOOP && r->trace.steps > r->round_step)
        cut(r, r->round_step);
    return REC_DONE;
}

void rec_finish_direct(struct recorder *r, struct app_pc exit)
{
    r->trace.exit = exit;
    (void)finish(r, TRACE_DIRECT);
}

bool rec_stops_before(const struct recorder *r, const struct block *b)
{
    if (r->trace.steps == 0)
        return false;
    return b->fragment != NULL || rec_may_contain(b) != RC_OK || r->trace.steps == TRACE_MAX_BLOCKS ||
           r->trace.insns + b->insns > r->max_insns;
}

static bool is_restless(const struct block *b)
{
    return b->target_runs >= RESTLESS_RUNS && b->target_changes * RESTLESS_SHARE > b->target_runs;
}

/* A call into code the trace already holds: recursion, which would unroll until the limit. */
static bool is_recursion(const struct recorder *r, struct app_pc callee)
{
    for (int i = 0; i < r->trace.steps; i++)
        if (app_pc_eq(r->trace.step[i].pc, callee))
            return true;
    return false;
}

/* False: where the indirect branch that ends b went can not be expected again. */
static bool foreseen(struct recorder *r, const struct block *b)
{
    if (r->round)
        return r->passed <= r->round ? path_repeats(&r->path, r->round) : !is_restless(b);
    if (!is_restless(b))
        return true;
    r->round = path_round(&r->path);
    r->round_step = r->trace.steps - 1;
    r->restless = !r->round && path_is_short(&r->path);
    return r->round >= r->passed && r->round;
}

enum rec_verdict rec_step(struct recorder *r, const struct block *b, struct outcome o)
{
    struct trace *t = &r->trace;
    r->insns[t->steps] = b->insns;
    t->step[t->steps++] = (struct trace_step){b->pc, b->next, o.next, o.taken};
    t->insns += b->insns;
    bool call = b->kind == IK_CALL || b->kind == IK_CALL_IND;
    bool indirect = b->kind == IK_JMP_IND || b->kind == IK_CALL_IND || b->kind == IK_RET;
    bool matched = b->kind == IK_RET && r->depth > 0;
    r->open_step = call && r->depth == 0 ? t->steps - 1 : r->open_step;
    r->depth += call ? 1 : matched ? -1 : 0;
    if (indirect && !matched) {
        r->passed++;
        if (r->native && (b->kind == IK_RET || !foreseen(r, b)))
            return finish(r, TRACE_BEFORE);
    }
    if (r->passed < r->round)
        return REC_MORE; /* its head is passed, inner loops are unrolled, until a limit is reached */
    if (app_pc_eq(o.next, t->head))
        return finish(r, TRACE_LOOP);
    if (indirect && !matched && !r->round && is_restless(b))
        return finish(r, TRACE_INDIRECT);
    bool backward = o.taken && o.next.v <= b->pc.v && !indirect && !call;
    if (backward || (call && is_recursion(r, o.next))) {
        rec_finish_direct(r, o.next);
        return REC_DONE;
    }
    return REC_MORE;
}

struct decoding {
    const struct trace *trace;
    struct insn *out;
    int max, n;
};

static void decode_gated(void *arg)
{
    struct decoding *d = arg;
    for (int i = 0; i < d->trace->steps; i++) {
        const struct trace_step *s = &d->trace->step[i];
        uint64_t pc = s->pc.v;
        while (pc < s->next.v && d->n < d->max) {
            d->n += decode_run(app_pc(pc), s->next.v, d->out + d->n, d->max - d->n, true);
            pc = d->out[d->n - 1].pc.v + d->out[d->n - 1].len;
        }
        if (pc != s->next.v) {
            d->n = 0;
            return;
        }
    }
}

int trace_decode(const struct trace *t, struct insn *out, int max)
{
    struct decoding d = {t, out, max, 0};
    return decode_gate(decode_gated, &d) == RC_OK ? d.n : 0;
}
