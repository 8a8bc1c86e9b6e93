#include "tests/unit/unit.h"

#include <stdlib.h>

#include "tracer/decode.h"

size_t unit_bytes(const char *hex, uint8_t *out, size_t cap)
{
    size_t n = 0;
    for (char *end; *hex; hex = end) {
        unsigned long v = strtoul(hex, &end, 16);
        if (end == hex)
            break;
        assert_true(v < 256 && n < cap);
        out[n++] = (uint8_t)v;
    }
    return n;
}

struct decode_request {
    const uint8_t *bytes;
    size_t len;
    uint64_t pc;
    struct insn out;
};

static void decode_gated(void *arg)
{
    struct decode_request *r = arg;
    decode_one(r->bytes, r->len, app_pc(r->pc), &r->out);
}

struct insn unit_decode_bytes(const uint8_t *bytes, size_t len, uint64_t pc)
{
    struct decode_request r = {.bytes = bytes, .len = len, .pc = pc};
    assert_ok(decode_gate(decode_gated, &r));
    return r.out;
}

struct insn unit_decode(const char *hex, uint64_t pc)
{
    uint8_t bytes[32];
    size_t len = unit_bytes(hex, bytes, sizeof bytes);
    uint8_t *exact = malloc(len); /* so that ASan sees a byte read too far */
    memcpy(exact, bytes, len);
    struct insn in = unit_decode_bytes(exact, len, pc);
    free(exact);
    return in;
}

static const char *const reg_names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8",
                                        "r9",  "r10", "r11", "r12", "r13", "r14", "r15", "none", "rip"};
static const char *const kind_names[] = {"plain",   "jmp",      "jcc",     "loop",   "call",   "ret",
                                         "jmp_ind", "call_ind", "syscall", "xbegin", "strange"};

static char text[512];
static size_t text_len;

__attribute__((format(printf, 1, 2))) static void put(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text + text_len, sizeof text - text_len, format, ap);
    va_end(ap);
    assert_true(n >= 0 && text_len + (size_t)n < sizeof text);
    text_len += (size_t)n;
}

static void put_registers(const char *label, unsigned mask)
{
    if (!mask)
        return;
    put(" %s", label);
    for (unsigned i = 0, n = 0; i < 16; i++)
        if (mask & 1u << i)
            put("%c%s", n++ ? ',' : ':', reg_names[i]);
}

static void put_flags(const char *label, unsigned mask)
{
    static const struct {
        unsigned bit;
        char name;
    } flags[] = {{FL_CF, 'c'}, {FL_PF, 'p'}, {FL_AF, 'a'}, {FL_ZF, 'z'}, {FL_SF, 's'}, {FL_DF, 'd'}, {FL_OF, 'o'}};
    if (!mask)
        return;
    put(" %s:", label);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (mask & flags[i].bit)
            put("%c", flags[i].name);
    assert_int_equal(mask & ~(FL_STATUS | FL_DF), 0);
}

static void put_memory(const struct insn *in)
{
    bool access = in->mem_read || in->mem_write;
    if (in->mem_base == R_NONE && in->mem_index == R_NONE && !access && !in->mem_disp)
        return;
    put(" [");
    if (in->mem_base != R_NONE)
        put("%s", reg_names[in->mem_base]);
    if (in->mem_index != R_NONE)
        put("+%s*%u", reg_names[in->mem_index], in->mem_scale);
    put("%+d]%s%s%u", in->mem_disp, in->mem_read ? "r" : "", in->mem_write ? "w" : "", in->mem_bytes);
}

const char *unit_describe(const struct insn *in)
{
    text_len = 0;
    put("%s %u", kind_names[in->kind], in->len);
    if (in->kind == IK_JCC)
        put(" cc:%u", in->cc);
    if (in->kind == IK_LOOP)
        put(" op:%u", in->loop_op);
    if (in->target)
        put(" to:%+lld", (long long)(in->target - in->pc.v));
    if (in->imm)
        put(" imm:%u", in->imm);
    put_registers("r", in->gpr_read);
    put_registers("w", in->gpr_written);
    put_flags("fr", in->flags_read);
    put_flags("fw", in->flags_written);
    put_memory(in);
    if (in->rip_relative)
        put(" rip@%u,%u", in->modrm_at, in->disp_at);
    static const char *const sp_names[] = {"", " sp", " sp=rbp", " sp=?"};
    put("%s", sp_names[in->sp]);
    if (in->sp == SP_ADD || in->sp == SP_FROM_RBP)
        put("%+d", in->sp_delta);
    put("%s%s", in->pushes ? " pushes" : "", in->stores ? " stores" : "");
    if (in->bp_from_sp)
        put(" rbp=rsp%+d", in->bp_delta);
    put("%s", in->writes_bp ? " wbp" : "");
    return text;
}
