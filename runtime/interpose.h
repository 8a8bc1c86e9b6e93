/* What the library's definitions of libc functions have in common: interpose.c (signals), interpose_memory.c (memory,
 * threads), interpose_syscall.c (syscall(3), clone(3)).
 *
 * The three events end what fragments were made under (facts.h, FACT-1); each is to be told before it happens. Any thread that has
 * libc's thread block. No effect while control=sampled is not on. */
#ifndef REHEAT_INTERPOSE_H
#define REHEAT_INTERPOSE_H

#include "runtime/base/rc.h"
#include "runtime/base/types.h"

#define EXPORT __attribute__((visibility("default")))
#define RTLD_NEXT_ ((void *)-1L)

extern void *dlsym(void *handle, const char *name) __attribute__((weak));
/* As libc has it, but for text that we have replaced. */
EXPORT int madvise(void *addr, size_t len, int advice);
extern int *__errno_location(void) __attribute__((weak));

/* Text or constants in [addr, addr + len) are unmapped, replaced or protected. */
void event_text(long addr, size_t len);
/* That is done. */
void event_text_done(void);
/* Others will write to memory that the process reads. */
void event_shared(void);
/* A thread, or a process that shares memory, is made. `known`: by libc, with a thread block of its own. */
void event_thread(bool known);

/* Slices end for good. Everything is withdrawn and published, and the program has its own setting for our signal. */
void event_give_up(rc_t why);
/* The signal mask was set to be set, with the kernel's sets of one word; ours is not to be blocked (mask_set). */
void event_mask_set(int how, const uint64_t *set, uint64_t *old);

/* The program has blocked our signal in the calling thread; and in one that begins, it has what its maker had. */
bool event_mask_blocked(void);
void event_mask_begins(bool blocked);

/* Finds the next definitions of what interpose_syscall.c defines. Once, on a thread of libc's. */
void interpose_syscall_init(void);

#endif
