#include "optimizer/liveness.h"
#include "optimizer/passes.h"
#include "optimizer/values.h"

/* Writes one register, with what it holds; and no flags that anything reads. */
static bool changes_nothing(struct values *s, const struct node *n)
{
    struct value v;
    return !(n->in->flags_written & ~n->flags_dead) && values_result(s, n->in, &v) &&
           value_equal(v, s->reg[n->in->dst.reg]);
}

/* Where return addresses were pushed, as offsets from rsp at the head. Once one has been below the red zone, a signal, ours
 * too, may have written there. */
#define RED_ZONE 128
#define PUSHED 16
struct pushed {
    int count;
    int64_t at[PUSHED];
};

static bool was_pushed(const struct pushed *p, int64_t at)
{
    for (int i = 0; i < p->count; i++)
        if (p->at[i] == at)
            return true;
    return false;
}

static void forget_pushed(struct pushed *p, struct value sp)
{
    int kept = 0;
    for (int i = 0; i < p->count && sp.id == VALUE_SP; i++)
        if (p->at[i] >= sp.off - RED_ZONE)
            p->at[kept++] = p->at[i];
    p->count = kept;
}

static bool pushes_return(const struct ir *ir, const struct node *n, uint64_t *address)
{
    const struct insn *in = &ir->insns[n->insn];
    *address = n->op == N_PUSH_CONST ? n->value : in->pc.v + in->len;
    return !n->removed && (n->op == N_PUSH_CONST || (n->op == N_GUARD && in->kind == IK_CALL_IND));
}

/* A loop's call from the same depth pushes what the iteration before has left there. */
static void step_push(struct ir *ir, const struct values *s, struct pushed *p, struct node *n, uint64_t address)
{
    struct place at = {.base = VALUE_SP, .scale = 1, .seg = SEG_FLAT, .bytes = 8, .off = s->reg[R_RSP].off - 8};
    struct value v;
    if (s->reg[R_RSP].id != VALUE_SP)
        return;
    if (was_pushed(p, at.off)) {
        if (values_find(s, &at, &v) && value_equal(v, value_const(address)))
            n->stands = ir_change(ir, PASS_idle, n, "idle: the return address is there");
        return;
    }
    if (p->count < PUSHED)
        p->at[p->count++] = at.off;
}

rc_t pass_idle(struct ir *ir)
{
    struct values s;
    struct pushed pushed = {.count = 0};
    uint64_t address;
    liveness_compute(ir);
    values_start(&s, ir);
    for (int i = 0; i < ir->count; i++) {
        struct node *n = &ir->nodes[i];
        if (n->op == N_INSN && !n->removed && node_may_go(ir, n)) {
            if (n->in->act == ACT_NOP)
                n->removed = ir_change(ir, PASS_idle, n, "idle: no operation");
            else if (changes_nothing(&s, n))
                n->removed = ir_change(ir, PASS_idle, n, "idle: writes what is there");
        }
        if (pushes_return(ir, n, &address))
            step_push(ir, &s, &pushed, n, address);
        values_step(&s, n);
        if (n->op == N_LOOP)
            pushed.count = 0;
        forget_pushed(&pushed, s.reg[R_RSP]);
    }
    return RC_OK;
}
