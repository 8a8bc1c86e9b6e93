/* Each code region's own way in and out of program code.
 *
 *   C code --enter--> copy or fragment --leave--> C code (enter returns)
 *                         |
 *                         +-- lookup_miss: an indirect branch without a fragment, then leave
 *
 *   a new thread's first instruction --thread_start--> its main function, on its own runtime stack
 *
 * enter saves the callee-saved registers on the runtime's stack, notes that stack's pointer in the context,
 * loads flags and all sixteen registers and jumps to slots.target. leave stores them and returns to enter's
 * caller. Neither touches the program's stack: the 128 bytes below it are live (System V ABI, 3.2.2). */
#ifndef REHEAT_STUBS_H
#define REHEAT_STUBS_H

#include "runtime/base/codemem.h"
#include "runtime/base/context.h"

/* The region near pc, with its stubs staged if it is new. RC_NO_MEMORY. */
rc_t stubs_region(struct app_pc pc, struct code_region **region);

/* Whether regions made from now on have native exits: a fragment that is left, or an indirect branch without a
 * fragment, goes on in the program's own code. */
void stubs_set_native_exits(bool native);
/* The function that new threads start in, with their context; before the first region is made. */
void stubs_set_thread_main(void (*main)(struct cpu_ctx *ctx));

typedef void stubs_enter_fn(struct cpu_ctx *ctx);

#endif
