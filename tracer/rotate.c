#include "tracer/rotate.h"

bool trace_can_rotate(const struct trace *t, const struct insn *insns, int n, int k)
{
    int depth = 0;
    if (t->end != TRACE_LOOP || k < 0 || k >= n)
        return false;
    for (int i = 0; i < k; i++) {
        depth += insns[i].kind == IK_CALL || insns[i].kind == IK_CALL_IND;
        depth -= insns[i].kind == IK_RET;
        if (depth < 0)
            return false;
    }
    return depth == 0;
}

/* The step that holds instruction k. */
static int step_of(const struct trace *t, const struct insn *insns, int k)
{
    int step = 0;
    for (int i = 0; i < k; i++)
        if (insns[i].pc.v + insns[i].len == t->step[step].next.v)
            step++;
    return step;
}

static void reverse(struct insn *v, int from, int to)
{
    for (to--; from < to; from++, to--) {
        struct insn x = v[from];
        v[from] = v[to];
        v[to] = x;
    }
}

rc_t trace_rotate(struct trace *t, struct insn *insns, int n, int k)
{
    static struct trace_step rotated[TRACE_MAX_BLOCKS + 1]; /* one thread traces at a time */
    int s = step_of(t, insns, k), count = 0;
    struct app_pc head = insns[k].pc;
    bool split = !app_pc_eq(t->step[s].pc, head);
    if (t->steps + split > TRACE_MAX_BLOCKS)
        return RC_TOO_LONG;
    for (int i = 0; i < t->steps; i++)
        rotated[count++] = t->step[(s + i) % t->steps];
    rotated[0].pc = head;
    if (split)
        rotated[count++] = (struct trace_step){t->step[s].pc, head, head, false};
    for (int i = 0; i < count; i++)
        t->step[i] = rotated[i];
    t->steps = count;
    t->head = head;
    reverse(insns, 0, k);
    reverse(insns, k, n);
    reverse(insns, 0, n);
    return RC_OK;
}

bool trace_can_trim(const struct trace *t, const struct insn *insns, int k)
{
    if (t->end == TRACE_LOOP)
        return false;
    for (int i = 0; i < k; i++)
        if (insns[i].kind == IK_CALL || insns[i].kind == IK_CALL_IND || insns[i].kind == IK_RET)
            return false;
    return true;
}

void trace_trim(struct trace *t, struct insn *insns, int n, int k)
{
    int s = step_of(t, insns, k);
    for (int i = s; i < t->steps; i++)
        t->step[i - s] = t->step[i];
    t->steps -= s;
    t->insns -= k;
    t->head = t->step[0].pc = insns[k].pc;
    for (int i = k; i < n; i++)
        insns[i - k] = insns[i];
}
