#include "tracer/decode.h"

#include <Zydis/Zydis.h>

#include "runtime/base/mem.h"
#include "tracer/zyload.h"

/* The three entry points, linked in the hosted build and looked up in the loaded library otherwise. */
static struct {
    ZyanStatus (*init)(ZydisDecoder *, ZydisMachineMode, ZydisStackWidth);
    ZyanStatus (*decode)(const ZydisDecoder *, ZydisDecoderContext *, const void *, ZyanUSize,
                         ZydisDecodedInstruction *);
    ZyanStatus (*operands)(const ZydisDecoder *, const ZydisDecoderContext *, const ZydisDecodedInstruction *,
                           ZydisDecodedOperand *, ZyanU8);
} zydis;
static ZydisDecoder decoder;
static bool ready;
static void (*overlay)(struct app_pc pc, uint8_t *bytes, size_t len);

void decode_set_overlay(void (*fn)(struct app_pc pc, uint8_t *bytes, size_t len)) { overlay = fn; }

#ifdef REHEAT_HOSTED
static rc_t zydis_bind(void)
{
    zydis.init = ZydisDecoderInit;
    zydis.decode = ZydisDecoderDecodeInstruction;
    zydis.operands = ZydisDecoderDecodeOperands;
    return RC_OK;
}
static void gated(void (*fn)(void *), void *arg) { fn(arg); }
#else
static rc_t zydis_bind(void)
{
    struct zy_module m;
    TRY(zy_load(REHEAT_ZYDIS_PATH, &m));
    zydis.init = zy_symbol(&m, "ZydisDecoderInit");
    zydis.decode = zy_symbol(&m, "ZydisDecoderDecodeInstruction");
    zydis.operands = zy_symbol(&m, "ZydisDecoderDecodeOperands");
    return zydis.init && zydis.decode && zydis.operands ? RC_OK : RC_NO_DECODER;
}
REH_HIDDEN void gate_call(void (*fn)(void *), void *arg, void *area);
static _Alignas(64) uint8_t gate_area[576];
static void gated(void (*fn)(void *), void *arg) { gate_call(fn, arg, gate_area); }
#endif

struct gated_call {
    void (*fn)(void *arg);
    void *arg;
};

static void call_gated(void *arg)
{
    struct gated_call *c = arg;
    if (!ready)
        ready = ZYAN_SUCCESS(zydis.init(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64));
    if (ready)
        c->fn(c->arg);
}

rc_t decode_gate(void (*fn)(void *arg), void *arg)
{
    struct gated_call call = {fn, arg};
    if (!zydis.init)
        TRY(zydis_bind());
    gated(call_gated, &call);
    return ready ? RC_OK : RC_NO_DECODER;
}

/* The general register that contains r, or R_NONE. */
static uint8_t gpr_of(ZydisRegister r)
{
    if (r >= ZYDIS_REGISTER_RAX && r <= ZYDIS_REGISTER_R15)
        return (uint8_t)(r - ZYDIS_REGISTER_RAX);
    if (r >= ZYDIS_REGISTER_EAX && r <= ZYDIS_REGISTER_R15D)
        return (uint8_t)(r - ZYDIS_REGISTER_EAX);
    if (r >= ZYDIS_REGISTER_AX && r <= ZYDIS_REGISTER_R15W)
        return (uint8_t)(r - ZYDIS_REGISTER_AX);
    if (r >= ZYDIS_REGISTER_AL && r <= ZYDIS_REGISTER_BL)
        return (uint8_t)(r - ZYDIS_REGISTER_AL);
    if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH)
        return (uint8_t)(r - ZYDIS_REGISTER_AH);
    if (r >= ZYDIS_REGISTER_SPL && r <= ZYDIS_REGISTER_R15B)
        return (uint8_t)(r - ZYDIS_REGISTER_SPL + R_RSP);
    if (r == ZYDIS_REGISTER_RIP)
        return R_RIP;
    return R_NONE;
}

/* May leave the destination as it was: bsf and bsr of zero, also under the names that newer CPUs give the same bytes; a
 * selector that is not valid; shadow stacks that are off. xlat's al is its index too. */
static bool may_keep(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR:
    case ZYDIS_MNEMONIC_TZCNT:
    case ZYDIS_MNEMONIC_LZCNT:
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_XLAT:
    case ZYDIS_MNEMONIC_RDSSPD:
    case ZYDIS_MNEMONIC_RDSSPQ: return true;
    default: return false;
    }
}

static uint16_t xmm_bit(ZydisRegister r)
{
    unsigned n = r >= ZYDIS_REGISTER_XMM0 && r <= ZYDIS_REGISTER_XMM31   ? (unsigned)(r - ZYDIS_REGISTER_XMM0)
                 : r >= ZYDIS_REGISTER_YMM0 && r <= ZYDIS_REGISTER_YMM31 ? (unsigned)(r - ZYDIS_REGISTER_YMM0)
                 : r >= ZYDIS_REGISTER_ZMM0 && r <= ZYDIS_REGISTER_ZMM31 ? (unsigned)(r - ZYDIS_REGISTER_ZMM0)
                                                                         : 16;
    return (uint16_t)(n < 16 ? 1u << n : 0);
}

/* Those that touch vector registers which they do not name. */
static bool touches_vectors(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_VZEROALL:
    case ZYDIS_MNEMONIC_VZEROUPPER:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64: return true;
    default: return false;
    }
}

static void note_vectors(struct insn *in, const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops)
{
    in->xmm = touches_vectors(zi->mnemonic) ? UINT16_MAX : 0;
    for (int i = 0; i < zi->operand_count; i++) {
        const ZydisDecodedOperand *op = &ops[i];
        if (op->type == ZYDIS_OPERAND_TYPE_MEMORY)
            in->xmm |= xmm_bit(op->mem.index);
        else if (op->type == ZYDIS_OPERAND_TYPE_REGISTER)
            in->xmm |= op->attributes & ZYDIS_OATTRIB_IS_MULTISOURCE4 ? UINT16_MAX : xmm_bit(op->reg.value);
    }
}

/* Zydis names rsi and rdi of a string instruction as addresses, but not always as registers that move on. */
static bool is_string(ZydisInstructionCategory c)
{
    return c == ZYDIS_CATEGORY_STRINGOP || c == ZYDIS_CATEGORY_IOSTRINGOP;
}

static void note_registers(struct insn *in, const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops)
{
    for (int i = 0; i < zi->operand_count; i++) {
        const ZydisDecodedOperand *op = &ops[i];
        if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
            uint8_t base = gpr_of(op->mem.base), index = gpr_of(op->mem.index);
            if (base < R_NONE)
                in->gpr_read |= (uint16_t)(1u << base);
            if (index < R_NONE)
                in->gpr_read |= (uint16_t)(1u << index);
            if (op->mem.type != ZYDIS_MEMOP_TYPE_AGEN && (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
                in->stores = true;
            if (op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN)
                in->mem_implied = true;
            if (is_string(zi->meta.category) && base < R_NONE) {
                in->gpr_data |= (uint16_t)(1u << base);
                in->gpr_written |= (uint16_t)(1u << base);
            }
        } else if (op->type == ZYDIS_OPERAND_TYPE_REGISTER) {
            uint8_t r = gpr_of(op->reg.value);
            if (r >= R_NONE)
                continue;
            uint16_t bit = (uint16_t)(1u << r);
            if (op->actions & (ZYDIS_OPERAND_ACTION_MASK_READ | ZYDIS_OPERAND_ACTION_CONDWRITE)) {
                in->gpr_read |= bit; /* a write that may not happen keeps the old value */
                in->gpr_data |= bit;
            }
            if (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
                in->gpr_written |= bit;
            if ((op->actions & ZYDIS_OPERAND_ACTION_WRITE) && op->size >= 32 && !may_keep(zi->mnemonic)) {
                in->gpr_full |= bit;
                in->gpr_zx |= op->size == 32 ? bit : 0;
            }
        }
    }
}

/* bts [m], reg and its kin reach as far from m as the register says. */
static bool is_bit_string(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops)
{
    bool bit_test = zi->mnemonic == ZYDIS_MNEMONIC_BT || zi->mnemonic == ZYDIS_MNEMONIC_BTS ||
                    zi->mnemonic == ZYDIS_MNEMONIC_BTR || zi->mnemonic == ZYDIS_MNEMONIC_BTC;
    return bit_test && ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
}

static void note_memory(struct insn *in, const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops)
{
    in->mem_base = in->mem_index = R_NONE;
    for (int i = 0; i < zi->operand_count_visible; i++) {
        const ZydisDecodedOperand *op = &ops[i];
        if (op->type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        in->mem_base = gpr_of(op->mem.base);
        in->mem_index = gpr_of(op->mem.index);
        in->mem_scale = op->mem.scale;
        in->mem_disp = (int32_t)op->mem.disp.value;
        in->mem_narrow = zi->address_width != 64;
        if (op->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
            continue; /* lea: an address, no access */
        in->mem_read |= (op->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
        in->mem_write |= (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
        in->mem_bytes = op->size / 8;
        in->seg = op->mem.segment == ZYDIS_REGISTER_FS   ? SEG_FS
                  : op->mem.segment == ZYDIS_REGISTER_GS ? SEG_GS
                                                         : SEG_FLAT;
        bool far_disp = op->mem.disp.value != in->mem_disp; /* mov al, [moffs64] */
        bool state_area = op->size > 64 * 8; /* xsave and the like: how much is the CPU's business */
        if (op->mem.type == ZYDIS_MEMOP_TYPE_VSIB || op->mem.type == ZYDIS_MEMOP_TYPE_MIB || is_bit_string(zi, ops) ||
            far_disp || state_area)
            in->mem_bytes = 0;
    }
}

static int32_t signed_imm(const ZydisDecodedOperand *op) { return (int32_t)op->imm.value.s; }

static void note_stack(struct insn *in, const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops)
{
    bool to_sp = zi->operand_count_visible && ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                 ops[0].reg.value == ZYDIS_REGISTER_RSP;
    bool to_bp = zi->operand_count_visible && ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                 ops[0].reg.value == ZYDIS_REGISTER_RBP;
    bool from_reg = zi->operand_count > 1 && ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
    bool from_imm = zi->operand_count > 1 && ops[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    bool plain_mem = in->mem_index == R_NONE && zi->address_width == 64;
    in->sp = (in->gpr_written & 1u << R_RSP) ? SP_OTHER : SP_SAME;
    in->writes_bp = (in->gpr_written & 1u << R_RBP) != 0;
    switch (zi->mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_PUSHFQ:
    case ZYDIS_MNEMONIC_PUSHF:
        in->sp = SP_ADD;
        in->sp_delta = -(zi->operand_width == 16 ? 2 : 8);
        in->pushes = true;
        break;
    case ZYDIS_MNEMONIC_POP:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_POPF:
        if (!to_sp) {
            in->sp = SP_ADD;
            in->sp_delta = zi->operand_width == 16 ? 2 : 8;
        }
        break;
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
        if (to_sp && from_imm) {
            in->sp = SP_ADD;
            in->sp_delta = zi->mnemonic == ZYDIS_MNEMONIC_ADD ? signed_imm(&ops[1]) : -signed_imm(&ops[1]);
        }
        break;
    case ZYDIS_MNEMONIC_LEA:
        if (to_sp && in->mem_base == R_RSP && plain_mem) {
            in->sp = SP_ADD;
            in->sp_delta = in->mem_disp;
        } else if (to_sp && in->mem_base == R_RBP && plain_mem) {
            in->sp = SP_FROM_RBP;
            in->sp_delta = in->mem_disp;
        } else if (to_bp && in->mem_base == R_RSP && plain_mem) {
            in->bp_from_sp = true;
            in->bp_delta = in->mem_disp;
        }
        break;
    case ZYDIS_MNEMONIC_MOV:
        if (to_sp && from_reg && ops[1].reg.value == ZYDIS_REGISTER_RBP)
            in->sp = SP_FROM_RBP;
        else if (to_bp && from_reg && ops[1].reg.value == ZYDIS_REGISTER_RSP)
            in->bp_from_sp = true;
        break;
    case ZYDIS_MNEMONIC_LEAVE:
        in->sp = SP_FROM_RBP;
        in->sp_delta = 8;
        break;
    case ZYDIS_MNEMONIC_ENTER: in->sp = SP_OTHER; break;
    default: break;
    }
    if (in->bp_from_sp)
        in->writes_bp = false;
}

/* Prefixes that change what a near branch is: 66 is ignored by Intel and obeyed by AMD, 67 changes the
 * counter register of jrcxz only. */
static bool branch_prefix_strange(const ZydisDecodedInstruction *zi)
{
    if ((zi->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) && !zi->raw.rex.W)
        return true;
    bool counts = zi->meta.category == ZYDIS_CATEGORY_COND_BR || !zi->raw.imm[0].is_relative;
    return (zi->attributes & ZYDIS_ATTRIB_HAS_ADDRESSSIZE) != 0 && counts && zi->mnemonic != ZYDIS_MNEMONIC_JECXZ;
}

static enum insn_kind branch_kind(struct insn *in, const ZydisDecodedInstruction *zi)
{
    if (zi->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || branch_prefix_strange(zi))
        return IK_STRANGE;
    bool direct = zi->raw.imm[0].is_relative;
    if (direct)
        in->target = in->pc.v + in->len + (uint64_t)zi->raw.imm[0].value.s;
    switch (zi->mnemonic) {
    case ZYDIS_MNEMONIC_CALL: return direct ? IK_CALL : IK_CALL_IND;
    case ZYDIS_MNEMONIC_JMP: return direct ? IK_JMP : IK_JMP_IND;
    case ZYDIS_MNEMONIC_RET:
        in->imm = (uint16_t)zi->raw.imm[0].value.u;
        return IK_RET;
    case ZYDIS_MNEMONIC_LOOPNE: in->loop_op = 0; return IK_LOOP;
    case ZYDIS_MNEMONIC_LOOPE: in->loop_op = 1; return IK_LOOP;
    case ZYDIS_MNEMONIC_LOOP: in->loop_op = 2; return IK_LOOP;
    case ZYDIS_MNEMONIC_JRCXZ: in->loop_op = 3; return IK_LOOP;
    case ZYDIS_MNEMONIC_JECXZ: in->loop_op = 4; return IK_LOOP;
    case ZYDIS_MNEMONIC_XBEGIN: return IK_XBEGIN;
    default: break;
    }
    if (zi->meta.category == ZYDIS_CATEGORY_COND_BR && direct) {
        in->cc = zi->opcode & 15;
        return IK_JCC;
    }
    return IK_STRANGE;
}

static enum insn_kind kind_of(struct insn *in, const ZydisDecodedInstruction *zi)
{
    if (zi->mnemonic == ZYDIS_MNEMONIC_SYSCALL)
        return IK_SYSCALL;
    if (zi->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE || zi->mnemonic == ZYDIS_MNEMONIC_RET ||
        zi->mnemonic == ZYDIS_MNEMONIC_XBEGIN)
        return branch_kind(in, zi);
    switch (zi->meta.category) {
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET: return IK_STRANGE;
    default: break;
    }
    switch (zi->mnemonic) {
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2:
    case ZYDIS_MNEMONIC_HLT:
    case ZYDIS_MNEMONIC_WRFSBASE:
    case ZYDIS_MNEMONIC_XABORT:
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
    case ZYDIS_MNEMONIC_UIRET:
    case ZYDIS_MNEMONIC_LFS: return IK_STRANGE;
    case ZYDIS_MNEMONIC_MOV: /* mov fs, r/m16 */
        if (zi->opcode == 0x8e && zi->raw.modrm.reg == 4)
            return IK_STRANGE;
        break;
    case ZYDIS_MNEMONIC_POP: /* pop fs */
        if (zi->opcode_map == ZYDIS_OPCODE_MAP_0F && zi->opcode == 0xa1)
            return IK_STRANGE;
        break;
    default: break;
    }
    if (zi->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED)
        return IK_STRANGE;
    return IK_PLAIN;
}

/* What can be told without operands. */
static void insn_outline(struct insn *in, const ZydisDecodedInstruction *zi)
{
    in->len = zi->length;
    in->kind = (uint8_t)kind_of(in, zi);
    in->modrm_at = zi->raw.modrm.offset;
    in->disp_at = zi->raw.disp.offset;
    if (zi->raw.modrm.offset && zi->raw.modrm.mod == 0 && zi->raw.modrm.rm == 5) {
        in->rip_relative = true;
        in->target = in->pc.v + in->len + (uint64_t)zi->raw.disp.value;
        if (zi->address_width != 64)
            in->kind = IK_STRANGE;
    }
}

/* Flags that are set to something defined on every run. A count of zero leaves them, and what the manuals leave
 * undefined may be left as it was too; only AF after a logical operation is known to be cleared by every CPU. */
static uint16_t flags_killed(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops)
{
    const ZydisAccessedFlags *f = zi->cpu_flags;
    unsigned killed = (f->modified | f->set_0 | f->set_1) & ~f->undefined;
    switch (zi->mnemonic) {
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR:
    case ZYDIS_MNEMONIC_TEST: killed |= FL_AF; break;
    case ZYDIS_MNEMONIC_TZCNT:
    case ZYDIS_MNEMONIC_LZCNT: killed &= FL_ZF; break;
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD: {
        bool wide = zi->mnemonic == ZYDIS_MNEMONIC_SHLD || zi->mnemonic == ZYDIS_MNEMONIC_SHRD;
        const ZydisDecodedOperand *count = &ops[wide ? 2 : 1];
        if (count->type != ZYDIS_OPERAND_TYPE_IMMEDIATE || !(count->imm.value.u & 31))
            return 0;
        break;
    }
    default: break;
    }
    for (int i = 0; i < zi->operand_count; i++)
        if (ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER && ops[i].reg.value == ZYDIS_REGISTER_RFLAGS &&
            (ops[i].actions & ZYDIS_OPERAND_ACTION_WRITE))
            return (uint16_t)(killed & (FL_STATUS | FL_DF));
    return 0;
}

static bool orders_memory(const ZydisDecodedInstruction *zi, const struct insn *in)
{
    if (zi->attributes & ZYDIS_ATTRIB_HAS_LOCK)
        return true;
    switch (zi->mnemonic) {
    case ZYDIS_MNEMONIC_XCHG: return in->mem_write;
    case ZYDIS_MNEMONIC_MFENCE:
    case ZYDIS_MNEMONIC_LFENCE:
    case ZYDIS_MNEMONIC_SFENCE:
    case ZYDIS_MNEMONIC_SERIALIZE:
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_RDTSCP:
    case ZYDIS_MNEMONIC_PAUSE:
    case ZYDIS_MNEMONIC_UMWAIT:
    case ZYDIS_MNEMONIC_TPAUSE:
    case ZYDIS_MNEMONIC_WRPKRU:
    case ZYDIS_MNEMONIC_XEND: return true;
    default: return false;
    }
}

static enum insn_act act_of(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_ENDBR64: return ACT_NOP;
    case ZYDIS_MNEMONIC_MOV: return ACT_MOV;
    case ZYDIS_MNEMONIC_MOVZX: return ACT_MOVZX;
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
    case ZYDIS_MNEMONIC_CWDE:
    case ZYDIS_MNEMONIC_CDQE: return ACT_MOVSX;
    case ZYDIS_MNEMONIC_LEA: return ACT_LEA;
    case ZYDIS_MNEMONIC_ADD: return ACT_ADD;
    case ZYDIS_MNEMONIC_SUB: return ACT_SUB;
    case ZYDIS_MNEMONIC_AND: return ACT_AND;
    case ZYDIS_MNEMONIC_OR: return ACT_OR;
    case ZYDIS_MNEMONIC_XOR: return ACT_XOR;
    case ZYDIS_MNEMONIC_CMP: return ACT_CMP;
    case ZYDIS_MNEMONIC_TEST: return ACT_TEST;
    case ZYDIS_MNEMONIC_INC: return ACT_INC;
    case ZYDIS_MNEMONIC_DEC: return ACT_DEC;
    case ZYDIS_MNEMONIC_PUSH: return ACT_PUSH;
    case ZYDIS_MNEMONIC_POP: return ACT_POP;
    case ZYDIS_MNEMONIC_XCHG: return ACT_XCHG;
    default: return ACT_OTHER;
    }
}

/* False for an operand that is none of the three kinds: segment, control and debug registers. */
static bool note_operand(struct insn *in, struct operand *to, const ZydisDecodedOperand *op)
{
    to->bytes = (uint8_t)(op->size / 8);
    switch (op->type) {
    case ZYDIS_OPERAND_TYPE_REGISTER:
        to->kind = OPERAND_GPR;
        to->reg = gpr_of(op->reg.value);
        to->high = op->reg.value >= ZYDIS_REGISTER_AH && op->reg.value <= ZYDIS_REGISTER_BH;
        return to->reg < R_NONE;
    case ZYDIS_OPERAND_TYPE_MEMORY: to->kind = OPERAND_MEM; return true;
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        to->kind = OPERAND_IMM;
        in->immediate = op->imm.value.s;
        return true;
    default: return false;
    }
}

static void note_act(struct insn *in, const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops)
{
    enum insn_act act = act_of(zi->mnemonic);
    bool known = true;
    switch (act) {
    case ACT_OTHER:
    case ACT_NOP: break;
    case ACT_PUSH: known = note_operand(in, &in->src, &ops[0]); break;
    case ACT_POP:
    case ACT_INC:
    case ACT_DEC: known = note_operand(in, &in->dst, &ops[0]); break;
    default: known = note_operand(in, &in->dst, &ops[0]) && note_operand(in, &in->src, &ops[1]); break;
    }
    in->act = (uint8_t)(known ? act : ACT_OTHER);
    in->fence = orders_memory(zi, in);
}

static void insn_detail(struct insn *in, const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops)
{
    note_registers(in, zi, ops);
    note_vectors(in, zi, ops);
    note_memory(in, zi, ops);
    note_stack(in, zi, ops);
    note_act(in, zi, ops);
    if (may_keep(zi->mnemonic)) {
        in->gpr_read |= in->gpr_written;
        in->gpr_data |= in->gpr_written;
    }
    if (zi->cpu_flags) {
        const ZydisAccessedFlags *f = zi->cpu_flags;
        in->flags_read = (uint16_t)(f->tested & (FL_STATUS | FL_DF));
        in->flags_written = (uint16_t)((f->modified | f->set_0 | f->set_1 | f->undefined) & (FL_STATUS | FL_DF));
        in->flags_killed = flags_killed(zi, ops);
    }
}

static void insn_undecodable(struct insn *in)
{
    in->len = 1;
    in->kind = IK_STRANGE;
    in->mem_base = in->mem_index = R_NONE;
    in->sp = SP_OTHER;
}

static void decode_at(const uint8_t *code, size_t avail, struct app_pc pc, struct insn *in, bool full, bool patched)
{
    ZydisDecodedInstruction zi;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    ZydisDecoderContext context;
    *in = (struct insn){.pc = pc};
    if (avail > INSN_MAX_BYTES)
        avail = INSN_MAX_BYTES;
    uint8_t original[INSN_MAX_BYTES];
    if (overlay && patched) {
        code = mem_copy(original, code, avail);
        overlay(pc, original, avail);
    }
    if (!avail || !ZYAN_SUCCESS(zydis.decode(&decoder, &context, code, avail, &zi))) {
        insn_undecodable(in);
    } else {
        insn_outline(in, &zi);
        if (full || in->rip_relative) {
            if (ZYAN_SUCCESS(zydis.operands(&decoder, &context, &zi, ops, zi.operand_count)))
                insn_detail(in, &zi, ops);
            else
                insn_undecodable(in);
        }
    }
    for (unsigned i = 0; avail && i < in->len; i++)
        in->bytes[i] = code[i];
}

int decode_run(struct app_pc start, uint64_t end, struct insn *out, int max, bool full)
{
    int n = 0;
    for (uint64_t pc = start.v; n < max && pc < end;) {
        struct insn *in = &out[n++];
        decode_at((const uint8_t *)pc, end - pc, app_pc(pc), in, full, true);
        pc += in->len;
        if (insn_ends_block(in))
            break;
    }
    return n;
}

void decode_one(const uint8_t *code, size_t avail, struct app_pc pc, struct insn *out)
{
    decode_at(code, avail, pc, out, true, true);
}

void decode_made(const uint8_t *code, size_t len, struct app_pc pc, struct insn *out)
{
    decode_at(code, len, pc, out, true, false);
}
