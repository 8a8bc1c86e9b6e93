/* Control transfers in C: where a block that has just run goes next. */
#ifndef REHEAT_INTERP_H
#define REHEAT_INTERP_H

#include "runtime/base/context.h"
#include "tracer/block.h"

struct outcome {
    struct app_pc next;
    bool taken; /* not the fall-through */
};

/* True when condition code cc (0-15, Intel SDM volume 2, table B-1) holds in an rflags image. */
bool interp_condition(unsigned cc, uint64_t rflags);

/* The successor of `b`, whose copy has run and left its state in ctx and slots. Updates rcx for loop
 * instructions and rax for an aborted transaction. Not for IK_STRANGE. */
struct outcome interp_next(const struct block *b, struct cpu_ctx *ctx, const struct tls_slots *slots);

#endif
