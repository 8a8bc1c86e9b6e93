#include "tests/fuzz/world.h"

#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "optimizer/ir.h"
#include "tracer/asm.h"
#include "tracer/decode.h"

#define TABLE      0x70000000ULL
#define PAD_ID     0x40000000u
#define ASM_SLOT_IMM32_BYTES 12u
#define TICK_US    4000
#define HANG_TICKS 16
#define FLAG_TF    0x100u
#define OWN_PAGES  4

void fuzz_enter(struct state *s, uint64_t pc);
void fuzz_leave(void);
REH_HIDDEN uint32_t fuzz_xsave_mask;

struct code_region world_region[PLACE_COUNT];
uint32_t world_cpu;
uint32_t world_lookup = (uint32_t)TABLE;
struct tls_slots *world_slots;

static __thread struct tls_slots slots;
static struct left left;
static int extra_count;
static uint64_t extra[WORLD_EXTRA]; /* addresses */
static uint64_t runs, runs_at_tick;
static unsigned ticks;   /* of the run that goes on */
static uint64_t stop_at; /* where an int3 of ours lies; 0: nowhere */
static bool caught;      /* by a handler: `left` says what */
static bool (*is_stop)(uint64_t pc);
static bool (*on_step)(uint64_t pc, const struct state *s);
static uint64_t last_step; /* pc */
static uint32_t denied; /* pages */
static size_t xsave_end;
static bool avx2, avx512;

bool world_has_avx2(void)
{
    return avx2;
}

bool world_has_avx512(void)
{
    return avx512;
}

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void *map_at(uint64_t at, size_t bytes, int prot)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    void *p = mmap((void *)(uintptr_t)at, bytes, prot, flags, -1, 0);
    if (p == MAP_FAILED)
        die("mmap");
    return p;
}

/* Executable at `at`, writable at world_writable(at). */
static uint8_t *map_code(uint64_t at, size_t bytes)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC), flags = MAP_SHARED | MAP_FIXED_NOREPLACE;
    uint8_t *w = world_writable(at);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) ||
        mmap((void *)(uintptr_t)at, bytes, PROT_READ | PROT_EXEC, flags, fd, 0) == MAP_FAILED ||
        mmap(w, bytes, PROT_READ | PROT_WRITE, flags, fd, 0) == MAP_FAILED)
        die("code memory");
    close(fd);
    return w;
}

static bool is_generated(uint64_t pc)
{
    return (pc >= WORLD_TEXT && pc < WORLD_NEAR + WORLD_CACHE) ||
           (pc >= WORLD_FAR && pc < WORLD_REPLAY + WORLD_REPLAY_BYTES);
}

static void leave_caught(ucontext_t *uc, struct left l)
{
    left = l;
    caught = true;
    uc->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)FLAG_TF;
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)&fuzz_leave;
}

/* pushfq, which shows the trap flag. */
static bool pushes_flags(uint64_t pc)
{
    const uint8_t *p = (const uint8_t *)(uintptr_t)pc;
    while (*p == 0x66 || (*p & 0xf0) == 0x40)
        p++;
    return *p == 0x9c;
}

/* The trap flag is set: tells on_step about each instruction of generated code, until it has seen enough. */
static void stepped(greg_t *g)
{
    static const uint8_t greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                        REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    static struct state s;
    uint64_t pc = (uint64_t)g[REG_RIP];
    if (is_generated(last_step) && pushes_flags(last_step)) /* it has run: it is there */
        ((uint8_t *)(uintptr_t)g[REG_RSP])[1] &= (uint8_t)~(FLAG_TF >> 8);
    last_step = pc;
    for (unsigned i = 0; i < 16; i++)
        s.gpr[i] = (uint64_t)g[greg_of[i]];
    s.rflags = (uint64_t)g[REG_EFL] & ~(uint64_t)FLAG_TF;
    if (is_generated(pc) && on_step(pc, &s))
        g[REG_EFL] |= FLAG_TF; /* popfq clears it */
    else if (is_generated(pc) || pc == (uint64_t)(uintptr_t)&fuzz_leave)
        g[REG_EFL] &= ~(greg_t)FLAG_TF;
}

/* Sends the interrupted code to fuzz_leave, with its registers as they are. */
static void on_fault(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    uint64_t pc = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
    if (!world_slots->ctx) { /* our own fault: let it happen again, unhandled */
        signal(sig, SIG_DFL);
        return;
    }
    if (sig == SIGTRAP && info->si_code == TRAP_TRACE && on_step) {
        stepped(uc->uc_mcontext.gregs);
        return;
    }
    uint64_t address = (uint64_t)(uintptr_t)info->si_addr;
    struct left l = {LEFT_FAULT, 0, sig, pc, address, 0};
    if (sig == SIGTRAP || (sig == SIGSEGV && (uc->uc_mcontext.gregs[REG_ERR] &
                                              16))) { /* int3 between the instructions; or a fetch */
        l.kind = LEFT_STRAY;
        l.target = sig == SIGTRAP ? pc - 1 : pc;
    }
    if (sig == SIGTRAP && (pc - 1 == stop_at || (is_stop && is_stop(pc - 1))))
        l = (struct left){.kind = LEFT_STEP, .pc = pc - 1};
    leave_caught(uc, l);
}

static void on_tick(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info;
    ucontext_t *uc = context;
    uint64_t pc = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
    ticks = runs == runs_at_tick ? ticks + 1 : 0;
    runs_at_tick = runs;
    if (ticks < HANG_TICKS ||
        !is_generated(pc)) /* several: time that a busy host takes away counts as ours */
        return;
    leave_caught(uc, (struct left){LEFT_HANG, 0, 0, pc, 0, 0});
}

static void set_handlers(void)
{
    static uint8_t stack[64 << 10] __attribute__((aligned(64)));
    stack_t alt = {.ss_sp = stack, .ss_size = sizeof stack};
    if (sigaltstack(&alt, NULL))
        die("sigaltstack");
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&sa.sa_mask);
    for (size_t i = 0; i < ARRAY_LEN(faults); i++)
        if (sigaction(faults[i], &sa, NULL))
            die("sigaction");
    sa.sa_sigaction = on_tick;
    sa.sa_flags |= SA_RESTART;
    struct itimerval tick = {{0, TICK_US}, {0, TICK_US}};
    if (sigaction(SIGVTALRM, &sa, NULL) || setitimer(ITIMER_VIRTUAL, &tick, NULL))
        die("timer");
}

/* One component of the xsave area: where it lies (SDM volume 1, 13.4). */
static void note_component(unsigned i)
{
    unsigned size, offset, c, d;
    __cpuid_count(13, i, size, offset, c, d);
    if (offset + size > xsave_end)
        xsave_end = offset + size;
}

static void look_at_cpu(void)
{
    unsigned a, b, c, d, lo, hi;
    __cpuid(1, a, b, c, d);
    if (!(c & 1u << 27) || !(c & 1u << 28)) {
        fprintf(stderr, "fuzz: this CPU has no AVX; requirement: XSAVE and AVX\n");
        exit(2);
    }
    __asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    fuzz_xsave_mask = lo & 0xe7;
    xsave_end = 576;
    for (unsigned i = 2; i < 8; i++)
        if (fuzz_xsave_mask & 1u << i)
            note_component(i);
    if (xsave_end > XSAVE_BYTES) {
        fprintf(stderr, "fuzz: xsave area of %zu bytes; requirement: at most %d\n", xsave_end, XSAVE_BYTES);
        exit(2);
    }
    __cpuid_count(7, 0, a, b, c, d);
    world_cpu = b & 1u << 8 ? CPU_BMI2 : 0;
    avx2 = b & 1u << 5;
    avx512 = (b & 1u << 16) && (fuzz_xsave_mask & 0xe0) == 0xe0;
}

/* jmp fuzz_leave, from anywhere */
static void leave_through(struct asm_buf *a)
{
    asm_jmp_mem(a, asm_here(a).v + 6);
    asm_u64(a, (uint64_t)(uintptr_t)&fuzz_leave);
}

static void region_init(struct code_region *r, uint64_t at)
{
    uint8_t *p = map_code(at, WORLD_CACHE);
    struct asm_buf a = asm_on(p, 256, cache_pc(at));
    *r = (struct code_region){.start = at, .end = at + WORLD_CACHE};
    r->leave = asm_here(&a);
    leave_through(&a);
    r->enter = r->leave;           /* nothing between them: entered by fuzz_enter */
    r->lookup_miss = asm_here(&a); /* as in tracer/stubs.c */
    asm_store_slot(&a, SLOT(target), R_RDX);
    asm_load_slot(&a, R_RDX, SLOT(spill1));
    asm_load_slot(&a, R_RCX, SLOT(spill0));
    asm_store_slot_imm32(&a, SLOT(exit_id), EXIT_LOOKUP);
    leave_through(&a);
    r->thread_start = asm_here(&a);
    r->stubs = (struct code_area){at, at + 4096, r->thread_start.v};
    r->fragments = (struct code_area){at + 4096, at + WORLD_CACHE, at + 4096};
    if (code_region_add(r) != RC_OK)
        die("code region");
}

/* What a program goes on with where it has left the path: what is dead there hangs on all of its ways. */
static const struct {
    uint8_t bytes[20], len;
    bool reads_flags;
} pad_code[] = {
    {{0x31, 0xc9, 0x41, 0xbb, 7, 0, 0, 0}, 8, false}, /* xor ecx, ecx; mov r11d, 7 */
    {{0x85, 0xc0, 0x74, 2, 0x31, 0xd2, 0x31, 0xc0}, 8, false}, /* test eax, eax; jz 1f; xor edx, edx; 1: xor eax, eax */
    {{0x39, 0xd8, 0x75, 4, 0x31, 0xf6, 0xeb, 2, 0x31, 0xff, 0x31, 0xc9}, 12, false}, /* esi on one side, edi on the other, ecx */
    {{0x41, 0xb8, 2, 0, 0, 0, 0x41, 0xff, 0xc8, 0x75, 0xfb, 0x31, 0xd2}, 13, false}, /* mov r8d, 2; 1: dec r8d; jnz 1b; xor edx, edx */
    {{0x74, 4, 0x31, 0xc0, 0xeb, 2, 0xeb, 0, 0x01, 0xc1}, 10, true}, /* jz 1f; xor eax, eax; jmp 2f; 1: jmp 2f; 2: add ecx, eax */
    {{0x0f, 0x45, 0xc1, 0xb2, 1, 0x31, 0xd2, 0x48, 0x89, 0xde}, 10, true}, /* cmovnz eax, ecx; mov dl, 1; xor edx, edx; mov rsi, rbx */
    {{0xeb, 4, 0x31, 0xc0, 0x31, 0xc9, 0x72, 0xfc, 0x31, 0xdb}, 10, true}, /* jmp 2f; xor eax, eax; 1: xor ecx, ecx; 2: jc 1b; xor ebx, ebx */
};

/* Every other one only leaves, so that nothing hides what is wrong; the plain one too. */
static unsigned pad_kind(unsigned i)
{
    return i % 2 || i == WORLD_PAD_PLAIN ? ARRAY_LEN(pad_code) : i / 2 % ARRAY_LEN(pad_code);
}

bool world_pad_reads_flags(unsigned i) { return pad_kind(i) < ARRAY_LEN(pad_code) && pad_code[pad_kind(i)].reads_flags; }

static void pads_init(void)
{
    static const uint8_t jmp_short[] = {0xeb};
    uint8_t *p = map_code(WORLD_PADS, 8192);
    struct asm_buf a = asm_on(p, 8192, cache_pc(WORLD_PADS));
    for (unsigned i = 0; i < WORLD_PAD_COUNT; i++) {
        unsigned kind = pad_kind(i);
        uint8_t over = WORLD_PAD_JUMP - ASM_SLOT_IMM32_BYTES;
        a.len = (size_t)i * WORLD_PAD_STRIDE;
        if (kind < ARRAY_LEN(pad_code)) {
            asm_bytes(&a, pad_code[kind].bytes, pad_code[kind].len);
            over = (uint8_t)(over - pad_code[kind].len);
        }
        asm_bytes(&a, jmp_short, 1);
        over -= 2;
        asm_bytes(&a, &over, 1);
        a.len += over;
        asm_store_slot_imm32(&a, SLOT(exit_id), PAD_ID + i);
        leave_through(&a);
    }
}

void world_init(void)
{
    uint64_t fs;
    __asm__("mov %%fs:0, %0" : "=r"(fs));
    slots_fs_offset = (int32_t)((int64_t)(uintptr_t)&slots - (int64_t)fs);
    world_slots = &slots;
    look_at_cpu();
    memset(map_code(WORLD_TEXT, WORLD_TEXT_BYTES), 0xcc, WORLD_TEXT_BYTES);
    map_at(WORLD_CONSTS, 4096, PROT_READ | PROT_WRITE);
    uint64_t *fixed = (uint64_t *)(void *)map_code(WORLD_FIXED, 4096);
    for (unsigned i = 0; i < 512; i++)
        fixed[i] = i % 3 ? i * 0x0123456789abcdefULL : i;
    map_at(WORLD_DATA, 8192, PROT_READ | PROT_WRITE);
    uint64_t *table = map_at(TABLE, 65536 * 8, PROT_READ | PROT_WRITE);
    pads_init();
    region_init(&world_region[PLACE_NEAR], WORLD_NEAR);
    region_init(&world_region[PLACE_FAR], WORLD_FAR);
    region_init(&world_region[PLACE_REPLAY], WORLD_REPLAY);
    for (unsigned i = 0; i < 65536; i += 2)
        table[i] =
            world_region[PLACE_NEAR].lookup_miss.v; /* reached through a register: either region's does */
    if (mprotect(table, 65536 * 8, PROT_READ))      /* recorded traces run with wild pointers */
        die("mprotect");
    set_handlers();
}

bool world_was_slow(void)
{
    return ticks >= HANG_TICKS / 4;
}

struct left world_resume(struct state *s, uint64_t pc)
{
    runs++;
    ticks = 0;
    caught = false;
    slots.ctx = (struct cpu_ctx *)s; /* running */
    fuzz_enter(s, pc);
    slots.ctx = NULL;
    uint32_t id = slots.exit_id;
    if (caught)
        return left;
    if (id == EXIT_LOOKUP)
        return (struct left){.kind = LEFT_LOOKUP, .target = slots.target};
    if (id - PAD_ID < WORLD_PAD_COUNT)
        return (struct left){.kind = LEFT_PAD, .id = id - PAD_ID};
    return (struct left){.kind = LEFT_EXIT, .id = id - EXIT_FIRST};
}

struct left world_run(struct state *s, uint64_t pc)
{
    slots.exit_id = UINT32_MAX;
    return world_resume(s, pc);
}

struct left world_run_stepped(struct state *s, uint64_t pc, bool (*fn)(uint64_t, const struct state *))
{
    on_step = fn;
    last_step = 0;
    s->rflags |= FLAG_TF;
    struct left l = world_run(s, pc);
    s->rflags &= ~(uint64_t)FLAG_TF;
    on_step = NULL;
    return l;
}

void world_set_stops(bool (*fn)(uint64_t pc))
{
    is_stop = fn;
}

struct left world_run_until(struct state *s, uint64_t pc, uint64_t stop)
{
    uint8_t *p = world_writable(stop), kept = *p;
    stop_at = stop;
    *p = 0xcc;
    struct left l = world_run(s, pc);
    *p = kept;
    stop_at = 0;
    return l;
}

void world_extra_set(int count, const uint64_t *pages)
{
    extra_count = count;
    for (int i = 0; i < count; i++)
        extra[i] = pages[i];
}

int world_extra_count(void)
{
    return extra_count;
}

uint64_t world_extra_page(int i)
{
    return extra[i];
}

static uint64_t page_at(int page)
{
    static const uint64_t own[] = {WORLD_DATA, WORLD_STACK, WORLD_CONSTS, WORLD_FIXED};
    return page < OWN_PAGES ? own[page] : extra[page - OWN_PAGES];
}

int world_page_find(uint64_t address)
{
    for (int i = 0; i < OWN_PAGES + extra_count; i++)
        if (address - page_at(i) < 4096)
            return i;
    return -1;
}

void world_deny(uint32_t pages)
{
    for (int i = 0; i < OWN_PAGES + extra_count; i++) {
        uint32_t bit = 1u << i;
        int prot = pages & bit ? PROT_NONE : page_at(i) == WORLD_FIXED ? PROT_READ | PROT_EXEC : PROT_READ | PROT_WRITE;
        if ((pages ^ denied) & bit && mprotect((void *)(uintptr_t)page_at(i), 4096, prot))
            die("mprotect");
    }
    denied = pages;
}

void world_memory_copy(struct memory *to, const struct memory *from)
{
    memcpy(to, from, offsetof(struct memory, extra) + (size_t)extra_count * sizeof to->extra[0]);
}

void world_memory_set(const struct memory *m)
{
    memcpy((void *)(uintptr_t)WORLD_DATA, (const void *)m, offsetof(struct memory, consts));
    memcpy((void *)(uintptr_t)WORLD_CONSTS, m->consts, sizeof m->consts);
    for (int i = 0; i < extra_count; i++)
        memcpy((void *)(uintptr_t)extra[i], m->extra[i], sizeof m->extra[i]);
}

void world_memory_get(struct memory *m)
{
    memcpy((void *)m, (const void *)(uintptr_t)WORLD_DATA, offsetof(struct memory, consts));
    memcpy(m->consts, (const void *)(uintptr_t)WORLD_CONSTS, sizeof m->consts);
    for (int i = 0; i < extra_count; i++)
        memcpy(m->extra[i], (const void *)(uintptr_t)extra[i], sizeof m->extra[i]);
}

/* Not the addresses and the opcode of the last x87 instruction: they tell the copy from the original. */
static const struct {
    size_t from, to;
    const char *name;
} parts[] = {{0, 5, "x87 words"}, {24, 28, "mxcsr"},      {32, 160, "x87 registers"},
             {160, 416, "xmm"},   {576, 832, "ymm high"}, {832, 0, "avx512"}};

static size_t part_end(size_t i)
{
    return parts[i].to ? parts[i].to : xsave_end;
}

bool world_vectors_equal(const struct state *a, const struct state *b)
{
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (part_end(i) > parts[i].from &&
            memcmp(a->xs + parts[i].from, b->xs + parts[i].from, part_end(i) - parts[i].from) != 0)
            return false;
    return true;
}

void world_vectors_print(const struct state *a, const struct state *b)
{
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        for (size_t k = parts[i].from; k < part_end(i); k++)
            if (a->xs[k] != b->xs[k])
                fprintf(stderr, "  %s +%zu: %02x, natively %02x\n", parts[i].name, k - parts[i].from,
                        b->xs[k], a->xs[k]);
}
