/* The decoder's facts that passes build on, against the CPU: random instructions run from two states that differ in all
 * that an instruction is said not to read.
 *
 * nothing changes but what is said to be written      what is said to be written in full, or killed, comes out the
 * same
 *   gpr_zx clears the upper half                         memory comes out the same */
#include "tests/unit/pass_cpu.h"

#include "tracer/decode.h"

#define TRIES 60000

static struct insn in;
static unsigned ran, refused, wrong;

/* Opcodes that would change more than registers, flags and memory (x87 and MXCSR, segments, protection keys), or whose
 * result is another every time. */
static bool is_left_out(const uint8_t *b)
{
    bool two = b[0] == 0x0f;
    uint8_t op = two ? b[1] : b[0];
    bool prefix = (op & 0xf0) == 0x40 || (op >= 0x64 && op <= 0x67) || op == 0xf0 || op == 0xf2 || op == 0xf3 ||
                  (op & 0xe7) == 0x26;
    if (!two)
        return prefix || (op >= 0xd8 && op <= 0xdf) || op == 0x8e || op == 0x8c || op == 0x9d || op == 0x9b || op == 0xc8 ||
               op == 0xc4 || op == 0xc5 || op == 0x62 || (op >= 0xa0 && op <= 0xa3) || op == 0x5c || op == 0xc9;
    return op == 0x01 || op == 0x00 || op == 0xae || op == 0xc7 || op == 0x31 || op == 0xa2 || op == 0x33 || op == 0xb2 ||
           op == 0xb5 || op == 0xa8 || op == 0xa9 || op == 0xa1 || op == 0x77 || op == 0x1a || op == 0x1b;
}

static size_t any_bytes(uint8_t *b)
{
    static const uint8_t prefixes[] = {0x66, 0xf3, 0xf2};
    size_t n = 0;
    if (cpu_dice(3) == 0)
        b[n++] = prefixes[cpu_dice(3)];
    if (cpu_dice(2))
        b[n++] = (uint8_t)(0x40 | (cpu_dice(2) ? 8 : 0) | (cpu_dice(4) ? 0 : cpu_dice(8)));
    size_t opcode = n;
    if (cpu_dice(2))
        b[n++] = 0x0f;
    b[n++] = (uint8_t)cpu_dice(256);
    if (is_left_out(b + opcode))
        return 0;
    if (b[opcode] == 0x0f && (b[opcode + 1] & 0xfd) == 0x38)
        b[n++] = (uint8_t)cpu_dice(256);
    unsigned reg = cpu_dice(8) << 3, rm = cpu_dice(8);
    b[n++] = (uint8_t)(cpu_dice(2) ? 0xc0 | reg | rm : reg | (cpu_dice(2) ? R_RDI : R_RSI));
    for (int i = 0; i < 8; i++)
        b[n++] = (uint8_t)cpu_dice(256);
    return n;
}

static void any_state(struct cpu_state *s)
{
    for (size_t i = 0; i < sizeof *s; i++)
        ((uint8_t *)s)[i] = (uint8_t)cpu_dice(256);
    for (int r = 0; r < 16; r++)
        if (cpu_dice(2))
            s->gpr[r] = cpu_dice(4);
    s->gpr[R_RSP] = CPU_STACK + CPU_AREA / 2;
    s->gpr[R_RDI] = CPU_DATA + CPU_AREA / 2;
    s->gpr[R_RSI] = CPU_DATA + CPU_AREA / 2 + 64;
    if (in.mem_implied)
        s->gpr[R_RCX] = cpu_dice(4); /* a repeat count */
    s->flags = 0x202 | (cpu_dice(256) & FL_STATUS) | (cpu_dice(2) ? FL_OF : 0);
    s->exit = 0;
}

/* Another state that is the same to the instruction. */
static void other_state(const struct cpu_state *s, struct cpu_state *o)
{
    uint64_t keep = FL_STATUS & in.flags_read;
    *o = *s;
    for (int r = 0; r < 16; r++)
        if (!(in.gpr_read & 1u << r) && r != R_RSP)
            o->gpr[r] = cpu_dice(2) ? ~s->gpr[r] : cpu_dice(100);
    o->flags = (s->flags & ~(uint64_t)FL_STATUS) | (s->flags & keep) | (~s->flags & FL_STATUS & ~keep);
}

static const char *compare(const struct cpu_state *s, const struct cpu_state *a, const struct cpu_state *b)
{
    for (int r = 0; r < 16; r++) {
        bool written = in.gpr_written & 1u << r, full = in.gpr_full & 1u << r, read = in.gpr_read & 1u << r;
        if (!written && a->gpr[r] != s->gpr[r])
            return "changes a register that it is not said to write";
        if ((full || (written && read)) && a->gpr[r] != b->gpr[r])
            return "a register depends on what is not said to be read";
        if ((in.gpr_zx & 1u << r) && a->gpr[r] >> 32)
            return "the upper half is not zero";
    }
    if ((a->flags ^ s->flags) & FL_STATUS & ~(uint64_t)in.flags_written)
        return "changes a flag that it is not said to write";
    if ((a->flags ^ b->flags) & FL_STATUS & in.flags_killed)
        return "a flag depends on what is not said to be read";
    if (memcmp(a->stack, b->stack, CPU_AREA) != 0 || memcmp(a->data, b->data, CPU_AREA) != 0)
        return "memory depends on what is not said to be read";
    if (!in.stores && (memcmp(a->stack, s->stack, CPU_AREA) != 0 || memcmp(a->data, s->data, CPU_AREA) != 0))
        return "changes memory and is not said to store";
    return NULL;
}

static void check_one(const uint8_t *bytes)
{
    static struct cpu_state start, other, a, b;
    memcpy(cpu_code(), bytes, in.len);
    cpu_emit_leave(cpu_code() + in.len, 1);
    any_state(&start);
    other_state(&start, &other);
    if (!cpu_run(&start, &a)) {
        refused++;
        return;
    }
    const char *what = cpu_run(&other, &b) ? compare(&start, &a, &b) : "a fault depends on what is not said to be read";
    ran++;
    if (!what)
        return;
    for (unsigned i = 0; i < in.len; i++)
        print_message("%02x ", bytes[i]);
    print_message("  %s: %s\n", unit_describe(&in), what);
    wrong++;
}

static void test_random_instructions(void **unused)
{
    (void)unused;
    cpu_catch_signals();
    for (int i = 0; i < TRIES && wrong < 10; i++) {
        uint8_t bytes[32];
        size_t n = any_bytes(bytes);
        if (!n)
            continue;
        in = unit_decode_bytes(bytes, n, CPU_CODE);
        bool far = in.rip_relative || (in.gpr_written & 1u << R_RSP && in.sp != SP_ADD) || in.mem_base == R_RSP;
        bool anywhere = (in.mem_read || in.mem_write) && !in.mem_bytes; /* bit strings */
        if (in.kind == IK_PLAIN && !far && !anywhere && in.mem_index == R_NONE)
            check_one(bytes);
    }
    print_message("%u ran, %u raised a signal\n", ran, refused);
    assert_int_equal(wrong, 0);
    assert_true(ran > TRIES / 20);
}

static int setup(void **unused)
{
    (void)unused;
    return cpu_setup();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_instructions)};
    return cmocka_run_group_tests_name("pass_facts", tests, setup, NULL);
}
