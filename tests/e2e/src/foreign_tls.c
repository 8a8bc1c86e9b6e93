/* build: -O2 -fno-stack-protector
 * run: thread
 * run: null
 * fs without the C library's thread block behind it: in a thread made by clone with a page of its own for it, and for
 * the few instructions between a load of the null selector and the arch_prctl that puts the base back. Hard, because
 * whoever shares the thread can then use neither thread-local variables nor the C library. */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile unsigned sum;
static volatile int alive = 1;
static char stack[65536] __attribute__((aligned(16)));

static int run(void *argument)
{
    for (unsigned i = 0; i < 100000; i++)
        sum = sum * 31 + i;
    syscall(SYS_exit, 0);
    return argument != NULL;
}

static void with_thread(void)
{
    char *block = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
                CLONE_CHILD_CLEARTID;
    if (clone(run, stack + sizeof stack - 64, flags, NULL, NULL, block + 64, &alive) < 0)
        alive = 0;
    for (int i = 0; i < 3000 && alive; i++)
        usleep(10000);
    printf("%u, %s\n", sum, alive ? "still there" : "ended");
}

static void with_null_selector(void)
{
    unsigned long base = 0;
    int restored = 0;
    syscall(SYS_arch_prctl, ARCH_GET_FS, &base);
    for (int i = 0; i < 100; i++) {
        long result = SYS_arch_prctl;
        __asm__ volatile("xor %%ecx, %%ecx\n\t"
                         "mov %%cx, %%fs\n\t"
                         "jmp 1f\n"
                         "1:\tsyscall"
                         : "+a"(result)
                         : "D"((long)ARCH_SET_FS), "S"(base)
                         : "rcx", "r11", "memory");
        restored += result == 0;
    }
    printf("%d\n", restored);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "null") == 0)
        with_null_selector();
    else
        with_thread();
    return 0;
}
