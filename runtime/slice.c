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
#include "runtime/timers.h"

#define SLICE_RUNS 4000u
#define SLICE_LEAST_RUNS 16u /* beyond the budget */
#define KEPT_COST 16u
#define FIRST_NS 20000000u /* short processes never see a slice */
#define LEAST_NS 1000000u
#define OTHERS_NS 100000000u /* while there are other threads */
#define WAIT_NS 10000000u /* while text changes */
#define GATHER_NS 2000000u /* while samples are wanted and come by our signal only: at the kernel's next tick */
#define BID_NS 50000000u /* of threads that are not the one that is looked at */
#define BIDS_ON_TRIAL 4 /* in a row, before a trial is given up because its thread sleeps */
#define SA_RESTORER_ 0x04000000

static struct {
    bool active;
    long pid; /* whose timers they are */
    int32_t owner; /* of all threads the one that is looked at */
    uint64_t owner_ns; /* its CPU time at its last signal */
    struct thread *thread; /* its record; NULL before its first slice */
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
    if (!sl.prepare)
        return;
    sl.prepare();
    sl.prepare = NULL;
    if (adopt_alone())
        signals_wrap_all();
}

static void arm(uint64_t ns)
{
    if (sys_getpid() != sl.pid || !timers_mine())
        return;
    if (!timers_arm(ns))
        give_up(RC_NO_SAMPLING);
}

void slice_stop(void)
{
    uint64_t mask = sys_signals_set(~0ULL); /* no slice may begin in here */
    bool locked = several_lock();
    if (locked)
        prepare_once();
    if (locked && !dispatch_in_control())
        housekeep_exit();
    if (sys_getpid() == sl.pid)
        timers_delete(); /* signals of the others are not heeded any more */
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
    bool locked = several_lock();
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

/* MAKE_THREAD_CPUCLOCK(tid, CPUCLOCK_SCHED) (Linux, posix-timers_types.h). False: there is no such thread any more. */
static bool clock_of(int32_t tid, uint64_t *ns)
{
    struct {
        int64_t sec, nsec;
    } ts;
    if (sys_call3(__NR_clock_gettime, (int32_t)(~(uint32_t)tid << 3 | 6), &ts, 0) < 0)
        return false;
    *ns = (uint64_t)ts.sec * 1000000000u + (uint64_t)ts.nsec;
    return true;
}

/* The calling thread is looked at, or is from now on: the one that was has ended or sleeps most of the time, or it rests and this one
 * does as much. Lock held. */
static bool is_owner(void)
{
    static __thread struct {
        int32_t owner;
        int idle; /* signals in a row at which the owner slept */
        uint64_t own_ns, owner_ns; /* at the last one */
    } seen __attribute__((tls_model("initial-exec")));
    uint64_t now = sys_clock_ns(THREAD_CPU), owner_ns = 0;
    int32_t tid = (int32_t)sys_gettid();
    if (tid == sl.owner) {
        if (now < sl.owner_ns)
            policy_moves(sl.owner_ns, now); /* another thread of that number */
        sl.owner_ns = now;
        return true;
    }
    bool lives = clock_of(sl.owner, &owner_ns);
    uint64_t own = now - seen.own_ns, theirs = owner_ns - seen.owner_ns;
    bool first = seen.owner != sl.owner;
    seen.idle = !first && theirs < own / 4 ? seen.idle + 1 : 0;
    seen.owner = sl.owner;
    seen.own_ns = now;
    seen.owner_ns = owner_ns;
    bool sleeps = seen.idle >= (policy_on_trial() ? BIDS_ON_TRIAL : 1);
    bool turn = !first && theirs / 2 < own && policy_phase(owner_ns) == PROTO_PHASE_REST;
    if (lives && !sleeps && !turn)
        return false;
    policy_moves(lives ? owner_ns : sl.owner_ns, now);
    sl.owner = tid;
    sl.owner_ns = now;
    sl.thread = NULL;
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
        if (!several_is_over())
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
    if (several_now() && !is_owner()) {
        arm(BID_NS);
        thread_lock_drop();
        return;
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
    sl.pid = sys_getpid();
    sl.owner = (int32_t)sys_gettid();
    sl.owner_ns = 0;
    return timers_make(SLICE_SIGNAL);
}

void slice_thread_starts(void)
{
    if (sl.active && several_now() && sys_getpid() == sl.pid && timers_make(SLICE_SIGNAL))
        arm(FIRST_NS);
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
    thread_forked(NULL);
    timers_forked();
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
    if (several_is_over())
        return;
    uint64_t wait = policy_slice_ends(t->slice_start, sys_clock_ns(THREAD_CPU));
    housekeep_rate(t, policy_wants_samples());
    housekeep_phase();
    arm(wait_for(wait));
}
