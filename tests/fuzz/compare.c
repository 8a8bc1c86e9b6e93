#include "tests/fuzz/compare.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "fragcache/recover.h"

#define MAX_LAPS 100000

/* A jump there faults at the jump; a fragment has left it behind when that is noticed. */
bool compare_is_canonical(uint64_t pc)
{
    return (uint64_t)((int64_t)(pc << 16) >> 16) == pc;
}

/* What the subject leaves to, as the runtime would go on: the fragment again, the program's own code, or a pad. */
static struct left run_fragments(const struct subject *sub, struct way way, struct comparison *c)
{
    struct state *s = &c->subject_state;
    struct left l = way.stop ? subject_run_until(sub, s, way.stop) : subject_run(sub, s, way.entry);
    if (l.kind == LEFT_STEP) { /* the program's own code goes on from there */
        c->stopped_at = l.pc;
        if (!subject_recover(s, l.pc, &c->first_exit))
            return l;
        if (!compare_is_canonical(c->first_exit))
            return (struct left){.kind = LEFT_LOOKUP, .target = c->first_exit};
        return world_run(s, c->first_exit);
    }
    for (int laps = 0; l.kind == LEFT_EXIT || l.kind == LEFT_LOOKUP; laps++) {
        c->by_abi |= sub->abi && (l.kind == LEFT_LOOKUP || subject_chains_to(sub, l.target));
        if (!c->first_exit)
            c->first_exit = l.target;
        if (l.target - WORLD_PADS < WORLD_PAD_COUNT * WORLD_PAD_STRIDE)
            return world_run(s, l.target);
        if (!compare_is_canonical(l.target))
            return l;
        if (l.target == sub->ir.tag.v && !way.native_laps && laps < MAX_LAPS)
            l = subject_run(sub, s, ENTER_DIRECT);
        else {
            c->by_abi |= sub->abi; /* the program's own indirect branch may be next */
            return world_run(s, l.target);
        }
    }
    return l;
}

/* Some faults are met again natively, before the program is told. */
static struct left finish(const struct subject *sub, struct way way, struct comparison *c)
{
    uint64_t pc;
    struct left l = run_fragments(sub, way, c);
    if (l.kind != LEFT_FAULT || !fc_faults_again(l.pc) || !subject_recover(&c->subject_state, l.pc, &pc))
        return l;
    return world_run(&c->subject_state, pc);
}

static const char *compare_fault(const struct subject *sub, const struct comparison *c)
{
    const struct left *a = &c->native, *b = &c->subject;
    uint64_t pc = c->recovered_pc ? c->recovered_pc : b->pc;
    bool of_memory = a->signal == SIGSEGV || a->signal == SIGBUS; /* for others the address is the pc */
    if (a->signal != b->signal || (of_memory && a->address != b->address))
        return "another fault";
    if (pc != a->pc)
        return "fault at another pc";
    unsigned gpr_dead = subject_dead(sub, pc); /* dead flags may differ: ir.h */
    if (c->first_exit)
        gpr_dead |= subject_dead_at_exit(sub, c->first_exit);
    if (c->stopped_at)
        gpr_dead |= subject_dead(sub, c->first_exit);
    for (unsigned i = 0; i < 16; i++)
        if (c->native_state.gpr[i] != c->subject_state.gpr[i] && !(gpr_dead & 1u << i))
            return "registers at the fault";
    return world_vectors_equal(&c->native_state, &c->subject_state) ? NULL : "vectors at the fault";
}

/* From the red zone up: what lies below is nobody's. */
static size_t stack_from(const struct state *s)
{
    uint64_t at = s->gpr[R_RSP] - 128 - WORLD_STACK;
    return at < sizeof(((struct memory *)0)->stack) ? at : 0;
}

static const char *compare_memory(const struct comparison *c)
{
    const struct memory *a = &c->native_memory, *b = &c->subject_memory;
    size_t from = stack_from(&c->native_state);
    if (memcmp(a->data, b->data, sizeof a->data) != 0)
        return "data";
    if (memcmp(a->consts, b->consts, sizeof a->consts) != 0)
        return "constants";
    if (memcmp(a->extra, b->extra, sizeof a->extra[0] * (size_t)world_extra_count()) != 0)
        return "data of the module";
    if (memcmp(a->stack + from, b->stack + from, sizeof a->stack - from) != 0)
        return "stack";
    return NULL;
}

static const char *compare_states(const struct comparison *c)
{
    const struct state *a = &c->native_state, *b = &c->subject_state;
    for (unsigned i = 0; i < 16; i++)
        if (a->gpr[i] != b->gpr[i] && !(c->by_abi && ABI_GPR_DEAD & 1u << i))
            return "registers";
    if ((a->rflags ^ b->rflags) & (c->by_abi ? FL_DF : FL_STATUS | FL_DF))
        return "flags";
    if (!world_vectors_equal(a, b))
        return "vectors";
    return NULL;
}

/* The program returns to what something else than its calls has written: fragments take for granted that nothing does. */
static bool return_was_written(const struct subject *sub, const struct comparison *c)
{
    uint64_t at = c->native_state.gpr[R_RSP] - 8 - WORLD_STACK, value;
    if (c->native.kind != LEFT_STRAY || at > sizeof c->native_memory.stack - sizeof value || !subject_takes_returns(sub))
        return false;
    memcpy(&value, c->native_memory.stack + at, sizeof value);
    return value == c->native.target;
}

enum verdict compare_ends(const struct subject *sub, struct comparison *c)
{
    c->what = NULL;
    if (c->by_abi && c->first_exit - WORLD_PADS >= WORLD_PAD_COUNT * WORLD_PAD_STRIDE)
        return V_SKIPPED; /* the program may look at what is not kept */
    if (c->by_abi && c->subject.kind == LEFT_PAD && world_pad_reads_flags(c->subject.id))
        return V_SKIPPED; /* it does */
    if (c->subject.kind == LEFT_LOOKUP && c->native.kind == LEFT_FAULT && !compare_is_canonical(c->subject.target))
        return V_SKIPPED;
    if (return_was_written(sub, c))
        return V_SKIPPED;
    if (c->subject.kind != c->native.kind)
        c->what = c->subject.kind == LEFT_FAULT  ? "a fault where there was none"
                  : c->subject.kind == LEFT_HANG ? "does not end"
                  : c->native.kind == LEFT_FAULT ? "a fault is lost"
                                                 : "leaves to nowhere";
    else if ((c->native.kind == LEFT_PAD && c->native.id != c->subject.id) ||
             (c->native.kind == LEFT_STRAY && c->native.target != c->subject.target))
        c->what = "exit";
    else if (c->native.kind == LEFT_FAULT)
        c->what = compare_fault(sub, c);
    else
        c->what = compare_states(c);
    if (!c->what)
        c->what = compare_memory(c);
    return c->what ? V_DIFFERENT : V_SAME;
}

enum verdict compare_run(const struct subject *sub, const struct state *s, const struct memory *m,
                         struct way way, struct comparison *c)
{
    c->native_state = c->subject_state = *s;
    c->first_exit = c->stopped_at = c->recovered_pc = 0;
    c->by_abi = false;
    c->what = NULL;
    world_memory_set(m);
    c->native = world_run(&c->native_state, sub->ir.tag.v);
    if (c->native.kind == LEFT_HANG || world_was_slow())
        return V_SKIPPED; /* so that the fragment's being slower is no difference */
    world_memory_get(&c->native_memory);
    world_memory_set(m);
    subject_link(sub, way.linked);
    c->subject = finish(sub, way, c);
    world_memory_get(&c->subject_memory);
    if (c->subject.kind == LEFT_FAULT &&
        !subject_recover(&c->subject_state, c->subject.pc, &c->recovered_pc))
        c->recovered_pc = 0;
    return compare_ends(sub, c);
}

bool compare_is_steady(const struct subject *sub, const struct state *s, const struct memory *m)
{
    static struct comparison twice;
    struct comparison *c = &twice;
    c->native_state = c->subject_state = *s;
    world_memory_set(m);
    c->native = world_run(&c->native_state, sub->ir.tag.v);
    world_memory_get(&c->native_memory);
    world_memory_set(m);
    c->subject = world_run(&c->subject_state, sub->ir.tag.v);
    world_memory_get(&c->subject_memory);
    return c->native.kind == c->subject.kind && !compare_states(c) && !compare_memory(c);
}

static void print_left(const char *name, const struct left *l)
{
    switch (l->kind) {
    case LEFT_PAD:
        fprintf(stderr, "  %s leaves to pad %u\n", name, l->id);
        break;
    case LEFT_EXIT:
    case LEFT_STRAY:
    case LEFT_LOOKUP:
        fprintf(stderr, "  %s leaves to %#llx\n", name, (unsigned long long)l->target);
        break;
    case LEFT_FAULT:
        fprintf(stderr, "  %s faults at %#llx, signal %d, address %#llx\n", name, (unsigned long long)l->pc,
                l->signal, (unsigned long long)l->address);
        break;
    case LEFT_STEP:
        fprintf(stderr, "  %s has no state for %#llx\n", name, (unsigned long long)l->pc);
        break;
    case LEFT_HANG:
        fprintf(stderr, "  %s does not end, pc %#llx\n", name, (unsigned long long)l->pc);
        break;
    }
}

static void print_bytes(const char *name, uint64_t base, const uint8_t *a, const uint8_t *b, size_t from,
                        size_t n)
{
    int lines = 0;
    for (size_t i = from; i < n && lines < 12; i++)
        if (a[i] != b[i]) {
            fprintf(stderr, "  %s %#lx: %02x, natively %02x\n", name, base + i, b[i], a[i]);
            lines++;
        }
}

void compare_print(const struct comparison *c)
{
    static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    const struct state *a = &c->native_state, *b = &c->subject_state;
    const struct memory *ma = &c->native_memory, *mb = &c->subject_memory;
    fprintf(stderr, "difference: %s\n", c->what);
    print_left("the program", &c->native);
    print_left("the fragment", &c->subject);
    if (c->stopped_at)
        fprintf(stderr, "  the fragment was stopped at %#llx\n", (unsigned long long)c->stopped_at);
    if (c->first_exit)
        fprintf(stderr, "  the fragment left first to %#llx\n", (unsigned long long)c->first_exit);
    for (unsigned i = 0; i < 16; i++)
        if (a->gpr[i] != b->gpr[i])
            fprintf(stderr, "  %s: %#llx, natively %#llx\n", names[i], (unsigned long long)b->gpr[i],
                    (unsigned long long)a->gpr[i]);
    if ((a->rflags ^ b->rflags) & (FL_STATUS | FL_DF))
        fprintf(stderr, "  flags: %#llx, natively %#llx\n", (unsigned long long)b->rflags,
                (unsigned long long)a->rflags);
    world_vectors_print(a, b);
    print_bytes("data", WORLD_DATA, ma->data, mb->data, 0, sizeof ma->data);
    print_bytes("stack", WORLD_STACK, ma->stack, mb->stack, stack_from(a), sizeof ma->stack);
    print_bytes("constants", WORLD_CONSTS, ma->consts, mb->consts, 0, sizeof ma->consts);
}
