#include "tests/unit/machine.h"

#include <sys/mman.h>

#include "optimizer/passes.h"
#include "runtime/base/maps.h"
#include "tests/unit/unit.h"
#include "tracer/stubs.h"

#define MAX_INSNS 1024
#define MAX_STEPS 200000u

struct machine machine;
static __thread struct tls_slots slots;
static struct machine_state reference;
static struct insn insns[MAX_INSNS];
static struct node nodes[MAX_INSNS + 16];
static struct recorder rec;
static bool started;

static void find_slots(void)
{
    uint64_t fs;
    __asm__("mov %%fs:0, %0" : "=r"(fs));
    slots_fs_offset = (int32_t)((int64_t)(uintptr_t)&slots - (int64_t)fs);
}

void machine_reset(size_t capacity, bool link)
{
    if (!started) {
        find_slots();
        code_set_sizes(1 << 20, 1 << 20);
        started = true;
    } else {
        fc_flush();
        block_flush();
        maps_forget();
    }
    assert_ok(fc_init(capacity, link, NULL));
    machine.rsi = 0;
    machine.rflags = 0x202;
}

uint64_t machine_load(uint64_t at, const uint8_t *bytes, const uint8_t *end)
{
    size_t len = (size_t)(end - bytes);
    void *p = mmap((void *)(uintptr_t)at, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    memcpy(p, bytes, len);
    assert_int_equal(mprotect(p, len, PROT_READ | PROT_EXEC), 0);
    maps_forget();
    return at;
}

static struct code_region *region_of(uint64_t pc)
{
    struct code_region *r;
    assert_ok(stubs_region(app_pc(pc), &r));
    assert_ok(code_commit());
    return r;
}

static void begin(uint64_t end)
{
    struct machine_state *s = &machine.now;
    for (unsigned i = 0; i < 16; i++)
        s->ctx.gpr[i] = 0x0101010101010101ULL * i + 0x8000000000000000ULL;
    for (size_t i = 0; i < sizeof s->data; i++)
        s->data[i] = (uint8_t)(i * 31 + 7);
    memset(s->stack, 0x5a, sizeof s->stack);
    s->ctx.gpr[R_RDI] = (uint64_t)(uintptr_t)s->data;
    s->ctx.gpr[R_RSI] = machine.rsi;
    s->ctx.gpr[R_RSP] = (uint64_t)(uintptr_t)s->stack + MACHINE_STACK - 512;
    s->ctx.gpr[R_R15] = end;
    s->ctx.rflags = machine.rflags;
    machine.block_runs = machine.fragment_runs = machine.lookup_misses = 0;
    slots = (struct tls_slots){.ctx = &s->ctx};
}

static void enter(const struct code_region *r, uint64_t code)
{
    stubs_enter_fn *fn = (stubs_enter_fn *)(uintptr_t)r->enter.v;
    slots.target = code;
    slots.exit_id = UINT32_MAX;
    fn(&machine.now.ctx);
}

void machine_native(uint64_t pc)
{
    struct code_region *r = region_of(pc);
    begin(r->leave.v);
    enter(r, pc);
}

/* The address r15 holds under control: mapped nowhere. */
#define STOP 0x1234560ULL

static uint64_t step_block(struct block **out)
{
    struct block *b = *out;
    assert_int_not_equal(b->kind, IK_STRANGE);
    assert_int_not_equal(b->kind, IK_SYSCALL);
    machine.block_runs++;
    if (b->code.v) {
        enter(region_of(b->pc.v), b->code.v);
        assert_int_equal(slots.exit_id, EXIT_BLOCK);
    }
    return 0;
}

static struct block *block_at(uint64_t pc)
{
    struct block *b;
    assert_ok(block_get(app_pc(pc), &b));
    return b;
}

static struct outcome run_block(struct block *b)
{
    step_block(&b);
    return interp_next(b, &machine.now.ctx, &slots);
}

void machine_blocks(uint64_t pc)
{
    begin(STOP);
    for (unsigned n = 0; pc != STOP; n++) {
        assert_true(n < MAX_STEPS);
        pc = run_block(block_at(pc)).next.v;
    }
}

static rc_t install(struct fragment **out)
{
    int n = trace_decode(&rec.trace, insns, MAX_INSNS);
    if (n == 0)
        return RC_TOO_LONG;
    struct ir ir = {.nodes = nodes, .cap = (int)ARRAY_LEN(nodes)};
    memset(nodes, 0, sizeof nodes);
    TRY(ir_build(&ir, &rec.trace, insns, n));
    TRY(optimize(&ir));
    return fc_emit(&ir, out);
}

rc_t machine_try_emit(uint64_t start, uint64_t head, struct fragment **out)
{
    rec_abort(&rec);
    begin(STOP);
    bool wanted = true;
    for (uint64_t pc = start; pc != STOP;) {
        if (wanted && pc == head) {
            rec_start(&rec, app_pc(head), 512);
            wanted = false;
        }
        struct block *b = block_at(pc);
        struct outcome o = run_block(b);
        pc = o.next.v;
        if (rec.active && rec_step(&rec, b, o) == REC_DONE)
            return install(out);
        if (rec.active && pc == STOP) {
            rec.trace.end = TRACE_INDIRECT;
            return install(out);
        }
    }
    return RC_END_OF_TRACE;
}

struct fragment *machine_emit(uint64_t start, uint64_t pc)
{
    struct fragment *f = NULL;
    assert_ok(machine_try_emit(start, pc, &f));
    assert_non_null(f);
    return f;
}

static uint64_t run_fragment(struct fragment *f)
{
    machine.fragment_runs++;
    enter(region_of(f->tag.v), f->entry.v);
    if (slots.exit_id == EXIT_LOOKUP) {
        struct fragment *there = fc_find(app_pc(slots.target));
        machine.lookup_misses++;
        if (there)
            fc_lookup_prefer(there);
        return slots.target;
    }
    struct frag_exit *e = fc_exit(slots.exit_id);
    assert_non_null(e);
    return e->target.v;
}

static void forget_fragment(struct block *b) { b->fragment = NULL; }

static void finish_trace(void)
{
    struct fragment *f = NULL;
    rc_t rc = install(&f);
    if (rc == RC_CACHE_FULL) {
        fc_flush();
        block_each(forget_fragment);
        rc = install(&f);
    }
    if (rc == RC_OK)
        block_at(rec.trace.head.v)->fragment = f;
    else
        block_at(rec.trace.head.v)->declined = (uint8_t)rc;
}

void machine_fragments(uint64_t pc, unsigned hot)
{
    rec_abort(&rec);
    begin(STOP);
    bool candidate = false;
    for (unsigned n = 0; pc != STOP; n++) {
        assert_true(n < MAX_STEPS);
        struct block *b = block_at(pc);
        if (rec.active && rec.trace.steps && (b->fragment || rec.trace.insns + b->insns > 512)) {
            rec_finish_direct(&rec, app_pc(pc));
            finish_trace();
            candidate = true;
            continue;
        }
        if (!rec.active && b->fragment) {
            pc = run_fragment(b->fragment);
            candidate = true;
            continue;
        }
        if (!rec.active && candidate && !b->declined && ++b->heat >= hot)
            rec_start(&rec, app_pc(pc), 512);
        struct outcome o = run_block(b);
        candidate = o.taken;
        pc = o.next.v;
        if (rec.active && (rec_step(&rec, b, o) == REC_DONE || pc == STOP)) {
            if (rec.active) {
                rec.active = false;
                rec.trace.end = TRACE_INDIRECT;
            }
            finish_trace();
            candidate = true;
        }
    }
}

static void same_as_reference(const char *way)
{
    const struct machine_state *a = &reference, *b = &machine.now;
    for (unsigned i = 0; i < R_R15; i++)
        if (a->ctx.gpr[i] != b->ctx.gpr[i])
            fail_msg("%s: register %u is %#llx, natively %#llx", way, i, (unsigned long long)b->ctx.gpr[i],
                     (unsigned long long)a->ctx.gpr[i]);
    if ((a->ctx.rflags ^ b->ctx.rflags) & (FL_STATUS | FL_DF))
        fail_msg("%s: flags are %#llx, natively %#llx", way, (unsigned long long)b->ctx.rflags,
                 (unsigned long long)a->ctx.rflags);
    assert_memory_equal(a->data, b->data, sizeof a->data);
    assert_memory_equal(a->stack, b->stack, sizeof a->stack); /* below rsp too: nobody else writes there */
}

void machine_compare(uint64_t pc)
{
    machine_native(pc);
    reference = machine.now;
    machine_blocks(pc);
    same_as_reference("blocks");
    for (unsigned hot = 1; hot <= 2; hot++) {
        fc_flush();
        block_each(forget_fragment);
        machine_fragments(pc, hot);
        same_as_reference(hot == 1 ? "hot=1" : "hot=2");
        machine_fragments(pc, hot); /* with the fragments there from the start */
        same_as_reference("again");
    }
}
