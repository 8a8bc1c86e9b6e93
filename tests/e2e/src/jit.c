/* build: -O2
 * Code written at run time: rewritten in place 1000 times, called through a write-xor-execute page, and patched by
 * the code that is running. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

typedef long function(long);

/* lea rax, [rdi*2 + value]; add eax, 1; ret */
static void assemble(unsigned char *at, int value)
{
    static const unsigned char code[] = {0x48, 0x8d, 0x04, 0x7d, 0, 0, 0, 0, 0x83, 0xc0, 0x01, 0xc3};
    memcpy(at, code, sizeof code);
    memcpy(at + 4, &value, sizeof value);
}

/* 1: add dword [rip+2] in the next instruction's immediate, 1; mov eax, 0; dec edi; jnz 1b; ret */
static const unsigned char patching[] = {
    0x83, 0x05, 0x01, 0x00, 0x00, 0x00, 0x01, 0xb8, 0x00, 0x00, 0x00, 0x00, 0xff, 0xcf, 0x75, 0xf0, 0xc3};

int main(void)
{
    unsigned char *code = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED)
        return 1;
    function *call = (function *)code;
    long sum = 0;
    for (int i = 0; i < 1000; i++) {
        assemble(code, i * 3);
        for (int k = 0; k < 100; k++)
            sum += call(k);
    }
    printf("%ld\n", sum);

    sum = 0;
    for (int i = 0; i < 200; i++) {
        mprotect(code, 8192, PROT_READ | PROT_WRITE);
        assemble(code + 4090, i);
        mprotect(code, 8192, PROT_READ | PROT_EXEC);
        for (int k = 0; k < 100; k++)
            sum += ((function *)(code + 4090))(k);
    }
    printf("%ld\n", sum);

    mprotect(code, 8192, PROT_READ | PROT_WRITE | PROT_EXEC);
    memcpy(code, patching, sizeof patching);
    sum = call(1000);
    printf("%ld %ld\n", sum, call(5));

    munmap(code, 8192);
    sum = 0;
    for (int i = 0; i < 50; i++) {
        unsigned char *again = mmap(code, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        assemble(again, i * 1000);
        for (int k = 0; k < 100; k++)
            sum += call(k);
        munmap(again, 4096);
    }
    printf("%ld\n", sum);
    return 0;
}
