/* build: -O2 -pthread
 * run: between
 * run: meanwhile
 * A loop over three pages whose middle one holds nothing but a jump, which is patched between two runs, or two
 * instructions, the first of which another thread patches while the loop runs. Hard, because straightening the
 * path leaves no instruction of that page, and because a loop that never leaves the cache has to notice. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

__asm__(".section .patched, \"ax\", @progbits\n"
        "        .balign 4096\n"
        "count:  xor %eax, %eax\n"
        "        mov $1000, %ecx\n"
        "1:      dec %ecx\n"
        "        jmp jump\n"
        "        .balign 4096, 0xcc\n"
        "jump:   .byte 0xe9\n"
        "        .long one - . - 4\n"
        "        .balign 4096, 0xcc\n"
        "one:    add $1, %eax\n"
        "2:      test %ecx, %ecx\n"
        "        jnz 1b\n"
        "        ret\n"
        "two:    add $2, %eax\n"
        "        jmp 2b\n"
        "spin:   inc %rdx\n"
        "        jmp middle\n"
        "3:      ret\n"
        "        .balign 4096, 0xcc\n"
        "middle: mov $0, %eax\n"
        "        test %eax, %eax\n"
        "        jz spin\n"
        "        jmp 3b\n"
        "        .balign 4096, 0xcc\n"
        ".text\n");
int count(void), spin(void);
extern char jump[], two[], middle[];

static void patch(char *page, int32_t value, int while_patching)
{
    mprotect(page, 4096, PROT_READ | PROT_WRITE | while_patching);
    memcpy(page + 1, &value, sizeof value);
    mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static void *run(void *argument)
{
    printf("%d\n", spin());
    return argument;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "meanwhile") == 0) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, run, NULL) != 0)
            return 1;
        usleep(300000);
        patch(middle, 1, PROT_EXEC);
        pthread_join(thread, NULL);
    } else {
        int32_t one_jump, two_jump = (int32_t)(two - (jump + 5));
        memcpy(&one_jump, jump + 1, sizeof one_jump);
        for (int i = 0; i < 3; i++) {
            printf("%d\n", count());
            patch(jump, two_jump, 0);
            printf("%d\n", count());
            patch(jump, one_jump, 0);
        }
    }
    return 0;
}
