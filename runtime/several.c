#include "runtime/several.h"

#include "fragcache/cache.h"
#include "fragcache/poke.h"
#include "runtime/adopt.h"
#include "runtime/base/sys.h"
#include "runtime/dispatch.h"
#include "runtime/thread.h"

static struct {
    bool wanted, on, over, stuck, forking; /* stuck: the lock was not to be had */
    bool begun, strangers; /* there is a thread of that kind, perhaps since before several_init */
    int texts; /* calls that change text and have not returned */
} se AT_START;

static __thread struct {
    int texts;
    int forks; /* within each other, by signal handlers, that have the lock */
    bool forks_unlocked;
} own __attribute__((tls_model("initial-exec")));

/* Signals blocked: nothing may be made between the withdrawal of what was made alone and the end of this. */
static void begin(void)
{
    uint64_t mask = sys_signals_set(~0ULL);
    if (!se.on) {
        dispatch_no_longer_alone();
        code_set_way(CODE_WAY_PAGE);
        poke_set_alone(false);
        poke_set_traps(false);
        fc_set_several(true);
        se.on = true;
    }
    thread_others_come();
    (void)sys_signals_set(mask);
}

void several_init(bool wanted)
{
    se.wanted = wanted && !se.strangers && code_way_get() != CODE_WAY_MEM;
    if (se.begun && se.wanted)
        begin();
}

bool several_now(void) { return se.on; }

static void abandon(void) { __atomic_store_n(&se.over, true, __ATOMIC_SEQ_CST); }

bool several_begin(void)
{
    bool known = se.begun || !se.wanted || adopt_alone();
    se.begun = true;
    if (!known)
        several_strangers();
    if (!se.wanted)
        return false;
    begin();
    return true;
}

void several_strangers(void)
{
    if (se.on && !se.over) {
        several_text_begins();
        (void)dispatch_text_changes(0, UINT64_MAX);
        abandon();
        several_text_ends();
    }
    se.wanted = false;
    se.strangers = true;
}

void several_text_begins(void)
{
    if (!se.on)
        return;
    own.texts++;
    __atomic_fetch_add(&se.texts, 1, __ATOMIC_SEQ_CST);
}

void several_text_ends(void)
{
    if (!own.texts)
        return; /* it was alone when the call began */
    own.texts--;
    __atomic_fetch_sub(&se.texts, 1, __ATOMIC_SEQ_CST);
}

bool several_waits(void) { return se.over || __atomic_load_n(&se.texts, __ATOMIC_SEQ_CST); }
bool several_is_over(void) { return __atomic_load_n(&se.over, __ATOMIC_RELAXED); }

/* Who takes the lock after this sees that text is changing. A fork's holder only waits, perhaps for locks of an allocator that is
 * about to unmap memory. */
bool several_rests(void) { return thread_lock_is_free() || __atomic_load_n(&se.forking, __ATOMIC_SEQ_CST); }

bool several_lock(void)
{
    if (thread_lock_native(!se.stuck))
        return true;
    se.stuck = true;
    abandon();
    return false;
}

void several_fork_begins(void)
{
    if (!se.on)
        return;
    if (!thread_lock_native(!se.stuck)) {
        own.forks_unlocked = true;
        return;
    }
    own.forks++;
    __atomic_store_n(&se.forking, true, __ATOMIC_SEQ_CST);
}

void several_fork_ends(bool child)
{
    if (child && own.forks_unlocked) { /* somebody was changing what the child has a copy of */
        abandon();
        se.stuck = false;
        thread_lock_reset();
    }
    if (child)
        se.texts = own.texts;
    own.forks_unlocked = false;
    if (!own.forks)
        return;
    if (!--own.forks)
        __atomic_store_n(&se.forking, false, __ATOMIC_SEQ_CST);
    thread_unlock_native();
}
