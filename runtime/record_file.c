#include "runtime/record_file.h"

#include "runtime/base/mem.h"
#include "runtime/log.h"

static void put_steps(struct record_step *out, const struct trace *t)
{
    for (int i = 0; i < t->steps; i++) {
        const struct trace_step *s = &t->step[i];
        out[i] = (struct record_step){s->pc.v, s->next.v, s->went.v, s->taken, {0}};
    }
}

static void put_insns(struct record_insn *out, const struct insn *insns, int n)
{
    for (int i = 0; i < n; i++) {
        out[i] = (struct record_insn){.pc = insns[i].pc.v, .len = insns[i].len};
        mem_copy(out[i].bytes, insns[i].bytes, insns[i].len);
    }
}

size_t record_file_bytes(const struct trace *t, int n)
{
    return sizeof(struct record_header) + sizeof(struct record_step) * (size_t)t->steps +
           sizeof(struct record_insn) * (size_t)n;
}

void record_file_make(uint8_t *record, const struct trace *t, const struct insn *insns, int n)
{
    size_t steps = sizeof(struct record_step) * (size_t)t->steps;
    *(struct record_header *)record =
        (struct record_header){.magic = {'r', 'h', 't', 'r', 'a', 'c', 'e', '1'},
                               .end = (uint32_t)t->end,
                               .steps = (uint32_t)t->steps,
                               .insns = (uint32_t)n,
                               .bytes = (uint32_t)(record_file_bytes(t, n) - sizeof(struct record_header)),
                               .head = t->head.v,
                               .exit = t->end == TRACE_DIRECT ? t->exit.v : 0};
    put_steps((struct record_step *)(record + sizeof(struct record_header)), t);
    put_insns((struct record_insn *)(record + sizeof(struct record_header) + steps), insns, n);
}

void record_file_append(const char *path, const struct trace *t, const struct insn *insns, int n)
{
    size_t all = record_file_bytes(t, n);
    uint8_t *record = mem_map(all);
    if (!record)
        return;
    record_file_make(record, t, insns, n);
    log_append(path, (const char *)record, all);
    mem_unmap(record, all);
}
