#include "tests/fuzz/facts.h"

#include <Zydis/Zydis.h>
#include <stdio.h>
#include <string.h>

#include "tests/fuzz/facts_act.h"
#include "tests/fuzz/facts_text.h"

#define FACT_MEMORY offsetof(struct memory, extra)
#define TRIES       40
#define STATES      10

static struct counts {
    int forms, runnable, unsteady, faulted, partial, wrong;
} counts;

static const struct sample *sample;
static const struct insn *insn;
static bool wrong, partial;

static const char *const reg_names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
static const struct {
    uint16_t bit;
    const char *name;
} flags[] = {{FL_CF, "CF"}, {FL_PF, "PF"}, {FL_AF, "AF"}, {FL_ZF, "ZF"}, {FL_SF, "SF"}, {FL_OF, "OF"}};

static void print_sample(const struct sample *s)
{
    ZydisDisassembledInstruction d;
    for (unsigned i = 0; i < s->len; i++)
        printf("%02x ", s->bytes[i]);
    if (ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, FACT_CODE, s->bytes, s->len, &d)))
        printf("  %s", d.text);
}

static void print_note(const char *what)
{
    printf("not checked: %s: ", what);
    print_sample(sample);
    printf("\n");
}

static void complain(const char *what, const char *about)
{
    if (wrong)
        return; /* the first is enough */
    wrong = true;
    printf("wrong fact: %s%s: ", what, about);
    print_sample(sample);
    printf("\n");
}

/* Everything but register `reg`, the status flag `flag` and the bytes of [from, to) of the data is the same. */
static const char *first_difference(const struct fact_run *a, const struct fact_run *b, unsigned reg,
                                    unsigned flag)
{
    static char text[64];
    if (a->left.kind != b->left.kind)
        return "a fault";
    for (unsigned i = 0; i < 16; i++)
        if (i != reg && a->state.gpr[i] != b->state.gpr[i])
            return reg_names[i];
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (flags[i].bit != flag && ((a->state.rflags ^ b->state.rflags) & flags[i].bit))
            return flags[i].name;
    if ((a->state.rflags ^ b->state.rflags) & FL_DF)
        return "DF";
    if (!world_vectors_equal(&a->state, &b->state))
        return "a vector";
    if (memcmp(&a->memory, &b->memory, FACT_MEMORY) != 0)
        return "memory";
    (void)text;
    return NULL;
}

static void check_unread_registers(struct rng *r, const struct state *s, const struct memory *m,
                                   const struct fact_run *o)
{
    static struct fact_run o2;
    for (unsigned reg = 0; reg < 16; reg++) {
        if (insn->gpr_read & 1u << reg)
            continue;
        struct state s2 = *s;
        uint64_t mask = rng_percent(r, 50) ? rng_next(r) : 1ULL << rng_below(r, 64);
        s2.gpr[reg] ^= mask;
        fact_run(&s2, m, &o2);
        const char *d = first_difference(o, &o2, reg, 0);
        if (d) {
            char text[64];
            snprintf(text, sizeof text, "%s, %s depends on it", reg_names[reg], d);
            complain("gpr_read without ", text);
        }
        uint64_t changed = o->state.gpr[reg] ^ o2.state.gpr[reg];
        if (!(insn->gpr_written & 1u << reg))
            continue; /* check_unwritten */
        if (changed & ~mask)
            complain("gpr_read without ", reg_names[reg]);
        else if (changed && insn->gpr_full & 1u << reg)
            complain("gpr_full is wrong for ", reg_names[reg]);
        else if (changed)
            partial = true;
    }
}

/* What insn.xmm leaves out is neither read nor written. */
static void check_vectors(struct rng *r, const struct state *s, const struct memory *m, const struct fact_run *o)
{
    static struct fact_run o2;
    static struct state s2;
    if (insn->mem_write && !insn->mem_bytes)
        return; /* a state area: it holds them all */
    for (int k = 0; k < 4; k++) {
        unsigned reg = rng_below(r, 16);
        char name[8];
        if (insn->xmm & 1u << reg)
            continue;
        s2 = *s;
        for (size_t i = 0; i < 16; i++) {
            s2.xs[160 + 16 * reg + i] ^= (uint8_t)rng_next(r);
            s2.xs[576 + 16 * reg + i] ^= (uint8_t)rng_next(r);
        }
        fact_run(&s2, m, &o2);
        bool kept = memcmp(o2.state.xs + 160 + 16 * reg, s2.xs + 160 + 16 * reg, 16) == 0 &&
                    memcmp(o2.state.xs + 576 + 16 * reg, s2.xs + 576 + 16 * reg, 16) == 0;
        memcpy(o2.state.xs + 160 + 16 * reg, o->state.xs + 160 + 16 * reg, 16);
        memcpy(o2.state.xs + 576 + 16 * reg, o->state.xs + 576 + 16 * reg, 16);
        snprintf(name, sizeof name, "xmm%u", reg);
        if (!kept || first_difference(o, &o2, 99, 0))
            complain("xmm without ", name);
    }
}

static void check_unread_flags(const struct state *s, const struct memory *m, const struct fact_run *o)
{
    static struct fact_run o2;
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        unsigned f = flags[i].bit;
        if (insn->flags_read & f)
            continue;
        struct state s2 = *s;
        s2.rflags ^= f;
        fact_run(&s2, m, &o2);
        const char *d = first_difference(o, &o2, 99, f);
        if (d) {
            char text[64];
            snprintf(text, sizeof text, "%s, %s depends on it", flags[i].name, d);
            complain("flags_read without ", text);
        }
        if ((insn->flags_killed & f) && ((o->state.rflags ^ o2.state.rflags) & f))
            complain("flags_killed with ", flags[i].name);
    }
}

static void check_unwritten(const struct state *s, const struct fact_run *o)
{
    for (unsigned reg = 0; reg < 16; reg++)
        if (!(insn->gpr_written & 1u << reg) && o->state.gpr[reg] != s->gpr[reg])
            complain("gpr_written without ", reg_names[reg]);
        else if ((insn->gpr_zx & 1u << reg) && o->state.gpr[reg] >> 32)
            complain("gpr_zx is wrong for ", reg_names[reg]);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (!(insn->flags_written & flags[i].bit) && ((o->state.rflags ^ s->rflags) & flags[i].bit))
            complain("flags_written without ", flags[i].name);
    if (!(insn->flags_written & FL_DF) && ((o->state.rflags ^ s->rflags) & FL_DF))
        complain("flags_written without ", "DF");
}

static void check_stack(const struct state *s, const struct fact_run *o)
{
    uint64_t sp = s->gpr[R_RSP], sp2 = o->state.gpr[R_RSP], bp = s->gpr[R_RBP], bp2 = o->state.gpr[R_RBP];
    uint64_t delta = (uint64_t)(int64_t)insn->sp_delta;
    if (insn->sp == SP_SAME && sp2 != sp)
        complain("sp", " is not the same");
    if (insn->sp == SP_ADD && sp2 != sp + delta)
        complain("sp", "_delta");
    if (insn->sp == SP_FROM_RBP && sp2 != bp + delta)
        complain("sp", " is not rbp + sp_delta");
    if (insn->bp_from_sp && bp2 != sp + (uint64_t)(int64_t)insn->bp_delta)
        complain("bp", " is not rsp + bp_delta");
    if (!insn->bp_from_sp && !insn->writes_bp && bp2 != bp)
        complain("writes_bp", " is missing");
}

/* A byte that changed is the explicit operand's, or pushed, or `stores` says so without a place. */
static void check_store(const struct state *s, const struct memory *m, const struct fact_run *o,
                        uint64_t address)
{
    const uint8_t *a = (const uint8_t *)m, *b = (const uint8_t *)&o->memory;
    uint64_t sp = o->state.gpr[R_RSP];
    for (size_t i = 0; i < FACT_MEMORY; i++) {
        if (a[i] == b[i])
            continue;
        uint64_t at = i < 8192 ? WORLD_DATA + i : WORLD_CONSTS + (i - 8192);
        bool in_operand = insn->mem_write && (!insn->mem_bytes || at - address < insn->mem_bytes);
        bool pushed = insn->pushes && at >= sp && at < s->gpr[R_RSP];
        if (!insn->stores)
            complain("stores", " is false");
        else if (!in_operand && !pushed && !insn->mem_implied)
            complain("mem_implied", " is false: a byte outside of the operand changed");
        return;
    }
}

/* Bytes that are not the operand's make no difference; nor do the operand's, where it is not read. */
static void check_load(struct rng *r, const struct state *s, const struct memory *m, const struct fact_run *o,
                       uint64_t address)
{
    static struct fact_run o2;
    static struct memory m2;
    if (insn->mem_implied || (insn->mem_read && !insn->mem_bytes))
        return;
    world_memory_copy(&m2, m);
    uint8_t *p = (uint8_t *)&m2;
    for (size_t i = 0; i < FACT_MEMORY; i++) {
        uint64_t at = i < 8192 ? WORLD_DATA + i : WORLD_CONSTS + (i - 8192);
        if (!insn->mem_read || at - address >= insn->mem_bytes)
            p[i] ^= (uint8_t)(rng_next(r) | 1);
    }
    fact_run(s, &m2, &o2);
    for (size_t i = 0; i < FACT_MEMORY; i++) { /* what was changed and stays is no difference */
        uint8_t *was = (uint8_t *)&o2.memory + i;
        const uint8_t *now = (const uint8_t *)&o->memory + i;
        if (*was == p[i] && *now == ((const uint8_t *)m)[i])
            *was = *now;
    }
    const char *d = first_difference(o, &o2, 99, 0);
    if (d) {
        char text[64];
        snprintf(text, sizeof text, ": %s depends on other memory", d);
        complain(insn->mem_read ? "mem_bytes" : "mem_read is false", text);
    }
}

static void check_sample(struct rng *r, const struct form_found *f)
{
    static struct state s;
    static struct memory m;
    static struct fact_run o, again;
    struct insn in;
    uint64_t address;
    sample = &f->sample;
    insn = &in;
    wrong = partial = false;
    counts.forms++;
    if (!fact_place(sample, &in))
        return;
    int done = 0;
    for (int i = 0; i < TRIES && done < STATES && !wrong; i++) {
        fact_state(r, insn, &s, &m, &address);
        fact_run(&s, &m, &o);
        if (o.left.kind != LEFT_PAD)
            continue;
        fact_run(&s, &m, &again);
        if (first_difference(&o, &again, 99, 0)) {
            counts.unsteady++;
            print_note("not the same twice");
            return;
        }
        done++;
        check_unwritten(&s, &o);
        check_stack(&s, &o);
        check_store(&s, &m, &o, address);
        check_load(r, &s, &m, &o, address);
        const char *act = fact_act_wrong(insn, &s, &m, address, &o);
        if (act)
            complain("act", act);
        check_unread_registers(r, &s, &m, &o);
        check_unread_flags(&s, &m, &o);
        check_vectors(r, &s, &m, &o);
    }
    counts.runnable += done > 0;
    counts.faulted += done == 0;
    if (!done)
        print_note("always faults");
    counts.partial += partial;
    counts.wrong += wrong;
}

int facts_check(uint64_t seed, int files, char **names)
{
    struct rng r = {seed};
    forms_from_generator(&r);
    for (int i = 0; i < files; i++)
        if (!forms_from_elf(names[i]))
            printf("facts: %s: no text\n", names[i]);
    for (int i = 0; i < forms_found_count; i++)
        check_sample(&r, &forms_found[i]);
    printf("facts: forms=%d runnable=%d faulting=%d unsteady=%d partial=%d wrong=%d seed=%llu\n",
           counts.forms, counts.runnable, counts.faulted, counts.unsteady, counts.partial, counts.wrong,
           (unsigned long long)seed);
    return counts.wrong;
}
