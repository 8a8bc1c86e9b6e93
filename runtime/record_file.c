#include "runtime/record_file.h"

#include "runtime/base/mem.h"
#include "runtime/log.h"

/* Little-endian, without padding. */
struct header {
    char magic[8];
    uint32_t end, steps, insns, bytes;
    uint64_t head, exit;
};
struct step_record {
    uint64_t pc, next, went;
    uint8_t taken, zero[7];
};
struct insn_record {
    uint64_t pc;
    uint8_t len, bytes[INSN_MAX_BYTES];
};
_Static_assert(sizeof(struct header) == 40 && sizeof(struct step_record) == 32 &&
                   sizeof(struct insn_record) == 24,
               "as tests/fuzz/replay.h says");

static void put_steps(struct step_record *out, const struct trace *t)
{
    for (int i = 0; i < t->steps; i++) {
        const struct trace_step *s = &t->step[i];
        out[i] = (struct step_record){s->pc.v, s->next.v, s->went.v, s->taken, {0}};
    }
}

static void put_insns(struct insn_record *out, const struct insn *insns, int n)
{
    for (int i = 0; i < n; i++) {
        out[i] = (struct insn_record){.pc = insns[i].pc.v, .len = insns[i].len};
        mem_copy(out[i].bytes, insns[i].bytes, insns[i].len);
    }
}

void record_file_append(const char *path, const struct trace *t, const struct insn *insns, int n)
{
    size_t steps = sizeof(struct step_record) * (size_t)t->steps;
    size_t bytes = steps + sizeof(struct insn_record) * (size_t)n;
    size_t all = sizeof(struct header) + bytes;
    uint8_t *record = mem_map(all);
    if (!record)
        return;
    *(struct header *)record = (struct header){.magic = {'r', 'h', 't', 'r', 'a', 'c', 'e', '1'},
                                               .end = (uint32_t)t->end,
                                               .steps = (uint32_t)t->steps,
                                               .insns = (uint32_t)n,
                                               .bytes = (uint32_t)bytes,
                                               .head = t->head.v,
                                               .exit = t->end == TRACE_DIRECT ? t->exit.v : 0};
    put_steps((struct step_record *)(record + sizeof(struct header)), t);
    put_insns((struct insn_record *)(record + sizeof(struct header) + steps), insns, n);
    log_append(path, (const char *)record, all);
    mem_unmap(record, all);
}
