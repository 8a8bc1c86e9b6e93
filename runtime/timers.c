#include "runtime/timers.h"

#include <asm/siginfo.h>
#include <asm/signal.h>

#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

/* User time of the calling thread (Linux, posix-timers_types.h: MAKE_THREAD_CPUCLOCK(0, CPUCLOCK_VIRT)). Setting a timer
 * on the scheduler's clock would bring the scheduler up to date, and a short process its preemption forward. */
#define CLOCK_THREAD_USER (-3)
#define NONE (-1)

static struct timer {
    int32_t tid; /* 0: free */
    int id; /* the kernel's; NONE: being made */
} timers[TIMERS_MOST] AT_START;

static __thread struct timer *own __attribute__((tls_model("initial-exec")));

static bool is_alive(int32_t tid) { return sys_call3(__NR_tgkill, sys_getpid(), tid, 0) == 0; }

static bool claim(struct timer *t, int32_t from, int32_t tid)
{
    return __atomic_compare_exchange_n(&t->tid, &from, tid, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static struct timer *room_for(int32_t tid)
{
    for (int i = 0; i < TIMERS_MOST; i++)
        if (!__atomic_load_n(&timers[i].tid, __ATOMIC_RELAXED) && claim(&timers[i], 0, tid))
            return &timers[i];
    for (int i = 0; i < TIMERS_MOST; i++) {
        int32_t other = __atomic_load_n(&timers[i].tid, __ATOMIC_RELAXED);
        if (!other || is_alive(other) || !claim(&timers[i], other, tid))
            continue;
        if (timers[i].id != NONE)
            (void)sys_call3(__NR_timer_delete, timers[i].id, 0, 0);
        return &timers[i];
    }
    return NULL;
}

bool timers_make(int sig)
{
    struct sigevent ev;
    int id = NONE;
    int32_t tid = (int32_t)sys_gettid();
    struct timer *t = room_for(tid);
    if (!t)
        return false;
    t->id = NONE;
    mem_zero(&ev, sizeof ev);
    ev.sigev_notify = SIGEV_SIGNAL | SIGEV_THREAD_ID;
    ev.sigev_signo = sig;
    ev._sigev_un._tid = tid;
    if (sys_call3(__NR_timer_create, CLOCK_THREAD_USER, &ev, &id) < 0) {
        __atomic_store_n(&t->tid, 0, __ATOMIC_RELEASE);
        return false;
    }
    t->id = id;
    own = t;
    return true;
}

bool timers_mine(void) { return own != NULL; }

bool timers_arm(uint64_t ns)
{
    struct {
        int64_t every[2], value[2];
    } when = {{0, 0}, {(int64_t)(ns / 1000000000u), (int64_t)(ns % 1000000000u)}};
    return own && sys_call6(__NR_timer_settime, own->id, 0, (long)&when, 0, 0, 0) >= 0;
}

void timers_delete(void)
{
    if (!own)
        return;
    (void)sys_call3(__NR_timer_delete, own->id, 0, 0);
    __atomic_store_n(&own->tid, 0, __ATOMIC_RELEASE);
    own = NULL;
}

void timers_forked(void)
{
    mem_zero(timers, sizeof timers);
    own = NULL;
}
