/* What compilers put together: calls, frames, spills, conditions, string instructions. */
#include <string.h>

#include "tests/fuzz/gen_parts.h"

static void add_branch(struct gen *g)
{
    if (ROUGHLY(g, 60)) {
        static const char *const tests[] = {"cmp Ev,Gv", "cmp Gv,Ev", "cmp Ev,Ib", "test Ev,Gv", "test Eb,Ib",
                                            "cmp Eb,Ib", "cmp Gb,Eb", "bt Ev,Ib",  "dec Ev"};
        (void)gen_add_form(g, gen_form_named(tests[rng_below(g->r, ARRAY_LEN(tests))]));
    }
    unsigned roll = rng_below(g->r, 100);
    struct item it = {.op = I_JCC, .arg = (int16_t)rng_below(g->r, 16), .alt = ROUGHLY(g, 40)};
    if (roll < 3)
        it.op = I_JCC_SAME;
    else if (roll < 8 && !(g->busy & 1u << R_RCX) && !(g->pointers & 1u << R_RCX))
        it = (struct item){.op = I_LOOP_OP, .arg = (int16_t)rng_below(g->r, 5)};
    if (it.op == I_LOOP_OP)
        gen_wrote(g, R_RCX);
    (void)gen_add_item(g, it);
}

static void guard(struct gen *g, int at)
{
    if (g->guarded_count < MAX_GUARDED)
        g->guarded[g->guarded_count++] = at;
}

/* Slots below rsp guard nothing any more. */
static void unguard(struct gen *g)
{
    int n = 0;
    for (int i = 0; i < g->guarded_count; i++)
        if (g->guarded[i] >= g->sp)
            g->guarded[n++] = g->guarded[i];
    g->guarded_count = n;
}

static bool stack_room(const struct gen *g)
{
    return g->sp > -700 && g->guarded_count < MAX_GUARDED - 4;
}

static void change_sp(struct gen *g, int by)
{
    if (!by)
        return;
    struct operands o = {.size = 8, .rm = R_RSP, .reg = R_RSP, .index = R_NONE};
    if (ROUGHLY(g, 30)) {
        o.is_mem = true;
        o.disp = by;
        (void)gen_add_named(g, "lea Gv,M", o);
    } else {
        bool small = by == (int8_t)by && -by == (int8_t)-by;
        bool sub = ROUGHLY(g, 50);
        o.imm = (uint64_t)(int64_t)(sub ? -by : by);
        (void)gen_add_named(g,
                            small ? (sub ? "sub Ev,Ib" : "add Ev,Ib")
                            : sub ? "sub Ev,Iz"
                                  : "add Ev,Iz",
                            o);
    }
    g->sp += by;
    unguard(g);
}

static void add_push_reg(struct gen *g, unsigned r)
{
    char b[2] = {0x41, (char)(0x50 | (r & 7))};
    gen_add_bytes(g, r > 7 ? b : b + 1, r > 7 ? 2 : 1);
    g->sp -= 8;
}

static void add_pop_reg(struct gen *g, unsigned r)
{
    char b[2] = {0x41, (char)(0x58 | (r & 7))};
    gen_add_bytes(g, r > 7 ? b : b + 1, r > 7 ? 2 : 1);
    g->sp += 8;
    unguard(g);
    gen_wrote(g, r);
}

static void add_stack(struct gen *g)
{
    if (!stack_room(g))
        return;
    int floor =
        g->depth ? g->fn[g->depth - 1].frame ? g->fn[g->depth - 1].frame_sp : g->fn[g->depth - 1].ret_sp : 64;
    static const char imm[] = {0x6a, 0x55};
    struct operands o = {.size = 4, .index = R_NONE};
    switch (rng_below(g->r, 8)) {
    case 0:
    case 1:
    case 2:
        add_push_reg(g, gen_pick_source(g));
        break;
    case 3:
        gen_add_bytes(g, imm, 2);
        g->sp -= 8;
        break;
    case 4:
        change_sp(g, -8 * (int)(1 + rng_below(g->r, 9)));
        break;
    case 5: { /* push m */
        static const struct form push_mem = {"push M", 0, 0, 0xff, 6, 0, 1, F_M};
        struct item it;
        gen_pick_mem(g, false, &o);
        if (encode_form(&push_mem, &o, &it) && gen_add_item(g, it))
            g->sp -= 8;
        break;
    }
    case 6:
        if (g->sp + 8 <= floor && !g->slack)
            add_pop_reg(g, gen_pick_dest(g));
        break;
    default:
        if (g->sp + 8 <= floor && ROUGHLY(g, 30)) { /* flags through memory */
            ADD(g, "\x9c");
            g->sp -= 8;
            gen_add_any(g);
            add_pop_reg(g, gen_pick_dest(g)); /* what was pushed, or changed since */
        } else if (ROUGHLY(g, 20)) {
            ADD(g, "\x9c");
            ADD(g, "\x9d");
        }
        break;
    }
}

/* A pointer goes to the stack and comes back, other things happen in between. */
static void add_spill(struct gen *g)
{
    uint32_t from = g->pointers & ~g->busy;
    if (!from || !stack_room(g))
        return;
    unsigned r = rng_bit(g->r, from), to = ROUGHLY(g, 50) ? r : gen_pick_dest(g);
    bool push = ROUGHLY(g, 40) && !g->slack;
    struct operands o = {.size = 8, .reg = r, .rm = R_RSP, .index = R_NONE, .is_mem = true};
    o.disp = -8 * (int)(1 + rng_below(g->r, 12));
    if (!push && !gen_stack_free(g, g->sp + o.disp, g->slack))
        return;
    if (push) {
        add_push_reg(g, r);
        guard(g, g->sp);
    } else {
        (void)gen_add_named(g, "mov Ev,Gv", o);
        guard(g, g->sp + o.disp); /* below rsp: for the next instructions only */
    }
    int at = g->sp;
    for (unsigned n = rng_below(g->r, 4); n; n--)
        gen_add_any(g);
    if (g->sp != at || (g->busy & 1u << to))
        return;
    if (push) {
        add_pop_reg(g, to);
    } else {
        o.reg = to;
        (void)gen_add_named(g, "mov Gv,Ev", o);
        gen_wrote(g, to);
        g->guarded_count--;
    }
    g->pointers |= (uint16_t)(1u << to);
}

static void add_pointer_work(struct gen *g)
{
    uint32_t from = g->pointers & ~g->busy;
    if (!from)
        return;
    unsigned r = rng_bit(g->r, from), to = gen_pick_dest(g);
    struct operands o = {.size = 8, .reg = r, .rm = to, .index = R_NONE};
    switch (rng_below(g->r, 5)) {
    case 0:
        (void)gen_add_named(g, "mov Ev,Gv", o);
        break;
    case 1:
        o = (struct operands){
            .size = 8, .reg = to, .rm = r, .index = R_NONE, .is_mem = true, .disp = gen_pick_disp(g)};
        (void)gen_add_named(g, "lea Gv,M", o);
        break;
    case 2:
        o.rm = to = r;
        o.imm = rng_below(g->r, 5) * 4;
        (void)gen_add_named(g, ROUGHLY(g, 50) ? "add Ev,Ib" : "sub Ev,Ib", o);
        break;
    case 3:
        o.rm = to = r;
        (void)gen_add_named(g, ROUGHLY(g, 50) ? "inc Ev" : "dec Ev", o);
        break;
    default: { /* a pointer to the stack */
        int d = 8 * (int)rng_below(g->r, 8);
        o = (struct operands){.size = 8, .reg = to, .rm = R_RSP, .index = R_NONE, .is_mem = true, .disp = d};
        if (g->slack || (g->busy & 1u << to))
            return;
        (void)gen_add_named(g, "lea Gv,M", o);
        gen_wrote(g, to);
        g->stack_pointers |= (uint16_t)(1u << to);
        g->stack_at[to] = g->sp + d;
        return;
    }
    }
    gen_wrote(g, to);
    g->pointers |= (uint16_t)(1u << to);
}

static void open_function(struct gen *g)
{
    g->sp -= 8;
    g->frame_top = g->framed && g->frame_top > g->sp ? g->frame_top : g->sp;
    g->framed = true;
    struct function *f = &g->fn[g->depth++];
    *f = (struct function){.ret_sp = g->sp, .slack_before = g->slack};
    g->slack = 0;
    guard(g, g->sp);
    if (!ROUGHLY(g, 45) || (g->busy & 1u << R_RBP) || !stack_room(g))
        return;
    f->frame = true;
    f->bp_was_pointer = (g->pointers & 1u << R_RBP) != 0;
    add_push_reg(g, R_RBP);
    guard(g, g->sp);
    f->frame_sp = g->sp;
    ADD(g, "\x48\x89\xe5"); /* mov rbp, rsp */
    gen_wrote(g, R_RBP);
    g->busy |= 1u << R_RBP;
    if (ROUGHLY(g, 20)) {
        ADD(g, "\x48\x83\xec\x60"); /* sub rsp, 96 */
        ADD(g, "\x48\x83\xe4\xe0"); /* and rsp, -32 */
        g->sp -= 96;
        g->slack = 31;
    } else {
        change_sp(g, -8 * (int)rng_below(g->r, 13));
    }
}

static void add_call(struct gen *g)
{
    if (g->depth == MAX_FUNCTIONS - 1 || !stack_room(g))
        return;
    struct item it = {.op = ROUGHLY(g, 15) ? I_CALL_FIXED : I_CALL};
    if (it.op == I_CALL && ROUGHLY(g, 25)) {
        it.op = ROUGHLY(g, 60) ? I_CALL_REG : I_CALL_MEM;
        it.reg = (uint8_t)gen_pick_dest(g);
        it.alt_reg = (uint8_t)gen_pick_dest(g);
        it.alt = it.reg != it.alt_reg && ROUGHLY(g, 50);
        it.arg = (int16_t)(rng_below(g->r, 16) | 16 * 8 * (14 + rng_below(g->r, 2)));
        gen_wrote(g, it.reg);
        if (it.alt)
            gen_wrote(g, it.alt_reg);
    }
    if (gen_add_item(g, it))
        open_function(g);
}

static void close_function(struct gen *g)
{
    const struct function *f = &g->fn[--g->depth];
    if (f->frame) {
        if (ROUGHLY(g, 60)) {
            ADD(g, "\xc9"); /* leave */
        } else {
            ADD(g, "\x48\x89\xec"); /* mov rsp, rbp */
            ADD(g, "\x5d");         /* pop rbp */
        }
        g->busy &= (uint16_t) ~(1u << R_RBP);
        if (f->bp_was_pointer)
            g->pointers |= 1u << R_RBP;
    } else if (g->sp != f->ret_sp) {
        change_sp(g, f->ret_sp - g->sp);
    }
    g->sp = f->ret_sp;
    g->slack = f->slack_before;
    struct item it = {.op = I_RET};
    if (ROUGHLY(g, 6)) {
        it.op = I_HIJACK;
        it.reg = (uint8_t)gen_pick_dest(g);
        it.alt_reg = (uint8_t)gen_pick_dest(g);
        it.alt = it.reg != it.alt_reg && ROUGHLY(g, 30);
        it.arg = (int16_t)rng_below(g->r, 16);
        gen_wrote(g, it.reg);
        if (it.alt)
            gen_wrote(g, it.alt_reg);
    } else if (ROUGHLY(g, 8)) {
        it.arg = (int16_t)(8 * rng_below(g->r, 3));
        if (g->sp + 8 + it.arg > 32)
            it.arg = 0;
        for (int i = 0; i < g->guarded_count; i++)
            if (g->guarded[i] > f->ret_sp && g->guarded[i] < f->ret_sp + 8 + it.arg)
                it.arg = 0; /* would drop the caller's own return address */
        for (int i = 0; it.arg && i < g->depth; i++)
            if (g->fn[i].ret_sp > f->ret_sp && g->fn[i].ret_sp < f->ret_sp + 8 + it.arg)
                it.arg = 0;
    }
    (void)gen_add_item(g, it);
    g->sp += 8 + it.arg;
    unguard(g);
}

static void add_jump(struct gen *g)
{
    static const uint8_t ops[] = {I_JMP, I_JMP, I_JMP_FIXED, I_JMP_REG, I_JMP_MEM, I_PUSH_RET, I_CUT};
    struct item it = {.op = ops[rng_below(g->r, ARRAY_LEN(ops))]};
    if (it.op != I_JMP && it.op != I_CUT && it.op != I_JMP_FIXED) {
        it.reg = (uint8_t)gen_pick_dest(g);
        it.alt_reg = (uint8_t)gen_pick_dest(g);
        it.alt = it.reg != it.alt_reg && ROUGHLY(g, 50);
        it.arg = (int16_t)(rng_below(g->r, 16) | 16 * 8 * (14 + rng_below(g->r, 2)));
        for (int i = 0; it.op == I_JMP_REG && i < 3; i++)
            it.bytes[i] = (uint8_t)rng_below(g->r, i == 0 ? 9 : 256); /* of 9 six are something */
        gen_wrote(g, it.reg);
        if (it.alt)
            gen_wrote(g, it.alt_reg);
    }
    (void)gen_add_item(g, it);
}

/* rdi and rsi are pointers, rcx is small: where all three may be written. */
static void add_string(struct gen *g)
{
    static const char ops[][2] = {{0xa4 - 256, 0}, {0xaa - 256, 0}, {0xa5 - 256, 0}, {0xab - 256, 0},
                                  {0xac - 256, 1}, {0xa6 - 256, 1}, {0xae - 256, 1}};
    uint32_t need = 1u << R_RDI | 1u << R_RSI | 1u << R_RCX | 1u << R_RAX;
    if ((g->busy & need) || !(g->pointers & 1u << R_RDI) || !(g->pointers & 1u << R_RSI) ||
        (g->pointers & (1u << R_RCX | 1u << R_RAX)))
        return;
    unsigned k = rng_below(g->r, ARRAY_LEN(ops));
    bool rep = ROUGHLY(g, 60) && (uint8_t)ops[k][0] != 0xac, back = ROUGHLY(g, 8);
    if (rep) {
        ADD(g, "\x83\xe1\x0f"); /* and ecx, 15 */
    }
    if (back)
        ADD(g, "\xfd");
    char b[3] = {(char)(ROUGHLY(g, 50) ? 0xf3 : 0xf2), 0x48, ops[k][0]};
    bool wide = ROUGHLY(g, 30) && (b[2] & 1);
    if (!ops[k][1])
        b[0] = (char)0xf3;
    if (!wide) {
        b[1] = b[2];
        gen_add_bytes(g, rep ? b : b + 1, rep ? 2 : 1);
    } else {
        gen_add_bytes(g, rep ? b : b + 1, rep ? 3 : 2);
    }
    if (back)
        ADD(g, "\xfc");
    gen_wrote(g, R_RCX);
    gen_wrote(g, R_RAX);
}

static void add_division(struct gen *g)
{
    if (!gen_may_write(g, R_RAX) || !gen_may_write(g, R_RDX) || !gen_may_write(g, R_RCX))
        return;
    ADD(g, "\x83\xc9\x01"); /* or ecx, 1 */
    if (ROUGHLY(g, 50)) {
        ADD(g, "\x31\xd2"); /* xor edx, edx */
        ADD(g, "\xf7\xf1"); /* div ecx */
    } else {
        ADD(g, "\x48\x0f\xb6\xc0"); /* movzx rax, al */
        ADD(g, "\x48\x99");         /* cqo */
        ADD(g, "\x48\x63\xc9");     /* movsxd rcx, ecx */
        ADD(g, "\x48\xf7\xf9");     /* idiv rcx */
    }
    gen_wrote(g, R_RAX);
    gen_wrote(g, R_RDX);
    gen_wrote(g, R_RCX);
}

static void add_x87(struct gen *g)
{
    static const struct form fild = {"fild", 0, 0, 0xdf, 5, 0, 1, F_M},
                             fistp = {"fistp", 0, 0, 0xdf, 7, 0, 1, F_M};
    struct operands o = {.size = 4, .index = R_NONE};
    struct item it;
    gen_pick_mem(g, false, &o);
    if (o.index != R_NONE || !encode_form(&fild, &o, &it))
        return;
    (void)gen_add_item(g, it);
    ADD(g, "\xd9\xe8"); /* fld1 */
    ADD(g, "\xde\xc1"); /* faddp */
    if (encode_form(&fistp, &o, &it))
        (void)gen_add_item(g, it);
}

/* One of the ways to read, write or change a few bytes; few kinds, so that the same place is met again soon. */
static void add_access(struct gen *g, unsigned base, int disp)
{
    static const struct {
        const char *form;
        uint8_t weight;
    } ways[] = {{"mov Gv,Ev", 9}, {"mov Ev,Gv", 5}, {"movzx Gv,Eb", 1}, {"mov Eb,Gb", 1},
                {"add Ev,Gv", 1}, {"add Gv,Ev", 2}, {"movdqu V,W", 1},  {"movdqu W,V", 1},
                {"cmp Gv,Ev", 1}, {"mov Ev,Iz", 1}, {"lea Gv,M", 1},    {"movsxd Gq,Ed", 1}};
    unsigned roll = rng_below(g->r, 25), i = 0;
    while (roll >= ways[i].weight)
        roll -= ways[i++].weight;
    const struct form *f = gen_form_named(ways[i].form);
    bool vector = (f->f & F_XREG) != 0;
    struct operands o = {.size = f->f & F_B                     ? 1
                                 : f->f & F_Q || ROUGHLY(g, 70) ? 8
                                                                : 4,
                         .is_mem = true,
                         .rm = base,
                         .index = R_NONE,
                         .disp = disp,
                         .imm = gen_pick_imm(g)};
    o.reg = vector ? rng_below(g->r, 4) : f->f & F_WREG ? gen_pick_dest(g) : gen_pick_source(g);
    struct item it;
    if (encode_form(f, &o, &it) && gen_add_item(g, it) && (f->f & F_WREG))
        gen_wrote(g, o.reg);
}

/* Accesses to the same few bytes, through several registers that may or may not point to the same place. */
static void add_accesses(struct gen *g)
{
    unsigned bases[3];
    int disps[3], n = 0;
    for (int i = 0; i < 3; i++) {
        struct operands o = {.index = R_NONE};
        if (ROUGHLY(g, 35) && gen_pick_stack(g, &o)) {
            bases[n] = o.rm;
            disps[n++] = o.disp;
        } else if (g->pointers) {
            bases[n] = rng_bit(g->r, g->pointers);
            disps[n] = n && ROUGHLY(g, 70) ? disps[0] : gen_pick_disp(g);
            n++;
        }
    }
    int sp = g->sp;
    for (unsigned k = 3 + rng_below(g->r, 5); n && k; k--) {
        int i = (int)rng_below(g->r, (uint32_t)n);
        bool valid = bases[i] == R_RSP ? g->sp == sp
                                       : (g->stack_pointers & 1u << bases[i]) != 0 ||
                                             (bases[i] == R_RBP && g->depth && g->fn[g->depth - 1].frame) ||
                                             (g->pointers & 1u << bases[i]) != 0;
        if (valid)
            add_access(g, bases[i], disps[i]);
        if (ROUGHLY(g, 15))
            gen_add_any(g);
    }
}

static void add_canary(struct gen *g)
{
    ADD(g, "\x64\x48\x8b\x04\x25\x28\x00\x00\x00"); /* mov rax, fs:[0x28] */
    gen_wrote(g, R_RAX);
}

static unsigned add_number(struct gen *g)
{
    unsigned r = gen_pick_dest(g);
    struct operands o = {.size = 4, .rm = r, .reg = gen_pick_source(g), .index = R_NONE};
    o.imm = ROUGHLY(g, 60) ? 0 : gen_pick_imm(g);
    switch (rng_below(g->r, 4)) {
    case 0:
        (void)gen_add_named(g, "mov Zd,Id", o);
        break;
    case 1:
        (void)gen_add_named(g, "mov Ev,Gv", o);
        break;
    case 2:
        (void)gen_add_named(g, "shl Ev,Ib", o);
        break;
    default:
        return r; /* whatever it is */
    }
    gen_wrote(g, r);
    return r;
}

/* A sum by lea of what may be constants and of known width; then changes of the width. */
static void add_sum(struct gen *g)
{
    static const char *const widths[] = {"movsxd Gq,Ed", "mov Gv,Ev", "movzx Gv,Ew", "movsx Gv,Eb"};
    unsigned a = add_number(g), b = add_number(g), to = gen_pick_dest(g);
    struct operands o = {.size = ROUGHLY(g, 60) ? 4 : 8, .reg = to, .rm = a, .index = b, .is_mem = true};
    o.scale = ROUGHLY(g, 60) ? 0 : rng_below(g->r, 4);
    o.disp = ROUGHLY(g, 60) ? 0 : gen_pick_disp(g);
    (void)gen_add_named(g, "lea Gv,M", o);
    gen_wrote(g, to);
    for (unsigned n = 1 + rng_below(g->r, 2); n; n--) {
        o = (struct operands){.size = 4, .rm = to, .index = R_NONE};
        o.reg = ROUGHLY(g, 60) ? to : gen_pick_dest(g);
        const char *name = widths[rng_below(g->r, ARRAY_LEN(widths))];
        o.size = strcmp(name, widths[0]) == 0 ? 8 : 4;
        (void)gen_add_named(g, name, o);
        gen_wrote(g, o.reg);
    }
}

/* (x > y) - (x < y) and a branch on it; with things in between, and now and then not quite that. */
static void add_order(struct gen *g)
{
    unsigned r = rng_below(g->r, 4), x = gen_pick_source(g), y = gen_pick_source(g);
    bool two = ROUGHLY(g, 60);
    if (!gen_may_write(g, r) || g->pointers & 1u << r)
        return;
    uint8_t zero[] = {0x31, (uint8_t)(0xc0 | r * 9)}, set[] = {0x0f, two ? 0x92 : 0x97, (uint8_t)(0xc0 | r)};
    uint8_t sbb[] = {0x83, (uint8_t)(0xd8 | r), ROUGHLY(g, 97) ? 0 : 1}, test[] = {0x85, (uint8_t)(0xc0 | r * 9)};
    struct operands o = {.size = ROUGHLY(g, 70) ? 4 : 8, .rm = x, .reg = y, .index = R_NONE};
    if (ROUGHLY(g, 96))
        gen_add_bytes(g, (const char *)zero, sizeof zero);
    (void)gen_add_named(g, "cmp Ev,Gv", o);
    gen_add_bytes(g, (const char *)set, sizeof set);
    if (two) {
        o.rm = ROUGHLY(g, 97) ? y : x;
        o.reg = x;
        (void)gen_add_named(g, "cmp Ev,Gv", o);
    }
    gen_add_bytes(g, (const char *)sbb, sizeof sbb);
    gen_wrote(g, r);
    for (unsigned n = rng_below(g->r, 3); n; n--)
        gen_add_any(g);
    if (ROUGHLY(g, 5))
        add_branch(g);
    gen_add_bytes(g, (const char *)test, sizeof test);
    (void)gen_add_item(g, (struct item){.op = I_JCC, .arg = (int16_t)rng_below(g->r, 16), .alt = 1, .reg = ROUGHLY(g, 90)});
    if (ROUGHLY(g, 90)) /* the flags are written before they are read */
        (void)gen_add_form(g, gen_form_named("cmp Ev,Gv"));
}

void gen_add_step(struct gen *g)
{
    unsigned roll = rng_below(g->r, 100);
    if (g->slot_count && ROUGHLY(g, 45))
        gen_add_slot(g);
    else if (roll < 6)
        add_accesses(g);
    else if (roll < 8)
        add_sum(g);
    else if (roll < 12)
        add_order(g);
    else if (roll < 54)
        gen_add_any(g);
    else if (roll < 59)
        gen_add_fork(g);
    else if (roll < 70)
        add_branch(g);
    else if (roll < 76)
        add_stack(g);
    else if (roll < 80)
        add_spill(g);
    else if (roll < 84)
        add_pointer_work(g);
    else if (roll < 88)
        add_call(g);
    else if (roll < 92 && g->depth)
        close_function(g);
    else if (roll < 95)
        add_jump(g);
    else if (roll < 97)
        add_string(g);
    else if (roll < 98)
        add_division(g);
    else if (roll < 99)
        add_x87(g);
    else if (gen_may_write(g, R_RAX))
        add_canary(g);
}

void gen_add_end(struct gen *g, const struct gen_roles *roles)
{
    if (roles->counter == R_NONE) {
        if (ROUGHLY(g, 55))
            return;
        struct item it = {.op = (uint8_t)(ROUGHLY(g, 70) ? I_END_INDIRECT : I_END_BEFORE),
                          .reg = (uint8_t)gen_pick_dest(g),
                          .alt_reg = (uint8_t)gen_pick_dest(g),
                          .arg = (int16_t)(rng_below(g->r, 16) | rng_below(g->r, 2) << 8)};
        it.alt = it.reg != it.alt_reg && ROUGHLY(g, 50);
        g->p->items[g->p->count++] = it;
        return;
    }
    while (g->depth)
        close_function(g);
    if (ROUGHLY(g, 90) || roles->fixed) /* a pointer to the stack keeps its distance from rsp */
        change_sp(g, -g->sp);
    if (roles->counter == R_RCX && ROUGHLY(g, 50)) {
        g->p->items[g->p->count++] = (struct item){.op = I_BACK_LOOP};
        return;
    }
    struct operands o = {.size = ROUGHLY(g, 50) ? 4 : 8, .rm = roles->counter, .index = R_NONE, .imm = 1};
    (void)gen_add_named(g, ROUGHLY(g, 50) ? "dec Ev" : "sub Ev,Ib", o);
    g->p->items[g->p->count++] = (struct item){.op = I_BACK, .arg = ROUGHLY(g, 80) ? 5 : 15};
}
