/* State recovery (REC-1): at each instruction of fragments, block copies and the code around them, the program's own
 * state is rebuilt and leads to the native result. */
#include "tests/unit/stepper.h"

#include "fragcache/hook.h"
#include "fragcache/recover.h"
#include "tests/unit/module.h"
#include "tracer/asm.h"
#include "tracer/stubs.h"

/* Makes fragments of the heads (offsets, ended by 0), and checks each instruction of them. */
static void check(uint64_t at, const uint8_t *start, const uint8_t *end, const unsigned *heads, const struct step_kind *k)
{
    step_load(at, start, end);
    stepper.dead = k->gpr_dead;
    step_compare("natively"); /* the harness itself */
    for (; *heads; heads++)
        step_emit(stepper.text + *heads, k);
    step_compare("fragments");
    stepper.looked_up = true;
    step_compare("fragments, looked up");
    assert_true(stepper.entered > 1 && stepper.in_cache > 10);
}

static void check_blocks(const uint8_t *start, const uint8_t *end)
{
    stubs_set_native_exits(false);
    step_load(MACHINE_TEXT, start, end);
    stepper.blocks = true;
    step_compare("blocks");
    assert_true(stepper.entered > 10 && stepper.in_cache > 50);
}

/* In a region whose exits go to the dispatcher, and in one whose exits go on natively. */
#define CHECK(name, kind, ...)                                                                               \
    do {                                                                                                     \
        static const unsigned heads_[] = {__VA_ARGS__, 0};                                                   \
        stubs_set_native_exits(false);                                                                       \
        check(MACHINE_TEXT, name##_start, name##_end, heads_, kind);                                         \
        stubs_set_native_exits(true);                                                                        \
        check(MACHINE_FAR, name##_start, name##_end, heads_, kind);                                          \
    } while (0)

static const struct step_kind live = {0}, flags_dead = {.flags_dead = FL_STATUS},
                         r11_dead = {.flags_dead = FL_STATUS, .gpr_dead = 1u << 11},
                         only_r11_dead = {.gpr_dead = 1u << 11}, rcx_dead = {.gpr_dead = 1u << R_RCX | 1u << 11},
                         all_dead = {.flags_dead = FL_STATUS, .gpr_dead = 1u << R_RCX | 1u << R_RDX | 1u << 11};
static const struct step_kind computed = {.computed = true}, cut_computed = {.computed = true, .cut = true};
static const struct step_kind promoted = {.computed = true, .promoted = true};
static const struct step_kind invariant = {.computed = true, .promoted = true, .invariant = true};
static const struct step_kind chained = {.chained = true}, chained_dead = {.flags_dead = FL_STATUS, .chained = true},
                              chained_r11 = {.flags_dead = FL_STATUS, .gpr_dead = 1u << 11, .chained = true},
                              chained_rcx = {.gpr_dead = 1u << R_RCX | 1u << 11, .chained = true},
                              chained_computed = {.computed = true, .chained = true};
static const struct step_kind cut = {.cut = true}, cut_dead = {.gpr_dead = 1u << R_RCX | 1u << R_RDX, .cut = true};

/* --- programs; the loop's head is at offset 6 */

PROGRAM(sum, "mov r14d, 9\n"
             "1: add rax, r14\n cmp r14d, 4\n je 3f\n"
             "2: dec r14d\n jnz 1b\n jmp r15\n"
             "3: add rax, 1000\n jmp 2b");
PROGRAM(loops, "mov r14d, 4\n"
               "0: mov rcx, 3\n 1: inc rax\n loop 1b\n"
               "mov rcx, 6\n 2: inc rbx\n cmp rcx, 3\n loopne 2b\n"
               "jrcxz 4f\n mov r10, rcx\n"
               "4: mov ecx, r14d\n and ecx, 1\n jrcxz 8f\n add rax, 7\n"
               "8: dec r14d\n jnz 0b\n jmp r15");
PROGRAM(calls, "mov r14d, 4\n"
               "0: call leaf\n push rcx\n call nested\n pop rcx\n push 11\n call argument\n"
               "dec r14d\n jnz 0b\n jmp r15\n"
               "leaf: add rax, rcx\n ret\n"
               "nested: push rbx\n call leaf\n call leaf\n pop rbx\n ret\n"
               "argument: add rax, [rsp+8]\n ret 8");
/* Far operands of every kind of copy: scratch registers, push, lea. */
PROGRAM(operands, "mov r14d, 3\n"
                  "0: mov rax, [rip+0x7ff00000]\n add rax, 3\n mov [rip+0x7ff00000], rax\n"
                  "lea rbx, [rip+0x7ff00000]\n add dword ptr [rip+0x7ff00000], 0x12345\n cmp eax, [rip+0x7ff00000]\n"
                  "adc rdx, [rip+0x7ff00000]\n push [rip+0x7ff00000]\n pop r10\n dec r14d\n jnz 0b\n jmp r15");
/* Guards that hit and miss: register, memory, [rsp], rip-relative and rcx- and rdx-based operands, jmp, call, ret,
 * ret imm16. After each, flags are written before they are read; rcx and rdx where the test takes them for dead. */
#define GUARDS_OF(value)                                                                                     \
    "mov r14d, 6\n"                                                                                          \
    "0: lea r8, [rip+11f]\n lea r9, [rip+12f]\n test r14d, 1\n cmovnz r8, r9\n mov [rdi], r8\n"              \
    "stc\n jmp r8\n"                                                                                         \
    "12: add rax, 100\n"                                                                                     \
    "11: " value "\n lea rcx, [rip+13f]\n add rax, 1\n call rcx\n xor ecx, ecx\n"                             \
    "mov [rdi], r8\n call [rdi]\n"                                                                           \
    "xor edx, edx\n lea rcx, [rip+14f]\n mov [rsp-24], rcx\n mov rdx, rdi\n mov ecx, 2\n"                    \
    "lea r10, [rip+14f]\n mov [rdi+24], r10\n cmp r14d, 5\n jmp [rdx+rcx*8+8]\n"                             \
    "14: xor ecx, ecx\n mov rdx, rsp\n lea r10, [rip+15f]\n push 77\n push r10\n add r10, 3\n ret 8\n"        \
    "15: xor r10d, r10d\n mov rcx, 9\n mov rdx, 5\n lea r10, [rip+16f]\n push r10\n cmp r14, 3\n"             \
    "call [rsp]\n pop r10\n add rax, rcx\n xor edx, edx\n xor ecx, ecx\n"                                    \
    "dec r14d\n jnz 0b\n xor ecx, ecx\n xor edx, edx\n xor r8d, r8d\n jmp r15\n"                             \
    "13: add rbx, 3\n lea r8, [rip+17f]\n mov ecx, 4\n mov edx, 5\n ret\n"                                   \
    "16: add rbx, 5\n mov ecx, 4\n mov edx, 5\n ret\n"                                                       \
    "17: add rbx, 7\n mov ecx, 4\n mov edx, 5\n ret\n"
PROGRAM(guards, GUARDS_OF("xor ecx, ecx\n xor edx, edx"));
/* Indirect branches through memory that only a register reaches. */
PROGRAM(far_branches, "mov r14d, 6\n"
                      "0: lea r8, [rip+1f]\n lea r9, [rip+2f]\n test r14d, 1\n cmovnz r8, r9\n"
                      "mov [rip+0x7ff00000], r8\n jmp [rip+0x7ff00000-6]\n"
                      "2: add rax, 100\n"
                      "1: add rbx, rcx\n lea r8, [rip+3f]\n mov [rip+0x7ff00000], r8\n cmp r14d, 2\n"
                      "call [rip+0x7ff00000-10]\n dec r14d\n jnz 0b\n jmp r15\n"
                      "3: add rdx, 5\n add rcx, 7\n ret");
/* Flags live through guards. */
PROGRAM(carry, "mov r14d, 5\n"
               "0: lea r8, [rip+1f]\n lea r9, [rip+2f]\n test r14d, 1\n cmovnz r8, r9\n cmp r14d, 3\n call r8\n"
               "adc rax, 1\n mov [rdi+8], r8\n cmp r14d, 2\n call [rdi+8]\n adc rbx, 1\n lea r10, [rip+3f]\n push r10\n"
               "cmp r14d, 4\n ret\n"
               "3: adc rbx, rcx\n dec r14d\n jnz 0b\n jmp r15\n"
               "1: adc rcx, 3\n cmc\n ret\n 2: adc rdx, 5\n ret\n");

/* Jumps behind what sets flags and can be done again (optimizer/redo.h). One of two targets reads them: of whichever
 * round is recorded, some guards may overwrite them and then miss. */
#define TABLE(odd, even, last)                                                                               \
    "lea r8, [rip+" odd "f]\n lea r9, [rip+" even "f]\n test r14d, 1\n cmovz r8, r9\n" last "\n jmp r8\n"
#define READS_OR_NOT(reader, other, join)                                                                    \
    reader ": adc rax, 3\n seto bl\n jmp " join "f\n " other ": add rax, 5\n jmp " join "f\n"
PROGRAM(tables, "mov r14d, 6\n mov r10, 0x7fffffffffff1234\n"
                "0: " TABLE("21", "22", "sub r8, r10\n add r8, r10") READS_OR_NOT("21", "22", "23")
                "23: " TABLE("24", "25", "sub r8, r10\n add r8, r10") READS_OR_NOT("25", "24", "26")
                "26: " TABLE("27", "28", "add r8, 77\n sub r8, 77") READS_OR_NOT("27", "28", "29")
                "29: " TABLE("31", "32", "add r8, r10\n sub r8, r10") READS_OR_NOT("32", "31", "33")
                "33: " TABLE("34", "35", "cmp r10d, r8d") READS_OR_NOT("35", "34", "36")
                "36: " TABLE("37", "38", "sub r8, 300\n add r8, 300") READS_OR_NOT("37", "38", "39")
                "39: dec r14d\n jnz 0b\n jmp r15");

/* Slots: changed, stored, part of them loaded; now and then hit by a store through an index. */
PROGRAM(slots, "mov r14d, 7\n"
               "0: add dword ptr [rdi+64], 3\n mov eax, [rdi+64]\n mov rcx, [rdi+80]\n inc rcx\n mov [rdi+80], rcx\n"
               "mov ebx, r14d\n and ebx, 3\n mov [rdi+rbx*8+56], rax\n cmp r14d, 2\n je 3f\n"
               "2: sub byte ptr [rdi+96], 5\n movzx edx, byte ptr [rdi+96]\n dec r14d\n jnz 0b\n jmp r15\n"
               "3: add rax, [rdi+80]\n jmp 2b");
/* Slots' values that are extended at once. */
PROGRAM(takers, "mov r14d, 7\n xor ebx, ebx\n"
                "0: add dword ptr [rdi+64], 3\n mov eax, [rdi+64]\n movsxd r8, eax\n mov eax, [rdi+72]\n cdqe\n"
                "add rbx, rax\n add rbx, r8\n dec r14d\n jnz 0b\n jmp r15");
/* Indices computed from slots that do not change, by sign, by zeros and in 32 bits; used at a fault-free place and at exits. */
PROGRAM(indices, "mov r14d, 7\n mov dword ptr [rdi+72], -3\n mov qword ptr [rdi+80], 5\n xor ebx, ebx\n"
                 "0: add dword ptr [rdi+64], 3\n mov eax, [rdi+72]\n cdqe\n mov rdx, rax\n shl rax, 4\n sub rax, rdx\n shl rax, 3\n"
                 "add rbx, rax\n mov eax, [rdi+80]\n imul eax, eax, 1000\n lea eax, [rax+rax*4+7]\n movsxd rdx, eax\n lea rdx, [rdx*8-1]\n"
                 "xor rbx, rdx\n mov eax, [rdi+64]\n mov edx, 1\n add rbx, rax\n cmp r14d, 2\n je 3f\n"
                 "2: dec r14d\n jnz 0b\n jmp r15\n"
                 "3: add rax, [rdi+80]\n jmp 2b");
/* The same with pushes, and a guard that misses at last. */
PROGRAM(slot_calls, "mov r14d, 6\n"
                    "0: add qword ptr [rdi+64], 5\n lea r8, [rip+1f]\n lea r9, [rip+2f]\n cmp r14d, 3\n"
                    "cmovb r8, r9\n call r8\n add rax, [rdi+64]\n dec r14d\n jnz 0b\n jmp r15\n"
                    "1: add rax, 7\n push rax\n pop rdx\n ret\n 2: sub rax, 9\n ret");

/* Numbers in vector registers; those that are borrowed, xmm8 and up, hold something before and after. */
PROGRAM(numbers, "movups xmm8, [rdi+200]\n movups xmm9, [rdi+300]\n movups xmm10, [rdi+400]\n mov r14d, 7\n"
                 "mov eax, 3\n cvtsi2sd xmm0, eax\n movsd [rdi+64], xmm0\n movss xmm2, [rdi+64]\n movss [rdi+72], xmm2\n"
                 "0: movsd xmm1, [rdi+64]\n addsd xmm0, xmm1\n movsd [rdi+64], xmm0\n mulsd xmm0, [rdi+64]\n"
                 "movss xmm3, [rdi+72]\n addss xmm3, [rdi+72]\n movss [rdi+72], xmm3\n"
                 "mov ebx, r14d\n and ebx, 3\n mov [rdi+rbx*8+40], rax\n cmp r14d, 2\n je 3f\n"
                 "2: dec r14d\n jnz 0b\n movups [rdi+500], xmm8\n movups [rdi+520], xmm9\n movups [rdi+540], xmm10\n"
                 "movups [rdi+560], xmm0\n movups [rdi+580], xmm1\n movups [rdi+600], xmm3\n jmp r15\n"
                 "3: addsd xmm0, [rdi+64]\n jmp 2b");

static void test_exits_and_back_edges(void **state)
{
    (void)state;
    CHECK(sum, &live, 6);
}

static void test_counted_loops(void **state)
{
    (void)state;
    CHECK(loops, &live, 6);
}

static void test_inlined_calls(void **state)
{
    (void)state;
    CHECK(calls, &live, 6);
}

static void test_far_operands(void **state)
{
    (void)state;
    CHECK(operands, &live, 6);
    CHECK(far_branches, &live, 6);
    CHECK(far_branches, &flags_dead, 6);
    CHECK(far_branches, &r11_dead, 6);
    CHECK(far_branches, &cut, 6);
}

static void test_guards(void **state)
{
    (void)state;
    CHECK(guards, &live, 6);
    CHECK(guards, &flags_dead, 6);
    CHECK(guards, &r11_dead, 6);
    CHECK(guards, &only_r11_dead, 6);
    CHECK(guards, &rcx_dead, 6);
    CHECK(guards, &all_dead, 6);
}

static void test_guards_with_live_flags(void **state)
{
    (void)state;
    CHECK(carry, &live, 6);
    CHECK(carry, &only_r11_dead, 6);
}

static void test_flags_made_again(void **state)
{
    (void)state;
    CHECK(tables, &live, 16);
    CHECK(tables, &chained, 16);
    CHECK(tables, &chained_computed, 16);
}

/* With all passes: what they change may not be seen at any instruction. */
static void test_optimized(void **state)
{
    (void)state;
    CHECK(sum, &computed, 6);
    CHECK(loops, &computed, 6);
    CHECK(calls, &computed, 6);
    CHECK(operands, &computed, 6);
    CHECK(guards, &computed, 6);
    CHECK(carry, &computed, 6);
    CHECK(guards, &cut_computed, 6);
}

/* Borrowed registers come back at each instruction, of the loop, of what leads into it and of its stubs. */
static void test_promoted(void **state)
{
    (void)state;
    CHECK(slots, &promoted, 6);
    CHECK(numbers, &promoted, 54);
    CHECK(takers, &promoted, 8);
    CHECK(slot_calls, &promoted, 6);
    CHECK(indices, &invariant, 23);
    CHECK(slots, &computed, 6);
    CHECK(slot_calls, &computed, 6);
}

/* Guards with chains: each of their targets is reached. */
static void test_chains(void **state)
{
    (void)state;
    CHECK(guards, &chained, 6);
    CHECK(guards, &chained_dead, 6);
    CHECK(guards, &chained_r11, 6);
    CHECK(guards, &chained_rcx, 6);
    CHECK(guards, &chained_computed, 6);
    CHECK(far_branches, &chained, 6);
    CHECK(far_branches, &chained_dead, 6);
    CHECK(carry, &chained, 6);
    CHECK(carry, &chained_computed, 6);
}

static void test_lookups(void **state)
{
    (void)state;
    CHECK(carry, &cut, 6);
    CHECK(guards, &cut, 6);
    CHECK(guards, &cut_dead, 6);
}

static void test_blocks(void **state)
{
    (void)state;
    check_blocks(loops_start, loops_end);
    check_blocks(calls_start, calls_end);
    check_blocks(operands_start, operands_end);
    check_blocks(guards_start, guards_end);
    check_blocks(carry_start, carry_end);
    check_blocks(far_branches_start, far_branches_end);
}

/* --- random programs: pieces in any order, in a loop */

#define PIECE(name, text) PROGRAM(piece_##name, text)
PIECE(add, "add rax, rbx\n adc rbx, 7\n");
PIECE(store, "mov [rdi+64], rax\n add [rdi+72], rbx\n sbb rax, [rdi+64]\n");
PIECE(push, "push rax\n push rbx\n xchg rax, rbx\n pop rax\n add rsp, 8\n");
PIECE(leaf, "call 1f\n jmp 2f\n 1: lea rax, [rax+rax*2]\n ret\n 2:");
PIECE(nested, "call 1f\n jmp 3f\n 1: push rbx\n call 2f\n pop rcx\n ret 0\n 2: adc rcx, rax\n ret\n 3:");
PIECE(skip, "test al, 4\n jz 1f\n add rbx, 11\n 1: cmp rbx, rax\n jb 2f\n xor rcx, rax\n 2:");
PIECE(far, "mov rdx, [rip+0x7ff00000]\n lea rdx, [rdx+rax]\n mov [rip+0x7ff00000], rdx\n adc rcx, [rip+0x7ff00000]\n");
PIECE(count, "mov ecx, 3\n 1: adc rbx, rcx\n loop 1b\n jrcxz 2f\n inc rax\n 2:");
PIECE(call_reg, "lea r8, [rip+1f]\n lea r9, [rip+2f]\n test al, 1\n cmovz r8, r9\n cmp eax, ebx\n call r8\n adc rcx, 1\n"
                "jmp 3f\n 1: adc rax, 5\n ret\n 2: sbb rax, 9\n ret\n 3:");
PIECE(jmp_mem, "lea r8, [rip+1f]\n lea r9, [rip+2f]\n test bl, 1\n cmovz r8, r9\n mov rdx, 1\n mov [rdi+104], r8\n"
               "jmp [rdi+rdx*8+96]\n 1: adc rax, rdx\n 2: adc rcx, rax\n");
PIECE(ret_away, "lea rdx, [rip+1f]\n push 33\n push rdx\n cmp eax, 99\n ret 8\n 1: adc rax, 0\n");
PIECE(strings, "mov rsi, rdi\n push rdi\n lea rdi, [rdi+200]\n mov ecx, 5\n rep movsb\n pop rdi\n");
PIECE(red_zone, "mov [rsp-8], rax\n mov [rsp-120], rbx\n adc rcx, [rsp-8]\n");
/* In front, and behind: dec r14d; jnz rel32 to the first piece; jmp r15. */
PROGRAM(piece_begin, "mov r14d, 4\n");

#define PIECES 13
static uint32_t seed;
static uint32_t random_below(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

static size_t random_program(uint8_t *out)
{
    static const struct {
        const uint8_t *start, *end;
    } pieces[PIECES] = {{piece_add_start, piece_add_end},           {piece_store_start, piece_store_end},
                        {piece_push_start, piece_push_end},         {piece_leaf_start, piece_leaf_end},
                        {piece_nested_start, piece_nested_end},     {piece_skip_start, piece_skip_end},
                        {piece_far_start, piece_far_end},           {piece_count_start, piece_count_end},
                        {piece_call_reg_start, piece_call_reg_end}, {piece_jmp_mem_start, piece_jmp_mem_end},
                        {piece_ret_away_start, piece_ret_away_end}, {piece_strings_start, piece_strings_end},
                        {piece_red_zone_start, piece_red_zone_end}};
    size_t n = (size_t)(piece_begin_end - piece_begin_start), head = n;
    memcpy(out, piece_begin_start, n);
    for (unsigned i = 3 + random_below(8); i; i--) {
        unsigned k = random_below(PIECES);
        size_t len = (size_t)(pieces[k].end - pieces[k].start);
        memcpy(out + n, pieces[k].start, len);
        n += len;
    }
    int32_t back = (int32_t)(head - (n + 9));
    memcpy(out + n, "\x41\xff\xce\x0f\x85", 5); /* dec r14d; jnz */
    memcpy(out + n + 5, &back, 4);
    memcpy(out + n + 9, "\x41\xff\xe7", 3); /* jmp r15 */
    return n + 12;
}

static void test_random_programs(void **state)
{
    (void)state;
    static const unsigned heads[] = {6, 0};
    uint8_t program[2048];
    for (seed = 1; seed < 60; seed++) {
        uint32_t this = seed;
        size_t len = random_program(program);
        stubs_set_native_exits(this & 1);
        uint64_t at = this & 1 ? MACHINE_FAR : MACHINE_TEXT;
        check(at, program, program + len, heads, this % 3 ? &live : &cut);
        check(at, program, program + len, heads, this % 5 ? &computed : &cut_computed);
        if (!(this & 1))
            check_blocks(program, program + len);
        seed = this;
    }
}

/* --- low addresses: what fits 32 bits takes other forms */

static void test_low_text(void **state)
{
    (void)state;
    static const unsigned heads[] = {6, 0};
    static const struct step_kind *const kinds[] = {&live, &flags_dead, &r11_dead, &all_dead};
    stubs_set_native_exits(false);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        check(0x30000000, guards_start, guards_end, heads, kinds[i]);
    check(0x30000000, carry_start, carry_end, heads, &live);
    check(0x30000000, calls_start, calls_end, heads, &live);
}

/* --- what is neither a fragment nor a block */

static void test_hooks(void **state)
{
    (void)state;
    static const unsigned one_function[][2] = {{0, 64}, {0, 0}};
    static const struct site_ask ask = {TACTIC_BIT(TACTIC_LONG), true};
    struct hook h = {0};
    module_clear();
    module_code(0, "48 8d 44 37 05 c3"); /* lea rax, [rdi+rsi+5]; ret */
    module_load(one_function, 0);
    assert_ok(hook_place(&h, app_pc(module_text), &ask, cache_pc(module_text), true));
    assert_int_not_equal(h.gate.v, 0);
    const uint64_t at[3] = {h.gate.v, h.native.v, h.native.v + 5}, native[3] = {0, 0, 5};
    for (int i = 0; i < 3; i++) {
        struct cpu_state s = {.gpr = {1, 2, 3}, .pc = at[i]}, was = s;
        assert_true(fc_recover(&s, step_slots()));
        assert_int_equal(s.pc, module_text + native[i]);
        assert_memory_equal(s.gpr, was.gpr, sizeof s.gpr);
    }
    assert_ok(hook_clear(&h));
    hook_release(&h);
}

/* Code of the runtime's that lowers rsp and keeps a register there, with recipes of its own. */
static void test_added_code(void **state)
{
    (void)state;
    struct cache_pc at;
    struct recipe r[5];
    uint8_t buf[64];
    uint32_t offset[5] = {0};
    step_load(MACHINE_TEXT, sum_start, sum_end);
    struct fragment *f = step_emit(stepper.text + 6, &live);
    assert_ok(fc_add_code(app_pc(stepper.text), sizeof buf, &at));
    struct asm_buf a = asm_on(buf, sizeof buf, at);
    asm_lea(&a, R_RSP, R_RSP, -136);
    offset[1] = (uint32_t)a.len;
    asm_store(&a, R_RSP, 0, R_RCX);
    offset[2] = (uint32_t)a.len;
    asm_lea(&a, R_RCX, R_RCX, 1);
    asm_load(&a, R_RCX, R_RSP, 0);
    offset[3] = (uint32_t)a.len;
    asm_lea(&a, R_RSP, R_RSP, 136);
    offset[4] = (uint32_t)a.len;
    asm_jmp(&a, f->entry.v);
    for (int i = 0; i < 5; i++)
        r[i] = (struct recipe){f->tag.v, offset[i], R_NONE, R_NONE, i == 2 ? R_RCX : R_NONE, PC_KNOWN,
                               0, i && i < 4 ? 136 : 0};
    assert_ok(fc_add_recipes(at, sizeof buf, r, 5));
    assert_ok(code_stage(at, buf, a.len));
    assert_ok(code_commit());
    struct fragment *later = step_emit(stepper.text + 6, &live); /* code behind it */
    assert_true(later->start.v > at.v);
    stepper.stub = at.v;
    step_run(STEP_COMPARE, true, 0);
    assert_true(stepper.entered > 1 && stepper.in_cache > 10);
}

/* Each instruction of enter, on its way to the program's own code; flags that need the slow way and not. */
static void test_enter(void **state)
{
    (void)state;
    step_load(MACHINE_TEXT, sum_start, sum_end);
    const struct code_region *r = step_region();
    struct tls_slots kept = *step_slots();
    for (int i = 0; i < 2; i++) {
        stepper.enter_flags = 0x202 | (i ? FL_DF | FL_CF : FL_OF | FL_ZF);
        step_run(STEP_ENTER, false, r->enter.v);
        assert_true(stepper.in_cache > 20);
        stepper.in_cache = 0;
    }
    *step_slots() = kept;
}

static void test_unknown_code(void **state)
{
    (void)state;
    step_load(MACHINE_TEXT, sum_start, sum_end);
    const struct code_region *r = step_region();
    const uint64_t pcs[] = {0, stepper.text, r->leave.v, r->thread_start.v, r->fragments.start, r->end - 1,
                            (uint64_t)(uintptr_t)&stepper};
    for (size_t i = 0; i < ARRAY_LEN(pcs); i++) {
        struct cpu_state s = {.gpr = {1, 2, 3}, .pc = pcs[i]}, was = s;
        assert_false(fc_recover(&s, step_slots()));
        assert_memory_equal(&s, &was, sizeof s);
    }
}

int main(void)
{
    step_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hooks), /* before the others map programs where it has its module */
        cmocka_unit_test(test_exits_and_back_edges),
        cmocka_unit_test(test_counted_loops),
        cmocka_unit_test(test_inlined_calls),
        cmocka_unit_test(test_far_operands),
        cmocka_unit_test(test_guards),
        cmocka_unit_test(test_guards_with_live_flags),
        cmocka_unit_test(test_flags_made_again),
        cmocka_unit_test(test_optimized),
        cmocka_unit_test(test_promoted),
        cmocka_unit_test(test_lookups),
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_low_text),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_random_programs),
        cmocka_unit_test(test_added_code),
        cmocka_unit_test(test_enter),
        cmocka_unit_test(test_unknown_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
