#include "runtime/slice.h"

#include <asm/sigcontext.h>
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <asm/ucontext.h>
#include <linux/time.h>

#include "fragcache/cache.h"
#include "fragcache/pun.h"
#include "fragcache/recover.h"
#include "runtime/adopt.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/control.h"
#include "runtime/dispatch.h"
#include "runtime/housekeep.h"
#include "runtime/policy.h"
#include "runtime/sampler.h"
#include "runtime/several.h"
#include "runtime/signals.h"
#include "runtime/stats.h"
#include "runtime/thread.h"

#define SLICE_RUNS 4000u
#define SLICE_LEAST_RUNS 16u /* beyond the budget */
#define KEPT_COST 16u
#define FIRST_NS 20000000u /* short processes never see a slice */
#define LEAST_NS 1000000u
#define OTHERS_NS 100000000u /* while there are other threads */
#define WAIT_NS 10000000u /* while text changes */
#define GATHER_NS 2000000u /* while samples are wanted and come by our signal only: at the kernel's next tick */
/* User time of the calling thread (Linux, posix-timers_types.h: MAKE_THREAD_CPUCLOCK(0, CPUCLOCK_VIRT)). Setting a timer
 * on the scheduler's clock would bring the scheduler up to date, and a short process its preemption forward. */
#define CLOCK_THREAD_USER (-3)
#define SA_RESTORER_ 0x04000000

static struct {
    bool active;
    int timer; /* of the one thread that is sampled */
    long pid; /* whose timer it is: a fork's child has none, and its own may have the same number */
    struct thread *thread; /* that is sampled; NULL before its first slice */
    void (*prepare)(void); /* NULL: done */
    bool forked; /* since the last tick */
} sl AT_START;

extern int __register_atfork(void (*)(void), void (*)(void), void (*)(void), void *) __attribute__((weak));

/* What the kernel calls and returns through; glibc's sigaction would not do, we are not linked with it. */
struct kernel_sigaction {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

__asm__(".text\n"
        ".type slice_restorer, @function\n"
        "slice_restorer:\n"
        "    mov $15, %eax\n" /* rt_sigreturn */
        "    syscall\n");
REH_HIDDEN void slice_restorer(void);

bool slice_active(void) { return sl.active; }

/* No slice will come any more, and the report says why. */
static void give_up(rc_t reason)
{
    if (stats.bailout_reason)
        return;
    stats.bailout_reason = reason;
    stats.bailout_cpu_ns = sys_clock_ns(PROCESS_CPU);
}

static void prepare_once(void)
{
    if (sl.prepare)
        sl.prepare();
    sl.prepare = NULL;
}

static void arm(uint64_t ns)
{
    struct {
        int64_t every[2], value[2];
    } when = {{0, 0}, {(int64_t)(ns / 1000000000u), (int64_t)(ns % 1000000000u)}};
    if (sys_getpid() != sl.pid)
        return;
    if (sys_call6(__NR_timer_settime, sl.timer, 0, (long)&when, 0, 0, 0) < 0)
        give_up(RC_NO_SAMPLING);
}

void slice_stop(void)
{
    uint64_t mask = sys_signals_set(~0ULL); /* no slice may begin in here */
    bool locked = thread_lock_native();
    if (locked)
        prepare_once();
    if (locked && !dispatch_in_control())
        housekeep_exit();
    if (sys_getpid() == sl.pid)
        (void)sys_call3(__NR_timer_delete, sl.timer, 0, 0);
    sl.active = false;
    if (locked)
        thread_unlock_native();
    (void)sys_signals_set(mask);
}

bool slice_give_up(rc_t why)
{
    const struct kernel_sigaction none = {0};
    if (sl.pid && sl.pid != sys_getpid())
        return false;
    uint64_t mask = sys_signals_set(~0ULL);
    bool locked = thread_lock_native();
    if (locked)
        prepare_once();
    (void)dispatch_text_changes(0, UINT64_MAX);
    give_up(why);
    sl.active = false; /* for other threads' ticks */
    if (locked)
        thread_unlock_native();
    slice_stop();
    (void)sys_call6(__NR_rt_sigaction, SLICE_SIGNAL, (long)&none, 0, 8, 0, 0);
    (void)sys_signals_set(mask);
    return true;
}

void slice_postpone(void)
{
    if (sl.active && !several_now())
        arm(OTHERS_NS);
}

/* The program's own state. False: the thread is in code of ours that it is only on its way through. */
static bool state_of(const struct sigcontext *sc, struct cpu_state *c)
{
    signals_state_get(sc, c);
    return fc_recover(c, control_slots()) || (!code_region_find(sc->rip) && !near_owner(sc->rip));
}

/* Signals are samples too, if there are no others. */
static uint64_t wait_for(uint64_t ns)
{
    bool sample = sl.thread && !sl.thread->sampler.ring && policy_wants_samples();
    return sample && ns > GATHER_NS ? GATHER_NS : ns;
}

/* True when no slice is to begin now; arms the next signal. Lock held. */
static bool tick_without_slice(bool on_the_way)
{
    uint64_t wait;
    if (policy_tick(sys_clock_ns(THREAD_CPU), on_the_way, &wait))
        return false;
    arm(wait_for(wait));
    return true;
}

/* On the program's stack, all signals blocked: no more than it takes to redirect the return. */
static void on_tick(int sig, siginfo_t *info, void *context)
{
    struct ucontext *uc = context;
    struct sigcontext *sc = (struct sigcontext *)&uc->uc_mcontext;
    struct cpu_state state;
    uint64_t entry, sp, arg;
    (void)sig;
    if (info->si_code != SI_TIMER || !sl.active)
        return; /* SIGURG of another origin, which is ignored where no handler is set */
    if (!thread_lock_try()) {
        arm(LEAST_NS);
        return;
    }
    if (several_now() && several_waits()) { /* SEV-4 */
        if (!several_is_over())
            arm(WAIT_NS);
        thread_lock_drop();
        return;
    }
    prepare_once();
    if (sl.forked) {
        sl.forked = false;
        sl.thread = NULL;
        policy_forked();
    }
    if (sl.thread && sys_getpid() == sl.pid)
        sampler_tick(&sl.thread->sampler, sc->rip);
    /* On the alternate stack no slice: another signal would start at its top again. */
    bool on_alternate_stack = sc->rsp - (uint64_t)uc->uc_stack.ss_sp < uc->uc_stack.ss_size;
    if (on_alternate_stack || dispatch_in_control() || signals_is_ours(sc->rip)) {
        arm(LEAST_NS);
        thread_lock_drop();
        return;
    }
    bool known = state_of(sc, &state);
    if (!several_now() && !adopt_alone()) { /* ADP-1: another thread could be in code that a slice forgets, or that a trial turns */
        dispatch_others_came();
        arm(OTHERS_NS);
    } else if (!tick_without_slice(!known)) {
        rc_t rc = dispatch_slice_begin(&state, &entry, &sp, &arg);
        if (rc == RC_OK) {
            signals_state_put(sc, &state); /* vector registers: the slice has them from the frame */
            sc->rip = entry;
            sc->rsp = sp;
            sc->rdi = arg;
            sc->eflags = 0x202;
            if (several_now())
                signals_block((uint64_t *)&uc->uc_sigmask);
            return; /* SEV-3 */
        }
        give_up(rc);
    } else if (known && policy_on_trial()) {
        signals_state_put(sc, &state); /* TRL-4 */
    }
    thread_lock_drop();
}

static bool timer_make(void)
{
    struct sigevent ev;
    mem_zero(&ev, sizeof ev);
    ev.sigev_notify = SIGEV_SIGNAL | SIGEV_THREAD_ID;
    ev.sigev_signo = SLICE_SIGNAL;
    ev._sigev_un._tid = (int)sys_gettid();
    sl.pid = sys_getpid();
    return sys_call3(__NR_timer_create, CLOCK_THREAD_USER, &ev, &sl.timer) >= 0;
}

void slice_fork_begins(void) { several_fork_begins(); }
void slice_fork_ends(void) { several_fork_ends(false); }

/* A forked child keeps the cache, but not the timer. */
void slice_forked(void)
{
    several_fork_ends(true);
    if (!sl.active || sl.pid == sys_getpid())
        return;
    sl.forked = true;
    if (timer_make())
        arm(FIRST_NS);
    else
        sl.pid = 0;
}

rc_t slice_start(void (*prepare)(void))
{
    sl.prepare = prepare;
    struct kernel_sigaction act = {on_tick, SA_SIGINFO | SA_RESTART | SA_ONSTACK | SA_RESTORER_, slice_restorer, ~0ULL};
    if (sys_call6(__NR_rt_sigaction, SLICE_SIGNAL, (long)&act, 0, 8, 0, 0) < 0)
        return RC_NO_SAMPLING;
    if (!timer_make()) {
        act = (struct kernel_sigaction){0};
        (void)sys_call6(__NR_rt_sigaction, SLICE_SIGNAL, (long)&act, 0, 8, 0, 0);
        return RC_NO_SAMPLING;
    }
    if (__register_atfork)
        (void)__register_atfork(slice_fork_begins, slice_fork_ends, slice_forked, NULL);
    sampler_expect_ticks(true);
    sl.active = true;
    arm(FIRST_NS);
    return RC_OK;
}

void slice_begins(struct thread *t)
{
    t->slice_start = sys_clock_ns(THREAD_CPU);
    t->slice_runs = policy_in_budget(t->slice_start) ? SLICE_RUNS : SLICE_LEAST_RUNS;
    sl.thread = t;
    housekeep_sample(t);
    housekeep_drain();
    policy_slice_begins();
}

bool slice_stops_at(struct thread *t, const struct block *b)
{
    bool untraced = b->kind == IK_SYSCALL || b->kind == IK_STRANGE || b->map_kind == MAP_VOLATILE ||
                    b->map_kind == MAP_NONE || b->map_kind == MAP_SELF; /* ours must see that the thread is native */
    uint64_t cost = b->fragment ? KEPT_COST : 1; /* what is known may be passed, but not looked at */
    t->slice_runs = t->slice_runs > cost ? t->slice_runs - cost : 0;
    return untraced || t->slice_runs == 0;
}

void slice_ends(struct thread *t)
{
    (void)housekeep(t);
    uint64_t wait = policy_slice_ends(t->slice_start, sys_clock_ns(THREAD_CPU));
    housekeep_rate(t, policy_wants_samples());
    housekeep_phase();
    arm(wait_for(wait));
}
