#include "runtime/signals.h"

#include <asm/sigcontext.h>
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <asm/ucontext.h>

#include "fragcache/recover.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/control.h"
#include "runtime/dispatch.h"
#include "runtime/slice.h"
#include "tracer/block.h"

#define SIGNALS 65
#define BIT(sig) (1ULL << ((sig) - 1))
#define FAULTS (BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGFPE) | BIT(SIGILL) | BIT(SIGTRAP))
#define XFEATURE_SSE 2u /* SDM volume 1, 13.1 */
#define LAST_CONSTANT 2 /* SIG_DFL, SIG_IGN, SIG_HOLD */

typedef void handler_fn(int sig, siginfo_t *info, void *context);

static handler_fn *handlers[SIGNALS][2];

static __thread struct {
    bool held; /* between signals_hold and signals_leave */
    bool deferred; /* something waits: until signals_leave every signal is blocked, the program's mask is `mask` */
    uint64_t mask;
    const struct cpu_ctx *leaving;
} own __attribute__((tls_model("initial-exec")));

extern REH_HIDDEN const char __ehdr_start[], etext[]; /* ld: our own text */

bool signals_is_ours(uint64_t pc)
{
    uint64_t start = (uint64_t)(uintptr_t)__ehdr_start;
    return pc - start < (uint64_t)(uintptr_t)etext - start;
}

void signals_state_get(const struct sigcontext *sc, struct cpu_state *s)
{
    const uint64_t gpr[16] = {sc->rax, sc->rcx, sc->rdx, sc->rbx, sc->rsp, sc->rbp, sc->rsi, sc->rdi,
                              sc->r8,  sc->r9,  sc->r10, sc->r11, sc->r12, sc->r13, sc->r14, sc->r15};
    mem_copy(s->gpr, gpr, sizeof gpr);
    s->rflags = sc->eflags;
    s->pc = sc->rip;
    s->vectors = 0;
}

/* Where the kernel keeps xmm `n` and restores it from (SDM volume 1, 10.5.1.2 and 13.4). NULL: nowhere. */
static struct vector16 *vector_of(const struct sigcontext *sc, unsigned n)
{
    struct _fpstate_64 *fp = (struct _fpstate_64 *)(uintptr_t)sc->fpstate;
    if (!fp)
        return NULL;
    if (fp->sw_reserved.magic1 == FP_XSTATE_MAGIC1)
        ((struct _xstate *)fp)->xstate_hdr.xfeatures |= XFEATURE_SSE;
    return (struct vector16 *)((uint8_t *)fp->xmm_space + sizeof(struct vector16) * n);
}

static void vectors_get(const struct sigcontext *sc, uint32_t mask, struct cpu_state *s)
{
    s->vectors = mask;
    for (unsigned i = 0; i < VECTOR_COUNT; i++) {
        const struct vector16 *v = mask & 1u << REG_VECTOR(VECTOR_FIRST + i) ? vector_of(sc, VECTOR_FIRST + i) : NULL;
        s->vector[i] = v ? *v : (struct vector16){0, 0};
    }
}

static void vectors_put(const struct sigcontext *sc, const struct cpu_state *s)
{
    for (unsigned i = 0; i < VECTOR_COUNT; i++) {
        struct vector16 *v = s->vectors & 1u << REG_VECTOR(VECTOR_FIRST + i) ? vector_of(sc, VECTOR_FIRST + i) : NULL;
        if (v)
            *v = s->vector[i];
    }
}

static bool same_state(const struct cpu_state *a, const struct cpu_state *b)
{
    bool same = mem_compare(a->gpr, b->gpr, sizeof a->gpr) == 0 && a->rflags == b->rflags && a->pc == b->pc;
    for (unsigned i = 0; i < VECTOR_COUNT; i++)
        if (b->vectors & 1u << REG_VECTOR(VECTOR_FIRST + i))
            same &= a->vector[i].low == b->vector[i].low && a->vector[i].high == b->vector[i].high;
    return same;
}

void signals_state_put(struct sigcontext *sc, const struct cpu_state *s)
{
    uint64_t *const gpr[16] = {
        (uint64_t *)&sc->rax, (uint64_t *)&sc->rcx, (uint64_t *)&sc->rdx, (uint64_t *)&sc->rbx,
        (uint64_t *)&sc->rsp, (uint64_t *)&sc->rbp, (uint64_t *)&sc->rsi, (uint64_t *)&sc->rdi,
        (uint64_t *)&sc->r8,  (uint64_t *)&sc->r9,  (uint64_t *)&sc->r10, (uint64_t *)&sc->r11,
        (uint64_t *)&sc->r12, (uint64_t *)&sc->r13, (uint64_t *)&sc->r14, (uint64_t *)&sc->r15};
    for (int i = 0; i < 16; i++)
        *gpr[i] = s->gpr[i];
    sc->eflags = s->rflags;
    sc->rip = s->pc;
    vectors_put(sc, s);
}

static struct sigcontext *registers_of(void *context)
{
    return (struct sigcontext *)&((struct ucontext *)context)->uc_mcontext;
}

/* Slots other than ctx: what stopped code of ours may still need (SIG-3). */
static void call_keeping_slots(handler_fn *handler, int sig, siginfo_t *info, void *context)
{
    struct tls_slots *slots = control_slots(), kept = *slots;
    handler(sig, info, context);
    kept.ctx = slots->ctx;
    *slots = kept;
}

/* The thread goes on natively where the frame says. It was in program code, where only a slice holds the lock. */
static void leave_control(void *context)
{
    struct tls_slots *slots = control_slots();
    struct thread *t = (struct thread *)slots->ctx; /* the context is its first member */
    slots->ctx = NULL;
    if (!own.held) {
        thread_gone(t);
        return;
    }
    t->rec.active = false;
    thread_unlock(t, THREAD_NATIVE);
    if (own.deferred)
        *(uint64_t *)&((struct ucontext *)context)->uc_sigmask = own.mask;
    own.held = own.deferred = false;
    siginfo_t tick; /* as if the timer had sent it: its handler arms the next one */
    mem_zero(&tick, sizeof tick);
    tick.si_signo = SLICE_SIGNAL;
    tick.si_code = SI_TIMER;
    (void)sys_call6(__NR_rt_tgsigqueueinfo, sys_getpid(), sys_gettid(), SLICE_SIGNAL, (long)&tick, 0, 0);
}

/* control=full, in a copy or fragment: the handler looks at the program's state, the thread stays where it is. */
static void call_with_view(handler_fn *handler, int sig, siginfo_t *info, void *context, struct cpu_state *native)
{
    struct sigcontext *sc = registers_of(context);
    struct cpu_state before, after;
    signals_state_get(sc, &before);
    vectors_get(sc, native->vectors, &before);
    signals_state_put(sc, native);
    handler(sig, info, context);
    signals_state_get(sc, &after);
    vectors_get(sc, native->vectors, &after);
    if (same_state(&after, native))
        signals_state_put(sc, &before);
    else
        leave_control(context);
}

static void on_signal_0(int sig, siginfo_t *info, void *context);
static void on_signal_1(int sig, siginfo_t *info, void *context);

static int entry_index(uint64_t pc)
{
    return pc == (uint64_t)(uintptr_t)on_signal_0 ? 0 : pc == (uint64_t)(uintptr_t)on_signal_1 ? 1 : -1;
}

enum arrival { ARRIVED, ARRIVED_INSIDE, ARRIVED_IN_CONTROL, ARRIVED_EARLY };

static bool is_fault(int sig, const siginfo_t *info)
{
    bool may_be = sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL || sig == SIGTRAP;
    return may_be && info->si_code > 0;
}

/* False when the kernel has reset the handler, as SA_RESETHAND says. */
static bool is_installed(int sig)
{
    uint64_t installed[4] = {0};
    (void)sys_call6(__NR_rt_sigaction, sig, 0, (long)installed, 8, 0, 0);
    return entry_index(installed[0]) >= 0;
}

/* Blocks everything until the slice ends, and queues the signal again. */
static bool defer(int sig, siginfo_t *info, struct ucontext *uc)
{
    uint64_t mask = *(const uint64_t *)&uc->uc_sigmask;
    if (!is_installed(sig))
        return false;
    uint64_t handlers_own = sys_signals_set(~0ULL);
    if (sys_call6(__NR_rt_tgsigqueueinfo, sys_getpid(), sys_gettid(), sig, (long)info, 0, 0) < 0) {
        (void)sys_signals_set(handlers_own);
        return false;
    }
    own.mask = mask; /* of several that arrived at once, the frame below the others comes last */
    own.deferred = true;
    *(uint64_t *)&uc->uc_sigmask = mask | ~FAULTS;
    return true;
}

/* void signals_unblock(const uint64_t *mask, uint64_t sp): sets the signal mask with rsp = sp, where signals that were
 * blocked build their frames. Nothing is written there. */
__asm__(".text\n"
        ".type signals_unblock, @function\n"
        "signals_unblock:\n"
        "    push %rbx\n"
        "    mov %rsp, %rbx\n"
        "    mov %rsi, %rsp\n"
        "    mov %rdi, %rsi\n"
        "    mov $2, %edi\n" /* SIG_SETMASK */
        "    xor %edx, %edx\n"
        "    mov $8, %r10d\n"
        "    mov $14, %eax\n" /* rt_sigprocmask */
        "    syscall\n"
        "signals_unblocked:\n"
        "    mov %rbx, %rsp\n"
        "    pop %rbx\n"
        "    ret\n"
        ".size signals_unblock, . - signals_unblock\n");
REH_HIDDEN void signals_unblock(const uint64_t *mask, uint64_t sp);
extern REH_HIDDEN const char signals_unblocked[];

/* On the stack that the runtime works on for the thread with this context. */
static bool on_own_stack(const struct cpu_ctx *ctx, const struct sigcontext *sc)
{
    return ctx && ((const struct thread *)ctx)->stack_top - sc->rsp <= THREAD_STACK_BYTES; /* the context comes first */
}

/* On its way out of the runtime: everything about the program is in its context. */
static bool is_leaving(const struct sigcontext *sc)
{
    return own.leaving && (sc->rip == (uint64_t)(uintptr_t)signals_unblocked || on_own_stack(own.leaving, sc));
}

static bool recover_copy(struct cpu_state *s)
{
    struct app_pc native;
    if (!own.held && !thread_lock_try()) /* a slice has it */
        return false;
    bool found = block_recover(s->pc, s->gpr, control_slots(), &native);
    if (!own.held)
        thread_lock_drop();
    if (found)
        s->pc = native.v;
    return found;
}

/* In a slice. */
static enum arrival arrive_held(int sig, siginfo_t *info, void *context, struct cpu_state *native)
{
    if (!is_fault(sig, info))
        return defer(sig, info, context) ? ARRIVED_EARLY : ARRIVED_INSIDE;
    if (signals_is_ours(native->pc) || !recover_copy(native))
        return ARRIVED_INSIDE;
    leave_control(context);
    signals_state_put(registers_of(context), native);
    return ARRIVED;
}

/* In a thread that runs natively. */
static enum arrival arrive_natively(void *context, struct cpu_state *native)
{
    struct sigcontext *sc = registers_of(context);
    const struct cpu_ctx *leaving = signals_is_ours(native->pc) && is_leaving(sc) ? own.leaving : NULL;
    int entry = entry_index(native->pc);
    own.leaving = NULL; /* the handler may run on the same stack */
    if (leaving) {
        mem_copy(native->gpr, leaving->gpr, sizeof native->gpr);
        native->rflags = leaving->rflags;
        native->pc = control_slots()->target;
        (void)fc_recover(native, control_slots()); /* a slice that began in a gate ends there */
    } else if (entry >= 0 && sc->rdi < SIGNALS) { /* another signal had just arrived: at the program's handler */
        struct cpu_state other;
        signals_state_get(registers_of((void *)sc->rdx), &other);
        if (arrive_natively((void *)sc->rdx, &other) == ARRIVED_INSIDE)
            return ARRIVED_INSIDE;
        native->pc = (uint64_t)(uintptr_t)handlers[sc->rdi][entry];
    } else if (signals_is_ours(native->pc)) {
        return ARRIVED_INSIDE;
    } else if (!fc_recover(native, control_slots())) {
        return ARRIVED;
    }
    signals_state_put(sc, native);
    return ARRIVED;
}

/* Makes the frame the program's; says what is left to do. */
static __attribute__((noinline)) enum arrival arrive(int sig, siginfo_t *info, void *context, struct cpu_state *native)
{
    signals_state_get(registers_of(context), native);
    bool again = is_fault(sig, info) && fc_faults_again(native->pc) && is_installed(sig);
    if (!dispatch_in_control()) {
        enum arrival how = arrive_natively(context, native);
        return again ? ARRIVED_EARLY : how;
    }
    if (own.held)
        return arrive_held(sig, info, context, native);
    if (signals_is_ours(native->pc) || on_own_stack(control_slots()->ctx, registers_of(context))) /* the decoder, too */
        return ARRIVED_INSIDE;
    if (!code_region_find(native->pc))
        return ARRIVED; /* a handler that jumped out took the thread with it */
    if (again && fc_recover(native, control_slots())) {
        leave_control(context);
        signals_state_put(registers_of(context), native);
        return ARRIVED_EARLY;
    }
    return fc_recover(native, control_slots()) || recover_copy(native) ? ARRIVED_IN_CONTROL : ARRIVED_INSIDE;
}

/* Out of line, so that on_signal has no frame of its own. */
static __attribute__((noinline)) bool called(handler_fn *handler, int sig, siginfo_t *info, void *context)
{
    struct cpu_state native;
    switch (arrive(sig, info, context, &native)) {
    case ARRIVED: return false;
    case ARRIVED_INSIDE: call_keeping_slots(handler, sig, info, context); break;
    case ARRIVED_EARLY: break;
    case ARRIVED_IN_CONTROL: call_with_view(handler, sig, info, context, &native); break;
    }
    return true;
}

/* The last call is a jump (SIG-2). */
static void on_signal_0(int sig, siginfo_t *info, void *context)
{
    handler_fn *handler = handlers[sig][0];
    if (!called(handler, sig, info, context))
        handler(sig, info, context);
}

static void on_signal_1(int sig, siginfo_t *info, void *context)
{
    handler_fn *handler = handlers[sig][1];
    if (!called(handler, sig, info, context))
        handler(sig, info, context);
}

static void *const entries[2] = {(void *)on_signal_0, (void *)on_signal_1};

void *signals_wrap(int sig, void *handler)
{
    uint64_t installed[4] = {0}; /* the kernel's struct sigaction: handler, flags, restorer, mask */
    bool wanted = slice_active() || dispatch_in_control();
    if (!wanted || sig <= 0 || sig >= SIGNALS || (uintptr_t)handler <= LAST_CONSTANT || handler == (void *)-1L ||
        handler == entries[0] || handler == entries[1])
        return handler;
    (void)sys_call6(__NR_rt_sigaction, sig, 0, (long)installed, 8, 0, 0);
    int next = installed[0] == (uint64_t)(uintptr_t)entries[0];
    __atomic_store_n(&handlers[sig][next], (handler_fn *)handler, __ATOMIC_RELEASE);
    return entries[next];
}

void *signals_unwrap(int sig, void *installed)
{
    for (int i = 0; i < 2; i++)
        if (installed == entries[i] && sig > 0 && sig < SIGNALS)
            return (void *)handlers[sig][i];
    return installed;
}

void signals_wrap_installed(int sig)
{
    uint64_t installed[4] = {0}; /* handler, flags, restorer, mask */
    if (sig == SLICE_SIGNAL || sys_call6(__NR_rt_sigaction, sig, 0, (long)installed, 8, 0, 0) < 0)
        return;
    void *handler = (void *)(uintptr_t)installed[0], *wrapped = signals_wrap(sig, handler);
    if (wrapped == handler)
        return;
    installed[0] = (uint64_t)(uintptr_t)wrapped;
    if (installed[1] & SA_ONSTACK)
        installed[3] |= BIT(SLICE_SIGNAL);
    (void)sys_call6(__NR_rt_sigaction, sig, (long)installed, 0, 8, 0, 0);
}

void signals_wrap_all(void)
{
    for (int sig = 1; sig < SIGNALS; sig++)
        signals_wrap_installed(sig);
}

void signals_hold(void) { own.held = true; }

void signals_block(uint64_t *mask)
{
    own.mask = *mask;
    own.deferred = true;
    *mask |= ~FAULTS;
}

void signals_leave(const struct cpu_ctx *ctx)
{
    own.held = false;
    own.leaving = ctx;
    if (!own.deferred)
        return;
    own.deferred = false;
    signals_unblock(&own.mask, ctx->gpr[R_RSP]);
}
