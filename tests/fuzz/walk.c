#include "tests/fuzz/walk.h"

#include <signal.h>
#include <string.h>

#include "fragcache/recover.h"

#define MAX_POINTS 4096
#define MAX_STEPS  3000
#define MAX_VISITS 3 /* checks of one instruction, in a loop */

/* --- the native run */

struct point {
    uint64_t pc, gpr[16], memory;
};
static struct point trail[MAX_POINTS];
static int trail_count, trail_at; /* trail_at: of the last boundary */
static bool trail_cut;

static uint64_t hash_words(uint64_t h, uint64_t from, uint64_t to)
{
    for (uint64_t at = from; at + 8 <= to; at += 8) {
        uint64_t v;
        memcpy(&v, (const void *)(uintptr_t)at, 8);
        h = (h ^ v) * 0x9e3779b97f4a7c15ULL;
        h ^= h >> 29;
    }
    return h;
}

/* All that compare_memory looks at, for the program's stack pointer. */
static uint64_t hash_memory(uint64_t sp)
{
    uint64_t low = sp - 128 - WORLD_STACK < 4096 ? sp - 128 : WORLD_STACK;
    uint64_t h = hash_words(1, WORLD_DATA, WORLD_STACK);
    h = hash_words(h, low, WORLD_STACK + 4096);
    h = hash_words(h, WORLD_CONSTS, WORLD_CONSTS + sizeof(((struct memory *)0)->consts));
    for (int i = 0; i < world_extra_count(); i++)
        h = hash_words(h, world_extra_page(i), world_extra_page(i) + 4096);
    return h;
}

static bool note_point(uint64_t pc, const struct state *s)
{
    trail_cut |= trail_count == MAX_POINTS;
    if (!program_holds(pc) || trail_count == MAX_POINTS)
        return false;
    struct point *p = &trail[trail_count++];
    p->pc = pc;
    memcpy(p->gpr, s->gpr, sizeof p->gpr);
    p->memory = hash_memory(s->gpr[R_RSP]);
    return true;
}

/* False when the trap flag made a difference. */
static bool make_trail(const struct subject *sub, const struct state *s, const struct memory *m,
                       const struct comparison *c)
{
    static struct comparison noted;
    trail_count = trail_at = 0;
    trail_cut = false;
    world_memory_set(m);
    noted.native = c->native;
    noted.native_state = c->native_state;
    world_memory_copy(&noted.native_memory, &c->native_memory);
    noted.subject_state = *s;
    noted.first_exit = noted.recovered_pc = 0;
    noted.by_abi = false;
    noted.subject = world_run_stepped(&noted.subject_state, sub->ir.tag.v, note_point);
    world_memory_get(&noted.subject_memory);
    return compare_ends(sub, &noted) == V_SAME;
}

static bool same_registers(const struct point *p, const struct state *s, unsigned dead)
{
    for (unsigned i = 0; i < 16; i++)
        if (p->gpr[i] != s->gpr[i] && !(dead & 1u << i))
            return false;
    return true;
}

/* --- the walk */

static struct walk_counts *counts;
static struct walk_failure *failure;
static const struct subject *sub;
static struct comparison ends; /* the native run, and what is compared with it */

static struct subject_insn insns[SUBJECT_MAX_INSNS];
static uint8_t visits[SUBJECT_MAX_INSNS];
static bool reached[SUBJECT_MAX_INSNS];
static int insn_count;
static int index_of[LOWER_MAX_BYTES]; /* by offset; -1: no instruction begins there */
static uint64_t miss[8];              /* the instructions of lookup_miss */
static int miss_count;

/* In front of an instruction of ours. */
static struct state now;
static uint64_t now_pc;
static struct memory memory;
static struct tls_slots slots;
/* The program's state there. */
static struct state native;
static uint64_t native_pc;
static uint32_t touched; /* pages, by what came before of the same instruction of the program */
static uint32_t ever; /* pages, since the fragment was entered */

static bool fail(const char *what, const struct comparison *c)
{
    failure->what = what;
    failure->at = now_pc;
    failure->recovered = native_pc;
    failure->c = *c;
    failure->c.what = what;
    return false;
}

static void save(void)
{
    world_memory_get(&memory);
    slots = *world_slots;
}

static void restore(void)
{
    world_memory_set(&memory);
    *world_slots = slots;
}

/* The program's own code from s to its end, which must be that of the native run. */
static bool goes_on(const struct state *s, uint64_t pc, const char *what)
{
    ends.subject_state = *s;
    ends.first_exit = pc;
    ends.recovered_pc = 0;
    ends.subject = compare_is_canonical(pc) ? world_run(&ends.subject_state, pc)
                                            : (struct left){.kind = LEFT_LOOKUP, .target = pc};
    world_memory_get(&ends.subject_memory);
    return compare_ends(sub, &ends) != V_DIFFERENT || fail(what, &ends);
}

static bool on_trail(void)
{
    unsigned dead = subject_dead(sub, native_pc) | subject_dead_at_exit(sub, native_pc);
    uint64_t hash = hash_memory(native.gpr[R_RSP]);
    const struct point *near = NULL;
    int was = trail_at;
    if (!program_holds(native_pc))
        return true; /* it has left */
    /* where it was; one back, since what can be done twice may be taken back (optimizer/redo.h); further on */
    for (int k = 0, i; (i = k == 1 ? was - 1 : k ? was + k - 1 : was) < trail_count; k++) {
        if (i < 0 || trail[i].pc != native_pc)
            continue;
        near = near ? near : &trail[i];
        if (trail[i].memory == hash && same_registers(&trail[i], &native, dead)) {
            touched = i == was ? touched : 0;
            trail_at = i;
            return true;
        }
    }
    counts->beyond += trail_cut;
    if (trail_cut || subject_shared(sub, native_pc))
        return true;
    ends.subject_state = native;
    if (near)
        memcpy(ends.native_state.gpr, near->gpr, sizeof near->gpr);
    return fail(!near                                 ? "a pc where the program does not come"
                : same_registers(near, &native, dead) ? "memory at an instruction"
                                                      : "registers at an instruction",
                &ends);
}

static bool check_boundary(void)
{
    counts->boundaries++;
    native = now;
    native_pc = 0;
    if (!subject_recover(&native, now_pc, &native_pc))
        return fail("no state for an instruction", &ends);
    return on_trail() && goes_on(&native, native_pc, "stopped, and the program goes on otherwise");
}

/* The instruction has faulted, as l and s say. */
static bool check_fault(const struct left *l, const struct state *s, int page)
{
    static struct comparison c;
    c = (struct comparison){.subject = *l, .subject_state = *s, .native_state = native};
    if (!subject_recover(&c.subject_state, l->pc, &c.recovered_pc))
        return fail("no state for a fault", &c);
    world_memory_get(&c.subject_memory);
    world_memory_set(&memory);
    world_deny(1u << page);
    c.native = world_run(&c.native_state, native_pc);
    bool again = fc_faults_again(l->pc);
    if (again) { /* in the program's own code, a few instructions on */
        c.subject = world_run(&c.subject_state, c.recovered_pc);
        c.recovered_pc = c.subject.pc;
    }
    world_deny(0);
    world_memory_get(&c.native_memory);
    uint32_t known = sub->ir.slot_count ? ever : touched; /* a slot's loads are gone, in later iterations too */
    bool before = c.native.kind == LEFT_FAULT && c.native.pc == c.recovered_pc &&
                  world_page_find(c.native.address) == page && (known & 1u << page);
    counts->faults++;
    if (before && c.native.address != l->address)
        counts->again++; /* natively it would have faulted before, and so would the fragment */
    else if (compare_ends(sub, &c) == V_DIFFERENT)
        return fail(c.what, &c);
    world_memory_set(&c.subject_memory);
    return goes_on(&c.subject_state, c.recovered_pc, "made to fault, and the program goes on otherwise");
}

/* The fragment is loading its slots (N_LOOP): only what the program has accessed since it entered. */
static bool loads_slots(void)
{
    uint64_t at = now_pc - sub->at.v;
    for (int i = 0; i < sub->out.map_count; i++)
        if (sub->ir.nodes[sub->out.map[i].node].op == N_LOOP)
            return at >= sub->out.map[i].at && at < sub->out.loop;
    return false;
}

static bool check_faults(void)
{
    uint32_t allowed = 0;
    bool slots_only = loads_slots();
    for (;;) {
        struct state s = now;
        restore();
        world_deny(WORLD_ALL_PAGES & ~allowed);
        struct left l = world_resume(&s, now_pc);
        world_deny(0);
        bool ours = l.kind == LEFT_FAULT && l.signal == SIGSEGV && l.pc == now_pc;
        int page = ours ? world_page_find(l.address) : -1;
        if (page < 0 || (allowed & 1u << page))
            break;
        allowed |= 1u << page;
        if (slots_only && (ever & 1u << page))
            continue;
        if (!check_fault(&l, &s, page))
            return false;
    }
    touched |= allowed;
    ever |= allowed;
    return true;
}

/* --- stops */

static bool is_stop(uint64_t pc)
{
    for (int i = 0; i < miss_count; i++)
        if (miss[i] == pc)
            return true;
    return pc - sub->at.v < sub->out.len && index_of[pc - sub->at.v] >= 0;
}

static void find_miss(void *arg)
{
    (void)arg;
    uint64_t at = world_region[PLACE_NEAR].lookup_miss.v;
    struct insn in;
    do {
        decode_made((const uint8_t *)(uintptr_t)at, INSN_MAX_BYTES, app_pc(at), &in);
        miss[miss_count++] = at;
        at += in.len;
    } while (in.kind == IK_PLAIN && miss_count < (int)ARRAY_LEN(miss));
}

static uint8_t miss_bytes[ARRAY_LEN(miss)];

static bool set_stops(void)
{
    if (!miss_count && decode_gate(find_miss, NULL) != RC_OK)
        return false;
    for (int i = 0; i < miss_count; i++) {
        miss_bytes[i] = *world_writable(miss[i]);
        *world_writable(miss[i]) = 0xcc;
    }
    memset(index_of, 0xff, sub->out.len * sizeof index_of[0]);
    memset(visits, 0, (size_t)insn_count);
    for (int i = 0; i < insn_count; i++) {
        index_of[insns[i].at] = i;
        *world_writable(sub->at.v + insns[i].at) = 0xcc;
    }
    world_set_stops(is_stop);
    return true;
}

static void set_byte(uint64_t pc, bool stop)
{
    uint8_t byte = 0xcc;
    for (int i = 0; i < miss_count && !stop; i++)
        if (miss[i] == pc)
            byte = miss_bytes[i];
    if (!stop && pc - sub->at.v < sub->out.len)
        byte = sub->out.bytes[pc - sub->at.v];
    *world_writable(pc) = byte;
}

static void clear_stops(void)
{
    world_set_stops(NULL);
    for (int i = 0; i < insn_count; i++)
        set_byte(sub->at.v + insns[i].at, false);
    for (int i = 0; i < miss_count; i++)
        set_byte(miss[i], false);
}

/* Checks what is to be checked in front of now_pc. */
static bool check_here(void)
{
    int i = now_pc - sub->at.v < sub->out.len ? index_of[now_pc - sub->at.v] : -1;
    bool again = i >= 0 && visits[i] >= MAX_VISITS;
    if (again)
        return true;
    if (i >= 0) {
        visits[i]++;
        counts->reached += !reached[i];
        reached[i] = true;
    }
    save();
    set_byte(now_pc, false);
    bool good = check_boundary() && (i < 0 || !insns[i].in_memory || check_faults());
    set_byte(now_pc, true);
    restore();
    return good;
}

/* Where the fragment has left, the program's own code goes on. */
static bool check_end(struct left l)
{
    native_pc = 0;
    if (l.kind == LEFT_EXIT)
        l.target = l.id < (uint32_t)sub->out.exit_count ? sub->out.exits[l.id].target : 0;
    if (l.kind == LEFT_EXIT || l.kind == LEFT_LOOKUP)
        return goes_on(&now, l.target, "left, and the program goes on otherwise");
    ends.subject = l;
    ends.subject_state = now;
    ends.recovered_pc = ends.first_exit = 0;
    if (l.kind == LEFT_FAULT && !subject_recover(&ends.subject_state, l.pc, &ends.recovered_pc))
        ends.recovered_pc = 0;
    world_memory_get(&ends.subject_memory);
    return compare_ends(sub, &ends) != V_DIFFERENT || fail(ends.what, &ends);
}

static bool walk_on(void)
{
    for (int steps = 0; steps < MAX_STEPS; steps++) {
        if (!check_here())
            return false;
        set_byte(now_pc, false);
        struct left l = world_resume(&now, now_pc);
        set_byte(now_pc, true);
        if (l.kind != LEFT_STEP)
            return check_end(l);
        now_pc = l.pc;
    }
    return true;
}

void walk_begin(const struct subject *subject, struct walk_counts *c)
{
    insn_count = subject_insns(subject, insns);
    c->insns += (uint64_t)insn_count;
    memset(reached, 0, (size_t)insn_count);
}

enum verdict walk(const struct subject *subject, const struct state *s, const struct memory *m,
                  struct way way, struct walk_counts *c, struct walk_failure *out)
{
    sub = subject;
    counts = c;
    failure = out;
    touched = ever = 0;
    enum verdict v = compare_run(sub, s, m, way, &ends);
    if (v == V_DIFFERENT)
        fail(ends.what, &ends);
    if (v != V_SAME)
        return v;
    if (!make_trail(sub, s, m, &ends) || !set_stops())
        return V_SKIPPED;
    world_memory_set(m);
    subject_enter(sub, way.entry, &now, s, &now_pc);
    bool good = walk_on();
    clear_stops();
    return good ? V_SAME : V_DIFFERENT;
}
