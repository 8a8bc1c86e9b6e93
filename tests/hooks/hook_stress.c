/* Hooks under load.
 *
 *   hook_stress --cycles N [--only NAME] SITES.so   threads run through a site while it is hooked, turned and unhooked
 *                                                   N times, for each tactic, position and way of writing
 *   hook_stress --sites N [--seed S]                N random instructions of real binaries, hooks standing on many of
 *                                                   them at a time, the program running through its own libc's: each is
 *                                                   hooked and undone to identical bytes, or declined with a reason
 *
 * With -DSITES this file is the shared object that holds the sites. The last line is "N passed, N failed". */
#ifdef SITES

/* uint64_t f(uint64_t n, uint64_t x, uint64_t *passes): runs its site n times; r8 is for the fragment to count in. */
#define FUNCTION(name, before, site, after)                                                                  \
    __asm__(".text\n.globl " name "\n.type " name ",@function\n" before "\n" name ":\n.cfi_startproc\n"      \
            "xor %r8d, %r8d\nmov %rsi, %rax\n"                                                               \
            ".globl " name "_site\n" name "_site:\n" site "\n.globl " name "_end\n" name "_end:\n"           \
            "rol $3, %rax\n" after "dec %rdi\njnz " name "_site\nmov %r8, (%rdx)\nret\n.cfi_endproc\n.size " \
            name ",.-" name "\n")

#define SIX "add $0x11111111, %rax"
FUNCTION("long_inside", ".p2align 6", SIX, "");
FUNCTION("long_two_lines", ".p2align 6\n.skip 64 - 6 - 2", SIX, "");
FUNCTION("long_two_pages", ".p2align 12\n.skip 4096 - 6 - 2", SIX, "");
FUNCTION("pun_of_2", ".p2align 6", "xor %esi, %eax", "");
FUNCTION("pun_of_3", ".p2align 6", "add %rsi, %rax", "");
FUNCTION("pun_of_4", ".p2align 6", "add $0x11, %rax", "");
FUNCTION("pun_two_lines", ".p2align 6\n.skip 64 - 6 - 2", "add $0x11, %rax", "");
FUNCTION("pun_two_pages", ".p2align 12\n.skip 4096 - 6 - 2", "add $0x11, %rax", "");
FUNCTION("several", ".p2align 6", "xor %esi, %eax\nadd %rsi, %rax", "");
FUNCTION("several_two_lines", ".p2align 6\n.skip 64 - 6 - 4", "xor %esi, %eax\nadd %rsi, %rax", "");
__asm__(".skip 64"); /* the last bytes of a text are not hooked */

#else

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "fragcache/hook.h"
#include "fragcache/pun.h"
#include "runtime/base/maps.h"

#define THREADS 8
#define PASSES 64u /* through the site, in one call */

static int passed, failed;
static const char *const way_names[] = {"auto", "mem", "page"};
static const char *const tactic_names[] = {"long", "pun", "several"};

static const char *reason_name(unsigned rc)
{
    static const char *const names[] = {"OK",
#define REASON(id, level, text) #id,
#include "runtime/base/reasons.def"
#undef REASON
    };
    return rc < ARRAY_LEN(names) ? names[rc] : "?";
}

static void verdict(bool good, const char *what)
{
    printf("%s - %s\n", good ? "ok" : "not ok", what);
    *(good ? &passed : &failed) += 1;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void on_trap(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    greg_t *pc = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    uint64_t to;
    if (info->si_code != SI_KERNEL || !hook_trap((uint64_t)*pc, &to)) {
        static const char text[] = "not ok - an int3 that nobody knows\n";
        (void)!write(1, text, sizeof text - 1);
        _exit(1);
    }
    *pc = (greg_t)to;
}

/* --- threads run through a site */

typedef uint64_t run_fn(uint64_t n, uint64_t x, uint64_t *passes);

static run_fn *run_site;
static uint64_t expected[16];
static _Atomic bool quit, hold; /* hold: nobody is to be in the site */
static int held; /* under `lock` */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static _Atomic uint64_t calls, fragment_passes, wrong;

static void stay_out(void)
{
    pthread_mutex_lock(&lock);
    held++;
    pthread_cond_broadcast(&changed);
    while (hold)
        pthread_cond_wait(&changed, &lock);
    held--;
    pthread_mutex_unlock(&lock);
}

static void hold_threads(bool yes)
{
    pthread_mutex_lock(&lock);
    hold = yes;
    pthread_cond_broadcast(&changed);
    while (yes && held != THREADS)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void *runner(void *arg)
{
    (void)!nice(10); /* of this thread: the one that hooks is to get its turn */
    for (uint64_t i = (uint64_t)(uintptr_t)arg; !quit; i++) {
        if (hold)
            stay_out();
        uint64_t passes;
        if (run_site(PASSES, i % 16, &passes) != expected[i % 16] || passes > PASSES)
            wrong++;
        calls++;
        fragment_passes += passes;
    }
    return NULL;
}

/* The site's own instructions, a count in r8, and back. */
static struct cache_pc make_fragment(uint64_t site, uint64_t end)
{
    static uint8_t *page;
    static size_t used;
    if (!page) {
        uint64_t want = (site & ~0xfffffULL) - (512u << 20);
        page = mmap((void *)want, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    }
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
    struct asm_buf a = asm_on(page + used, 64, cache_pc((uint64_t)(uintptr_t)page + used));
    asm_bytes(&a, (const void *)site, end - site);
    asm_lea(&a, R_R8, R_R8, 1);
    asm_jmp(&a, end);
    used += 64;
    mprotect(page, 4096, PROT_READ | PROT_EXEC);
    return cache_pc(a.origin);
}

static bool cycle(struct hook *h, const struct site *s, struct cache_pc to, long i)
{
    bool threads_out = s->tactic == TACTIC_SEVERAL;
    if (threads_out)
        hold_threads(true);
    rc_t rc = hook_set(h, s, to, i & 1);
    if (threads_out)
        hold_threads(false);
    if (rc != RC_OK)
        return false;
    if ((i & 6) == 6 && (hook_retarget(h, h->native) != RC_OK || hook_retarget(h, to) != RC_OK))
        return false;
    if (i % 16 == 0)
        sched_yield();
    return hook_clear(h) == RC_OK && memcmp((void *)s->at.v, s->bytes, s->len) == 0;
}

static void stress(void *sites, const char *name, enum poke_way way, long cycles)
{
    char symbol[64], text[256];
    run_site = (run_fn *)dlsym(sites, name);
    snprintf(symbol, sizeof symbol, "%s_site", name);
    uint64_t at = (uint64_t)(uintptr_t)dlsym(sites, symbol);
    snprintf(symbol, sizeof symbol, "%s_end", name);
    uint64_t end = (uint64_t)(uintptr_t)dlsym(sites, symbol), passes;
    const enum hook_tactic tactic = name[0] == 'l' ? TACTIC_LONG : name[0] == 'p' ? TACTIC_PUN : TACTIC_SEVERAL;
    const struct site_ask ask = {TACTIC_BIT(tactic), true};
    for (uint64_t x = 0; x < 16; x++)
        expected[x] = run_site(PASSES, x, &passes);
    struct site s;
    struct hook h = {0};
    poke_set_way(way);
    maps_forget();
    rc_t rc = site_check(app_pc(at), &ask, &s);
    struct cache_pc to = make_fragment(at, end);
    quit = hold = false;
    calls = fragment_passes = wrong = 0;
    uint32_t traps = hook_counts_get().traps;
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, runner, (void *)i);
    double start = seconds();
    long done = 0;
    while (rc == RC_OK && done < cycles && !wrong && cycle(&h, &s, to, done))
        done++;
    quit = true;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    snprintf(text, sizeof text, "%s %s: %ld cycles, %lu calls, %lu wrong, %lu passes in fragments, %u traps, %.1f s%s%s",
             name, way_names[way], done, calls, wrong, fragment_passes, hook_counts_get().traps - traps,
             seconds() - start, rc == RC_OK ? "" : ", ", rc == RC_OK ? "" : reason_name(rc));
    verdict(rc == RC_OK && done == cycles && !wrong && fragment_passes, text);
    hook_release(&h);
}

static void stress_all(const char *path, long cycles, const char *only)
{
    static const char *const names[] = {"long_inside", "long_two_lines", "long_two_pages", "pun_of_2", "pun_of_3",
                                        "pun_of_4", "pun_two_lines", "pun_two_pages", "several", "several_two_lines"};
    void *sites = dlopen(path, RTLD_NOW);
    if (!sites) {
        verdict(false, dlerror());
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        for (enum poke_way way = POKE_MEM; way <= POKE_PAGE; way++)
            if (!only || strcmp(only, names[i]) == 0)
                stress(sites, names[i], way, cycles);
}

/* --- random instructions of real binaries */

#define STANDING 256

static struct text {
    uint64_t start, end;
    uint8_t *before;
    const char *name;
} texts[8];
static int text_count;

/* Maps a program's segments where it wants them, as exec would. */
static void map_program(const char *path)
{
    Elf64_Ehdr eh;
    Elf64_Phdr ph;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, &eh, sizeof eh) != sizeof eh)
        return;
    uint64_t bias = eh.e_type == ET_EXEC ? 0 : 0x230000000000;
    for (int i = 0; i < eh.e_phnum; i++) {
        if (pread(fd, &ph, sizeof ph, (off_t)(eh.e_phoff + (uint64_t)i * sizeof ph)) != sizeof ph || ph.p_type != PT_LOAD)
            continue;
        uint64_t in_page = ph.p_vaddr & 4095;
        (void)!mmap((void *)(bias + ph.p_vaddr - in_page), ph.p_filesz + in_page,
                    PROT_READ | (ph.p_flags & PF_X ? PROT_EXEC : 0) | (ph.p_flags & PF_W ? PROT_WRITE : 0),
                    MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd, (off_t)(ph.p_offset - in_page));
    }
    close(fd);
}

static void note_texts(void)
{
    static const char *const wanted[] = {"/libc.so", "/libcrypto", "/python3", "/perl", "/libstdc++"};
    static char line[4096];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
            struct map_range r;
            line[strcspn(line, "\n")] = 0;
            if (strstr(line, wanted[i]) && maps_parse_line(line, &r) && r.kind == MAP_TEXT && text_count < 8)
                texts[text_count++] = (struct text){r.start, r.end, NULL, wanted[i] + 1};
        }
    fclose(maps);
    for (int i = 0; i < text_count; i++) {
        size_t len = texts[i].end - texts[i].start;
        texts[i].before = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memcpy(texts[i].before, (void *)texts[i].start, len);
    }
}

struct pick {
    const struct text *text;
    uint64_t at; /* out */
};

/* The start of a random instruction; of the bytes as they were before any hook. */
static void pick_gated(void *arg)
{
    struct pick *p = arg;
    struct site_function f;
    do
        p->at = p->text->start + (uint64_t)random() % (p->text->end - p->text->start);
    while (!site_function_find(app_pc(p->at), &f) || f.start < p->text->start || f.end > p->text->end);
    struct insn in = {.len = 0};
    for (uint64_t pc = f.start; pc <= p->at; pc += in.len)
        decode_one(p->text->before + (pc - p->text->start), f.end - pc, app_pc(pc), &in);
    p->at = in.pc.v;
}

static bool undo(struct hook *h, const struct text *t)
{
    if (h->state != HOOK_LIVE)
        return true;
    uint64_t at = h->at.v;
    bool good = hook_clear(h) == RC_OK && memcmp((void *)at, t->before + (at - t->start), 5) == 0;
    hook_release(h);
    return good;
}

static bool gate_leads(const struct hook *h)
{
    struct insn gate;
    if (h->cell)
        return *h->cell == h->to.v;
    decode_one((const void *)h->gate.v, 15, app_pc(h->gate.v), &gate);
    return gate.kind == IK_JMP && gate.target == h->to.v;
}

/* What stands there leads to where it should, and the native copy begins with the same instruction: same branch or
 * rip-relative target, or the same bytes. */
static bool leads(const struct hook *h)
{
    struct insn in, was, copy;
    decode_one((const void *)h->at.v, 15, h->at, &in);
    decode_one(h->original, sizeof h->original, h->at, &was);
    decode_one((const void *)h->native.v, 15, app_pc(h->native.v), &copy);
    if (in.kind != IK_JMP || (h->gate.v && !gate_leads(h)) || in.target != (h->gate.v ? h->gate.v : h->to.v))
        return false;
    if (was.kind == IK_CALL || was.kind == IK_LOOP || (was.rip_relative && !copy.rip_relative))
        return true; /* other instructions by design: call, loop, a far lea */
    return copy.kind == was.kind && copy.target == was.target && copy.cc == was.cc &&
           (was.kind != IK_PLAIN || was.rip_relative || memcmp(was.bytes, copy.bytes, was.len) == 0);
}

struct leads_call {
    const struct hook *h;
    bool good;
};
static void leads_gated(void *arg)
{
    struct leads_call *c = arg;
    c->good = leads(c->h);
}

static void random_sites(long count)
{
    static struct hook ring[STANDING];
    static const struct text *of[STANDING];
    static uint32_t declined[RC_COUNT + 32], hooked[TACTIC_COUNT];
    long bad = 0;
    dlopen("libcrypto.so.3", RTLD_NOW);
    dlopen("libstdc++.so.6", RTLD_NOW);
    map_program("/usr/bin/python3");
    map_program("/usr/bin/perl");
    note_texts();
    double start = seconds();
    for (long i = 0; i < count; i++) {
        struct hook *h = &ring[i % STANDING];
        if (!undo(h, of[i % STANDING])) {
            bad++;
            break;
        }
        struct pick p = {.text = &texts[random() % text_count]};
        if (decode_gate(pick_gated, &p) != RC_OK)
            break;
        poke_set_way(i / 512 % 2 ? POKE_PAGE : POKE_MEM);
        struct site_ask ask = {i % 16 ? TACTIC_ALL & ~TACTIC_BIT(TACTIC_SEVERAL) : TACTIC_ALL, true};
        bool switched = i & 1;
        /* Nothing of libc may run until the hook leads to the native copy. */
        rc_t rc = hook_place(h, app_pc(p.at), &ask, cache_pc(texts[0].start), switched);
        if (rc == RC_OK)
            rc = hook_retarget(h, h->native);
        of[i % STANDING] = p.text;
        if (rc != RC_OK) {
            declined[rc]++;
            bad += h->state != HOOK_FREE;
            continue;
        }
        struct leads_call c = {.h = h};
        if (decode_gate(leads_gated, &c) != RC_OK || !c.good)
            bad++;
        hooked[h->tactic]++;
        if (h->tactic == TACTIC_SEVERAL || i % 64 == 0)
            bad += !undo(h, p.text);
    }
    for (int i = 0; i < STANDING; i++)
        bad += !undo(&ring[i], of[i]);
    long total = 0;
    for (int t = 0; t < TACTIC_COUNT; t++) {
        printf("# hooked, %s: %u\n", tactic_names[t], hooked[t]);
        total += hooked[t];
    }
    for (unsigned r = 0; r < ARRAY_LEN(declined); r++) {
        if (declined[r])
            printf("# declined, %s: %u\n", reason_name(r), declined[r]);
        total += declined[r];
    }
    char text[128];
    snprintf(text, sizeof text, "%ld sites, %ld bad, %d pages of near memory, %.1f s", count, bad, near_page_count(),
             seconds() - start);
    verdict(!bad && total == count, text);
    for (int i = 0; i < text_count; i++) {
        snprintf(text, sizeof text, "%s: text as it was", texts[i].name);
        verdict(memcmp((void *)texts[i].start, texts[i].before, texts[i].end - texts[i].start) == 0, text);
    }
}

int main(int argc, char **argv)
{
    long cycles = 0, sites = 0;
    unsigned seed = (unsigned)time(NULL);
    const char *only = NULL, *path = NULL;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "0";
        if (strcmp(argv[i], "--cycles") == 0)
            cycles = atol(value), i++;
        else if (strcmp(argv[i], "--sites") == 0)
            sites = atol(value), i++;
        else if (strcmp(argv[i], "--seed") == 0)
            seed = (unsigned)atol(value), i++;
        else if (strcmp(argv[i], "--only") == 0)
            only = value, i++;
        else
            path = argv[i];
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigaction(SIGTRAP, &(struct sigaction){.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO}, NULL);
    maps_set_loader(getauxval(AT_BASE));
    srandom(seed);
    if (sites)
        printf("# seed %u\n", seed);
    if (cycles && path)
        stress_all(path, cycles, only);
    if (sites)
        random_sites(sites);
    printf("%d passed, %d failed\n", passed, failed);
    return failed || !passed;
}
#endif
