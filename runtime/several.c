#include "runtime/several.h"

#include "fragcache/cache.h"
#include "fragcache/poke.h"
#include "runtime/dispatch.h"
#include "runtime/thread.h"

static struct {
    bool wanted, on, abandoned, forking;
    bool begun, strangers; /* there is a thread of that kind, perhaps since before several_init */
    int texts; /* calls that change text and have not returned */
} se AT_START;

static __thread struct {
    int texts;
    bool forks_locked, forks_unlocked;
} own __attribute__((tls_model("initial-exec")));

void several_init(bool wanted)
{
    se.wanted = wanted && !se.strangers && code_way_get() != CODE_WAY_MEM;
    if (se.begun)
        (void)several_begin();
}

bool several_now(void) { return se.on; }

bool several_begin(void)
{
    se.begun = true;
    if (!se.wanted)
        return false;
    if (!se.on) {
        dispatch_no_longer_alone();
        code_set_way(CODE_WAY_PAGE);
        poke_set_alone(false);
        poke_set_traps(false);
        fc_set_several(true);
        se.on = true;
    }
    thread_others_come();
    return true;
}

void several_strangers(void)
{
    if (se.on) {
        se.abandoned = true;
        (void)dispatch_text_changes(0, UINT64_MAX);
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

bool several_waits(void) { return se.abandoned || __atomic_load_n(&se.texts, __ATOMIC_SEQ_CST); }
bool several_is_over(void) { return se.abandoned; }

/* Who takes the lock after this sees that text is changing. A fork's holder only waits, perhaps for locks of an allocator that is
 * about to unmap memory. */
bool several_rests(void) { return thread_lock_is_free() || __atomic_load_n(&se.forking, __ATOMIC_SEQ_CST); }

void several_abandon(void) { se.abandoned = true; }

void several_fork_begins(void)
{
    own.forks_locked = se.on && thread_lock_native();
    own.forks_unlocked = se.on && !own.forks_locked;
    if (own.forks_locked)
        __atomic_store_n(&se.forking, true, __ATOMIC_SEQ_CST);
}

void several_fork_ends(bool child)
{
    if (child && own.forks_unlocked)
        se.abandoned = true; /* somebody was changing what the child has a copy of */
    if (child)
        se.texts = own.texts;
    if (own.forks_locked || (child && se.on))
        __atomic_store_n(&se.forking, false, __ATOMIC_SEQ_CST);
    if (own.forks_locked)
        thread_unlock_native();
    own.forks_locked = own.forks_unlocked = false;
}
