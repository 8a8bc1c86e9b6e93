#include "runtime/record_file.h"
#include "tests/fuzz/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/fuzz/report.h"
#include "tests/fuzz/rng.h"

#define PAGE         4096ULL
#define MAX_MODULES  8
#define MODULE_GAP   (1ULL << 30)
#define MODULE_SPACE (1ULL << 38)
#define MAX_PAGES    96

static struct built built;
static struct record_insn insns[MAX_TRACE_INSNS];
static struct {
    uint64_t from, to; /* recorded addresses */
    uint64_t delta;
} modules[MAX_MODULES];
static int module_count;
static uint64_t pages[MAX_PAGES]; /* mapped for this trace */
static int page_count;
static uint64_t data_pages[WORLD_EXTRA];
static int data_count;
static uint64_t records, skipped; /* of the file, so far */

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Recorded pcs that lie near each other are one module; the head's gets the place near the fragments. */
static bool find_modules(const struct record_header *h)
{
    static uint64_t pcs[MAX_TRACE_INSNS];
    for (uint32_t i = 0; i < h->insns; i++)
        pcs[i] = insns[i].pc;
    qsort(pcs, h->insns, sizeof pcs[0], by_value);
    module_count = 0;
    for (uint32_t i = 0; i < h->insns; i++) {
        if (i == 0 || pcs[i] - pcs[i - 1] > MODULE_GAP) {
            if (module_count == MAX_MODULES)
                return false;
            modules[module_count].from = pcs[i];
            module_count++;
        }
        modules[module_count - 1].to = pcs[i] + 16;
    }
    unsigned place = 1;
    for (int i = 0; i < module_count; i++) {
        bool head = h->head >= modules[i].from && h->head < modules[i].to;
        uint64_t base =
            head ? WORLD_REPLAY + (1ULL << 29) : WORLD_REPLAY + place++ * MODULE_SPACE + (1ULL << 36);
        modules[i].delta = base - (modules[i].from & ~(PAGE - 1));
    }
    return true;
}

/* Where a recorded address lies here; what belongs to no module goes astray, always to the same place. */
static uint64_t moved(uint64_t pc)
{
    for (int i = 0; i < module_count; i++)
        if (pc + MODULE_GAP >= modules[i].from && pc < modules[i].to + MODULE_GAP)
            return pc + modules[i].delta;
    return pc & 0xfff;
}

static bool page_add(uint64_t page)
{
    for (int i = 0; i < page_count; i++)
        if (pages[i] == page)
            return true;
    if (page_count == MAX_PAGES)
        return false;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    if (mmap((void *)(uintptr_t)page, PAGE, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED)
        return false;
    pages[page_count++] = page;
    return true;
}

static void pages_free(void)
{
    for (int i = 0; i < page_count; i++)
        munmap((void *)(uintptr_t)pages[i], PAGE);
    page_count = data_count = 0;
    world_extra_set(0, NULL);
}

/* Text first, as int3 with the path's instructions in it. */
static bool place_text(const struct record_header *h)
{
    for (uint32_t i = 0; i < h->insns; i++) {
        uint64_t pc = moved(insns[i].pc);
        if (!page_add(pc & ~(PAGE - 1)) || !page_add((pc + insns[i].len - 1) & ~(PAGE - 1)))
            return false;
    }
    for (int i = 0; i < page_count; i++)
        memset((void *)(uintptr_t)pages[i], 0xcc, PAGE);
    for (uint32_t i = 0; i < h->insns; i++)
        memcpy((void *)(uintptr_t)moved(insns[i].pc), insns[i].bytes, insns[i].len);
    for (int i = 0; i < page_count; i++)
        if (mprotect((void *)(uintptr_t)pages[i], PAGE, PROT_READ | PROT_EXEC))
            return false;
    return true;
}

/* Then the data that the text reaches rip-relative; what lies in the text's own pages stays as it is there. */
static bool place_data(void)
{
    for (int i = 0; i < built.insn_count; i++) {
        const struct insn *in = &built.insns[i];
        if (!in->rip_relative || (!in->mem_read && !in->mem_write && in->kind == IK_PLAIN))
            continue;
        for (int k = 0; k < 2; k++) {
            uint64_t page = (in->target + (k ? 63 : 0)) & ~(PAGE - 1);
            int before = page_count;
            if (page - WORLD_REPLAY >= WORLD_REPLAY_BYTES || !page_add(page))
                return false;
            if (page_count == before)
                continue;
            if (data_count == WORLD_EXTRA)
                return false;
            data_pages[data_count++] = page;
        }
    }
    world_extra_set(data_count, data_pages);
    return true;
}

static bool uses_segment(const struct insn *in)
{
    for (unsigned i = 0; i < in->len && i < 4; i++)
        if (in->bytes[i] == 0x64 ||
            in->bytes[i] == 0x65) /* the canary is the same for both; nothing else is ours to touch */
            return in->mem_disp != 0x28 || in->mem_write;
        else if (in->bytes[i] != 0x66 && in->bytes[i] != 0xf2 && in->bytes[i] != 0xf3)
            return false;
    return false;
}

static bool make_trace(const struct record_header *h, const struct record_step *steps)
{
    struct trace *t = &built.trace;
    if (h->end > TRACE_BEFORE || h->steps > TRACE_MAX_BLOCKS)
        return false;
    t->head = app_pc(moved(h->head));
    t->exit = app_pc(h->end == TRACE_DIRECT ? moved(h->exit) : 0);
    t->end = (enum trace_end)h->end;
    t->steps = (int)h->steps;
    for (uint32_t i = 0; i < h->steps; i++)
        t->step[i] = (struct trace_step){app_pc(moved(steps[i].pc)), app_pc(moved(steps[i].next)),
                                         app_pc(moved(steps[i].went)), steps[i].taken != 0};
    built.insn_count = trace_decode(t, built.insns, MAX_TRACE_INSNS);
    t->insns = built.insn_count;
    for (int i = 0; i < built.insn_count; i++)
        if (uses_segment(&built.insns[i]))
            return false;
    return built.insn_count == (int)h->insns;
}

/* --- states */

static uint64_t some_word(struct rng *r)
{
    uint64_t v = rng_next(r);
    switch (rng_below(r, 8)) {
    case 0:
        return v & 0xff;
    case 1:
        return v & 7;
    case 2:
        return v;
    case 3:
        return 0;
    default:
        return WORLD_DATA + 1024 + (v & 2040);
    }
}

static void put_word(struct memory *m, size_t at, uint64_t v)
{
    memcpy((uint8_t *)m + at, &v, 8);
}

/* Indirect branches through the module's own data find where they went; so do returns, for some states. */
static void put_targets(struct memory *m, const struct state *s, bool returns)
{
    int step = 0, depth = 0;
    for (int i = 0; i < built.insn_count; i++) {
        const struct insn *in = &built.insns[i];
        const struct trace_step *t = &built.trace.step[step];
        if (in->pc.v + in->len != t->next.v)
            continue;
        step++;
        depth += in->kind == IK_CALL || in->kind == IK_CALL_IND;
        if (in->kind == IK_RET && depth-- == 0 && returns) {
            size_t sp = s->gpr[R_RSP] - WORLD_DATA;
            for (size_t at = sp; at + 8 <= offsetof(struct memory, consts); at += 8)
                put_word(m, at, t->went.v);
        }
        if (depth < 0)
            depth = 0;
        bool indirect = in->kind == IK_JMP_IND || in->kind == IK_CALL_IND;
        for (int k = 0; indirect && in->rip_relative && k < data_count; k++)
            if (in->target - data_pages[k] <= PAGE - 8)
                memcpy(m->extra[k] + (in->target - data_pages[k]), &t->went.v, 8);
    }
}

static void new_state(struct rng *r, struct state *s, struct memory *m)
{
    memset(s, 0, sizeof *s);
    for (unsigned i = 0; i < 16; i++)
        s->gpr[i] = some_word(r);
    s->gpr[R_RSP] = WORLD_STACK + 2048 + 16 * rng_below(r, 4) + (rng_percent(r, 50) ? 8 : 0);
    if (rng_percent(r, 50))
        s->gpr[R_RBP] = s->gpr[R_RSP] + 64;
    s->rflags = 0x202 | (rng_next(r) & FL_STATUS);
    s->xs[0] = 0x7f;
    s->xs[1] = 0x03;
    s->xs[24] = 0x80;
    s->xs[25] = 0x1f;
    s->xs[512] = 7;
    for (size_t i = 0; i < 256; i += 8) {
        uint64_t v = some_word(r), w = some_word(r);
        memcpy(s->xs + 160 + i, &v, 8);
        memcpy(s->xs + 576 + i, &w, 8);
    }
    size_t end = offsetof(struct memory, extra) + (unsigned)data_count * PAGE;
    for (size_t at = 0; at + 8 <= end; at += 8)
        put_word(m, at, some_word(r));
    put_targets(m, s, rng_percent(r, 50));
}

static void change_state(struct rng *r, struct state *s, struct memory *m)
{
    for (unsigned n = 1 + rng_below(r, 3); n; n--) {
        unsigned reg = rng_below(r, 16);
        if (reg != R_RSP)
            s->gpr[reg] = some_word(r);
    }
    for (unsigned n = rng_below(r, 40); n; n--)
        put_word(m, 1024 + 8 * rng_below(r, 256), some_word(r));
    for (unsigned n = rng_below(r, 8); n; n--)
        put_word(m, s->gpr[R_RSP] - WORLD_DATA + 8 * rng_below(r, 40), some_word(r));
}

/* How many instructions of the path lie before where a run ended; the first place that fits. */
static int depth_of(const struct left *l)
{
    int step = 0;
    uint64_t end = l->kind == LEFT_FAULT ? l->pc : l->target;
    for (int i = 0; i < built.insn_count; i++) {
        const struct insn *in = &built.insns[i];
        if (l->kind == LEFT_FAULT && in->pc.v == end)
            return i;
        if (in->pc.v + in->len != built.trace.step[step].next.v)
            continue;
        step++;
        if (in->kind == IK_JCC && (in->target == end || in->pc.v + in->len == end) &&
            built.trace.step[step - 1].went.v != end)
            return i + 1;
    }
    return l->kind == LEFT_STRAY ? built.insn_count : 0;
}

/* The program went to where no text is although the fragment knew its returns: another pointer of the state has met a return
 * slot, which the optimizer takes not to happen. */
bool replay_slot_was_hit(const struct comparison *c, const struct subject *sub)
{
    if (c->native.kind != LEFT_STRAY || !sub->ir.changes[PASS_calls])
        return false;
    for (int i = 0; i < page_count; i++)
        if (pages[i] == (c->native.target & ~(PAGE - 1)))
            return false;
    return true;
}

static void report(const struct comparison *c, const struct subject *sub, uint64_t record)
{
    fprintf(stderr, "replay: record %llu differs\n", (unsigned long long)record);
    report_trace(&built, sub);
    compare_print(c);
}

void replay_deep_state(struct rng *r, unsigned tries, struct state *s, struct memory *m)
{
    static struct state best, end;
    static struct memory best_memory;
    int deepest = -1;
    for (unsigned i = 0; i < tries; i++) {
        *s = best;
        if (deepest < 0 || i % 8 == 0) {
            new_state(r, s, m);
        } else {
            world_memory_copy(m, &best_memory);
            change_state(r, s, m);
        }
        end = *s;
        world_memory_set(m);
        struct left l = world_run(&end, built.trace.head.v);
        int depth = l.kind == LEFT_HANG || world_was_slow() ? -1 : depth_of(&l);
        if (depth < deepest || (depth < 0 && deepest >= 0))
            continue;
        deepest = depth;
        best = *s;
        world_memory_copy(&best_memory, m);
    }
    *s = best;
    world_memory_copy(m, &best_memory);
}

static unsigned states_each;

static void replay_trace(const struct built *b, struct rng *r, void *arg)
{
    struct replay_counts *counts = arg;
    static struct comparison c;
    static struct state best, s;
    static struct memory best_memory, m;
    struct subject sub;
    struct knobs k = knobs_choose(r);
    k.place = PLACE_REPLAY;
    k.abi = false;
    rc_t rc = subject_make(b, &k, &sub);
    if (rc != RC_OK) {
        counts->declined++;
        counts->mismatches += rc == RC_VERIFY;
        if (rc == RC_VERIFY)
            report_rejected_trace(b, &k);
        return;
    }
    int deepest = -1;
    for (unsigned i = 0; i < states_each; i++) {
        if (deepest < 0 || i % 8 == 0) {
            new_state(r, &s, &m);
        } else {
            s = best;
            world_memory_copy(&m, &best_memory);
            change_state(r, &s, &m);
        }
        struct way way = {ENTER_DIRECT, rng_percent(r, 50), rng_percent(r, 50),
                          rng_percent(r, 10) ? 1 + rng_below(r, 100000) : 0};
        enum verdict v = compare_run(&sub, &s, &m, way, &c);
        counts->runs++;
        counts->faults += c.native.kind == LEFT_FAULT;
        if (v == V_DIFFERENT && replay_slot_was_hit(&c, &sub)) {
            counts->slots++;
        } else if (v == V_DIFFERENT && compare_is_steady(&sub, &s, &m)) {
            counts->mismatches++;
            report(&c, &sub, records);
            return;
        }
        int depth = depth_of(&c.native);
        counts->deep += v == V_SAME && depth * 2 >= built.insn_count && c.native.kind != LEFT_FAULT;
        if (depth >= deepest) {
            deepest = depth;
            best = s;
            world_memory_copy(&best_memory, &m);
        }
    }
}

static bool read_record(FILE *in, struct record_header *h, struct record_step *steps, bool *usable)
{
    if (fread(h, sizeof *h, 1, in) != 1)
        return false;
    if (memcmp(h->magic, "rhtrace1", 8) != 0) {
        fprintf(stderr, "replay: a record without its magic\n");
        return false;
    }
    *usable = h->steps && h->steps <= TRACE_MAX_BLOCKS && h->insns && h->insns <= MAX_TRACE_INSNS &&
              h->bytes == h->steps * sizeof *steps + h->insns * sizeof insns[0];
    if (!*usable)
        return fseek(in, (long)h->bytes, SEEK_CUR) == 0;
    return fread(steps, sizeof *steps, h->steps, in) == h->steps &&
           fread(insns, sizeof insns[0], h->insns, in) == h->insns;
}

bool replay_each(const char *path, uint64_t seed, replay_fn *fn, void *arg)
{
    static struct record_step steps[TRACE_MAX_BLOCKS];
    struct record_header h;
    bool usable;
    FILE *in = fopen(path, "rb");
    if (!in) {
        perror(path);
        return false;
    }
    records = skipped = 0;
    while (read_record(in, &h, steps, &usable)) {
        struct rng r = {seed + records};
        records++;
        for (uint32_t i = 0; usable && i < h.insns; i++)
            usable = insns[i].len && insns[i].len <= 15;
        if (usable && find_modules(&h) && place_text(&h) && make_trace(&h, steps) && place_data())
            fn(&built, &r, arg);
        else
            skipped++;
        pages_free();
    }
    fclose(in);
    return records > 0;
}

bool replay_file(const char *path, uint64_t seed, unsigned states, struct replay_counts *counts)
{
    *counts = (struct replay_counts){0};
    states_each = states;
    bool good = replay_each(path, seed, replay_trace, counts);
    counts->records = records;
    counts->skipped = skipped;
    return good;
}
