#include "runtime/syscalls.h"

#include <asm/mman.h>
#include <asm/prctl.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/sched.h>

#include "runtime/base/maps.h"
#include "runtime/base/sys.h"
#include "tracer/decode.h"

bool syscall_read_word(uint64_t at, uint64_t *word) /* NOLINT(readability-non-const-parameter): the kernel writes it */
{
    struct {
        void *base;
        size_t len;
    } to = {word, sizeof *word}, from = {(void *)at, sizeof *word};
    return sys_call6(__NR_process_vm_readv, sys_getpid(), (long)&to, 1, (long)&from, 1, 0) == (long)sizeof *word;
}

static bool is_glibc(uint64_t tp)
{
    uint64_t tcb, self;
    return syscall_read_word(tp, &tcb) && syscall_read_word(tp + 16, &self) && tcb == tp && self == tp;
}

bool syscall_thread_pointer_is_glibc(const struct cpu_ctx *ctx)
{
    uint64_t tp = ctx->gpr[8]; /* of clone */
    if (ctx->gpr[R_RAX] == __NR_clone3 && !syscall_read_word(ctx->gpr[R_RDI] + offsetof(struct clone_args, tls), &tp))
        return false;
    return is_glibc(tp);
}

bool syscall_thread_has_libc(void)
{
    uint64_t tp;
    if (sys_gettid() == sys_getpid())
        return true;
    return sys_call3(__NR_arch_prctl, ARCH_GET_FS, &tp, 0) == 0 && is_glibc(tp);
}

struct clone_ask syscall_clone_ask(uint64_t nr, uint64_t a, uint64_t b)
{
    struct clone_ask ask = {0};
    switch (nr) {
    case __NR_vfork: ask.flags = CLONE_VM | CLONE_VFORK; break;
    case __NR_clone: ask = (struct clone_ask){a, b}; break;
    case __NR_clone3: /* unknown: a native child is always right */
        if (!syscall_read_word(a + offsetof(struct clone_args, flags), &ask.flags) ||
            !syscall_read_word(a + offsetof(struct clone_args, stack), &ask.stack))
            ask.flags = CLONE_VM;
        break;
    default: break;
    }
    return ask;
}

/* pthread_create and the like: a thread record of ours can be found through the new thread pointer only if
 * the loader laid out the memory it points to. */
static enum syscall_action clone_action(uint64_t flags)
{
    const uint64_t thread = CLONE_VM | CLONE_THREAD | CLONE_SETTLS;
    if ((flags & thread) == thread)
        return SYSCALL_THREAD;
    return flags & (CLONE_VM | CLONE_SETTLS) ? SYSCALL_CLONE : SYSCALL_FORK;
}

enum syscall_action syscall_before(const struct cpu_ctx *ctx)
{
    switch (ctx->gpr[R_RAX]) {
    case __NR_fork: return SYSCALL_FORK;
    case __NR_vfork:
    case __NR_clone:
    case __NR_clone3: return clone_action(syscall_clone_ask(ctx->gpr[R_RAX], ctx->gpr[R_RDI], ctx->gpr[R_RSI]).flags);
    case __NR_exit: return SYSCALL_EXIT_THREAD;
    case __NR_exit_group: return SYSCALL_EXIT;
    case __NR_seccomp: return SYSCALL_SANDBOX;
    case __NR_prctl: return ctx->gpr[R_RDI] == PR_SET_SECCOMP ? SYSCALL_SANDBOX : SYSCALL_RUN;
    case __NR_rt_sigreturn: return SYSCALL_NATIVE;
    case __NR_arch_prctl: return ctx->gpr[R_RDI] == ARCH_SET_FS ? SYSCALL_NATIVE : SYSCALL_RUN;
    default: return SYSCALL_RUN;
    }
}

static struct code_change change_of(uint64_t start, uint64_t len)
{
    struct code_change c = {start & ~4095ULL, (start + len + 4095) & ~4095ULL};
    return maps_touches_code(c.start, c.end) ? c : (struct code_change){0, 0};
}

struct code_change syscall_after(const struct cpu_ctx *before, int64_t ret)
{
    const struct code_change none = {0, 0}, everything = {0, UINT64_MAX};
    const uint64_t *g = before->gpr;
    if (ret < 0 && ret > -4096)
        return none;
    switch (g[R_RAX]) {
    case __NR_munmap:
    case __NR_mprotect:
    case __NR_pkey_mprotect: return change_of(g[R_RDI], g[R_RSI]);
    case __NR_mmap: return change_of((uint64_t)ret, g[R_RSI]);
    case __NR_mremap: {
        struct code_change from = change_of(g[R_RDI], g[R_RSI]);
        return from.end ? everything : change_of((uint64_t)ret, g[R_RDX]);
    }
    case __NR_remap_file_pages: return everything;
    default: return none;
    }
}
