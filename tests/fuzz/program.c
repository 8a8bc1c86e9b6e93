#include "tests/fuzz/program.h"

#include <string.h>

#include "tracer/asm.h"

#define CHUNK     2048u /* functions and jump targets start in chunks of their own */
#define MAX_DEPTH 24

struct builder {
    struct asm_buf a; /* over the text itself */
    unsigned chunks, pads;
    int fixed;        /* bytes of read-only data in use */
    uint64_t reached; /* app pc: what was run so far */
    uint64_t block;   /* where the open block starts */
    uint64_t returns[MAX_DEPTH];
    int depth;
    struct state now; /* at `reached` */
    struct trace *trace;
};

static unsigned chunks_used = WORLD_TEXT_BYTES / CHUNK; /* by the program before; all at first */

bool program_holds(uint64_t pc)
{
    return pc - WORLD_TEXT < WORLD_TEXT_BYTES || pc - WORLD_REPLAY < WORLD_REPLAY_BYTES;
}

static void at(struct builder *b, uint64_t pc)
{
    b->a.len = pc - WORLD_TEXT;
}
static uint64_t here(const struct builder *b)
{
    return asm_here(&b->a).v;
}
static uint64_t new_chunk(struct builder *b)
{
    if (b->chunks == WORLD_TEXT_BYTES / CHUNK)
        return 0;
    /* not all equally aligned, so that targets differ in their low bits */
    uint64_t pc = WORLD_TEXT + (uint64_t)CHUNK * b->chunks + b->chunks * 7 % 32;
    b->chunks++;
    return pc;
}
static uint64_t new_pad(struct builder *b)
{
    return world_pad(b->pads++ % WORLD_PAD_PLAIN);
}

static bool close_block(struct builder *b, uint64_t next, uint64_t went, bool taken)
{
    struct trace *t = b->trace;
    if (t->steps == TRACE_MAX_BLOCKS)
        return false;
    t->step[t->steps++] = (struct trace_step){app_pc(b->block), app_pc(next), app_pc(went), taken};
    b->block = went;
    return true;
}

/* Runs on to the end of what is laid out, where a jump to a pad lies for the moment. */
static bool run_to_here(struct builder *b)
{
    uint64_t end = here(b), pad = world_pad(WORLD_PAD_PLAIN);
    uint8_t kept[5];
    uint8_t *p = world_writable(end);
    if (end == b->reached)
        return true;
    memcpy(kept, p, sizeof kept);
    struct asm_buf a = asm_on(p, 5, cache_pc(end));
    asm_jmp(&a, pad);
    struct left l = world_run(&b->now, b->reached);
    memcpy(p, kept, sizeof kept);
    b->reached = end;
    return l.kind == LEFT_PAD && world_pad(l.id) == pad;
}

/* jcc over an exit, or jcc to the exit: whichever leaves the recorded run on the path. */
static bool build_jcc(struct builder *b, const struct item *it)
{
    if (!run_to_here(b))
        return false;
    uint64_t pad = new_pad(b), start = here(b);
    bool taken = interp_condition((unsigned)it->arg, b->now.rflags);
    uint8_t near[2] = {(uint8_t)(0x70 | it->arg), 0};
    unsigned len = it->alt ? 2 : 6, own = it->reg ? 2 : 0; /* of the island, before its jump */
    uint64_t next = start + len, target = taken ? next + own + 5 + (start & 7) : it->alt ? next + 100 : pad;
    if (it->alt) {
        near[1] = (uint8_t)(target - next);
        asm_bytes(&b->a, near, 2);
    } else {
        asm_jcc(&b->a, (unsigned)it->arg, target);
    }
    if (taken || it->alt) { /* an island: jmp pad */
        uint64_t path = taken ? target : next;
        at(b, taken ? next : target);
        if (!taken) { /* the island would lie where the path goes on: jump over it */
            at(b, next);
            target = next + 5;
            world_writable(start)[1] = 5;
            asm_jmp(&b->a, target + own + 5);
            if (!close_block(b, next, next, false) || !close_block(b, next + 5, target + own + 5, true))
                return false;
            asm_bytes(&b->a, "\x85\xc0", own);
            asm_jmp(&b->a, pad);
            b->reached = here(b);
            return true;
        }
        asm_bytes(&b->a, "\x85\xc0", own);
        asm_jmp(&b->a, pad);
        at(b, path);
    }
    b->reached = here(b);
    return close_block(b, next, here(b), taken);
}

static bool build_loop_op(struct builder *b, const struct item *it)
{
    if (!run_to_here(b))
        return false;
    struct block op = {.kind = IK_LOOP, .loop_op = (uint8_t)it->arg, .target = 1, .next = app_pc(0)};
    struct cpu_ctx ctx = {.rflags = b->now.rflags};
    memcpy(ctx.gpr, b->now.gpr, sizeof ctx.gpr);
    bool taken = interp_next(&op, &ctx, NULL).taken;
    memcpy(b->now.gpr, ctx.gpr, sizeof ctx.gpr);
    unsigned len = ASM_LOOP_OP_BYTES((unsigned)it->arg);
    uint64_t next = here(b) + len;
    asm_loop_op(&b->a, (unsigned)it->arg, 5);
    if (taken) { /* over jmp pad */
        asm_jmp(&b->a, new_pad(b));
    } else { /* jmp over jmp pad */
        asm_jmp(&b->a, next + 10);
        if (!close_block(b, next, next, false))
            return false;
        asm_jmp(&b->a, new_pad(b));
        b->reached = here(b);
        return close_block(b, next + 5, here(b), true);
    }
    b->reached = here(b);
    return close_block(b, next, here(b), true);
}

static bool go_on_at(struct builder *b, uint64_t pc)
{
    uint64_t next = here(b);
    if (!pc || !close_block(b, next, pc, true))
        return false;
    at(b, pc);
    return true;
}

static bool build_call(struct builder *b, uint64_t to)
{
    if (!to || b->depth == MAX_DEPTH)
        return false;
    asm_bytes(&b->a, "\xe8", 1);
    int32_t d = (int32_t)(to - (here(b) + 4));
    asm_bytes(&b->a, &d, 4);
    b->returns[b->depth++] = here(b);
    return go_on_at(b, to);
}

/* Where the run really goes: the address must be one that is expected. */
static bool build_ret(struct builder *b, const struct item *it)
{
    if (!run_to_here(b) || !b->depth)
        return false;
    uint64_t sp = b->now.gpr[R_RSP], to;
    if (sp < WORLD_DATA || sp > WORLD_STACK + 4096 - 8)
        return false;
    memcpy(&to, (const void *)(uintptr_t)sp, 8);
    if (to != b->returns[--b->depth])
        return false;
    if (it->arg) {
        asm_bytes(&b->a, "\xc2", 1);
        asm_bytes(&b->a, &it->arg, 2);
    } else {
        asm_ret(&b->a);
    }
    b->now.gpr[R_RSP] += 8u + (uint16_t)it->arg;
    b->reached = to;
    return go_on_at(b, to);
}

static void lea_rip(struct builder *b, unsigned reg, uint64_t to)
{
    uint8_t head[3] = {(uint8_t)(0x48 | (reg >> 3) << 2), 0x8d, (uint8_t)(0x05 | (reg & 7) << 3)};
    asm_bytes(&b->a, head, 3);
    int32_t d = (int32_t)(to - (here(b) + 4));
    asm_bytes(&b->a, &d, 4);
}

/* reg = target, or by a condition that another state may see otherwise, a pad. */
static bool build_target(struct builder *b, const struct item *it, uint64_t to)
{
    uint64_t pad = new_pad(b);
    if (it->alt) {
        if (!run_to_here(b)) /* lea and cmov leave the flags alone */
            return false;
        bool swap = interp_condition((unsigned)it->arg & 15, b->now.rflags);
        lea_rip(b, it->reg, swap ? pad : to);
        lea_rip(b, it->alt_reg, swap ? to : pad);
        uint8_t cmov[4] = {(uint8_t)(0x48 | (it->reg >> 3) << 2 | it->alt_reg >> 3), 0x0f,
                           (uint8_t)(0x40 | (it->arg & 15)),
                           (uint8_t)(0xc0 | (it->reg & 7) << 3 | (it->alt_reg & 7))};
        asm_bytes(&b->a, cmov, 4);
    } else {
        lea_rip(b, it->reg, to);
    }
    return true;
}

static void op_reg(struct builder *b, unsigned digit, unsigned reg)
{
    if (reg > 7)
        asm_bytes(&b->a, "\x41", 1);
    uint8_t op[2] = {0xff, (uint8_t)(0xc0 | digit << 3 | (reg & 7))};
    asm_bytes(&b->a, op, 2);
}

static void op_consts(struct builder *b, const char *op, size_t n, int offset)
{
    asm_bytes(&b->a, op, n);
    int32_t d = (int32_t)(WORLD_CONSTS + (unsigned)offset - (here(b) + 4));
    asm_bytes(&b->a, &d, 4);
}

/* In front of a jump through it->reg, what sets the flags last, and leaves the target there: bytes[0] says what. */
static void build_last_flags(struct builder *b, const struct item *it)
{
    unsigned other = it->bytes[1] & 15, to = it->reg;
    int8_t imm = (int8_t)it->bytes[2];
    uint8_t rr[3] = {(uint8_t)(0x48 | (other >> 3) << 2 | to >> 3), 0, (uint8_t)(0xc0 | (other & 7) << 3 | (to & 7))};
    uint8_t ri[4] = {(uint8_t)(0x48 | to >> 3), 0x83, 0, (uint8_t)imm};
    bool first_sub = it->bytes[0] & 1;
    if (!it->bytes[0] || it->bytes[0] > 6)
        return;
    if (it->bytes[0] > 4) { /* cmp other, to; test other, to */
        rr[0] ^= (uint8_t)(imm & 1 ? 8 : 0); /* 32 bits */
        rr[1] = first_sub ? 0x39 : 0x85;
        asm_bytes(&b->a, rr, 3);
    }
    for (int i = 0; i < 2 && it->bytes[0] <= 4; i++, first_sub = !first_sub) {
        rr[1] = first_sub ? 0x29 : 0x01;
        ri[2] = (uint8_t)((first_sub ? 0xe8 : 0xc0) | (to & 7));
        if (it->bytes[0] <= 2 && other != to)
            asm_bytes(&b->a, rr, 3);
        else
            asm_bytes(&b->a, ri, 4);
    }
}

static bool build_indirect(struct builder *b, const struct item *it)
{
    uint64_t to = new_chunk(b);
    bool fixed = it->op == I_JMP_FIXED || it->op == I_CALL_FIXED;
    if (!to || b->depth == MAX_DEPTH || (!fixed && !build_target(b, it, to)))
        return false;
    uint8_t store[3] = {(uint8_t)(0x48 | (it->reg >> 3) << 2), 0x89, (uint8_t)(0x05 | (it->reg & 7) << 3)};
    switch ((enum item_op)it->op) {
    case I_JMP_REG:
        build_last_flags(b, it);
        op_reg(b, 4, it->reg);
        break;
    case I_CALL_REG:
        op_reg(b, 2, it->reg);
        b->returns[b->depth++] = here(b);
        break;
    case I_JMP_FIXED:
    case I_CALL_FIXED:
        memcpy(world_writable(WORLD_FIXED) + 2048 + b->fixed, &to, 8);
        op_consts(b, it->op == I_JMP_FIXED ? "\xff\x25" : "\xff\x15", 2, 4096 + 2048 + b->fixed);
        b->fixed += 8;
        if (it->op == I_CALL_FIXED)
            b->returns[b->depth++] = here(b);
        break;
    case I_JMP_MEM:
    case I_CALL_MEM:
        op_consts(b, (const char *)store, 3, (it->arg >> 4) & 0xf8);
        op_consts(b, it->op == I_JMP_MEM ? "\xff\x25" : "\xff\x15", 2, (it->arg >> 4) & 0xf8);
        if (it->op == I_CALL_MEM)
            b->returns[b->depth++] = here(b);
        break;
    case I_PUSH_RET:
        asm_push(&b->a, it->reg);
        asm_ret(&b->a);
        break;
    default: /* mov [rsp], reg; ret */
        if (!b->depth)
            return false;
        b->depth--;
        store[2] = (uint8_t)(0x04 | (it->reg & 7) << 3);
        asm_bytes(&b->a, store, 3);
        asm_bytes(&b->a, "\x24\xc3", 2);
        break;
    }
    return go_on_at(b, to);
}

static bool build_plain(struct builder *b, const struct item *it)
{
    uint8_t bytes[16];
    memcpy(bytes, it->bytes, sizeof bytes);
    if (it->rip_at) {
        int32_t d = (int32_t)(WORLD_CONSTS + (uint16_t)it->arg - (here(b) + (uint64_t)it->len));
        memcpy(bytes + it->rip_at, &d, 4);
    }
    asm_bytes(&b->a, bytes, it->len);
    return true;
}

static int build_plains(struct builder *b, const struct item *it, int n)
{
    for (int i = 0; i < n; i++)
        (void)build_plain(b, &it[i]);
    return n;
}

/*      jcc other; A; [jcc pad]; join: ...      other: B; [jcc pad]; jmp join
 * `left`: items behind the fork. How many of them are its sides; below 0: it cannot be built. */
static int build_fork(struct builder *b, const struct item *it, int left)
{
    int plain = 0, n = it->reg, m = it->alt_reg;
    while (plain < left && it[1 + plain].op == I_PLAIN)
        plain++;
    n = n < plain ? n : plain;
    m = m < plain - n ? m : plain - n;
    if (!run_to_here(b))
        return -1;
    bool taken = interp_condition((unsigned)it->arg, b->now.rflags);
    uint64_t next = here(b) + 6, other = new_chunk(b), pad = new_pad(b);
    if (!other)
        return -1;
    asm_jcc(&b->a, (unsigned)it->arg, other);
    build_plains(b, it + 1, n);
    uint64_t first_end = here(b);
    at(b, other);
    build_plains(b, it + 1 + n, m);
    uint64_t other_end = here(b), join = first_end;
    if (it->alt) {
        at(b, taken ? other_end : first_end);
        if (!run_to_here(b))
            return -1;
        unsigned cc = it->rip_at & 15u;
        cc ^= interp_condition(cc, b->now.rflags);
        at(b, first_end);
        asm_jcc(&b->a, cc, pad);
        join = here(b);
        at(b, other_end);
        asm_jcc(&b->a, cc, pad);
    }
    uint64_t jump = here(b);
    if (!it->alt)
        at(b, jump = other_end);
    asm_jmp(&b->a, join);
    uint64_t end = here(b);
    at(b, join);
    bool closed = taken ? close_block(b, next, other, true) && (!it->alt || close_block(b, jump, jump, false)) &&
                              close_block(b, end, join, true)
                        : close_block(b, next, next, false) && (!it->alt || close_block(b, join, join, false));
    return closed ? n + m : -1;
}

static bool build_item(struct builder *b, const struct item *it)
{
    switch ((enum item_op)it->op) {
    case I_PLAIN:
        return build_plain(b, it);
    case I_JCC:
        return build_jcc(b, it);
    case I_JCC_SAME:
        asm_jcc(&b->a, (unsigned)it->arg, here(b) + 6);
        return close_block(b, here(b), here(b), false);
    case I_LOOP_OP:
        return build_loop_op(b, it);
    case I_JMP: {
        uint64_t to = new_chunk(b);
        asm_jmp(&b->a, to);
        return go_on_at(b, to);
    }
    case I_CALL:
        return build_call(b, new_chunk(b));
    case I_RET:
        return build_ret(b, it);
    case I_CUT:
        return here(b) == b->block || close_block(b, here(b), here(b), false);
    case I_FORK: /* build_fork */
    case I_BACK:
    case I_BACK_LOOP:
    case I_END_INDIRECT:
    case I_END_BEFORE:
        return true; /* build_end */
    default:
        return build_indirect(b, it);
    }
}

static bool end_direct(struct builder *b)
{
    uint64_t next = here(b), pad = new_pad(b);
    b->trace->end = TRACE_DIRECT;
    if (next & 1 || next == b->block) { /* a jump that leaves is part of the trace */
        asm_jmp(&b->a, pad);
        b->trace->exit = app_pc(pad);
        return close_block(b, next + 5, pad, true);
    }
    asm_jmp(&b->a, pad); /* the jump is not: the trace ends at a size limit */
    b->trace->exit = app_pc(next);
    return close_block(b, next, next, false);
}

static bool end_back(struct builder *b, const struct item *it)
{
    if (!run_to_here(b))
        return false;
    bool taken =
        it->op == I_BACK ? interp_condition((unsigned)it->arg, b->now.rflags) : b->now.gpr[R_RCX] != 1;
    uint64_t start = here(b), next;
    if (it->op == I_BACK) {
        asm_jcc(&b->a, (unsigned)it->arg, taken ? WORLD_TEXT : new_pad(b));
        next = here(b);
        asm_jmp(&b->a, taken ? new_pad(b) : WORLD_TEXT);
    } else { /* loop 1f; jmp pad; 1: jmp head */
        asm_loop_op(&b->a, 2, 5);
        next = here(b);
        asm_jmp(&b->a, new_pad(b));
        if (!taken)
            return false;
        asm_jmp(&b->a, WORLD_TEXT);
        if (!close_block(b, next, next + 5, true))
            return false;
        start = next = next + 5;
        taken = false;
    }
    b->trace->end = TRACE_LOOP;
    if (taken)
        return close_block(b, next, WORLD_TEXT, true);
    if (it->op == I_BACK && !close_block(b, next, next, false))
        return false;
    (void)start;
    return close_block(b, next + 5, WORLD_TEXT, true);
}

static bool end_indirect(struct builder *b, const struct item *it)
{
    bool before = it->op == I_END_BEFORE;
    uint64_t pad = new_pad(b);
    if (!build_target(b, it, pad))
        return false;
    if (it->arg & 0x100) {
        asm_push(&b->a, it->reg);
        asm_ret(&b->a);
    } else {
        op_reg(b, 4, it->reg);
    }
    b->trace->end = before ? TRACE_BEFORE : TRACE_INDIRECT;
    return close_block(b, here(b), pad, true);
}

static int insns_decode(struct built *out)
{
    return trace_decode(&out->trace, out->insns, MAX_TRACE_INSNS);
}

bool program_build(const struct program *p, struct built *out)
{
    static struct builder b;
    memset(world_writable(WORLD_TEXT), 0xcc, (size_t)chunks_used * CHUNK);
    b.a = asm_on(world_writable(WORLD_TEXT), WORLD_TEXT_BYTES, cache_pc(WORLD_TEXT));
    b.chunks = 1;
    b.pads = 0;
    b.fixed = 0;
    b.depth = 0;
    b.reached = b.block = WORLD_TEXT;
    b.now = p->start;
    b.trace = &out->trace;
    out->trace.head = app_pc(WORLD_TEXT);
    out->trace.exit = app_pc(0);
    out->trace.steps = 0;
    world_memory_set(&p->memory);
    const struct item *last = p->count ? &p->items[p->count - 1] : NULL;
    bool ok = last != NULL;
    for (int i = 0; ok && i < p->count; i++) {
        int sides = p->items[i].op == I_FORK ? build_fork(&b, &p->items[i], p->count - i - 1) : 0;
        ok = sides >= 0 && (p->items[i].op == I_FORK || build_item(&b, &p->items[i]));
        i += sides > 0 ? sides : 0;
    }
    chunks_used = b.chunks;
    if (!ok)
        return false;
    bool back = last->op == I_BACK || last->op == I_BACK_LOOP;
    bool indirect = last->op == I_END_INDIRECT || last->op == I_END_BEFORE;
    ok = back ? end_back(&b, last) : indirect ? end_indirect(&b, last) : end_direct(&b);
    if (!ok || b.a.overflow)
        return false;
    out->insn_count = insns_decode(out);
    out->trace.insns = out->insn_count;
    return out->insn_count > 0;
}
