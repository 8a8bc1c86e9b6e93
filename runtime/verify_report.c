#include "runtime/verify_report.h"

#include "runtime/base/fmt.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/log.h"
#include "runtime/options.h"
#include "runtime/record_file.h"

#define KEPT_MOST (64u << 20)
#define TEXT_BYTES (256u << 10)

static struct arena kept = {.limit = KEPT_MOST};
static uint64_t flushes;

void verify_report_keep(struct fragment *f, const struct trace *t, const struct insn *insns, int n)
{
    uint64_t now = fc_stats_get().flushes;
    if (now != flushes)
        arena_reset(&kept); /* their fragments are gone */
    flushes = now;
    size_t bytes = record_file_bytes(t, n);
    uint8_t *record = arena_alloc(&kept, bytes);
    if (!record)
        return;
    record_file_make(record, t, insns, n);
    f->record = record;
    f->record_bytes = (uint32_t)bytes;
}

static void put_bytes(struct fmt *f, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        fmt_char(f, ' ');
        fmt_hex(f, bytes[i], 2);
    }
    fmt_char(f, '\n');
}

static void put_state(struct fmt *f, const char *name, const struct cpu_state *s)
{
    static const char names[][4] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    fmt_str(f, name);
    fmt_str(f, " pc ");
    fmt_hex(f, s->pc, 1);
    fmt_str(f, " flags ");
    fmt_hex(f, s->rflags, 1);
    for (unsigned i = 0; i < 16; i++) {
        fmt_str(f, i % 8 ? " " : "\n ");
        fmt_str(f, names[i]);
        fmt_char(f, ' ');
        fmt_hex(f, s->gpr[i], 1);
    }
    fmt_char(f, '\n');
}

static void put_stores(struct fmt *f, const struct stores *l)
{
    for (int i = 0; i < l->count; i++) {
        fmt_str(f, "fragment wrote ");
        fmt_hex(f, l->list[i].at, 1);
        fmt_char(f, ':');
        put_bytes(f, l->list[i].made, l->list[i].len);
    }
}

static void put_trace(struct fmt *f, const struct fragment *fragment)
{
    const struct record_header *h = (const struct record_header *)fragment->record;
    if (!h)
        return;
    const struct record_insn *in =
        (const struct record_insn *)((const uint8_t *)(h + 1) + h->steps * sizeof(struct record_step));
    for (uint32_t i = 0; i < h->insns; i++) {
        fmt_str(f, "program  ");
        fmt_hex(f, in[i].pc, 1);
        put_bytes(f, in[i].bytes, in[i].len);
    }
}

/* A line for each node. */
static void put_fragment(struct fmt *f, const struct fragment *fragment)
{
    for (int i = 0; i < fragment->map_count; i++) {
        uint32_t at = fragment->map[i].at;
        uint32_t end = i + 1 < fragment->map_count ? fragment->map[i + 1].at : fragment->body_end;
        fmt_str(f, "fragment ");
        fmt_hex(f, fragment->start.v + at, 1);
        fmt_str(f, " for ");
        fmt_hex(f, fragment->map_pc[i], 1);
        put_bytes(f, (const uint8_t *)fragment->start.v + at, end - at);
    }
}

static void put_summary(struct fmt *f, const struct fragment *fragment, const char *what)
{
    static const char names[][16] = {
#define PASS(name, text) #name,
#include "optimizer/passes.def"
#undef PASS
    };
    fmt_str(f, "mismatch: fragment ");
    fmt_dec(f, fragment->id);
    fmt_str(f, " at ");
    fmt_hex(f, fragment->tag.v, 1);
    fmt_str(f, ": ");
    fmt_str(f, what);
    fmt_str(f, "; changed by");
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (fragment->passes & 1u << i) {
            fmt_char(f, ' ');
            fmt_str(f, names[i]);
        }
}

void verify_report(const char *path, const struct fragment *f, const char *what, const struct cpu_state *start,
                   const struct cpu_state *made, const struct cpu_state *own, const struct stores *stores)
{
    char line[200], name[OPTION_TEXT + 8];
    struct fmt l = fmt_on(line, sizeof line), n = fmt_on(name, sizeof name);
    put_summary(&l, f, what);
    log_line(line);
    char *text = path[0] ? mem_map(TEXT_BYTES) : NULL;
    if (!text)
        return;
    struct fmt t = fmt_on(text, TEXT_BYTES);
    fmt_str(&t, line);
    fmt_char(&t, '\n');
    put_state(&t, "both start at", start);
    put_state(&t, "the fragment ends at", made);
    put_state(&t, "the program ends at", own);
    put_stores(&t, stores);
    put_trace(&t, f);
    put_fragment(&t, f);
    fmt_char(&t, '\n');
    log_append(path, text, t.len);
    mem_unmap(text, TEXT_BYTES);
    fmt_str(&n, path);
    fmt_str(&n, ".trace");
    if (f->record)
        log_append(name, (const char *)f->record, f->record_bytes);
}
