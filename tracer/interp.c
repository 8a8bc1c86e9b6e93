#include "tracer/interp.h"

bool interp_condition(unsigned cc, uint64_t f)
{
    bool v = false;
    switch (cc >> 1) {
    case 0: v = f & FL_OF; break;
    case 1: v = f & FL_CF; break;
    case 2: v = f & FL_ZF; break;
    case 3: v = f & (FL_CF | FL_ZF); break;
    case 4: v = f & FL_SF; break;
    case 5: v = f & FL_PF; break;
    case 6: v = !(f & FL_SF) != !(f & FL_OF); break;
    case 7: v = (f & FL_ZF) || !(f & FL_SF) != !(f & FL_OF); break;
    default: break;
    }
    return v != (cc & 1);
}

static bool loop_taken(const struct block *b, struct cpu_ctx *ctx)
{
    uint64_t *rcx = &ctx->gpr[R_RCX];
    switch (b->loop_op) {
    case 0: return --*rcx != 0 && !(ctx->rflags & FL_ZF); /* loopne */
    case 1: return --*rcx != 0 && (ctx->rflags & FL_ZF); /* loope */
    case 2: return --*rcx != 0; /* loop */
    case 3: return *rcx == 0; /* jrcxz */
    default: return (uint32_t)*rcx == 0; /* jecxz */
    }
}

struct outcome interp_next(const struct block *b, struct cpu_ctx *ctx, const struct tls_slots *slots)
{
    switch ((enum insn_kind)b->kind) {
    case IK_JMP:
    case IK_CALL: return (struct outcome){app_pc(b->target), true};
    case IK_JCC:
        if (interp_condition(b->cc, ctx->rflags))
            return (struct outcome){app_pc(b->target), true};
        break;
    case IK_LOOP:
        if (loop_taken(b, ctx))
            return (struct outcome){app_pc(b->target), true};
        break;
    case IK_RET:
    case IK_JMP_IND:
    case IK_CALL_IND: return (struct outcome){app_pc(slots->target), true};
    case IK_XBEGIN:
        ctx->gpr[R_RAX] = 0; /* aborted, for no particular reason: always allowed (SDM volume 1, 16.3.5) */
        return (struct outcome){app_pc(b->target), true};
    case IK_PLAIN:
    case IK_SYSCALL:
    case IK_STRANGE: break;
    }
    return (struct outcome){b->next, false};
}
