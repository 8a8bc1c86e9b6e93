#include "optimizer/encode.h"
#include "optimizer/liveness.h"
#include "optimizer/passes.h"

/* What compilers make of (x > y) - (x < y), which callbacks of sorts return, for unsigned numbers:
 *
 *   xor r, r; ...; cmp x, y; setb r; cmp y, x; sbb r, 0      or      xor r, r; ...; cmp x, y; seta r; sbb r, 0
 *   ...; test r, r; jcc                                                 (r to x: 32 bits)
 *
 * The last cmp's own flags say the same as the sign of r, four dependent instructions earlier: where the branch cannot be
 * predicted, that much sooner is it known to have gone wrong. test becomes that cmp; r is still computed. */
#define LONGEST 24 /* nodes between what matters */

static struct node *before(const struct ir *ir, const struct node *n)
{
    int i = (int)(n - ir->nodes) - 1;
    while (i >= 0 && ir->nodes[i].removed)
        i--;
    return i < 0 ? NULL : &ir->nodes[i];
}

static bool is_plain(const struct node *n) { return n && n->op == N_INSN && n->part == PART_WHOLE; }

/* op r with these three bytes, r one of eax to ebx where it is narrow. */
static bool is_bytes(const struct node *n, uint8_t first, uint8_t second, uint8_t third)
{
    return is_plain(n) && n->in->len == 3 && n->in->bytes[0] == first && n->in->bytes[1] == second && n->in->bytes[2] == third;
}

static bool is_register_cmp(const struct node *n)
{
    const struct insn *in = is_plain(n) ? n->in : NULL;
    return in && in->act == ACT_CMP && in->dst.kind == OPERAND_GPR && in->src.kind == OPERAND_GPR &&
           in->dst.bytes >= 4 && in->src.bytes == in->dst.bytes;
}

/* The node that last wrote one of `mask`, over what leaves the path's registers as it says. NULL: not known. */
static struct node *writer(const struct ir *ir, const struct node *n, unsigned mask)
{
    int left = LONGEST;
    for (struct node *w = before(ir, n); w && left; w = before(ir, w), left--) {
        bool passes = w->op == N_EXIT_IF || w->op == N_PUSH_CONST || w->op == N_ADD_SP;
        if (!passes && !is_plain(w))
            return NULL;
        if (!passes && w->in->gpr_written & mask)
            return w;
    }
    return NULL;
}

static bool is_zeroed(const struct node *n, unsigned r)
{
    const struct insn *in = is_plain(n) ? n->in : NULL;
    return in && in->act == ACT_XOR && in->dst.kind == OPERAND_GPR && in->src.kind == OPERAND_GPR && in->dst.reg == r &&
           in->src.reg == r && in->dst.bytes >= 4;
}

/* The cmp whose flags say how r, which `test` tests, compares with 0; NULL: there is none. */
static const struct insn *order_of(const struct ir *ir, const struct node *test, unsigned r)
{
    const struct node *sbb = writer(ir, test, 1u << r);
    if (r > R_RBX || !sbb || !is_bytes(sbb, 0x83, (uint8_t)(0xd8 | r), 0))
        return NULL;
    const struct node *last = before(ir, sbb), *set = last, *first;
    bool two = is_register_cmp(last); /* of which the first sets r */
    if (two)
        set = before(ir, last);
    if (!is_bytes(set, 0x0f, two ? 0x92 : 0x97, (uint8_t)(0xc0 | r)))
        return NULL;
    first = before(ir, set);
    if (!is_register_cmp(first) || !is_zeroed(writer(ir, first, 1u << r), r))
        return NULL;
    last = two ? last : first;
    const struct insn *a = first->in, *b = last->in;
    unsigned operands = 1u << a->dst.reg | 1u << a->src.reg;
    bool swapped = a->dst.reg == b->src.reg && a->src.reg == b->dst.reg && a->dst.bytes == b->dst.bytes;
    /* What wrote the operands came before. */
    const struct node *w = writer(ir, test, operands | 1u << r);
    return (!two || swapped) && !(operands & 1u << r) && w == sbb ? b : NULL;
}

/* r > 0 as the cmp's `above`, and so on; 0: says something else of r. */
static unsigned order_condition(unsigned cc)
{
    static const uint8_t of[16] = {[4] = 4, [5] = 5, [8] = 2, [9] = 3, [12] = 2, [13] = 3, [14] = 6, [15] = 7};
    return of[cc & 15];
}

static void change(struct ir *ir, struct node *test, struct node *exit)
{
    const struct insn *in = test->in;
    unsigned cc = order_condition(exit->cc);
    bool tests = in->act == ACT_TEST && in->dst.kind == OPERAND_GPR && in->src.kind == OPERAND_GPR &&
                 in->dst.reg == in->src.reg && in->dst.bytes == 4;
    const struct insn *order = tests && cc ? order_of(ir, test, in->dst.reg) : NULL;
    struct insn *made = order ? encode_make(ir, in->pc, order->bytes, order->len) : NULL;
    if (!made || made->act != ACT_CMP || !ir_change(ir, PASS_order, test, "order: what the number says, from the comparison"))
        return;
    ir->made_count++;
    test->in = made;
    exit->cc = (uint8_t)cc;
    exit->insn = test->insn; /* the flags are not the program's until it has gone one way: until then it is at its test */
    exit->why = "order: as compared";
}

rc_t pass_order(struct ir *ir)
{
    liveness_compute(ir);
    for (int i = 1; i < ir->count; i++) {
        struct node *exit = &ir->nodes[i], *test = before(ir, exit);
        if (exit->op == N_EXIT_IF && !exit->removed && (exit->flags_dead & FL_STATUS) == FL_STATUS && is_plain(test))
            change(ir, test, exit);
    }
    return RC_OK;
}
