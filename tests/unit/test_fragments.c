/* Lowering and the fragment cache, by execution: tiny programs run natively, block by block and from fragments; registers,
 * flags, data and the whole stack must be the same. Then what the cache promises (FC-1 to FC-3). */
#include "tests/unit/unit.h"

#include <sys/mman.h>

#include "tests/unit/machine.h"
#include "tracer/stubs.h"

static int setup(void **state)
{
    (void)state;
    machine_reset(1 << 20, true);
    return 0;
}

static int setup_unlinked(void **state)
{
    (void)state;
    machine_reset(1 << 20, false);
    return 0;
}

/* --- programs */

/* A loop that ends in a backward condition; an exit in its middle taken once. */
PROGRAM(sum, "mov ecx, 300\n xor eax, eax\n"
             "1: add rax, rcx\n cmp ecx, 77\n je 3f\n"
             "2: dec ecx\n jnz 1b\n jmp r15\n"
             "3: add rax, 1000\n jmp 2b");

/* A loop closed by falling into its head, with a condition inverted on the way. */
PROGRAM(fall_in, "mov ecx, 200\n jmp 2f\n"
                 "1: add rax, 3\n dec ecx\n jz 9f\n"
                 "2: add rbx, rcx\n test cl, 1\n jnz 3f\n add rbx, 5\n"
                 "3: cmp ecx, 1000\n jb 1b\n ud2\n"
                 "9: jmp r15");

/* loop, loope, loopne, jrcxz, jecxz, each both ways. */
PROGRAM(loops, "mov r8d, 20\n"
               "0: mov rcx, 5\n 1: inc rax\n loop 1b\n"
               "mov rcx, 6\n 2: inc rbx\n cmp rcx, 3\n loopne 2b\n"
               "mov rcx, 7\n 3: add rdx, 2\n cmp r8, r8\n loope 3b\n"
               "jrcxz 4f\n ud2\n"
               "4: mov rcx, 0x100000000\n jrcxz 5f\n jmp 6f\n 5: ud2\n"
               "6: jecxz 7f\n ud2\n"
               "7: mov ecx, r8d\n and ecx, 1\n jrcxz 8f\n add rax, 7\n"
               "8: dec r8d\n jnz 0b\n jmp r15");

/* Calls and returns: leaf, nested, with frame pointer, ret imm16, tail call. */
PROGRAM(calls, "mov ecx, 100\n"
               "0: call leaf\n push rcx\n call nested\n pop rcx\n push 11\n call argument\n call framed\n call tail\n"
               "dec ecx\n jnz 0b\n jmp r15\n"
               "leaf: add rax, rcx\n ret\n"
               "nested: push rbx\n call leaf\n call leaf\n pop rbx\n ret\n"
               "argument: add rax, [rsp+8]\n ret 8\n"
               "framed: push rbp\n mov rbp, rsp\n sub rsp, 48\n mov [rbp-8], rax\n and rsp, -32\n call leaf\n leave\n ret\n"
               "tail: jmp leaf");

/* The return address is changed through rsp every eighth time. */
PROGRAM(hijack, "mov ecx, 80\n"
                "0: call callee\n 1: inc rbx\n jmp 3f\n 2: inc rdx\n 3: dec ecx\n jnz 0b\n jmp r15\n"
                "callee: test ecx, 7\n jnz 5f\n lea rax, [rip+2b]\n mov [rsp], rax\n 5: ret");

/* An indirect call whose target changes: guard hit, miss to another fragment, miss to nowhere. */
PROGRAM(indirect, "mov ecx, 120\n"
                  "0: lea r8, [rip+one]\n test ecx, 3\n jnz 1f\n lea r8, [rip+two]\n"
                  "1: cmp ecx, 50\n jne 2f\n lea r8, [rip+three]\n"
                  "2: stc\n call r8\n adc rbx, 0\n dec ecx\n jnz 0b\n jmp r15\n"
                  "one: add rax, 1\n stc\n ret\n"
                  "two: add rax, 100\n clc\n ret\n"
                  "three: add rax, 10000\n stc\n ret");

/* Operands of indirect branches that use rcx, rdx and rsp, which the guard borrows; flags live across it. */
PROGRAM(operands, "lea rax, [rip+t1]\n mov [rdi], rax\n lea rax, [rip+t2]\n mov [rdi+8], rax\n"
                  "lea rax, [rip+t3]\n mov [rdi+16], rax\n mov r8d, 60\n"
                  "0: mov rcx, rdi\n xor edx, edx\n cmp r8d, 30\n jmp [rcx+rdx*8]\n"
                  "t1: setb r9b\n add r10, r9\n mov rdx, rdi\n mov ecx, 1\n stc\n call [rdx+rcx*8]\n"
                  "adc r11, 0\n push [rdi+16]\n std\n call [rsp]\n cld\n pop r12\n dec r8d\n jnz 0b\n jmp r15\n"
                  "t2: adc rbx, rcx\n cmc\n ret\n"
                  "t3: adc rbx, rdx\n ret");

/* A switch through a table of 16-bit-equal and unequal targets, restless. */
PROGRAM(restless, "mov ecx, 400\n lea r9, [rip+a0]\n mov r10d, 12345\n"
                  "0: imul r10d, r10d, 1103515245\n add r10d, 12345\n mov r8d, r10d\n shr r8d, 20\n and r8d, 7\n shl r8d, 4\n"
                  "add r8, r9\n jmp r8\n"
                  ".balign 16\n a0: add rax, 1\n jmp 8f\n"
                  ".balign 16\n add rax, 20\n jmp 8f\n"
                  ".balign 16\n add rax, 300\n jmp 8f\n"
                  ".balign 16\n xor rax, rcx\n jmp 8f\n"
                  ".balign 16\n add rbx, rax\n jmp 8f\n"
                  ".balign 16\n sub rbx, 7\n jmp 8f\n"
                  ".balign 16\n not rbx\n jmp 8f\n"
                  ".balign 16\n rol rax, 3\n"
                  "8: dec ecx\n jnz 0b\n jmp r15");

/* Memory near and far: [rip+d] is out of the region's reach when `far_data` lies right of the text. */
PROGRAM(far_operand, "mov ecx, 50\n"
                     "0: mov rax, [rip+0x7ff00000]\n add rax, 3\n mov [rip+0x7ff00000], rax\n"
                     "lea rbx, [rip+0x7ff00000]\n add dword ptr [rip+0x7ff00000], 0x12345\n cmp eax, [rip+0x7ff00000]\n"
                     "adc rdx, [rip+0x7ff00000]\n movdqu xmm0, [rip+0x7ff00000]\n movq r8, xmm0\n add r9, r8\n"
                     "push [rip+0x7ff00000]\n pop r10\n dec ecx\n jnz 0b\n jmp r15");

/* Vectors, x87, string instructions, red zone. Within one block: the hosted C code between two blocks is not compiled to
 * leave vector registers alone. */
PROGRAM(state, "mov ecx, 64\n mov r12, rdi\n"
               "0: movd xmm0, ecx\n movdqu xmm1, [r12]\n paddq xmm1, xmm0\n movdqu [r12], xmm1\n"
               "fild qword ptr [r12+16]\n fld1\n faddp\n fistp qword ptr [r12+16]\n"
               "mov [rsp-8], rcx\n mov [rsp-128], rcx\n add rax, [rsp-8]\n"
               "lea rdi, [r12+rcx+64]\n mov rdx, rcx\n mov rsi, r12\n mov ecx, 3\n rep movsb\n mov rcx, rdx\n"
               "dec ecx\n jnz 0b\n jmp r15");

/* Functions with equal low 16 bits of their address share a slot of the lookup table. */
PROGRAM(sharing, "mov ecx, 40\n"
                 "0: lea r8, [rip+s1]\n call r8\n add r8, 0x10000\n call r8\n dec ecx\n jnz 0b\n jmp r15\n"
                 ".balign 256\n s1: push rbx\n mov ebx, 4\n 1: add rax, rbx\n dec ebx\n jnz 1b\n pop rbx\n ret\n"
                 ".skip 0x10000 - (. - s1)\n push rbx\n mov ebx, 4\n 1: sub rax, 5\n dec ebx\n jnz 1b\n pop rbx\n ret");

#define COMPARE(name)                                                                                        \
    static void test_run_##name(void **state)                                                                \
    {                                                                                                        \
        (void)state;                                                                                         \
        machine_compare(LOAD(MACHINE_TEXT, name));                                                           \
        assert_true(fc_stats_get().emitted > 0 && machine.fragment_runs > 0);                                \
    }
COMPARE(sum)
COMPARE(fall_in)
COMPARE(loops)
COMPARE(calls)
COMPARE(hijack)
COMPARE(indirect)
COMPARE(operands)
COMPARE(restless)
COMPARE(state)
COMPARE(sharing)

static void test_run_far_operand(void **state)
{
    (void)state;
    uint64_t pc = LOAD(MACHINE_TEXT, far_operand), data = pc + 0x7ff00000;
    void *p = mmap((void *)(uintptr_t)data, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    assert_ptr_equal((uint8_t *)p, (uint8_t *)(uintptr_t)data);
    struct code_region *r;
    assert_ok(stubs_region(app_pc(pc), &r));
    assert_false(code_reaches(r->end, data));
    uint8_t after[4][8192];
    for (int way = 0; way < 4; way++) { /* this data starts anew for each */
        memset(p, 0x11, 8192);
        if (way == 0)
            machine_native(pc);
        else if (way == 1)
            machine_blocks(pc);
        else
            machine_fragments(pc, 1);
        memcpy(after[way], p, 8192);
        assert_memory_equal(after[way], after[0], 8192);
        static struct machine_state native;
        if (way == 0)
            native = machine.now;
        for (unsigned i = 0; i < 15; i++)
            assert_int_equal(machine.now.ctx.gpr[i], native.ctx.gpr[i]);
    }
    assert_true(machine.fragment_runs > 0);
    munmap(p, 8192);
}

/* Every flag combination lives through a guard that hits and one that misses. */
PROGRAM(flags, "push rsi\n popfq\n mov ecx, 4\n"
               "0: lea r8, [rip+f1]\n jrcxz 1f\n 1: call r8\n lea r8, [rip+f2]\n call r8\n"
               "lea rcx, [rcx-1]\n jrcxz 9f\n jmp 0b\n 9: jmp r15\n"
               "f1: ret\n f2: lea rax, [rax+1]\n ret");

static void test_flags_live_through_guards(void **state)
{
    (void)state;
    uint64_t pc = LOAD(MACHINE_TEXT, flags);
    static const unsigned bits[] = {FL_CF, FL_PF, FL_AF, FL_ZF, FL_SF, FL_OF};
    for (unsigned combination = 0; combination < 64; combination += combination < 8 ? 1 : 5) {
        machine.rsi = 0x202;
        for (unsigned i = 0; i < 6; i++)
            if (combination & 1u << i)
                machine.rsi |= bits[i];
        machine_compare(pc);
        assert_int_equal(machine.now.ctx.rflags & FL_STATUS, machine.rsi & FL_STATUS);
    }
}

/* --- how often control comes back */

static void test_loop_stays_inside(void **state)
{
    (void)state;
    uint64_t pc = LOAD(MACHINE_TEXT, sum);
    machine_fragments(pc, 1);
    machine_fragments(pc, 1);
    assert_true(machine.fragment_runs + machine.block_runs <= 4); /* 300 iterations, an exit, all linked */
}

static void test_without_links_each_exit_comes_back(void **state)
{
    (void)state;
    uint64_t pc = LOAD(MACHINE_TEXT, fall_in);
    machine_compare(pc);
    assert_int_equal(fc_stats_get().links, 0);
    assert_true(machine.fragment_runs > 50); /* the condition goes the other way every second time */
}

static void test_lookup_finds_other_fragments(void **state)
{
    (void)state;
    uint64_t pc = LOAD(MACHINE_TEXT, restless);
    machine_fragments(pc, 1);
    machine_fragments(pc, 1);
    assert_true(machine.fragment_runs <= 4); /* 400 indirect jumps */
    assert_true(machine.lookup_misses <= 2); /* the last is the end */
}

static void test_lookup_miss_leaves_with_the_target(void **state)
{
    (void)state;
    uint64_t pc = LOAD(MACHINE_TEXT, restless);
    machine_emit(pc, pc); /* up to the first jmp r8, or on with a guard */
    machine_fragments(pc, 1000000);
    assert_true(machine.block_runs > 100); /* no other fragment: everything else is blocks */
}

static void test_shared_lookup_slot_alternates(void **state)
{
    (void)state;
    uint64_t pc = LOAD(MACHINE_TEXT, sharing);
    machine_compare(pc);
}

/* --- links across regions */

/* far_caller runs at MACHINE_FAR and jumps to the near text and back, absolute. */
PROGRAM(far_jump, "mov ecx, 30\n movabs r8, 0x200000000000\n lea r9, [rip+1f]\n"
                  "0: add rbx, rcx\n jmp r8\n"
                  "1: dec ecx\n jnz 0b\n jmp r15");
PROGRAM(far_callee, "add rax, rcx\n jmp r9");

static void test_fragments_of_two_regions_reach_each_other(void **state)
{
    (void)state;
    LOAD(MACHINE_TEXT, far_callee);
    machine_compare(LOAD(MACHINE_FAR, far_jump));
    assert_true(fc_stats_get().emitted > 0);
}

/* Direct links that no rel32 reaches go through the stub: jmp [rip]. The two texts do reach each other; their regions do
 * not, because everything below the second text is taken and its region must lie above. */
#define STRETCH 0x78000000ULL
PROGRAM(stretch_low, "77: mov ecx, 60\n 1: add rax, rcx\n test ecx, 1\n jnz 77b + 0x78000000\n"
                     "2: dec ecx\n jnz 1b\n jmp r15");
PROGRAM(stretch_high, "78: add rbx, rcx\n cmp ecx, 7\n je 3f\n jmp 78b - 0x78000000 + 20\n" /* to its dec ecx */
                      "3: add rbx, 1\n jmp 78b - 0x78000000 + 20");

static void reserve(uint64_t start, uint64_t end)
{
    void *p = mmap((void *)(uintptr_t)start, end - start, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    assert_ptr_equal((uint8_t *)p, (uint8_t *)(uintptr_t)start);
}

static void test_links_far(void **state)
{
    (void)state;
    uint64_t low = LOAD(MACHINE_TEXT, stretch_low), high = MACHINE_TEXT + STRETCH;
    struct code_region *a, *b;
    assert_ok(stubs_region(app_pc(low), &a));
    reserve(low - 0x7000000, low);
    reserve(low + 0x1000, high);
    LOAD(high, stretch_high);
    assert_ok(stubs_region(app_pc(high), &b));
    assert_false(code_reaches(a->end, b->start));
    machine_compare(low);
    int far = 0;
    for (struct fragment *f = fc_newest(); f; f = f->next)
        for (int i = 0; i < f->exit_count; i++) {
            struct frag_exit *e = fc_exit(f->first_exit + (uint32_t)i);
            if (!e->linked || code_reaches(e->branch.v, e->linked->entry.v))
                continue;
            uint64_t to;
            memcpy(&to, (const void *)(uintptr_t)(e->stub.v + 6), 8);
            assert_int_equal(to, e->linked->entry.v);
            far++;
        }
    assert_true(far > 0);
    assert_true(machine.fragment_runs + machine.block_runs < 10); /* linked: it does not come back each time */
    munmap((void *)(uintptr_t)(low - 0x7000000), 0x7000000);
    munmap((void *)(uintptr_t)(low + 0x1000), STRETCH);
}

static void test_links_near(void **state)
{
    (void)state;
    uint64_t pc = LOAD(MACHINE_TEXT, sum);
    machine_fragments(pc, 1);
    assert_true(fc_stats_get().links > 0);
    bool seen = false;
    for (struct fragment *f = fc_newest(); f; f = f->next)
        for (int i = 0; i < f->exit_count; i++) {
            struct frag_exit *e = fc_exit(f->first_exit + (uint32_t)i);
            assert_non_null(e);
            assert_ptr_equal(e->owner, f);
            if (!e->linked)
                continue;
            seen = true;
            assert_true(e->linked->live); /* FC-3 */
            int32_t d;
            memcpy(&d, (const void *)(uintptr_t)e->branch.v, 4);
            assert_int_equal(e->branch.v + 4 + (uint64_t)(int64_t)d, e->linked->entry.v);
        }
    assert_true(seen);
}

/* FC-4: without leave to patch, an exit of an older fragment stays unlinked until it is linked by name. */
static void test_fc4_patching_waits(void **state)
{
    (void)state;
    uint64_t pc = LOAD(MACHINE_TEXT, sum);
    fc_set_patching(false);
    machine_fragments(pc, 1);
    machine_fragments(pc, 1);
    struct frag_exit *open = NULL;
    for (struct fragment *f = fc_newest(); f; f = f->next)
        for (int i = 0; i < f->exit_count; i++) {
            struct frag_exit *e = fc_exit(f->first_exit + (uint32_t)i);
            if (e->linked)
                assert_true(e->linked->id <= f->id); /* only forward, in bytes nobody has run yet */
            else if (fc_find(e->target))
                open = e;
        }
    assert_non_null(open);
    assert_ok(fc_link_exit(open));
    assert_null(open->linked);
    fc_set_patching(true);
    assert_ok(fc_link_exit(open));
    assert_ptr_equal(open->linked, fc_find(open->target));
    machine_compare(pc);
}

/* FC-3 when text goes away: what touches it is unlinked, everything else still runs. */
static void test_retire_range(void **state)
{
    (void)state;
    LOAD(MACHINE_TEXT, far_callee);
    uint64_t pc = LOAD(MACHINE_TEXT, calls);
    machine_fragments(pc, 1);
    struct fc_stats before = fc_stats_get();
    assert_ok(fc_retire_range(MACHINE_FAR, MACHINE_FAR + 4096));
    assert_int_equal(fc_stats_get().live, before.live);
    struct fragment *gone = fc_newest();
    struct app_pc tag = gone->tag;
    uint64_t start = gone->start.v;
    assert_ok(fc_retire_range(tag.v, tag.v + 1));
    struct fc_stats after = fc_stats_get();
    assert_true(after.live < before.live);
    assert_int_equal(after.live + after.retired, before.live + before.retired);
    assert_null(fc_find(tag));
    assert_null(fc_at(start));
    uint64_t links = 0;
    for (uint32_t id = EXIT_FIRST; fc_exit(id); id++) {
        struct frag_exit *e = fc_exit(id);
        assert_true(!e->linked || (e->linked->live && e->owner->live));
        links += e->linked != NULL;
    }
    assert_int_equal(links, after.links);
    assert_ok(fc_retire_range(0, UINT64_MAX));
    assert_int_equal(fc_stats_get().live, 0);
    assert_int_equal(fc_stats_get().links, 0);
    machine_compare(pc);
}

/* A jump that layout dropped is still text the fragment depends on. */
PROGRAM(hop, "mov ecx, 10\n 0: add rax, rcx\n jmp 2f\n .balign 256\n 2: jmp 3f\n .balign 256\n"
             "3: dec ecx\n jnz 0b\n jmp r15");

static void test_retire_range_of_a_dropped_jump(void **state)
{
    (void)state;
    uint64_t pc = LOAD(MACHINE_TEXT, hop);
    struct fragment *f = machine_emit(pc, pc + 5);
    assert_true(f->loop);
    assert_ptr_equal(fc_find(app_pc(pc + 5)), f);
    assert_ok(fc_retire_range(pc + 256, pc + 512));
    assert_null(fc_find(app_pc(pc + 5)));
}

/* A stub as lower_stub_far writes it, run. */
static void test_far_stub_jumps(void **state)
{
    (void)state;
    struct code_region *near, *far;
    uint64_t pc = LOAD(MACHINE_TEXT, sum);
    assert_ok(stubs_region(app_pc(pc), &near));
    assert_ok(stubs_region(app_pc(MACHINE_FAR), &far));
    uint8_t stub[STUB_BYTES_EACH];
    struct cache_pc at = cache_pc(far->blocks.end - 64);
    lower_stub_far(stub, at, cache_pc(pc));
    assert_ok(code_stage(at, stub, sizeof stub));
    assert_ok(code_commit());
    machine_native(pc);
    uint64_t rax = machine.now.ctx.gpr[R_RAX];
    machine_native(at.v); /* the stub leads to the program */
    assert_int_equal(machine.now.ctx.gpr[R_RAX], rax);
}

static void test_stub_fits(void **state)
{
    (void)state;
    struct code_region *r;
    assert_ok(stubs_region(app_pc(MACHINE_TEXT), &r));
    uint8_t stub[STUB_BYTES_EACH];
    lower_stub(stub, cache_pc(r->start + 64), r, 77, app_pc(MACHINE_TEXT));
    struct insn store = unit_decode_bytes(stub, sizeof stub, r->start + 64);
    struct insn jump = unit_decode_bytes(stub + store.len, sizeof stub - store.len, r->start + 64 + store.len);
    assert_int_equal(store.len + jump.len, STUB_BYTES_EACH);
    assert_true(store.stores);
    assert_int_equal(jump.kind, IK_JMP);
    assert_int_equal(jump.target, r->leave.v);
}

/* --- the cache's promises */

static void test_fc1_live_fragments_are_found(void **state)
{
    (void)state;
    machine_fragments(LOAD(MACHINE_TEXT, calls), 1);
    int n = 0;
    for (struct fragment *f = fc_newest(); f; f = f->next, n++) {
        assert_true(f->live);
        assert_ptr_equal(fc_find(f->tag), f);
        assert_true(f->start.v < f->entry.v && f->body_end < f->len);
    }
    assert_true(n > 1);
    assert_int_equal(n, fc_stats_get().live);
    assert_null(fc_find(app_pc(0x42)));
}

static void test_fc_at(void **state)
{
    (void)state;
    assert_null(fc_at(MACHINE_TEXT));
    machine_fragments(LOAD(MACHINE_TEXT, restless), 1);
    uint64_t low = UINT64_MAX, high = 0;
    for (struct fragment *f = fc_newest(); f; f = f->next) {
        assert_ptr_equal(fc_at(f->start.v), f);
        assert_ptr_equal(fc_at(f->entry.v), f);
        assert_ptr_equal(fc_at(f->start.v + f->len - 1), f);
        low = f->start.v < low ? f->start.v : low;
        high = f->start.v + f->len > high ? f->start.v + f->len : high;
    }
    assert_null(fc_at(low - 1));
    assert_null(fc_at(high));
    assert_null(fc_at(MACHINE_TEXT));
}

/* Each offset of the body belongs to a node, and the map names the program's own instructions. */
static void test_map(void **state)
{
    (void)state;
    machine_fragments(LOAD(MACHINE_TEXT, calls), 1);
    for (struct fragment *f = fc_newest(); f; f = f->next) {
        assert_true(f->map_count > 0);
        assert_int_equal(f->map[0].at, f->entry.v - f->start.v);
        assert_int_equal(f->map_pc[0], f->tag.v);
        for (int i = 1; i < f->map_count; i++) {
            assert_true(f->map[i].at > f->map[i - 1].at);
            assert_true(f->map[i].at < f->body_end);
            assert_true(f->map_pc[i] >= MACHINE_TEXT && f->map_pc[i] < MACHINE_TEXT + 4096);
        }
    }
}

static void test_flush(void **state)
{
    (void)state;
    uint64_t pc = LOAD(MACHINE_TEXT, calls);
    machine_fragments(pc, 1);
    struct fc_stats before = fc_stats_get();
    struct fragment *f = fc_newest();
    struct app_pc tag = f->tag;
    uint64_t start = f->start.v;
    uint32_t exit = f->exit_count ? f->first_exit : EXIT_FIRST;
    fc_flush();
    struct fc_stats after = fc_stats_get();
    assert_int_equal(after.live, 0);
    assert_int_equal(after.used, 0);
    assert_int_equal(after.links, 0);
    assert_int_equal(after.retired, before.retired + before.live);
    assert_int_equal(after.flushes, before.flushes + 1);
    assert_null(fc_find(tag));
    assert_null(fc_at(start));
    assert_null(fc_exit(exit));
    assert_null(fc_newest());
    machine_compare(pc); /* and all can be made again */
}

static void test_exit_numbers(void **state)
{
    (void)state;
    machine_fragments(LOAD(MACHINE_TEXT, sum), 1);
    assert_null(fc_exit(EXIT_BLOCK));
    assert_null(fc_exit(EXIT_LOOKUP));
    assert_null(fc_exit(UINT32_MAX));
    assert_null(fc_exit(1 << 20));
}

/* FC-2, with a cache that holds two or three fragments. */
static void test_fc2_capacity_is_kept(void **state)
{
    (void)state;
    machine_reset(700, true);
    uint64_t pc = LOAD(MACHINE_TEXT, restless);
    uint64_t flushes = fc_stats_get().flushes;
    machine_compare(pc);
    assert_true(fc_stats_get().used <= 700);
    assert_true(fc_stats_get().flushes > flushes + 10);
}

static void test_fragment_larger_than_the_cache(void **state)
{
    (void)state;
    machine_reset(64, true);
    struct fragment *f = NULL;
    uint64_t pc = LOAD(MACHINE_TEXT, calls), emitted = fc_stats_get().emitted;
    assert_rc(machine_try_emit(pc, pc, &f), RC_TOO_LONG);
    assert_null(fc_find(app_pc(pc)));
    assert_int_equal(fc_stats_get().emitted, emitted);
    assert_int_equal(fc_stats_get().used, 0);
}

static void test_second_fragment_of_a_tag_takes_over(void **state)
{
    (void)state;
    uint64_t pc = LOAD(MACHINE_TEXT, calls);
    struct fragment *first = machine_emit(pc, pc), *second = machine_emit(pc, pc);
    assert_ptr_not_equal(first, second);
    assert_ptr_equal(fc_find(app_pc(pc)), second);
    assert_ptr_equal(fc_at(first->start.v), first);
    machine_compare(pc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_run_sum, setup),
        cmocka_unit_test_setup(test_run_fall_in, setup),
        cmocka_unit_test_setup(test_run_loops, setup),
        cmocka_unit_test_setup(test_run_calls, setup),
        cmocka_unit_test_setup(test_run_hijack, setup),
        cmocka_unit_test_setup(test_run_indirect, setup),
        cmocka_unit_test_setup(test_run_operands, setup),
        cmocka_unit_test_setup(test_run_restless, setup),
        cmocka_unit_test_setup(test_run_state, setup),
        cmocka_unit_test_setup(test_run_sharing, setup),
        cmocka_unit_test_setup(test_run_far_operand, setup),
        cmocka_unit_test_setup(test_flags_live_through_guards, setup),
        cmocka_unit_test_setup(test_loop_stays_inside, setup),
        cmocka_unit_test_setup(test_without_links_each_exit_comes_back, setup_unlinked),
        cmocka_unit_test_setup(test_lookup_finds_other_fragments, setup),
        cmocka_unit_test_setup(test_lookup_miss_leaves_with_the_target, setup),
        cmocka_unit_test_setup(test_shared_lookup_slot_alternates, setup),
        cmocka_unit_test_setup(test_fragments_of_two_regions_reach_each_other, setup),
        cmocka_unit_test_setup(test_links_near, setup),
        cmocka_unit_test_setup(test_links_far, setup),
        cmocka_unit_test_setup(test_fc4_patching_waits, setup),
        cmocka_unit_test_setup(test_retire_range, setup),
        cmocka_unit_test_setup(test_retire_range_of_a_dropped_jump, setup),
        cmocka_unit_test_setup(test_far_stub_jumps, setup),
        cmocka_unit_test_setup(test_stub_fits, setup),
        cmocka_unit_test_setup(test_fc1_live_fragments_are_found, setup),
        cmocka_unit_test_setup(test_fc_at, setup),
        cmocka_unit_test_setup(test_map, setup),
        cmocka_unit_test_setup(test_flush, setup),
        cmocka_unit_test_setup(test_exit_numbers, setup),
        cmocka_unit_test(test_fc2_capacity_is_kept),
        cmocka_unit_test(test_fragment_larger_than_the_cache),
        cmocka_unit_test_setup(test_second_fragment_of_a_tag_takes_over, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
