/* The decoder's facts, instruction by instruction. The expected lines are written as unit_describe writes them:
 *   KIND LENGTH [cc:|op:] [to:DISTANCE] [imm:] [r:REGISTERS] [w:] [fr:FLAGS] [fw:] [[memory]r|w BYTES]
 *   [rip@MODRM,DISP] [sp EFFECT] [pushes] [stores] [rbp=rsp+N] [wbp] */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "tracer/decode.h"

#define PC 0x400000

struct row {
    const char *hex, *facts, *asm_text;
};

static void check(const struct row *rows, size_t n)
{
    int wrong = 0;
    for (size_t i = 0; i < n; i++) {
        struct insn in = unit_decode(rows[i].hex, PC);
        uint8_t bytes[32];
        unit_bytes(rows[i].hex, bytes, sizeof bytes);
        assert_memory_equal(in.bytes, bytes, in.len);
        if (strcmp(unit_describe(&in), rows[i].facts) != 0) {
            print_message("%-28s %s\n  is       %s\n  expected %s\n", rows[i].hex, rows[i].asm_text,
                          unit_describe(&in), rows[i].facts);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}
#define CHECK(rows) check((rows), ARRAY_LEN(rows))

static void test_branches(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"eb 10", "jmp 2 to:+18", "jmp +0x10"},
        {"e9 fb ff ff ff", "jmp 5 to:+0", "jmp to itself"},
        {"3e eb 10", "jmp 3 to:+19", "ds jmp"},
        {"74 fe", "jcc 2 cc:4 to:+0 fr:z", "je to itself"},
        {"7f 02", "jcc 2 cc:15 to:+4 fr:zso", "jg"},
        {"2e 75 00", "jcc 3 cc:5 to:+3 fr:z", "jne with a branch hint"},
        {"0f 82 00 01 00 00", "jcc 6 cc:2 to:+262 fr:c", "jb rel32"},
        {"f2 0f 8a fa ff ff ff", "jcc 7 cc:10 to:+1 fr:p", "bnd jp"},
        {"e0 05", "loop 2 op:0 to:+7 r:rcx w:rcx fr:z", "loopne"},
        {"e1 05", "loop 2 op:1 to:+7 r:rcx w:rcx fr:z", "loope"},
        {"e2 f0", "loop 2 op:2 to:-14 r:rcx w:rcx", "loop"},
        {"e3 7f", "loop 2 op:3 to:+129 r:rcx", "jrcxz"},
        {"67 e3 7f", "loop 3 op:4 to:+130 r:rcx", "jecxz"},
        {"67 e2 f0", "strange 3 r:rcx w:rcx", "loop on ecx"},
        {"e8 00 00 00 00", "call 5 to:+5 r:rsp w:rsp sp=? stores", "call next"},
        {"66 48 e8 01 00 00 00", "call 7 to:+8 r:rsp w:rsp sp=? stores", "data16 rex.W call"},
        {"f2 e8 01 00 00 00", "call 6 to:+7 r:rsp w:rsp sp=? stores", "bnd call"},
        {"c3", "ret 1 r:rsp w:rsp sp=?", "ret"},
        {"f3 c3", "ret 2 r:rsp w:rsp sp=?", "rep ret"},
        {"f2 c3", "ret 2 r:rsp w:rsp sp=?", "bnd ret"},
        {"c2 10 80", "ret 3 imm:32784 r:rsp w:rsp sp=?", "ret 0x8010"},
        {"ff e0", "jmp_ind 2 r:rax", "jmp rax"},
        {"41 ff e3", "jmp_ind 3 r:r11", "jmp r11"},
        {"3e ff e2", "jmp_ind 3 r:rdx", "notrack jmp rdx"},
        {"3e ff 24 c5 00 10 00 00", "jmp_ind 8 r:rax [+rax*8+4096]r8", "notrack jmp [rax*8+0x1000]"},
        {"f2 ff 25 04 00 00 00", "jmp_ind 7 to:+11 [rip+4]r8 rip@2,3", "bnd jmp [rip+4]"},
        {"ff 15 f8 ff ff ff", "call_ind 6 to:-2 r:rsp w:rsp [rip-8]r8 rip@1,2 sp=? stores", "call [rip-8]"},
        {"ff 54 24 08", "call_ind 4 r:rsp w:rsp [rsp+8]r8 sp=? stores", "call [rsp+8]"},
        {"41 ff d4", "call_ind 3 r:rsp,r12 w:rsp sp=? stores", "call r12"},
        {"65 ff 10", "call_ind 3 r:rax,rsp w:rsp [rax+0]r8 sp=? stores", "call gs:[rax]"},
        {"c7 f8 06 00 00 00", "xbegin 6 to:+12 r:rax w:rax", "xbegin"},
        {"0f 05", "syscall 2 w:rcx,r11 fw:cpazsdo", "syscall"},
    };
    CHECK(rows);
}

static void test_strange(void **state)
{
    (void)state;
    static const char *const hex[] = {
        "66 c3", /* ret with a 16-bit operand: AMD pops two bytes */
        "66 41 ff e0", "66 41 c3", /* a REX prefix without W changes nothing about that */
        "66 e9 00 00", "66 e8 00 00 00 00", "66 ff e0", "66 74 10",
        "67 ff e0", /* jmp with an address-size prefix */
        "67 ff 25 00 00 00 00", /* jmp [eip] */
        "67 48 8b 05 00 00 00 00", /* mov rax, [eip] */
        "cb", "ca 08 00", "48 cb", /* far returns */
        "ff 28", "48 ff 28", "ff 18", "48 ff 18", /* far jmp, call */
        "cf", "48 cf", /* iret */
        "cc", "cd 80", "f1", /* int3, int 0x80, int1 */
        "0f 34", "0f 35", "0f 07", "48 0f 07", /* sysenter, sysexit, sysret */
        "f4", "0f 0b", "0f b9 c0", "0f ff c0", /* hlt, ud2, ud1, ud0 */
        "f3 48 0f ae d0", "f3 0f ae d0", /* wrfsbase */
        "c6 f8 00", /* xabort */
        "8e e0", "0f a1", "0f b4 03", "48 0f b4 03", /* mov fs, pop fs, lfs: the thread's slots would be gone */
        "f3 0f 01 ec", /* uiret */
        "0f 22 c0", /* mov cr0, rax */
        "0f 30", "0f 01 f8", /* wrmsr, swapgs */
        "06", "27", "62", "c4", "0f 04", "48", "d6", "82 00 00", "f0 90", /* undecodable */
    };
    int wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(hex); i++) {
        struct insn in = unit_decode(hex[i], PC);
        if (in.kind != IK_STRANGE) {
            print_message("%s is %s\n", hex[i], unit_describe(&in));
            wrong++;
            continue;
        }
        assert_true(insn_ends_block(&in));
        assert_in_range(in.len, 1, INSN_MAX_BYTES);
    }
    assert_int_equal(wrong, 0);
}

static void test_plain(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"90", "plain 1", "nop"},
        {"f3 0f 1e fa", "plain 4", "endbr64"},
        {"0f 1f 05 00 00 00 00", "plain 7 to:+7 r:rax [rip+0]r4 rip@2,3", "nop [rip+0]"},
        {"48 89 c8", "plain 3 r:rcx w:rax", "mov rax, rcx"},
        {"88 e0", "plain 2 r:rax w:rax", "mov al, ah"},
        {"40 88 e0", "plain 3 r:rsp w:rax", "mov al, spl"},
        {"66 b8 01 00", "plain 4 w:rax", "mov ax, 1"},
        {"48 01 d8", "plain 3 r:rax,rbx w:rax fw:cpazso", "add rax, rbx"},
        {"48 11 d8", "plain 3 r:rax,rbx w:rax fr:c fw:cpazso", "adc rax, rbx"},
        {"48 ff c0", "plain 3 r:rax w:rax fw:pazso", "inc rax"},
        {"48 d3 e0", "plain 3 r:rax,rcx w:rax fw:cpazso", "shl rax, cl"},
        {"c4 e2 f1 f7 c0", "plain 5 r:rax,rcx w:rax", "shlx rax, rax, rcx"},
        {"48 f7 e3", "plain 3 r:rax,rbx w:rax,rdx fw:cpazso", "mul rbx"},
        {"48 99", "plain 2 r:rax w:rdx", "cqo"},
        {"0f 94 c1", "plain 3 w:rcx fr:z", "sete cl"},
        {"48 0f 4c c1", "plain 4 r:rax,rcx w:rax fr:so", "cmovl rax, rcx"},
        {"fc", "plain 1 fw:d", "cld"},
        {"f5", "plain 1 fr:c fw:c", "cmc"},
        {"9e", "plain 1 r:rax fw:cpazs", "sahf"},
        {"48 8d 44 8b 10", "plain 5 r:rcx,rbx w:rax [rbx+rcx*4+16]0", "lea rax, [rbx+rcx*4+16]"},
        {"8b 43 fc", "plain 3 r:rbx w:rax [rbx-4]r4", "mov eax, [rbx-4]"},
        {"64 48 8b 04 25 28 00 00 00", "plain 9 w:rax [+40]r8", "mov rax, fs:[0x28]"},
        {"48 89 14 24", "plain 4 r:rdx,rsp [rsp+0]w8 stores", "mov [rsp], rdx"},
        {"f0 0f b1 0b", "plain 4 r:rax,rcx,rbx w:rax fw:cpazso [rbx+0]rw4 stores", "lock cmpxchg [rbx], ecx"},
        {"66 42 c7 44 3d 00 01 00", "plain 8 r:rbp,r15 [rbp+r15*1+0]w2 stores", "mov word [rbp+r15], 1"},
        {"48 8b 05 00 10 00 00", "plain 7 to:+4103 w:rax [rip+4096]r8 rip@2,3", "mov rax, [rip+0x1000]"},
        {"80 3d f9 ff ff ff 07", "plain 7 to:+0 fw:cpazso [rip-7]r1 rip@1,2", "cmp byte [rip-7], 7"},
        {"c7 05 00 00 00 00 01 00 00 00", "plain 10 to:+10 [rip+0]w4 rip@1,2 stores", "mov dword [rip], 1"},
        {"48 8d 3d 10 00 00 00", "plain 7 to:+23 w:rdi [rip+16]0 rip@2,3", "lea rdi, [rip+16]"},
        {"67 8b 04 1e", "plain 4 r:rbx,rsi w:rax [rsi+rbx*1+0]r4", "mov eax, [esi+ebx]"},
        {"f3 a4", "plain 2 r:rcx,rsi,rdi w:rcx,rsi,rdi fr:d stores", "rep movsb"},
        {"0f a2", "plain 2 r:rax,rcx w:rax,rcx,rdx,rbx", "cpuid"},
        {"0f 31", "plain 2 w:rax,rdx", "rdtsc"},
    };
    CHECK(rows);
}

static void test_stack(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"50", "plain 1 r:rax,rsp w:rsp sp-8 pushes stores", "push rax"},
        {"41 57", "plain 2 r:rsp,r15 w:rsp sp-8 pushes stores", "push r15"},
        {"66 50", "plain 2 r:rax,rsp w:rsp sp-2 pushes stores", "push ax"},
        {"6a ff", "plain 2 r:rsp w:rsp sp-8 pushes stores", "push -1"},
        {"68 00 00 00 80", "plain 5 r:rsp w:rsp sp-8 pushes stores", "push imm32"},
        {"ff 35 00 00 00 00", "plain 6 to:+6 r:rsp w:rsp [rip+0]r8 rip@1,2 sp-8 pushes stores", "push [rip]"},
        {"ff 74 24 08", "plain 4 r:rsp w:rsp [rsp+8]r8 sp-8 pushes stores", "push [rsp+8]"},
        {"9c", "plain 1 r:rsp w:rsp fr:cpazsdo sp-8 pushes stores", "pushfq"},
        {"9d", "plain 1 r:rsp w:rsp fw:cpazsdo sp+8", "popfq"},
        {"58", "plain 1 r:rsp w:rax,rsp sp+8", "pop rax"},
        {"66 58", "plain 2 r:rsp w:rax,rsp sp+2", "pop ax"},
        {"5d", "plain 1 r:rsp w:rsp,rbp sp+8 wbp", "pop rbp"},
        {"5c", "plain 1 r:rsp w:rsp sp=?", "pop rsp"},
        {"8f 04 24", "plain 3 r:rsp w:rsp [rsp+0]w8 sp+8 stores", "pop [rsp]"},
        {"48 83 ec 18", "plain 4 r:rsp w:rsp fw:cpazso sp-24", "sub rsp, 24"},
        {"48 81 c4 00 01 00 00", "plain 7 r:rsp w:rsp fw:cpazso sp+256", "add rsp, 256"},
        {"48 29 c4", "plain 3 r:rax,rsp w:rsp fw:cpazso sp=?", "sub rsp, rax"},
        {"48 83 e4 f0", "plain 4 r:rsp w:rsp fw:cpazso sp=?", "and rsp, -16"},
        {"83 c4 08", "plain 3 r:rsp w:rsp fw:cpazso sp=?", "add esp, 8"},
        {"48 8d 64 24 f8", "plain 5 r:rsp w:rsp [rsp-8]0 sp-8", "lea rsp, [rsp-8]"},
        {"48 8d 65 d8", "plain 4 r:rbp w:rsp [rbp-40]0 sp=rbp-40", "lea rsp, [rbp-40]"},
        {"48 8d 24 04", "plain 4 r:rax,rsp w:rsp [rsp+rax*1+0]0 sp=?", "lea rsp, [rsp+rax]"},
        {"48 89 ec", "plain 3 r:rbp w:rsp sp=rbp+0", "mov rsp, rbp"},
        {"48 89 c4", "plain 3 r:rax w:rsp sp=?", "mov rsp, rax"},
        {"48 89 e5", "plain 3 r:rsp w:rbp rbp=rsp+0", "mov rbp, rsp"},
        {"48 8d 6c 24 10", "plain 5 r:rsp w:rbp [rsp+16]0 rbp=rsp+16", "lea rbp, [rsp+16]"},
        {"89 e5", "plain 2 r:rsp w:rbp wbp", "mov ebp, esp"},
        {"48 87 ec", "plain 3 r:rsp,rbp w:rsp,rbp sp=? wbp", "xchg rsp, rbp"},
        {"c9", "plain 1 r:rsp,rbp w:rsp,rbp sp=rbp+8 wbp", "leave"},
    };
    CHECK(rows);
}

static void test_vectors(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"66 0f 6f 05 00 01 00 00", "plain 8 to:+264 [rip+256]r16 rip@3,4", "movdqa xmm0, [rip+0x100]"},
        {"c5 f9 6f 05 00 01 00 00", "plain 8 to:+264 [rip+256]r16 rip@3,4", "vmovdqa xmm0, [rip+0x100]"},
        {"c4 e3 7d 39 05 08 00 00 00 01", "plain 10 to:+18 [rip+8]w16 rip@4,5 stores",
         "vextracti128 [rip+8], ymm0, 1"},
        {"c5 fe 7f 44 24 e0", "plain 6 r:rsp [rsp-32]w32 stores", "vmovdqu [rsp-32], ymm0"},
        {"62 f1 fe 48 6f 05 00 01 00 00", "plain 10 to:+266 [rip+256]r64 rip@5,6", "vmovdqu64 zmm0, [rip+0x100]"},
        {"62 f1 fe 48 7f 44 24 01", "plain 8 r:rsp [rsp+64]w64 stores", "vmovdqu64 [rsp+64], zmm0 (disp8*64)"},
        {"c4 e2 75 92 04 98", "plain 6 r:rax [rax+0]r0", "vgatherdps ymm0, [rax+ymm3*4], ymm1: no fixed width"},
        {"66 48 0f 7e c0", "plain 5 w:rax", "movq rax, xmm0"},
        {"c5 f8 77", "plain 3", "vzeroupper"},
        {"0f 2e c1", "plain 3 fw:cpazso", "ucomiss xmm0, xmm1"},
        {"d9 7c 24 fe", "plain 4 r:rsp [rsp-2]w2 stores", "fnstcw [rsp-2]"},
    };
    CHECK(rows);
}

/* What the optimizer needs beyond that: how registers and flags are written, what is computed from what.
 *   ACT [DST<-SRC, each a register number and width, `m` or `i`] [data:] [full:] [zx:] [kill:] [fs|gs] [narrow] [implied]
 *   [fence] */
static const char *describe_operand(const struct operand *o)
{
    static char text[4][16];
    static unsigned next;
    char *to = text[next++ % 4];
    if (o->kind == OPERAND_GPR)
        snprintf(to, 16, "%s%u.%u", o->high ? "h" : "", o->reg, o->bytes);
    else
        snprintf(to, 16, "%s%u", o->kind == OPERAND_MEM ? "m" : o->kind == OPERAND_IMM ? "i" : "-", o->bytes);
    return to;
}

static const char *describe_use(const struct insn *in)
{
    static const char *const acts[] = {"other", "nop", "mov", "movzx", "movsx", "lea",  "add", "sub", "and",
                                       "or",    "xor", "cmp", "test",  "inc",   "dec", "push", "pop", "xchg"};
    static char text[128];
    int n = snprintf(text, sizeof text, "%s %s<-%s", acts[in->act], describe_operand(&in->dst), describe_operand(&in->src));
    if (in->act == ACT_OTHER || in->act == ACT_NOP)
        n = snprintf(text, sizeof text, "%s", acts[in->act]);
    n += snprintf(text + n, sizeof text - (size_t)n, " data:%x full:%x zx:%x kill:%x", in->gpr_data, in->gpr_full,
                  in->gpr_zx, in->flags_killed);
    snprintf(text + n, sizeof text - (size_t)n, "%s%s%s%s", in->seg == SEG_FS ? " fs" : in->seg == SEG_GS ? " gs" : "",
             in->mem_narrow ? " narrow" : "", in->mem_implied ? " implied" : "", in->fence ? " fence" : "");
    return text;
}

static void test_use(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"48 89 c8", "mov 0.8<-1.8 data:2 full:1 zx:0 kill:0", "mov rax, rcx"},
        {"89 c8", "mov 0.4<-1.4 data:2 full:1 zx:1 kill:0", "mov eax, ecx"},
        {"88 e0", "mov 0.1<-h0.1 data:1 full:0 zx:0 kill:0", "mov al, ah"},
        {"66 b8 01 00", "mov 0.2<-i2 data:0 full:0 zx:0 kill:0", "mov ax, 1"},
        {"8b 44 24 08", "mov 0.4<-m4 data:0 full:1 zx:1 kill:0", "mov eax, [rsp+8]"},
        {"48 8b 00", "mov 0.8<-m8 data:0 full:1 zx:0 kill:0", "mov rax, [rax]"},
        {"48 89 00", "mov m8<-0.8 data:1 full:0 zx:0 kill:0", "mov [rax], rax"},
        {"64 8b 00", "mov 0.4<-m4 data:0 full:1 zx:1 kill:0 fs", "mov eax, fs:[rax]"},
        {"67 65 8b 00", "mov 0.4<-m4 data:0 full:1 zx:1 kill:0 gs narrow", "mov eax, gs:[eax]"},
        {"8c d8", "other data:0 full:1 zx:1 kill:0", "mov eax, ds"},
        {"0f b6 c1", "movzx 0.4<-1.1 data:2 full:1 zx:1 kill:0", "movzx eax, cl"},
        {"48 98", "movsx 0.8<-0.4 data:1 full:1 zx:0 kill:0", "cdqe"},
        {"48 8d 04 8b", "lea 0.8<-m8 data:0 full:1 zx:0 kill:0", "lea rax, [rbx+rcx*4]"},
        {"48 01 d8", "add 0.8<-3.8 data:9 full:1 zx:0 kill:8d5", "add rax, rbx"},
        {"21 d8", "and 0.4<-3.4 data:9 full:1 zx:1 kill:8d5", "and eax, ebx: AF is cleared everywhere"},
        {"ff c0", "inc 0.4<--0 data:1 full:1 zx:1 kill:8d4", "inc eax: CF stays"},
        {"d3 e0", "other data:3 full:1 zx:1 kill:0", "shl eax, cl: the count may be 0"},
        {"c1 e0 20", "other data:1 full:1 zx:1 kill:0", "shl eax, 32: it is 0"},
        {"c1 e0 03", "other data:1 full:1 zx:1 kill:c5", "shl eax, 3: AF and OF undefined"},
        {"0f a4 c1 03", "other data:3 full:0 zx:0 kill:c5", "shld ecx, eax, 3"},
        {"0f 44 c1", "other data:3 full:0 zx:0 kill:0", "cmove eax, ecx"},
        {"0f bc c1", "other data:3 full:0 zx:0 kill:40", "bsf eax, ecx: of 0 keeps eax"},
        {"f3 0f bc c1", "other data:3 full:0 zx:0 kill:40", "tzcnt: bsf to an older CPU"},
        {"f3 48 0f 1e c8", "other data:1 full:0 zx:0 kill:0", "rdsspq rax: nothing without shadow stacks"},
        {"f3 a6", "other data:c2 full:0 zx:0 kill:0 implied", "repe cmpsb"},
        {"0f b1 0b", "other data:3 full:0 zx:0 kill:8d5", "cmpxchg [rbx], ecx"},
        {"f0 01 03", "add m4<-0.4 data:1 full:0 zx:0 kill:8d5 fence", "lock add [rbx], eax"},
        {"87 03", "xchg m4<-0.4 data:1 full:1 zx:1 kill:0 fence", "xchg [rbx], eax"},
        {"87 d8", "xchg 0.4<-3.4 data:9 full:9 zx:9 kill:0", "xchg eax, ebx"},
        {"0f ae f0", "other data:0 full:0 zx:0 kill:0 fence", "mfence"},
        {"f3 90", "other data:0 full:0 zx:0 kill:0 fence", "pause"},
        {"f3 0f 1e fa", "nop data:0 full:0 zx:0 kill:0", "endbr64"},
        {"53", "push -0<-3.8 data:18 full:10 zx:0 kill:0 implied", "push rbx"},
        {"5b", "pop 3.8<--0 data:10 full:18 zx:0 kill:0 implied", "pop rbx"},
    };
    int wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct insn in = unit_decode(rows[i].hex, PC);
        if (strcmp(describe_use(&in), rows[i].facts) != 0) {
            print_message("%-20s %s\n  is       %s\n  expected %s\n", rows[i].hex, rows[i].asm_text, describe_use(&in),
                          rows[i].facts);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

/* Every condition code, short and near. */
static void test_condition_codes(void **state)
{
    (void)state;
    for (unsigned cc = 0; cc < 16; cc++) {
        char hex[32];
        snprintf(hex, sizeof hex, "%02x 00", 0x70 + cc);
        struct insn in = unit_decode(hex, PC);
        assert_int_equal(in.kind, IK_JCC);
        assert_int_equal(in.cc, cc);
        snprintf(hex, sizeof hex, "0f %02x 00 00 00 00", 0x80 + cc);
        in = unit_decode(hex, PC);
        assert_int_equal(in.kind, IK_JCC);
        assert_int_equal(in.cc, cc);
        assert_int_equal(in.len, 6);
    }
}

static void test_all_prefixes_of_an_instruction_are_strange(void **state)
{
    (void)state;
    static const char whole[] = "64 48 8b 04 25 28 00 00 00";
    for (size_t n = 1; n < 9; n++) {
        char hex[sizeof whole];
        memcpy(hex, whole, sizeof hex);
        hex[n * 3 - 1] = 0;
        struct insn in = unit_decode(hex, PC);
        assert_int_equal(in.kind, IK_STRANGE);
        assert_int_equal(in.len, 1);
        assert_int_equal(in.bytes[0], 0x64);
    }
    struct insn none = unit_decode_bytes((const uint8_t *)"", 0, PC);
    assert_int_equal(none.kind, IK_STRANGE);
}

struct run {
    struct app_pc pc;
    uint64_t end;
    struct insn out[8];
    int max, n;
    bool full;
};

static void run_gated(void *arg)
{
    struct run *r = arg;
    r->n = decode_run(r->pc, r->end, r->out, r->max, r->full);
}

static uint8_t *page_before_hole(void)
{
    uint8_t *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    assert_int_equal(mprotect(p + 4096, 4096, PROT_NONE), 0);
    return p;
}

/* At the end of a mapping nothing beyond it is read. */
static void test_run_stops_at_the_end(void **state)
{
    (void)state;
    uint8_t *page = page_before_hole();
    static const uint8_t code[] = {0x90, 0x48, 0x89, 0xc8, 0xe9, 0, 0}; /* nop; mov; half a jmp */
    uint8_t *at = page + 4096 - sizeof code;
    memcpy(at, code, sizeof code);
    uint64_t pc = (uint64_t)(uintptr_t)at;
    struct run r = {.pc = app_pc(pc), .end = pc + sizeof code, .max = 8, .full = true};
    assert_ok(decode_gate(run_gated, &r));
    assert_int_equal(r.n, 3);
    assert_int_equal(r.out[1].pc.v, pc + 1);
    assert_int_equal(r.out[2].kind, IK_STRANGE);
    assert_int_equal(r.out[2].len, 1);

    r.end = pc + 4; /* exactly after the second instruction */
    assert_ok(decode_gate(run_gated, &r));
    assert_int_equal(r.n, 2);
    munmap(page, 8192);
}

static void test_run_stops_after_a_branch_and_at_the_limit(void **state)
{
    (void)state;
    static const uint8_t code[] = {0x90, 0x90, 0xc3, 0x90, 0x90, 0x90, 0x90};
    uint64_t pc = (uint64_t)(uintptr_t)code;
    struct run r = {.pc = app_pc(pc), .end = pc + sizeof code, .max = 8, .full = true};
    assert_ok(decode_gate(run_gated, &r));
    assert_int_equal(r.n, 3);
    assert_int_equal(r.out[2].kind, IK_RET);
    r.max = 2;
    assert_ok(decode_gate(run_gated, &r));
    assert_int_equal(r.n, 2);
}

/* The short form agrees with the full one in everything that copying uses. */
static void test_outline_agrees_with_full(void **state)
{
    (void)state;
    static const char *const hex[] = {"48 8b 05 00 10 00 00", "0f 84 00 00 00 00", "e2 10", "c2 08 00",
                                      "ff 25 00 00 00 00",    "41 ff e3",          "0f 05", "48 01 d8"};
    for (size_t i = 0; i < ARRAY_LEN(hex); i++) {
        uint8_t code[32];
        size_t len = unit_bytes(hex[i], code, sizeof code);
        uint64_t pc = (uint64_t)(uintptr_t)code;
        struct run full = {.pc = app_pc(pc), .end = pc + len, .max = 1, .full = true}, outline = full;
        outline.full = false;
        assert_ok(decode_gate(run_gated, &full));
        assert_ok(decode_gate(run_gated, &outline));
        const struct insn *a = &full.out[0], *b = &outline.out[0];
        assert_int_equal(a->len, b->len);
        assert_memory_equal(a->bytes, b->bytes, a->len);
        assert_int_equal(a->kind, b->kind);
        assert_int_equal(a->cc, b->cc);
        assert_int_equal(a->loop_op, b->loop_op);
        assert_int_equal(a->imm, b->imm);
        assert_int_equal(a->target, b->target);
        assert_int_equal(a->rip_relative, b->rip_relative);
        assert_int_equal(a->modrm_at, b->modrm_at);
        assert_int_equal(a->disp_at, b->disp_at);
        if (a->rip_relative) {
            assert_int_equal(a->gpr_read, b->gpr_read);
            assert_int_equal(a->gpr_written, b->gpr_written);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_branches),
        cmocka_unit_test(test_strange),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_stack),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_use),
        cmocka_unit_test(test_condition_codes),
        cmocka_unit_test(test_all_prefixes_of_an_instruction_are_strange),
        cmocka_unit_test(test_run_stops_at_the_end),
        cmocka_unit_test(test_run_stops_after_a_branch_and_at_the_limit),
        cmocka_unit_test(test_outline_agrees_with_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
