#include "runtime/traces.h"

#include "optimizer/passes.h"
#include "runtime/adopt.h"
#include "runtime/base/maps.h"
#include "runtime/base/mem.h"
#include "runtime/dump.h"
#include "runtime/log.h"
#include "runtime/stats.h"

#define MAX_INSNS 4096
#define MAX_NODES (MAX_INSNS + 16)

static struct insn *insns;
static struct node *nodes;
static const struct options *settings;

rc_t traces_init(const struct options *o)
{
    settings = o;
    return RC_OK;
}

static rc_t buffers_get(void)
{
    static bool ready;
    if (ready)
        return RC_OK;
    insns = mem_map(sizeof *insns * MAX_INSNS);
    nodes = mem_map(sizeof *nodes * MAX_NODES);
    if (!insns || !nodes)
        return RC_NO_MEMORY;
    TRY(fc_init(settings->cache_bytes, settings->link != 0, settings->dump_path[0] ? dump_fragment : NULL));
    ready = true;
    return RC_OK;
}

static rc_t trace_to_fragment(struct trace *t, struct fragment **out)
{
    const struct app_pc found_at = t->head;
    TRY(buffers_get());
    int n = trace_decode(t, insns, MAX_INSNS);
    if (n == 0)
        return RC_TOO_LONG;
    struct site site = {0};
    bool native = settings->control == CONTROL_SAMPLED;
    if (native)
        TRY(adopt_prepare(t, insns, n, &site));
    struct ir ir = {.nodes = nodes, .cap = MAX_NODES};
    mem_zero(nodes, sizeof *nodes * (size_t)(n + 16));
    TRY(ir_build(&ir, t, insns, n));
    TRY(optimize(&ir));
    fc_set_held(native);
    TRY(fc_emit(&ir, out));
    if (!native)
        return RC_OK;
    (*out)->found_at = found_at;
    rc_t rc = adopt_take(*out, &site);
    if (rc != RC_OK)
        TRY(fc_retire(*out));
    return rc;
}

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

rc_t traces_install(struct trace *t, struct fragment **out)
{
    rc_t rc = trace_to_fragment(t, out);
    stats.traces_recorded += rc == RC_OK;
    if (log_wants(1))
        log_trace(t, rc, *out);
    return rc;
}
