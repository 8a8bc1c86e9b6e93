/* libc functions that the program must not use on our signal, that set handlers (signals.h), or that change text or
 * forbid system calls. Each passes on to the next definition in the search order, as if we were not there.
 *
 * The program sees its own settings: what it set for our signal is remembered and reported back, and a wait for
 * all signals does not receive ours. Runs on the program's threads as ordinary library code. */
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/time.h>

#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/interpose.h"
#include "runtime/several.h"
#include "runtime/signals.h"
#include "runtime/slice.h"

#define CANCEL_SIGNAL 32 /* glibc, internal-signals.h */
#define CANCEL_ANYWHERE 1 /* PTHREAD_CANCEL_ASYNCHRONOUS */

/* glibc's, as programs see it (bits/sigaction.h). */
struct libc_sigaction {
    void *handler;
    uint64_t mask[16];
    int flags;
    void (*restorer)(void);
};
struct libc_sigset {
    uint64_t bits[16];
};

static struct libc_sigaction theirs; /* what the program set for our signal */

static void *next_find(void **cache, const char *name)
{
    if (!*cache && dlsym)
        *cache = dlsym(RTLD_NEXT_, name);
    return *cache;
}

void event_give_up(rc_t why)
{
    static void *next;
    if (!slice_active() || !slice_give_up(why))
        return;
    int (*real)(int, const struct libc_sigaction *, struct libc_sigaction *) = next_find(&next, "sigaction");
    if (real && theirs.handler)
        (void)real(SLICE_SIGNAL, &theirs, NULL);
}

static int set_action(void **next, const char *name, int sig, const struct libc_sigaction *act,
                      struct libc_sigaction *old)
{
    if (sig == SLICE_SIGNAL && act && (uint64_t)(uintptr_t)act->handler > 1)
        event_give_up(RC_SIGNAL_WANTED);
    if (sig == SLICE_SIGNAL && slice_active()) {
        struct libc_sigaction before = theirs;
        if (act)
            theirs = *act;
        if (old)
            *old = before;
        return 0;
    }
    int (*real)(int, const struct libc_sigaction *, struct libc_sigaction *) = next_find(next, name);
    struct libc_sigaction wrapped;
    if (act) {
        wrapped = *act;
        wrapped.handler = signals_wrap(sig, act->handler);
        if (act->flags & SA_ONSTACK) /* an alternate stack may have no room for a frame of ours */
            wrapped.mask[0] |= 1ULL << (SLICE_SIGNAL - 1);
    }
    int result = real ? real(sig, act ? &wrapped : NULL, old) : -1;
    if (result == 0 && old) {
        old->handler = signals_unwrap(sig, old->handler);
        if (old->flags & SA_ONSTACK)
            old->mask[0] &= ~(1ULL << (SLICE_SIGNAL - 1));
    }
    return result;
}

static void *set_handler(void **next, const char *name, int sig, void *handler)
{
    if (sig == SLICE_SIGNAL && (uint64_t)(uintptr_t)handler > 1)
        event_give_up(RC_SIGNAL_WANTED);
    if (sig == SLICE_SIGNAL && slice_active()) {
        void *before = theirs.handler;
        theirs.handler = handler;
        return before;
    }
    void *(*real)(int, void *) = next_find(next, name);
    return real ? signals_unwrap(sig, real(sig, signals_wrap(sig, handler))) : (void *)-1L;
}

#define SETS_ACTION(name)                                                                                    \
    EXPORT int name(int sig, const struct libc_sigaction *act, struct libc_sigaction *old);                  \
    int name(int sig, const struct libc_sigaction *act, struct libc_sigaction *old)                          \
    {                                                                                                        \
        static void *next;                                                                                   \
        return set_action(&next, #name, sig, act, old);                                                      \
    }
#define SETS_HANDLER(name)                                                                                   \
    EXPORT void *name(int sig, void *handler);                                                               \
    void *name(int sig, void *handler)                                                                       \
    {                                                                                                        \
        static void *next;                                                                                   \
        return set_handler(&next, #name, sig, handler);                                                      \
    }
/* Each enters libc on its own: what it calls inside is not this one. */
SETS_ACTION(sigaction)
SETS_ACTION(__sigaction)
SETS_HANDLER(signal)
SETS_HANDLER(bsd_signal)
SETS_HANDLER(ssignal)
SETS_HANDLER(sysv_signal)
SETS_HANDLER(__sysv_signal)
SETS_HANDLER(sigset)

static const struct libc_sigset *without_ours(const struct libc_sigset *set, struct libc_sigset *copy)
{
    if (!set || !slice_active())
        return set;
    copy->bits[0] = set->bits[0] & ~(1ULL << (SLICE_SIGNAL - 1)); /* the kernel reads no more than one word */
    return copy;
}

/* Ours is never blocked: a signal that waits would end the next sigsuspend, ppoll, pselect or epoll_pwait. The program
 * reads back what it set. */
static __thread bool theirs_blocked __attribute__((tls_model("initial-exec")));

/* The kernel's part is done with `set`, but that ours is not blocked. */
static void mask_note(int how, const uint64_t *set, uint64_t *old)
{
    const uint64_t ours = 1ULL << (SLICE_SIGNAL - 1);
    bool wanted = set && (*set & ours), blocked = theirs_blocked;
    if (set)
        theirs_blocked = how == SIG_SETMASK ? wanted : wanted ? how == SIG_BLOCK : blocked;
    if (old) /* blocked by us in a handler, or wanted by the program */
        *old = (*old & ~ours) | (blocked ? ours : 0);
}

void event_mask_set(int how, const uint64_t *set, uint64_t *old)
{
    uint64_t ours = 1ULL << (SLICE_SIGNAL - 1);
    if (!slice_active())
        return;
    (void)sys_call6(__NR_rt_sigprocmask, SIG_UNBLOCK, (long)&ours, 0, sizeof ours, 0, 0);
    mask_note(how, set, old);
}

bool event_mask_blocked(void) { return theirs_blocked; }

/* What attributes of threads block is not seen before. */
void event_mask_begins(bool blocked)
{
    uint64_t ours = 1ULL << (SLICE_SIGNAL - 1), before = 0;
    (void)sys_call6(__NR_rt_sigprocmask, SIG_UNBLOCK, (long)&ours, (long)&before, sizeof ours, 0, 0);
    theirs_blocked = blocked || (before & ours);
}

static int mask_set(void **next, const char *name, int how, const struct libc_sigset *set, struct libc_sigset *old)
{
    struct libc_sigset copy;
    int (*real)(int, const struct libc_sigset *, struct libc_sigset *) = next_find(next, name);
    if (!real)
        return 38;
    int rc = real(how, how == SIG_UNBLOCK ? set : without_ours(set, &copy), old);
    if (rc == 0 && slice_active())
        mask_note(how, set ? set->bits : NULL, old ? old->bits : NULL);
    return rc;
}

EXPORT int sigprocmask(int how, const struct libc_sigset *set, struct libc_sigset *old);
int sigprocmask(int how, const struct libc_sigset *set, struct libc_sigset *old)
{
    static void *next;
    return mask_set(&next, "sigprocmask", how, set, old);
}

EXPORT int pthread_sigmask(int how, const struct libc_sigset *set, struct libc_sigset *old);
int pthread_sigmask(int how, const struct libc_sigset *set, struct libc_sigset *old)
{
    static void *next;
    return mask_set(&next, "pthread_sigmask", how, set, old);
}

EXPORT int sigwait(const struct libc_sigset *set, int *sig);
int sigwait(const struct libc_sigset *set, int *sig)
{
    static void *next;
    struct libc_sigset copy;
    int (*real)(const struct libc_sigset *, int *) = next_find(&next, "sigwait");
    return real ? real(without_ours(set, &copy), sig) : 38;
}

EXPORT int sigwaitinfo(const struct libc_sigset *set, siginfo_t *info);
int sigwaitinfo(const struct libc_sigset *set, siginfo_t *info)
{
    static void *next;
    struct libc_sigset copy;
    int (*real)(const struct libc_sigset *, siginfo_t *) = next_find(&next, "sigwaitinfo");
    return real ? real(without_ours(set, &copy), info) : -1;
}

EXPORT int sigtimedwait(const struct libc_sigset *set, siginfo_t *info, const struct timespec *timeout);
int sigtimedwait(const struct libc_sigset *set, siginfo_t *info, const struct timespec *timeout)
{
    static void *next;
    struct libc_sigset copy;
    int (*real)(const struct libc_sigset *, siginfo_t *, const void *) = next_find(&next, "sigtimedwait");
    return real ? real(without_ours(set, &copy), info, timeout) : -1;
}

EXPORT int signalfd(int fd, const struct libc_sigset *set, int flags);
int signalfd(int fd, const struct libc_sigset *set, int flags)
{
    static void *next;
    struct libc_sigset copy;
    int (*real)(int, const struct libc_sigset *, int) = next_find(&next, "signalfd");
    return real ? real(fd, without_ours(set, &copy), flags) : -1;
}

/* Programs that forbid themselves system calls forbid them to us: everything is withdrawn, published and stopped first.
 * Variadic; what the caller did not pass is passed on unread. */
EXPORT int prctl(int option, long a, long b, long c, long d);
int prctl(int option, long a, long b, long c, long d)
{
    static void *next;
    if (option == PR_SET_SECCOMP && (a != SECCOMP_MODE_FILTER || b))
        event_give_up(RC_SANDBOX);
    int (*real)(int, long, long, long, long) = next_find(&next, "prctl");
    return real ? real(option, a, b, c, d) : -1;
}

/* Whom a thread is cancelled by is a handler inside libc. */
EXPORT int pthread_cancel(unsigned long thread);
int pthread_cancel(unsigned long thread)
{
    static void *next;
    static bool wrapped;
    int (*real)(unsigned long) = next_find(&next, "pthread_cancel");
    int rc = real ? real(thread) : 38;
    if (!__atomic_exchange_n(&wrapped, true, __ATOMIC_RELAXED))
        signals_wrap_installed(CANCEL_SIGNAL);
    return rc;
}

/* It may be cancelled anywhere, and unwound from there: not from code of ours. */
EXPORT int pthread_setcanceltype(int type, int *old);
int pthread_setcanceltype(int type, int *old)
{
    static void *next;
    int (*real)(int, int *) = next_find(&next, "pthread_setcanceltype");
    if (type == CANCEL_ANYWHERE && slice_active())
        several_strangers();
    return real ? real(type, old) : 38;
}

/* Text goes: what was made of it goes first. Unmapping by the loader is inside dlclose. */
EXPORT int dlclose(void *handle);
int dlclose(void *handle)
{
    static void *next;
    event_text(0, UINT64_MAX);
    int (*real)(void *) = next_find(&next, "dlclose");
    int rc = real ? real(handle) : -1;
    event_text_done();
    return rc;
}
