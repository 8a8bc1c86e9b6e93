/* What the dispatcher must know about a system call the program makes: which child runs where, which code
 * goes stale, and when the process ends. Linux x86-64 numbering. */
#ifndef REHEAT_SYSCALLS_H
#define REHEAT_SYSCALLS_H

#include "runtime/base/context.h"
#include "runtime/base/rc.h"

enum syscall_action {
    SYSCALL_RUN, /* as it is */
    SYSCALL_CLONE, /* a child that shares memory goes on natively */
    SYSCALL_THREAD, /* a new thread, made as glibc makes them */
    SYSCALL_FORK, /* a child with memory of its own */
    SYSCALL_SANDBOX, /* the process forbids itself system calls, and so to us */
    SYSCALL_EXIT_THREAD, /* the calling thread ends */
    SYSCALL_EXIT, /* the process ends: publish, then run */
    SYSCALL_NATIVE /* not possible under control: give the thread back first */
};

/* Registers as they are before the instruction. */
enum syscall_action syscall_before(const struct cpu_ctx *ctx);

/* What system call `nr` with these first arguments, a fork, vfork, clone or clone3, asks for; clone3's is CLONE_VM where it cannot be read. */
struct clone_ask {
    uint64_t flags, stack;
};
struct clone_ask syscall_clone_ask(uint64_t nr, uint64_t a, uint64_t b);
/* Reads a word of the program's memory that may not be there; the kernel does it for us. False: it is not there, or the
 * kernel was forbidden to. */
bool syscall_read_word(uint64_t at, uint64_t *word);
/* The calling thread's pointer leads to a thread block of libc's, as far as that can be seen; the first thread's does. */
bool syscall_thread_has_libc(void);
/* The thread pointer given to a clone has the look of glibc's: struct pthread begins with two pointers to itself
 * (tcbhead_t: tcb, dtv, self). */
bool syscall_thread_pointer_is_glibc(const struct cpu_ctx *ctx);

/* Address ranges whose code may have changed; start == end: none. */
struct code_change {
    uint64_t start, end;
};
/* `before`: registers before; `ret`: the kernel's answer. */
struct code_change syscall_after(const struct cpu_ctx *before, int64_t ret);

#endif
