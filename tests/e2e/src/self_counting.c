/* build: -O2
 * A loop that keeps its counter in its own code, as the operand of an instruction of it: 200000 times stored to. Hard,
 * because every turn runs other code than the one before, and nothing may be done for each that takes long. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* 1: mov eax, COUNTER; inc eax; mov [rip-12], eax, which is COUNTER; cmp eax, edi; jne 1b; ret */
static const unsigned char loop[] = {0xb8, 0x00, 0x00, 0x00, 0x00, 0xff, 0xc0, 0x89, 0x05,
                                     0xf4, 0xff, 0xff, 0xff, 0x39, 0xf8, 0x75, 0xef, 0xc3};

int main(void)
{
    void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED) {
        printf("refused\n");
        return 0;
    }
    memcpy(code, loop, sizeof loop);
    printf("%d\n", ((int (*)(int))code)(200000));
    return 0;
}
