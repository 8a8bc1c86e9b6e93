/* Raw Linux system calls. No errno, no cancellation point, no libc: callable in the middle of a stranger's
 * instruction stream, from any thread and from a signal handler. Results are the kernel's: >= 0, or -errno; or
 * those of a scripted failure (fail.h). */
#ifndef REHEAT_SYS_H
#define REHEAT_SYS_H

#include <asm/unistd.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/fail.h"

static inline long sys_call6(long nr, long a, long b, long c, long d, long e, long f)
{
    long ret;
    if (__builtin_expect(fail_armed == nr, 0) && (ret = fail_next()) != 0)
        return ret;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}
#define sys_call3(nr, a, b, c) sys_call6((nr), (long)(a), (long)(b), (long)(c), 0, 0, 0)

static inline void *sys_mmap(void *at, size_t len, int prot, int flags, int fd, long off)
{
    return (void *)sys_call6(__NR_mmap, (long)at, (long)len, prot, flags, fd, off);
}
/* True when a pointer-returning call failed. */
static inline int sys_failed(const void *p) { return (unsigned long)p >= (unsigned long)-4095L; }

static inline long sys_munmap(void *at, size_t len) { return sys_call3(__NR_munmap, at, len, 0); }
static inline long sys_mprotect(void *at, size_t len, int prot) { return sys_call3(__NR_mprotect, at, len, prot); }
static inline long sys_open(const char *path, int flags, int mode)
{
    return sys_call6(__NR_openat, -100, (long)path, flags, mode, 0, 0);
}
static inline long sys_close(long fd) { return sys_call3(__NR_close, fd, 0, 0); }
static inline long sys_read(long fd, void *p, size_t n) { return sys_call3(__NR_read, fd, p, n); }
static inline long sys_write(long fd, const void *p, size_t n) { return sys_call3(__NR_write, fd, p, n); }
static inline long sys_pwrite(long fd, const void *p, size_t n, uint64_t off)
{
    return sys_call6(__NR_pwrite64, fd, (long)p, (long)n, (long)off, 0, 0);
}
static inline long sys_getpid(void) { return sys_call3(__NR_getpid, 0, 0, 0); }
static inline long sys_gettid(void) { return sys_call3(__NR_gettid, 0, 0, 0); }

/* Sets the calling thread's signal mask; returns what it was. */
static inline uint64_t sys_signals_set(uint64_t mask)
{
    uint64_t before = 0;
    (void)sys_call6(__NR_rt_sigprocmask, 2, (long)&mask, (long)&before, sizeof mask, 0, 0); /* SIG_SETMASK */
    return before;
}

/* <linux/time.h>: CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID */
enum sys_clock { MONOTONIC = 1, PROCESS_CPU = 2, THREAD_CPU = 3 };
/* Nanoseconds. */
static inline uint64_t sys_clock_ns(enum sys_clock id)
{
    struct {
        long sec, nsec;
    } ts = {0, 0};
    (void)sys_call3(__NR_clock_gettime, id, &ts, 0);
    return (uint64_t)ts.sec * 1000000000u + (uint64_t)ts.nsec;
}

static inline uint64_t sys_tsc(void)
{
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (uint64_t)hi << 32 | lo;
}

#endif
