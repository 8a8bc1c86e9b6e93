/* State recovery: from the registers of a thread that was stopped in code of ours to the program's own state.
 *
 *     pc in a fragment            its recipe: registers reloaded, the pc of the program's own instruction
 *     pc on the way of a lookup   the indirect branch is done: rcx and rdx reloaded, pc is where it goes
 *     pc in a hook's gate or copy of displaced instructions          fragcache/hook.h
 *     pc in a region's `enter`    the context that is being loaded
 *
 * Between two instructions of ours the program is always between two of its own: what a branch does besides going
 * somewhere (rsp, the return address) happens in one instruction, so a sequence is either begun anew or complete.
 *
 *   REC-1  for each instruction of code that fc_recover answers for, running the program's own code from the recovered
 *          state gives what running on would have given. Registers and flags that are dead there (gpr_dead,
 *          flags_dead of the node) may differ.
 *
 * fc_recover from any thread and any signal handler, without waiting; the rest with the runtime's lock. */
#ifndef REHEAT_RECOVER_H
#define REHEAT_RECOVER_H

#include "fragcache/lower.h"
#include "runtime/base/context.h"

struct cpu_state {
    uint64_t gpr[16]; /* by enum reg */
    uint64_t rflags, pc;
    uint32_t vectors; /* those of REGS_VECTOR whose low 16 bytes are here; all others are in place. By fc_recover */
    struct vector16 vector[VECTOR_COUNT]; /* from xmm8 */
};

/* Makes *s the program's state; what is not in *s (other vector registers, x87) is as it is in the CPU. `slots`: of the thread, as they were when it was stopped. False: the pc is in no code
 * that is known, *s is unchanged. */
bool fc_recover(struct cpu_state *s, const struct tls_slots *slots);

/* A fault at this pc, in code of ours, is no fault of the program's where fc_recover puts it, but will be one when its own
 * code goes on from there. As fc_recover. */
bool fc_faults_again(uint64_t pc);

/* Code of a region's fragment area has these recipes, by offset from `start`; they are the caller's, and stay until
 * recover_forget. Later code lies higher. RC_NO_MEMORY. */
rc_t recover_add(struct cache_pc start, uint32_t len, const struct recipe *recipes, int count);
/* The code is gone. */
void recover_forget(void);

#endif
