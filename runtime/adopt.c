#include "runtime/adopt.h"

#include <asm/stat.h>

#include "runtime/base/maps.h"
#include "runtime/base/sys.h"
#include "runtime/policy.h"
#include "runtime/several.h"
#include "tracer/block.h"
#include "tracer/rotate.h"

#define LEAST_OPEN 20 /* instructions of a trace that ends before an indirect branch or a call */
#define LEAST_KEPT 4 /* the same where all that can be had is wanted: trial=0 */
#define SIDE_INSNS 8
#define MOST_TRIES 6 /* sites looked at for one trace; each reads a function's branches */

static bool keep_all; /* fragments are kept without a trial */

void adopt_init(bool trial) { keep_all = !trial; }

bool adopt_alone(void)
{
    struct stat st;
    long rc = sys_call6(__NR_newfstatat, -100, (long)"/proc/self/task", (long)&st, 0, 0, 0);
    return rc == 0 && st.st_nlink == 3; /* one directory for each thread, and two more */
}

static void overlay(struct app_pc pc, uint8_t *bytes, size_t len) { (void)hook_overlay(pc.v, bytes, len); }

static rc_t check(struct app_pc at, enum hook_tactic tactic, struct site *site)
{
    struct site_ask ask = {.tactics = TACTIC_BIT(tactic), .others_outside = false};
    TRY(site_check(at, &ask, site));
    return several_now() && !poke_at_once(at.v, site->written) ? RC_HOOK_PAGES : RC_OK;
}

/* How often a trace passes `at`. */
static int passes(const struct insn *insns, int n, struct app_pc at)
{
    int count = 0;
    for (int i = 0; i < n; i++)
        count += app_pc_eq(insns[i].pc, at);
    return count;
}

/* A loop may be entered at any of its instructions: the first that allows it. */
static rc_t loop_prepare(struct trace *t, struct insn *insns, int n, enum hook_tactic tactic, struct site *site)
{
    rc_t rc = RC_HOOK_SHORT;
    int tries = 0;
    bool once = passes(insns, n, t->head) == 1;
    for (int k = 0; k < n && tries < MOST_TRIES; k++) {
        if (insns[k].kind != IK_PLAIN || (tactic == TACTIC_LONG && insns[k].len < SITE_JUMP_BYTES) ||
            !trace_can_rotate(t, insns, n, k) || (!once && passes(insns, n, insns[k].pc) > 1))
            continue;
        tries++;
        rc = check(insns[k].pc, tactic, site);
        if (rc == RC_OK)
            return trace_rotate(t, insns, n, k);
    }
    return rc;
}

struct meeting {
    const struct insn *insns;
    int n, at; /* at: index; 0: there is none */
};

static int index_of(const struct meeting *m, uint64_t pc)
{
    for (int i = 1; i < m->n; i++)
        if (m->insns[i].pc.v == pc)
            return i;
    return 0;
}

static void find_meeting(void *arg)
{
    static struct insn other[SIDE_INSNS];
    struct meeting *m = arg;
    const struct insn *last = &m->insns[m->n - 1], *head = &m->insns[0];
    uint64_t fall = last->pc.v + last->len, pc = last->target == head->pc.v ? fall : last->target;
    const struct map_range *text = maps_find(app_pc(pc));
    int k = last->kind == IK_JCC && text ? decode_run(app_pc(pc), text->end, other, SIDE_INSNS, false) : 0;
    for (int i = 0; i < k && !m->at; i++) {
        const struct insn *in = &other[i];
        m->at = index_of(m, in->pc.v);
        if (!m->at && (in->kind == IK_JMP || in->kind == IK_JCC))
            m->at = index_of(m, in->target);
        if (!m->at && in->kind == IK_JCC)
            m->at = index_of(m, in->pc.v + in->len);
    }
}

/* A loop that was found at one side of a branch which closes it, and whose other side comes back to it: begun where the
 * sides meet, or between there and the branch, it has both of them (optimizer/pass_convert.c). */
static rc_t sides_prepare(struct trace *t, struct insn *insns, int n, struct site *site)
{
    struct meeting m = {insns, n, 0};
    rc_t rc = RC_HOOK_SHORT;
    if (t->end != TRACE_LOOP || decode_gate(find_meeting, &m) != RC_OK || !m.at)
        return rc;
    for (int k = m.at, tries = 0; k < n - 1 && tries < MOST_TRIES && rc != RC_OK; k++) {
        if (insns[k].kind != IK_PLAIN || passes(insns, n, insns[k].pc) > 1 || !trace_can_rotate(t, insns, n, k))
            continue;
        tries++;
        rc = check(insns[k].pc, insns[k].len >= SITE_JUMP_BYTES ? TACTIC_LONG : TACTIC_PUN, site);
        if (rc == RC_OK)
            return trace_rotate(t, insns, n, k);
    }
    return rc;
}

/* A path that is no loop: the first of its instructions that allows it, as long as most of the path is left. */
static rc_t later_prepare(struct trace *t, struct insn *insns, int *n, struct site *site)
{
    rc_t rc = RC_HOOK_SHORT;
    for (int k = 1, tries = 0; k <= *n / 2 && tries < MOST_TRIES && trace_can_trim(t, insns, k); k++) {
        if (insns[k].kind != IK_PLAIN || passes(insns, *n, insns[k].pc) > 1 || fc_find(insns[k].pc))
            continue;
        tries++;
        rc = check(insns[k].pc, insns[k].len >= SITE_JUMP_BYTES ? TACTIC_LONG : TACTIC_PUN, site);
        if (rc != RC_OK)
            continue;
        trace_trim(t, insns, *n, k);
        *n -= k;
        return RC_OK;
    }
    return rc;
}

/* Where the trace can be entered. */
static rc_t entry_find(struct trace *t, struct insn *insns, int *count, struct site *site)
{
    int n = *count;
    if (t->end == TRACE_LOOP && passes(insns, n, t->head) > 1) { /* it would mostly be entered where it does not go on */
        rc_t rc = loop_prepare(t, insns, n, TACTIC_LONG, site);
        return rc == RC_OK ? RC_OK : loop_prepare(t, insns, n, TACTIC_PUN, site);
    }
    bool linked = !several_now() && fc_has_exits_to(t->head);
    if (!linked && sides_prepare(t, insns, n, site) == RC_OK)
        return RC_OK;
    rc_t rc = check(t->head, TACTIC_LONG, site);
    if (rc != RC_OK && linked) {
        site->len = 0;
        return RC_OK;
    }
    if (rc != RC_OK && t->end == TRACE_LOOP)
        rc = loop_prepare(t, insns, n, TACTIC_LONG, site);
    if (rc != RC_OK)
        rc = check(t->head, TACTIC_PUN, site);
    return rc == RC_OK || !keep_all ? rc : later_prepare(t, insns, count, site);
}

/* Another way round a loop that is entered already: from where that one is left. */
static rc_t entry_by_links(struct trace *t, struct insn *insns, int n, struct site *site)
{
    for (int k = 0; k < n; k++) {
        struct app_pc at = insns[k].pc;
        if (!trace_can_rotate(t, insns, n, k) || passes(insns, n, at) > 1 || fc_find(at) || !fc_has_exits_to(at))
            continue;
        site->len = 0;
        return trace_rotate(t, insns, n, k);
    }
    return RC_BUSY;
}

rc_t adopt_prepare(struct trace *t, struct insn *insns, int *n, struct site *site)
{
    if (!several_now() && !adopt_alone())
        return RC_HOOK_THREADS;
    if (*n < 2)
        return RC_TOO_SHORT;
    if (t->end == TRACE_BEFORE && *n < (keep_all ? LEAST_KEPT : LEAST_OPEN))
        return RC_TOO_SHORT; /* what leaves at once costs a jump more than it saves */
    TRY(entry_find(t, insns, n, site));
    if (!fc_find(t->head))
        return RC_OK;
    return several_now() ? RC_BUSY : entry_by_links(t, insns, *n, site); /* a place can have one hook */
}

static bool is_inside(struct app_pc pc)
{
    for (const struct fragment *f = fc_newest(); f; f = f->next)
        for (int i = 0; f->live && i < f->text_count; i++)
            if (pc.v >= f->text[i].start && pc.v < f->text[i].end)
                return true;
    return false;
}

bool adopt_connects(const struct trace *t)
{
    return t->end == TRACE_DIRECT && is_inside(t->exit) && fc_has_exits_to(t->head);
}

rc_t adopt_take(struct fragment *const *variants, int n, const struct site *site)
{
    decode_set_overlay(overlay);
    poke_set_alone(!several_now());
    return policy_take(variants, n, site);
}

static void hook_take_out(struct hook *h, void *arg)
{
    bool *all = arg;
    if (hook_clear(h) != RC_OK)
        *all = false;
    else
        hook_release(h); /* ADP-1: no other thread can be on its way through it */
}

bool adopt_withdraw(void)
{
    bool all = true;
    if (several_now() || !adopt_alone())
        return false;
    poke_set_alone(true);
    uint64_t mask = sys_signals_set(~0ULL);
    hook_each(hook_take_out, &all);
    (void)sys_signals_set(mask);
    if (!all)
        return false;
    decode_set_overlay(NULL);
    policy_forget();
    site_forget();
    return true;
}

uint64_t adopt_hooks(void)
{
    struct hook_counts c = hook_counts_get();
    return (uint64_t)c.live[TACTIC_LONG] + c.live[TACTIC_PUN] + c.live[TACTIC_SEVERAL];
}
