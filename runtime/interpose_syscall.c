/* syscall(3) and clone(3): what the program does by them is what it does by the libc functions that interpose.c and
 * interpose_memory.c define.
 *
 *   syscall(n, ...) --n is not in `watched`----------------------------> the next definition, all registers as they were
 *                   --watched--> watch --nothing, or it is withdrawn---> the next definition
 *                                      --the call was made------------->  returns its result
 *
 * Both are callable by threads without libc's thread block, and before our constructor: the way past uses no memory but
 * two words of ours. Until the constructor has found the next definition, syscall(3) is made as glibc makes it. */
#include <asm/mman.h>
#include <asm/prctl.h>
#include <asm/signal.h>
#include <asm/unistd.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>

#include "fragcache/poke.h"
#include "runtime/base/sys.h"
#include "runtime/interpose.h"
#include "runtime/slice.h"
#include "runtime/syscalls.h"

#define OURS (1ULL << (SLICE_SIGNAL - 1))
#define WORD(n) ((n) / 64)
#define BIT(n, word) ((n) / 64 == (word) ? 1ULL << (n) % 64 : 0)
#define WATCHED(w)                                                                                                          \
    (BIT(__NR_mmap, w) | BIT(__NR_mprotect, w) | BIT(__NR_munmap, w) | BIT(__NR_rt_sigaction, w) |                          \
     BIT(__NR_rt_sigprocmask, w) | BIT(__NR_mremap, w) | BIT(__NR_shmat, w) | BIT(__NR_clone, w) | BIT(__NR_fork, w) |       \
     BIT(__NR_rt_sigtimedwait, w) | BIT(__NR_prctl, w) | BIT(__NR_arch_prctl, w) | BIT(__NR_remap_file_pages, w) |           \
     BIT(__NR_signalfd, w) | BIT(__NR_signalfd4, w) | BIT(__NR_seccomp, w) | BIT(__NR_pkey_mprotect, w) |                   \
     BIT(__NR_clone3, w) | BIT(__NR_madvise, w))

/* A bit for each system call that is looked at. */
REH_HIDDEN const uint64_t syscall_watched[WORD(__NR_clone3) + 1] = {WATCHED(0), WATCHED(1), WATCHED(2), WATCHED(3),
                                                                    WATCHED(4), WATCHED(5), WATCHED(6)};

typedef long syscall_fn(long nr, long a, long b, long c, long d, long e, long f);
REH_HIDDEN void syscall_direct(void);
REH_HIDDEN void *syscall_next = (void *)syscall_direct;
REH_HIDDEN AT_START void *clone_next;
static AT_START void *fork_next;
REH_HIDDEN extern const char syscall_name[], clone_name[], fork_name[];

struct watched {
    long made, result; /* made: the call, with this result */
};
REH_HIDDEN struct watched syscall_watch(long nr, long a, long b, long c, long d, long e, long f);
REH_HIDDEN void clone_watch(long flags);

/* Those of a variadic function: al says how many vector registers it was given. Seven words. */
#define ARGUMENTS_SAVE                                                                                                      \
    "  push %rax\n push %rdi\n push %rsi\n push %rdx\n push %rcx\n push %r8\n push %r9\n"
#define ARGUMENTS_RESTORE                                                                                                   \
    "  pop %r9\n pop %r8\n pop %rcx\n pop %rdx\n pop %rsi\n pop %rdi\n pop %rax\n"

/* syscall(3): rdi the number, rsi, rdx, rcx, r8, r9 and 8(%rsp) its arguments. */
__asm__(".weak __errno_location\n"
        ".text\n"
        ".globl syscall\n"
        ".type syscall, @function\n"
        "syscall:\n"
        "    cmp $447, %rdi\n" /* sizeof syscall_watched, in bits, less one */
        "    ja 1f\n"
        "    bt %rdi, syscall_watched(%rip)\n"
        "    jc 2f\n"
        "1:  jmp *syscall_next(%rip)\n"
        "2:" ARGUMENTS_SAVE
        "    sub $8, %rsp\n"
        "    push 72(%rsp)\n" /* the sixth argument: behind eight words and the return address */
        "    call syscall_watch\n"
        "    add $16, %rsp\n"
        "    test %rax, %rax\n"
        "    jnz 3f\n"
        ARGUMENTS_RESTORE
        "    jmp 1b\n"
        "3:  mov %rdx, %rax\n"
        "    add $56, %rsp\n"
        "    ret\n"
        ".size syscall, . - syscall\n"
        ".type syscall_direct, @function\n"
        "syscall_direct:\n"
        "    mov %rdi, %rax\n"
        "    mov %rsi, %rdi\n"
        "    mov %rdx, %rsi\n"
        "    mov %rcx, %rdx\n"
        "    mov %r8, %r10\n"
        "    mov %r9, %r8\n"
        "    mov 8(%rsp), %r9\n"
        "    syscall\n"
        "    cmp $-4095, %rax\n"
        "    jae 1f\n"
        "    ret\n"
        "1:  neg %eax\n"
        "    push %rax\n"
        "    call *__errno_location@GOTPCREL(%rip)\n"
        "    pop %rcx\n"
        "    mov %ecx, (%rax)\n"
        "    mov $-1, %rax\n"
        "    ret\n"
        ".size syscall_direct, . - syscall_direct\n"
        /* clone(3): rdi the function, rsi its stack, edx flags */
        ".globl clone\n"
        ".type clone, @function\n"
        "clone:\n"
        ARGUMENTS_SAVE
        "    movslq %edx, %rdi\n"
        "    call clone_watch\n"
        ARGUMENTS_RESTORE
        "    cmpq $0, clone_next(%rip)\n"
        "    je 1f\n"
        "    jmp *clone_next(%rip)\n"
        "1:  mov $-1, %eax\n"
        "    ret\n"
        ".size clone, . - clone\n"
        "syscall_name: .asciz \"syscall\"\n" /* here, and not on a page that nothing else at the start would touch */
        "clone_name: .asciz \"clone\"\n"
        "fork_name: .asciz \"_Fork\"\n");

_Static_assert(sizeof syscall_watched * 8 == 448, "the bound in the code");

void interpose_syscall_init(void)
{
    void *p = dlsym ? dlsym(RTLD_NEXT_, syscall_name) : NULL;
    if (p)
        syscall_next = p;
    clone_next = dlsym ? dlsym(RTLD_NEXT_, clone_name) : NULL;
    fork_next = dlsym ? dlsym(RTLD_NEXT_, fork_name) : NULL;
}

/* No slice comes until the thread is there to be seen; nor is there one while a forked child's parent waits for it. */
static void expect_thread(uint64_t flags)
{
    if (!(flags & CLONE_VM) || (flags & CLONE_VFORK))
        return;
    event_thread(false);
    slice_postpone();
}

void clone_watch(long flags)
{
    if (slice_active() && syscall_thread_has_libc())
        expect_thread((uint64_t)flags);
}

static void expect_shared(void)
{
    event_shared();
    slice_postpone();
}

/* With one argument that points to a signal set, a copy without our signal is passed on. */
static struct watched without_ours(const long *arg, int which)
{
    uint64_t set;
    long a[6] = {arg[1], arg[2], arg[3], arg[4], arg[5], arg[6]};
    if (!syscall_read_word((uint64_t)a[which], &set) || !(set & OURS))
        return (struct watched){0};
    set &= ~OURS;
    a[which] = (long)&set;
    long rc = ((syscall_fn *)syscall_next)(arg[0], a[0], a[1], a[2], a[3], a[4], a[5]);
    return (struct watched){true, rc};
}

static struct watched set_mask(const long *arg)
{
    long rc = ((syscall_fn *)syscall_next)(arg[0], arg[1], arg[2], arg[3], arg[4], arg[5], arg[6]);
    if (rc == 0) /* so the sets could be read and written */
        event_mask_set((int)arg[1], (const uint64_t *)arg[2], (uint64_t *)arg[3]);
    return (struct watched){true, rc};
}

static struct watched fork_or_thread(const long *arg)
{
    struct clone_ask ask = syscall_clone_ask((uint64_t)arg[0], (uint64_t)arg[1], (uint64_t)arg[2]);
    expect_thread(ask.flags);
    if ((ask.flags & CLONE_VM) || ask.stack)
        return (struct watched){0};
    slice_fork_begins();
    long rc = ((syscall_fn *)syscall_next)(arg[0], arg[1], arg[2], arg[3], arg[4], arg[5], arg[6]);
    if (rc == 0)
        slice_forked();
    else
        slice_fork_ends();
    return (struct watched){true, rc};
}

/* fork without its handlers, of which ours is one (glibc 2.34). */
EXPORT int _Fork(void);
int _Fork(void)
{
    int (*real)(void) = (int (*)(void))fork_next;
    bool ours = slice_active();
    if (ours)
        slice_fork_begins();
    int rc = real ? real() : (int)sys_call3(__NR_fork, 0, 0, 0);
    if (ours && rc == 0)
        slice_forked();
    else if (ours)
        slice_fork_ends();
    return rc;
}

/* What an event_text was told of is done. */
static struct watched change_text(const long *arg, int events)
{
    long rc = ((syscall_fn *)syscall_next)(arg[0], arg[1], arg[2], arg[3], arg[4], arg[5], arg[6]);
    while (events--)
        event_text_done();
    return (struct watched){true, rc};
}

static bool forbids_calls(long nr, long a, long b, long c)
{
    switch (nr) {
    case __NR_prctl: return a == PR_SET_SECCOMP && (b != SECCOMP_MODE_FILTER || c);
    case __NR_seccomp: return (a == SECCOMP_SET_MODE_STRICT && !b) || (a == SECCOMP_SET_MODE_FILTER && c);
    default: return false;
    }
}

struct watched syscall_watch(long nr, long a, long b, long c, long d, long e, long f)
{
    const long arg[] = {nr, a, b, c, d, e, f};
    if (!slice_active() || !syscall_thread_has_libc())
        return (struct watched){0};
    if (forbids_calls(nr, a, b, c))
        event_give_up(RC_SANDBOX);
    switch (nr) {
    case __NR_mmap:
        if ((d & MAP_SHARED) && (c & PROT_READ))
            expect_shared();
        if (!(d & MAP_FIXED))
            break;
        event_text(a, (size_t)b);
        return change_text(arg, 1);
    case __NR_mremap:
        event_text(a, (size_t)b);
        if (d & MREMAP_FIXED)
            event_text(e, (size_t)c);
        return change_text(arg, d & MREMAP_FIXED ? 2 : 1);
    case __NR_munmap:
    case __NR_mprotect:
    case __NR_pkey_mprotect:
    case __NR_remap_file_pages: event_text(a, (size_t)b); return change_text(arg, 1);
    case __NR_madvise:
        if (!poke_next_replaced((uint64_t)a, (uint64_t)a + (uint64_t)b))
            break;
        return (struct watched){true, madvise((void *)a, (size_t)b, (int)c)};
    case __NR_shmat: expect_shared(); break;
    case __NR_clone:
    case __NR_clone3:
    case __NR_fork: return fork_or_thread(arg);
    case __NR_arch_prctl:
        if (a == ARCH_SET_FS) /* the slots of exits are found through it */
            event_give_up(RC_TLS_CHANGED);
        break;
    case __NR_rt_sigaction:
        if (a == SLICE_SIGNAL) /* the kernel's own record, which is ours, is about to be seen or changed */
            event_give_up(RC_SIGNAL_WANTED);
        break;
    case __NR_rt_sigprocmask: return set_mask(arg);
    case __NR_rt_sigtimedwait: return without_ours(arg, 0);
    case __NR_signalfd:
    case __NR_signalfd4: return without_ours(arg, 1);
    default: break;
    }
    return (struct watched){0};
}
