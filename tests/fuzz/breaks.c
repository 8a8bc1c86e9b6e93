#include "tests/fuzz/breaks.h"

#include <string.h>

#include "optimizer/redo.h"
#include "tests/fuzz/world.h"

static bool is_plain(const struct node *n)
{
    return n->op == N_INSN && !n->removed;
}

/* An instruction of this process's own making, as a pass would make one. */
static struct insn *made_of(const struct insn *in)
{
    static struct insn made;
    made = *in;
    return &made;
}

static bool drop_store(struct node *n)
{
    if (!is_plain(n) || !n->in->mem_write || n->in->mem_read || n->in->sp != SP_SAME)
        return false;
    n->removed = true;
    return true;
}

static bool swap_condition(struct node *n)
{
    if (n->op != N_EXIT_IF || n->removed)
        return false;
    n->cc ^= 1;
    return true;
}

static bool wrong_condition(struct node *n)
{
    if (n->op != N_EXIT_IF || n->removed)
        return false;
    n->cc ^= 2; /* o and c, z and be, s and p, l and le */
    return true;
}

static bool wrong_exit(struct node *n)
{
    if ((n->op != N_EXIT_IF && n->op != N_EXIT) || n->removed)
        return false;
    n->target += WORLD_PAD_STRIDE; /* the next pad */
    return true;
}

/* A load is taken to give what the register already holds. */
static bool stale_load(struct node *n)
{
    if (!is_plain(n) || !n->in->mem_read || n->in->mem_write || !n->in->gpr_written || n->in->sp != SP_SAME ||
        n->in->stores || (n->in->gpr_written & (n->in->gpr_written - 1)))
        return false;
    n->removed = true;
    return true;
}

/* Only flags are lost: cmp, test. */
static bool forget_flags(struct node *n)
{
    if (!is_plain(n) || !n->in->flags_written || n->in->gpr_written || n->in->stores || n->in->mem_read)
        return false;
    n->removed = true;
    return true;
}

/* mov r8, imm8 taken for mov r32, imm32: the register's other bits are lost. */
static bool lose_merge(struct node *n)
{
    const struct insn *in = n->in;
    if (!is_plain(n) || in->len != 2 || (in->bytes[0] & 0xfc) != 0xb0)
        return false;
    struct insn *m = made_of(in);
    m->bytes[0] = (uint8_t)(0xb8 | (in->bytes[0] & 7));
    memset(m->bytes + 2, 0, 3);
    m->len = 5;
    n->in = m;
    return true;
}

static bool drop_sp(struct node *n)
{
    if (n->op != N_ADD_SP || n->removed)
        return false;
    n->value += 8;
    return true;
}

static bool wrong_return(struct node *n)
{
    if (n->op != N_PUSH_CONST || n->removed)
        return false;
    n->value++;
    return true;
}

/* A return address is taken to be in its place. */
static bool wrong_standing(struct node *n)
{
    if (n->op != N_PUSH_CONST || n->removed || n->stands)
        return false;
    n->stands = true;
    return true;
}

static bool drop_guard(struct node *n)
{
    if (n->op != N_GUARD || n->removed || n->in->kind != IK_JMP_IND)
        return false;
    n->removed = true;
    return true;
}

/* inc and dec keep the carry flag; add and sub do not. */
static bool clobber_carry(struct node *n)
{
    const struct insn *in = n->in;
    if (!is_plain(n) || in->bytes[0] != 0xff || in->len != 2 || (in->bytes[1] & 0xf0) != 0xc0)
        return false;
    struct insn *m = made_of(in); /* ff /0, /1 -> 83 /0, /5 with 1 */
    m->bytes[0] = 0x83;
    m->bytes[1] = (uint8_t)((in->bytes[1] & 0xc7) | (in->bytes[1] & 8 ? 0x28 : 0));
    m->bytes[2] = 1;
    m->len = 3;
    n->in = m;
    return true;
}

static bool end_loop_late(struct node *n)
{
    if (n->op != N_BACK_IF || n->removed)
        return false;
    n->cc ^= 1;
    return true;
}

static bool drop_vector(struct node *n)
{
    const struct insn *in = n->in;
    if (!is_plain(n) || in->len < 3 || (in->bytes[0] != 0xc5 && in->bytes[0] != 0xc4))
        return false;
    if (in->gpr_written || in->stores)
        return false;
    n->removed = true;
    return true;
}

/* mov r32, r32 taken for a copy of all 64 bits. */
static bool lose_zero_extension(struct node *n)
{
    const struct insn *in = n->in;
    if (!is_plain(n) || in->len != 2 || (in->bytes[0] != 0x89 && in->bytes[0] != 0x8b) || in->bytes[1] < 0xc0)
        return false;
    struct insn *m = made_of(in);
    m->bytes[0] = 0x48;
    m->bytes[1] = in->bytes[0];
    m->bytes[2] = in->bytes[1];
    m->len = 3;
    n->in = m;
    return true;
}

/* A slot's memory changes and its register does not. */
static bool forget_update(struct node *n)
{
    if (!is_plain(n) || n->part != PART_UPDATE)
        return false;
    n->removed = true;
    return true;
}

/* A store through another pointer is taken to miss all slots. */
static bool forget_check(struct node *n)
{
    if (n->op != N_CHECK || n->removed)
        return false;
    n->removed = true;
    return true;
}

/* --- mistakes about what lies between two nodes; `at` is the first one */

static bool is_exit(const struct node *n)
{
    return !n->removed && n->op != N_INSN && n->op != N_PUSH_CONST && n->op != N_ADD_SP;
}

/* mov r64, [base + disp] */
static bool is_load64(const struct node *n)
{
    const struct insn *in = n->in;
    return is_plain(n) && in->mem_bytes == 8 && in->mem_read && in->mem_base < R_NONE && in->modrm_at == 2 &&
           in->bytes[1] == 0x8b && (in->bytes[0] & 0xf8) == 0x48 && in->mem_index == R_NONE;
}

static unsigned loaded_register(const struct insn *in)
{
    return (in->bytes[2] >> 3 & 7u) | (in->bytes[0] & 4u) << 1;
}

/* mov to, from */
static void make_copy(struct node *n, unsigned to, unsigned from)
{
    struct insn *m = made_of(n->in);
    m->bytes[0] = (uint8_t)(0x48 | (from >> 3) << 2 | to >> 3);
    m->bytes[1] = 0x89;
    m->bytes[2] = (uint8_t)(0xc0 | (from & 7) << 3 | (to & 7));
    m->len = 3;
    n->in = m;
}

/* The second load of an address gives the first one's value, although something else was stored in between. */
static bool forget_alias(struct ir *ir, int at)
{
    if (!is_load64(&ir->nodes[at]))
        return false;
    const struct insn *a = ir->nodes[at].in;
    unsigned value = loaded_register(a);
    bool stored = false;
    for (int i = at + 1; i < ir->count && value != a->mem_base; i++) {
        struct node *n = &ir->nodes[i];
        if (n->removed || n->op != N_INSN)
            continue;
        if (is_load64(n) && n->in->mem_base == a->mem_base && n->in->mem_disp == a->mem_disp && stored) {
            make_copy(n, loaded_register(n->in), value);
            return true;
        }
        if (n->in->gpr_written & (1u << value | 1u << a->mem_base))
            return false;
        stored |= n->in->stores && n->in->mem_base != a->mem_base;
    }
    return false;
}

/* What sets only flags is dead, since they are set again - behind an exit. */
static bool forget_exit(struct ir *ir, int at)
{
    const struct node *n = &ir->nodes[at];
    if (!is_plain(n) || n->in->gpr_written || n->in->stores || n->in->flags_written != FL_STATUS)
        return false;
    bool left = false;
    for (int i = at + 1; i < ir->count; i++) {
        const struct node *k = &ir->nodes[i];
        left |= is_exit(k);
        if (!is_plain(k))
            continue;
        if (k->in->flags_read & FL_STATUS)
            return false;
        if (k->in->flags_written == FL_STATUS) {
            ir->nodes[at].removed = left;
            return left;
        }
    }
    return false;
}

/* The flags before a shift by cl are dead - unless the count is 0. */
static bool forget_zero_count(struct ir *ir, int at)
{
    const struct node *n = &ir->nodes[at];
    if (!is_plain(n) || n->in->gpr_written || n->in->stores || !n->in->flags_written)
        return false;
    for (int i = at + 1; i < ir->count; i++) {
        const struct node *k = &ir->nodes[i];
        if (is_exit(k) || (is_plain(k) && (k->in->flags_read & FL_STATUS)))
            return false;
        if (!is_plain(k) || !k->in->flags_written)
            continue;
        const struct insn *in = k->in;
        bool by_cl = in->modrm_at && (in->bytes[in->modrm_at - 1] & 0xfe) == 0xd2 && in->modrm_at < 4;
        ir->nodes[at].removed = by_cl;
        return by_cl;
    }
    return false;
}

/* A store is dead, since its bytes are stored again - behind a load through another register. */
static bool forget_reader(struct ir *ir, int at)
{
    const struct node *n = &ir->nodes[at];
    if (!is_plain(n) || !n->in->mem_write || n->in->mem_read || n->in->mem_index != R_NONE ||
        n->in->sp != SP_SAME)
        return false;
    const struct insn *a = n->in;
    bool read = false;
    for (int i = at + 1; i < ir->count; i++) {
        const struct node *k = &ir->nodes[i];
        if (is_exit(k) || !is_plain(k) || (a->mem_base < R_NONE && (k->in->gpr_written & 1u << a->mem_base)))
            return false;
        read |= k->in->mem_read && k->in->mem_base != a->mem_base;
        if (k->in->mem_write && !k->in->mem_read && k->in->mem_base == a->mem_base &&
            k->in->mem_disp == a->mem_disp && k->in->mem_index == R_NONE &&
            k->in->mem_bytes >= a->mem_bytes) {
            ir->nodes[at].removed = read;
            return read;
        }
    }
    return false;
}

/* Two stores that may overlap change places. */
static bool swap_stores(struct ir *ir, int i)
{
    if (i + 1 >= ir->count)
        return false;
    struct node *a = &ir->nodes[i], *b = &ir->nodes[i + 1];
    bool both = is_plain(a) && is_plain(b) && a->in->mem_write && b->in->mem_write && !a->in->mem_read &&
                !b->in->mem_read && a->in->sp == SP_SAME && b->in->sp == SP_SAME && !a->in->rip_relative &&
                !b->in->rip_relative;
    if (!both)
        return false;
    const struct insn *x = a->in;
    a->in = b->in;
    b->in = x;
    return true;
}

/* --- hammocks */

/* The last step of that kind; NULL: there is none. */
static struct hammock_step *step_of(struct ir *ir, int at, enum hammock_kind kind)
{
    struct node *n = &ir->nodes[at];
    struct hammock *h = n->op == N_HAMMOCK && !n->removed ? &ir->hammocks[n->hammock] : NULL;
    for (int i = h ? h->count : 0; i-- > 0;)
        if (h->step[i].kind == kind)
            return &h->step[i];
    return NULL;
}

static bool wrong_move_condition(struct ir *ir, int at)
{
    struct hammock_step *t = step_of(ir, at, HAMMOCK_CMOV);
    if (t)
        t->cc ^= 1;
    return t != NULL;
}

/* One side's value for both. */
static bool forget_move(struct ir *ir, int at)
{
    struct hammock_step *t = step_of(ir, at, HAMMOCK_CMOV);
    if (t)
        *t = (struct hammock_step){HAMMOCK_SET, 0, t->reg, 8, t->sum};
    return t != NULL;
}

static bool lose_narrowness(struct ir *ir, int at)
{
    struct hammock_step *t = step_of(ir, at, HAMMOCK_SET);
    bool narrow = t && t->sum.narrow;
    if (narrow)
        t->sum.narrow = false;
    return narrow;
}

/* A register that is still needed taken for a free one. */
static bool wrong_scratch(struct ir *ir, int at)
{
    struct hammock_step *set = step_of(ir, at, HAMMOCK_SET), *move = step_of(ir, at, HAMMOCK_CMOV);
    if (!set || !move || move->sum.base != set->reg || set > move)
        return false;
    unsigned r = 0;
    while (r < 16 && ((ir->hammocks[ir->nodes[at].hammock].spare & 1u << r) || r == R_RSP || r == move->reg))
        r++;
    if (r == 16)
        return false;
    set->reg = move->sum.base = (uint8_t)r;
    return true;
}

static bool wrong_shift(struct ir *ir, int at)
{
    struct hammock_step *t = step_of(ir, at, HAMMOCK_SHIFT);
    if (t)
        t->sum.disp ^= 1;
    return t != NULL;
}

static bool wrong_sign(struct ir *ir, int at)
{
    struct hammock_step *t = step_of(ir, at, HAMMOCK_EXTEND);
    if (t)
        t->cc ^= 1;
    return t != NULL;
}

static bool wrong_load(struct ir *ir, int at)
{
    struct hammock_step *t = step_of(ir, at, HAMMOCK_LOAD);
    if (t)
        t->sum.disp++;
    return t != NULL;
}

/* A slot's memory changes in a hammock and its register does not. */
static bool forget_slot(struct ir *ir, int at)
{
    struct node *n = &ir->nodes[at];
    struct hammock *h = n->op == N_HAMMOCK && !n->removed ? &ir->hammocks[n->hammock] : NULL;
    for (int i = 0; h && i < ir->slot_count; i++)
        for (int k = 0; k + 1 < h->commit; k++)
            if (h->step[k].reg == ir->slots[i].reg && h->step[k + 1].kind == HAMMOCK_STORE) {
                h->step[k].reg = h->step[k].sum.base;
                return true;
            }
    return false;
}

static bool wrong_store_width(struct ir *ir, int at)
{
    struct hammock_step *t = step_of(ir, at, HAMMOCK_STORE);
    if (t)
        t->bytes = t->bytes == 8 ? 4 : 8;
    return t != NULL;
}

/* --- slots */

/* Of two instructions that are done as one, the first is forgotten: another register is taken. */
static bool wrong_taken(struct node *n)
{
    if (!n->fused)
        return false;
    struct insn *m = made_of(n->in);
    m->bytes[m->len - 1] ^= 1;
    n->in = m;
    return true;
}

/* The recipes are the lowering's, and so are borrowed registers: break_lowered. */
static bool wrong_recipe(struct ir *ir, int at)
{
    return ir->count > at;
}

static bool borrows(struct ir *ir, int at)
{
    return ir->nodes[at].op == N_BORROW;
}

/* An exit that pass_order has changed stands for the test before it. */
static bool is_ordered(const struct ir *ir, int at)
{
    const struct node *n = &ir->nodes[at];
    return n->op == N_EXIT_IF && !n->removed && ir->insns[n->insn].kind == IK_PLAIN;
}

static bool wrong_order(struct ir *ir, int at)
{
    if (!is_ordered(ir, at) || ir->nodes[at].cc < 6)
        return false;
    ir->nodes[at].cc ^= 5; /* above: below; not above: not below */
    return true;
}

static bool forget_test(struct ir *ir, int at)
{
    if (!is_ordered(ir, at))
        return false;
    ir->nodes[at].insn++;
    return true;
}

static bool has_chain(struct node *n)
{
    return n->chain && !n->removed;
}

static bool borrows_vector(struct ir *ir, int at)
{
    return ir->nodes[at].op == N_BORROW && ir->borrowed & REGS_VECTOR;
}

/* A slot's memory changes and its vector register does not. */
static bool forget_number(struct node *n)
{
    if (!is_plain(n) || n->part != PART_UPDATE || !n->in->xmm)
        return false;
    n->removed = true;
    return true;
}

/* movaps for movsd: what lies above the number comes along, and the next load shows it. */
static bool wide_number(struct node *n)
{
    const struct insn *in = n->in;
    if (!is_plain(n) || n->part != PART_UPDATE || !in->xmm)
        return false;
    struct insn *m = made_of(in);
    memmove(m->bytes, in->bytes + 1, in->len - 1u);
    m->bytes[in->modrm_at - 2] = 0x29;
    m->len--;
    n->in = m;
    return true;
}

/* What a guard's comparison overwrites is not made again. */
static bool forget_redo(struct ir *ir, int at)
{
    if (ir->nodes[at].removed || !redo_before(ir, &ir->nodes[at]))
        return false;
    ir->nodes[at].flags_dead |= FL_STATUS;
    return true;
}

static const struct {
    const char *name;
    bool (*apply)(struct node *n);
    bool (*apply_at)(struct ir *ir, int at);
} breaks[] = {
    {"drop-store", drop_store, NULL},
    {"swap-condition", swap_condition, NULL},
    {"wrong-condition", wrong_condition, NULL},
    {"wrong-exit", wrong_exit, NULL},
    {"stale-load", stale_load, NULL},
    {"forget-flags", forget_flags, NULL},
    {"lose-merge", lose_merge, NULL},
    {"lose-zero-extension", lose_zero_extension, NULL},
    {"drop-sp", drop_sp, NULL},
    {"wrong-return", wrong_return, NULL},
    {"wrong-standing", wrong_standing, NULL},
    {"drop-guard", drop_guard, NULL},
    {"clobber-carry", clobber_carry, NULL},
    {"wrong-back-edge", end_loop_late, NULL},
    {"drop-vector", drop_vector, NULL},
    {"forget-alias", NULL, forget_alias},
    {"forget-exit", NULL, forget_exit},
    {"forget-zero-count", NULL, forget_zero_count},
    {"forget-reader", NULL, forget_reader},
    {"swap-stores", NULL, swap_stores},
    {"wrong-move-condition", NULL, wrong_move_condition},
    {"forget-move", NULL, forget_move},
    {"lose-narrowness", NULL, lose_narrowness},
    {"wrong-scratch", NULL, wrong_scratch},
    {"wrong-store-width", NULL, wrong_store_width},
    {"wrong-shift", NULL, wrong_shift},
    {"wrong-sign", NULL, wrong_sign},
    {"wrong-load", NULL, wrong_load},
    {"forget-slot", NULL, forget_slot},
    {"wrong-recipe", NULL, wrong_recipe},
    {"forget-update", forget_update, NULL},
    {"forget-check", forget_check, NULL},
    {"short-check", NULL, break_check},
    {"misplaced-slot", NULL, break_slot},
    {"wrong-taken", wrong_taken, NULL},
    {"forget-restore", NULL, borrows},
    {"unsaved-recipe", NULL, borrows},
    {"wrong-order", NULL, wrong_order},
    {"forget-test", NULL, forget_test},
    {"wrong-chain", has_chain, NULL},
    {"forget-chain-register", has_chain, NULL},
    {"unsaved-vector", NULL, borrows_vector},
    {"forget-number", forget_number, NULL},
    {"wide-number", wide_number, NULL},
    {"forget-redo", NULL, forget_redo},
    {"wrong-invariant", NULL, break_invariant},
    {"wrong-extension", NULL, break_extension},
    {"forget-others", NULL, break_others},
};

bool break_apply(struct ir *ir, const char *name, uint32_t roll)
{
    size_t k = 0;
    while (k < ARRAY_LEN(breaks) && strcmp(breaks[k].name, name) != 0)
        k++;
    if (k == ARRAY_LEN(breaks) || !ir->count)
        return false;
    uint32_t count = (uint32_t)ir->count;
    for (uint32_t i = 0; i < count; i++) {
        int at = (int)((roll % count + i) % count);
        if (breaks[k].apply ? breaks[k].apply(&ir->nodes[at]) : breaks[k].apply_at(ir, at))
            return true;
    }
    return false;
}

const char *break_name(int i)
{
    return i >= 0 && (size_t)i < ARRAY_LEN(breaks) ? breaks[i].name : NULL;
}
