#include "runtime/dump.h"

#include "runtime/base/maps.h"
#include "runtime/base/mem.h"
#include "runtime/log.h"

#define TEXT_BYTES (256u << 10)

static const char *dump_path = "";
static char *text;

void dump_set(const char *path) { dump_path = path; }

static void dump_head(struct fmt *f, const struct fragment *frag)
{
    const struct map_range *r = maps_find(frag->tag);
    fmt_str(f, "---- fragment ");
    fmt_dec(f, frag->id);
    fmt_str(f, "  ");
    fmt_str(f, r ? str_base(r->path) : "?");
    fmt_str(f, "+0x");
    fmt_hex(f, r ? frag->tag.v - r->start + r->file_offset : frag->tag.v, 1);
    fmt_str(f, frag->loop ? "  loop" : "  straight");
    fmt_str(f, "  insns ");
    fmt_dec(f, frag->insns_in);
    fmt_str(f, " -> ");
    fmt_dec(f, frag->insns_out);
    fmt_str(f, "  bytes ");
    fmt_dec(f, frag->bytes_in);
    fmt_str(f, " -> ");
    fmt_dec(f, frag->len);
    fmt_char(f, '\n');
}

static char node_mark(const struct ir *ir, const struct node *n)
{
    if (n->removed)
        return '-';
    switch ((enum node_op)n->op) {
    case N_INSN:
        if (n->part == PART_UPDATE)
            return '+';
        return node_is_original(ir, n) ? '=' : '~';
    case N_EXIT_IF:
    case N_EXIT_LOOP:
    case N_CHECK:
    case N_EXIT: return '>';
    case N_BACK:
    case N_BACK_IF: return '@';
    case N_BORROW:
    case N_LOOP: return '+';
    default: return '~';
    }
}

static void dump_bytes(struct fmt *f, const struct insn *in)
{
    for (int i = 0; i < in->len; i++) {
        fmt_hex(f, in->bytes[i], 2);
        fmt_char(f, ' ');
    }
}

static void dump_node(struct fmt *f, const struct ir *ir, const struct node *n, long at, int *exit)
{
    const struct insn *in = &ir->insns[n->insn];
    if (at >= 0)
        fmt_hex(f, (uint64_t)at, 4);
    fmt_pad(f, 6);
    char mark = node_mark(ir, n);
    fmt_char(f, mark);
    if (mark == '>')
        fmt_dec(f, (*exit)++);
    fmt_pad(f, 10);
    int64_t from_head = (int64_t)(in->pc.v - ir->tag.v);
    fmt_str(f, from_head < 0 ? "-0x" : "+0x");
    fmt_hex(f, (uint64_t)(from_head < 0 ? -from_head : from_head), 2);
    fmt_pad(f, 22);
    bool made = (mark == '~' || mark == '+') && n->op == N_INSN;
    dump_bytes(f, made ? n->in : in);
    if (n->why) {
        fmt_pad(f, 56);
        fmt_str(f, n->why);
    }
    if (made) {
        fmt_str(f, "; was ");
        dump_bytes(f, in);
    }
    fmt_char(f, '\n');
}

void dump_fragment(const struct fragment *frag, const struct ir *ir, const struct lowered *out)
{
    if (!text && !(text = mem_map(TEXT_BYTES)))
        return;
    struct fmt f = fmt_on(text, TEXT_BYTES);
    dump_head(&f, frag);
    int exit = 0, map = 0;
    for (int i = 0; i < ir->count; i++) {
        long at = -1;
        if (map < out->map_count && out->map[map].node == i)
            at = (long)out->map[map++].at;
        dump_node(&f, ir, &ir->nodes[i], at, &exit);
    }
    log_append(dump_path, text, f.len);
}
