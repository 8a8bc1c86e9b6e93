#include "runtime/syscalls.h"

#include <asm/mman.h>
#include <linux/mman.h>
#include <linux/sched.h>

#include "runtime/base/maps.h"
#include "runtime/base/sys.h"
#include "tracer/decode.h"

#define ARCH_SET_FS 0x1002

/* clone3's flags are in memory that may be anything; the kernel reads it for us. */
static uint64_t clone3_flags(uint64_t args)
{
    uint64_t flags = 0;
    struct {
        void *base;
        size_t len;
    } to = {&flags, sizeof flags}, from = {(void *)args, sizeof flags};
    long n = sys_call6(__NR_process_vm_readv, sys_getpid(), (long)&to, 1, (long)&from, 1, 0);
    return n == (long)sizeof flags ? flags : 0;
}

static uint64_t clone_flags(const struct cpu_ctx *ctx)
{
    switch (ctx->gpr[R_RAX]) {
    case __NR_vfork: return CLONE_VM | CLONE_VFORK;
    case __NR_clone: return ctx->gpr[R_RDI];
    case __NR_clone3: return clone3_flags(ctx->gpr[R_RDI]);
    default: return 0;
    }
}

enum syscall_action syscall_before(const struct cpu_ctx *ctx)
{
    switch (ctx->gpr[R_RAX]) {
    case __NR_vfork:
    case __NR_clone:
    case __NR_clone3: return clone_flags(ctx) & CLONE_VM ? SYSCALL_CLONE : SYSCALL_RUN;
    case __NR_exit:
    case __NR_exit_group: return SYSCALL_EXIT;
    case __NR_rt_sigreturn: return SYSCALL_NATIVE;
    case __NR_arch_prctl: return ctx->gpr[R_RDI] == ARCH_SET_FS ? SYSCALL_NATIVE : SYSCALL_RUN;
    default: return SYSCALL_RUN;
    }
}

static bool range_had_code(uint64_t start, uint64_t len)
{
    return maps_touches_code(start & ~4095ULL, (start + len + 4095) & ~4095ULL);
}

enum syscall_effect syscall_after(const struct cpu_ctx *before, int64_t ret)
{
    const uint64_t *g = before->gpr;
    bool failed = ret < 0 && ret > -4096;
    switch (g[R_RAX]) {
    case __NR_fork: return ret == 0 ? EFFECT_FORKED : EFFECT_NONE;
    case __NR_clone:
    case __NR_clone3: return ret == 0 && !(clone_flags(before) & CLONE_VM) ? EFFECT_FORKED : EFFECT_NONE;
    case __NR_munmap:
    case __NR_mprotect:
    case __NR_pkey_mprotect:
        return !failed && range_had_code(g[R_RDI], g[R_RSI]) ? EFFECT_CODE_GONE : EFFECT_NONE;
    case __NR_mmap:
        if (failed)
            return EFFECT_NONE;
        return range_had_code((uint64_t)ret, g[R_RSI]) ? EFFECT_CODE_GONE : EFFECT_NONE;
    case __NR_mremap:
        if (failed)
            return EFFECT_NONE;
        return range_had_code(g[R_RDI], g[R_RSI]) || range_had_code((uint64_t)ret, g[R_RDX]) ? EFFECT_CODE_GONE
                                                                                       : EFFECT_NONE;
    case __NR_remap_file_pages: return EFFECT_CODE_GONE;
    default: return EFFECT_NONE;
    }
}
