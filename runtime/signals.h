/* The program's signal handlers see its own state: the pc and registers of its own code, whatever code of ours the
 * signal found running.
 *
 *   program: sigaction(SIGSEGV, handler)  --interpose.c: signals_wrap-->  kernel: sigaction(SIGSEGV, ours)
 *
 *   kernel --> ours: the pc is  the program's                         nothing to do
 *                               in a fragment, gate, native copy      the frame is rewritten to the program's state,
 *                                                                     for good: the program goes on natively
 *                               in a copy or fragment, control=full   rewritten while the handler looks at it
 *                               in a slice of control=sampled         it waits, blocked, until the slice ends; a fault
 *                                                                     in a copy ends the slice
 *                               anywhere else in our code             left alone
 *              --> jumps to the program's handler, which returns to the kernel's frame as if we had not been there
 *
 * What the kernel keeps for a signal is all the program's (flags, mask, restorer, resetting) but the address of the
 * handler, so everything that depends on it is as it was: one-shot handlers, fork, exec. Two records for each signal,
 * used in turn, make changing a handler atomic: the kernel's choice of our entry tells which record counts.
 *
 *   SIG-1  the program reads back the handler it set.
 *   SIG-2  a handler is called with the kernel's own siginfo and frame, on the stack, and with the return address, that
 *          the kernel gave it, unless the signal found our own C code or a copy under control=full.
 *   SIG-3  slots that a stopped sequence of ours still needs survive handlers that run fragments.
 *
 * Not wrapped: handlers set by a raw system call, before the library's constructor, or inside libc (SIGCANCEL). */
#ifndef REHEAT_SIGNALS_H
#define REHEAT_SIGNALS_H

#include "runtime/base/types.h"

/* What the kernel is to be given in place of a handler: itself (SIG_DFL and the like, and while nothing is under
 * control) or an entry of ours. Any thread, async-signal-safe. */
void *signals_wrap(int sig, void *handler);
/* The same for a handler that is set already: by a library's constructor, inside libc. While nobody else sets any. */
void signals_wrap_installed(int sig);
void signals_wrap_all(void);
/* What the program set, for what the kernel has. */
void *signals_unwrap(int sig, void *installed);

/* A slice is being prepared: from now on signals for the calling thread wait. Signals blocked. */
void signals_hold(void);
/* The same, and the kernel keeps them: `mask` is that of the frame the slice begins from. For what is sent by the library of
 * threads itself, whose handlers are not wrapped. */
void signals_block(uint64_t *mask);
struct cpu_ctx;
/* The thread is about to leave the runtime for slots.target, with the registers of ctx; slots.ctx is NULL. Signals that
 * waited arrive now. */
void signals_leave(const struct cpu_ctx *ctx);

struct sigcontext;
struct cpu_state;
/* The registers of a signal's frame; of the vectors, put writes those that fc_recover has found. */
void signals_state_get(const struct sigcontext *sc, struct cpu_state *s);
void signals_state_put(struct sigcontext *sc, const struct cpu_state *s);

/* In the library's own text: no slice may begin there, the thread may be on its way out of the last one. */
bool signals_is_ours(uint64_t pc);

#endif
