#include "runtime/adopt.h"

#include <asm/stat.h>

#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/trial.h"
#include "tracer/block.h"
#include "tracer/rotate.h"

#define MOST_TRIES 6 /* sites looked at for one trace; each reads a function's branches */
#define HOOK_ARENA_LIMIT (16u << 20)

static struct arena hooks = {.limit = HOOK_ARENA_LIMIT};

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
    return site_check(at, &ask, site);
}

/* A loop may be entered at any of its instructions: the first long one that allows it. */
static rc_t loop_prepare(struct trace *t, struct insn *insns, int n, struct site *site)
{
    rc_t rc = RC_HOOK_SHORT;
    int tries = 0;
    for (int k = 0; k < n && tries < MOST_TRIES; k++) {
        if (insns[k].kind != IK_PLAIN || insns[k].len < SITE_JUMP_BYTES || !trace_can_rotate(t, insns, n, k))
            continue;
        tries++;
        rc = check(insns[k].pc, TACTIC_LONG, site);
        if (rc == RC_OK)
            return trace_rotate(t, insns, n, k);
    }
    return rc;
}

rc_t adopt_prepare(struct trace *t, struct insn *insns, int n, bool must_hook, struct site *site)
{
    if (!adopt_alone())
        return RC_HOOK_THREADS;
    if (n < 2)
        return RC_TOO_SHORT;
    for (int i = 0; must_hook && i < n; i++)
        if (trial_overlaps(insns[i].pc.v, insns[i].pc.v + insns[i].len))
            return RC_BUSY;
    rc_t rc = t->end == TRACE_LOOP ? loop_prepare(t, insns, n, site) : check(t->head, TACTIC_LONG, site);
    if (rc != RC_OK)
        rc = check(t->head, TACTIC_PUN, site);
    if (rc != RC_OK && !must_hook && fc_has_exits_to(t->head)) {
        site->len = 0;
        return RC_OK;
    }
    return rc;
}

rc_t adopt_hook(struct fragment *f, const struct site *site)
{
    struct hook *h = arena_alloc(&hooks, sizeof *h);
    if (!h)
        return RC_NO_MEMORY;
    decode_set_overlay(overlay);
    poke_set_alone(true);
    uint64_t mask = sys_signals_set(~0ULL); /* a handler must not fork between the open and the write of a patch */
    rc_t rc = f->held ? trial_begin(f, h, site) : hook_set(h, site, f->entry, false);
    (void)sys_signals_set(mask);
    return rc;
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
    if (!adopt_alone())
        return false;
    poke_set_alone(true);
    uint64_t mask = sys_signals_set(~0ULL);
    hook_each(hook_take_out, &all);
    (void)sys_signals_set(mask);
    if (!all)
        return false;
    decode_set_overlay(NULL);
    trial_forget();
    arena_reset(&hooks);
    site_forget();
    return true;
}

uint64_t adopt_hooks(void)
{
    struct hook_counts c = hook_counts_get();
    return (uint64_t)c.live[TACTIC_LONG] + c.live[TACTIC_PUN] + c.live[TACTIC_SEVERAL];
}
