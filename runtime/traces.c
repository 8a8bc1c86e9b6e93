#include "runtime/traces.h"

#include "optimizer/estimate.h"
#include "optimizer/passes.h"
#include "runtime/adopt.h"
#include "runtime/base/codewrite.h"
#include "runtime/base/maps.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/candidate.h"
#include "runtime/dump.h"
#include "runtime/facts.h"
#include "runtime/log.h"
#include "runtime/native.h"
#include "runtime/plant.h"
#include "runtime/record_file.h"
#include "runtime/stats.h"
#include "runtime/verify.h"

#define MAX_INSNS 4096
#define MAX_NODES 8192 /* pass_promote doubles loops */
#define MAX_MADE 512
#define UNROLL_INSNS 24
#define ENTRY_COST 8 /* of a hook's jumps (optimizer/estimate.h) */

static struct insn *insns;
static struct insn *made_insns;
static struct node *nodes;
static uint64_t changes; /* by all passes, for bisect= */
static uint64_t stats_changes[PASS_COUNT];
static const struct options *settings;

static const char pass_names[PASS_COUNT][16] = {
#define PASS(name, text) [PASS_##name] = #name,
#include "optimizer/passes.def"
#undef PASS
};

rc_t traces_init(const struct options *o)
{
    settings = o;
    adopt_init(o->trial != 0);
    plant_init(o);
    verify_init(o);
    return RC_OK;
}

static rc_t buffers_get(void)
{
    static bool ready;
    if (ready)
        return RC_OK;
    insns = mem_map(sizeof *insns * MAX_INSNS);
    nodes = mem_map(sizeof *nodes * MAX_NODES);
    made_insns = mem_map(sizeof *made_insns * MAX_MADE);
    if (!insns || !nodes || !made_insns)
        return RC_NO_MEMORY;
    TRY(fc_init(settings->cache_bytes, settings->link && !(verify_on() && settings->control == CONTROL_FULL), settings->dump_path[0] ? dump_fragment : NULL));
    ready = true;
    return RC_OK;
}

/* passes=NAME+NAME..., "all" or "none". */
static uint32_t passes_parse(const char *text)
{
    uint32_t mask = 0;
    if (!text[0])
        return 0;
    while (*text) {
        char name[32];
        size_t n = 0;
        for (; *text && *text != '+'; text++)
            if (n + 1 < sizeof name)
                name[n++] = *text;
        name[n] = 0;
        text += *text == '+';
        if (str_equal(name, "all"))
            mask |= PASSES_ALL;
        for (int i = 0; i < PASS_COUNT; i++)
            if (str_equal(name, pass_names[i]))
                mask |= PASS_BIT(i);
    }
    return mask ? mask : PASSES_NONE;
}

/* Of all changes that bisect= allows, those that are left. */
static int bisect_left(void)
{
    if (!settings->bisect)
        return 0;
    return changes < settings->bisect ? (int)(settings->bisect - changes) : -1;
}

/* One variant: `bodies` of a loop in a row; with the passes that may make it slower, or without. */
struct kind {
    int bodies;
    bool unsure;
};

/* Without trials nothing tells whether a loop is slower now: such passes only run where a setting names them. */
static uint32_t passes_of(const struct kind *k)
{
    uint32_t named = passes_parse(settings->passes), mask = named ? named : PASSES_ALL;
    bool may = k->unsure || (named && !settings->trial);
    mask &= may ? ~0u : ~PASSES_UNSURE;
    return mask ? mask : PASSES_NONE;
}

static rc_t variant_optimize(const struct trace *t, int n, const struct kind *k, struct ir *ir)
{
    *ir = (struct ir){.nodes = nodes, .cap = MAX_NODES, .made = made_insns, .made_cap = MAX_MADE};
    ir->unroll = k->bodies;
    mem_zero(nodes, sizeof *nodes * (size_t)(n + 16));
    ir->passes = passes_of(k);
    ir->bisect = bisect_left();
    ir->targets_of = targets_find;
    if (settings->control == CONTROL_SAMPLED)
        facts_give(ir);
    TRY(ir_build(ir, t, insns, n));
    return optimize(ir);
}

static void plant_mistake(struct ir *ir, uint32_t id)
{
#ifdef REHEAT_BREAKS /* see options_parse_plant */
    if (str_len(settings->plant) > 6)
        (void)break_apply(ir, settings->plant + 6, id * 0x9e3779b9u >> 8);
#else
    (void)ir, (void)id;
#endif
}

static uint32_t unsure_changes(const struct ir *ir)
{
    uint32_t sum = 0;
    for (int i = 0; i < PASS_COUNT; i++)
        sum += PASSES_UNSURE & PASS_BIT(i) ? ir->changes[i] : 0;
    return sum;
}

/* `first`: the id of the first one of this trace. RC_UNPROMISING: the same as without unsure passes. */
static rc_t variant_emit(const struct trace *t, int n, const struct kind *k, uint32_t first, struct fragment **out)
{
    struct ir ir;
    TRY(variant_optimize(t, n, k, &ir));
    if (k->unsure && !unsure_changes(&ir))
        return RC_UNPROMISING;
    plant_mistake(&ir, first);
    changes += ir_changes(&ir);
    for (int i = 0; i < PASS_COUNT; i++)
        stats_changes[i] += ir.changes[i];
    lower_set_plant(plant_units(PLANT_SLOW, first) * (uint32_t)k->bodies);
    TRY(fc_emit(&ir, out));
    for (int i = 0; i < PASS_COUNT; i++)
        (*out)->passes |= ir.changes[i] ? PASS_BIT(i) : 0;
    verify_note(*out, t, insns, n);
    return RC_OK;
}

/* The variants of a trace; the first one is the one that is kept without a trial. */
static int kinds_of(const struct trace *t, int n, struct kind out[CANDIDATE_ARMS - 1])
{
    int count = 0;
    bool unrolled = t->end == TRACE_LOOP && n <= UNROLL_INSNS && settings->unroll > 1;
    out[count++] = (struct kind){1, false};
    if (settings->trial && unrolled)
        out[count++] = (struct kind){(int)settings->unroll, false};
    if (settings->trial)
        out[count++] = (struct kind){unrolled ? (int)settings->unroll : 1, true};
    return count;
}

/* Whether one of the variants may be expected to be faster by least= percent. What is slowed down for a test is. */
static bool promising(const struct trace *t, int n, const struct kind *kinds, int count)
{
    struct ir ir;
    for (int i = 0; i < count; i++) {
        if (variant_optimize(t, n, &kinds[i], &ir) != RC_OK)
            continue;
        struct estimated e = ir_estimate(&ir);
        uint32_t entered = t->end == TRACE_LOOP ? 0 : ENTRY_COST;
        if ((uint64_t)(e.after + entered) * 100 <= (uint64_t)e.before * (100 - settings->least))
            return true;
    }
    return settings->plant[0] != 0;
}

/* As the optimizer is about to see it. */
static void trace_record(const struct trace *t, int n)
{
    if (settings->record_path[0])
        record_file_append(settings->record_path, t, insns, n);
}

static bool jumps_indirectly(int n)
{
    for (int i = 0; i < n; i++)
        if (insns[i].kind == IK_JMP_IND && !insns[i].rip_relative)
            return true;
    return false;
}

static rc_t trace_to_fragment(struct trace *t, struct fragment **out)
{
    const struct app_pc found_at = t->head;
    struct fragment *variant[CANDIDATE_ARMS - 1];
    int variants = 0;
    TRY(buffers_get());
    int n = trace_decode(t, insns, MAX_INSNS);
    if (n == 0)
        return RC_TOO_LONG;
    struct site site = {0};
    uint32_t first = (uint32_t)fc_stats_get().emitted + 1;
    bool native = settings->control == CONTROL_SAMPLED;
    fc_set_held(native);
    if (!native) {
        trace_record(t, n);
        return variant_emit(t, n, &(struct kind){(int)settings->unroll, false}, first, out);
    }
    facts_refresh();
    TRY(adopt_prepare(t, insns, &n, &site));
    trace_record(t, n);
    struct kind kinds[CANDIDATE_ARMS - 1];
    int count = kinds_of(t, n, kinds);
    if (settings->trial && settings->least && !adopt_connects(t) && !promising(t, n, kinds, count))
        return RC_UNPROMISING;
    TRY(variant_emit(t, n, &kinds[0], first, &variant[variants++]));
    for (int i = 1; i < count; i++)
        variants += variant_emit(t, n, &kinds[i], first, &variant[variants]) == RC_OK;
    *out = variant[0];
    for (int i = 0; i < variants; i++) {
        variant[i]->found_at = found_at;
        variant[i]->indirect = jumps_indirectly(n);
    }
    rc_t rc = adopt_take(variant, variants, &site);
    for (int i = 0; rc != RC_OK && i < variants; i++)
        TRY(fc_retire(variant[i]));
    return rc;
}

uint64_t traces_changes(int pass) { return stats_changes[pass]; }

static void describe_pc(struct fmt *f, struct app_pc pc)
{
    const struct map_range *r = maps_find(pc);
    if (r) {
        fmt_str(f, str_base(r->path));
        fmt_str(f, "+0x");
        fmt_hex(f, pc.v - r->start + r->file_offset, 1);
    } else {
        fmt_str(f, "0x");
        fmt_hex(f, pc.v, 1);
    }
}

static void log_trace(const struct trace *t, rc_t rc, const struct fragment *made)
{
    char line[400];
    struct fmt f = fmt_on(line, sizeof line);
    fmt_str(&f, rc == RC_OK ? "fragment " : "declined ");
    if (rc == RC_OK) {
        fmt_dec(&f, made->id);
        fmt_char(&f, ' ');
    }
    describe_pc(&f, t->head);
    fmt_str(&f, t->end == TRACE_LOOP ? " loop, " : t->end == TRACE_DIRECT ? " straight, " : " indirect, ");
    fmt_dec(&f, t->insns);
    fmt_str(&f, " instructions, ");
    fmt_dec(&f, t->steps);
    fmt_str(&f, " blocks");
    if (rc != RC_OK) {
        fmt_str(&f, ": ");
        fmt_str(&f, proto_reason_text(rc));
    }
    log_line(line);
}

/* What the report says of samples in it. */
static void note_text(const struct trace *t, rc_t rc)
{
    rc_t why = rc != RC_OK ? rc : settings->trial ? RC_BUSY : RC_OUTSIDE;
    for (int i = 0; i < t->steps; i++)
        native_note(t->step[i].pc.v, t->step[i].next.v, why);
}

rc_t traces_install(struct trace *t, struct fragment **out)
{
    uint64_t mask = sys_signals_set(~0ULL);
    code_batch_begin();
    rc_t rc = trace_to_fragment(t, out);
    code_batch_end();
    (void)sys_signals_set(mask);
    stats.traces_recorded += rc == RC_OK;
    if (settings->control == CONTROL_SAMPLED)
        note_text(t, rc);
    if (log_wants(1))
        log_trace(t, rc, *out);
    return rc;
}
