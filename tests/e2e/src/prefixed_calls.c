/* build: -O2 -fcf-protection=none
 * Calls and jumps with prefixes that say nothing, as the linker leaves them when it relaxes an indirect call to a direct
 * one or the access to a thread-local variable. Hard, because they are longer than what a call is made of, and the
 * return address is that of the longer one. */
#include <stdio.h>

__asm__(".text\n"
        "target:   lea 1(%rdi), %rax\n\t"
        "          ret\n"
        "address:  mov (%rsp), %rax\n\t" /* what it returns to, from the caller's start on */
        "          lea start(%rip), %rdx\n\t"
        "          sub %rdx, %rax\n\t"
        "          add %rdi, %rax\n\t"
        "          repz ret\n"
        "relaxed:  .byte 0x67; call target\n\t"
        "          ret\n"
        "tail:     .byte 0x67; jmp target\n"
        "start:    sub $8, %rsp\n\t"
        "          .byte 0x67; call address\n\t"
        "          mov %rax, %rdi\n\t"
        "          .byte 0x66, 0x66, 0x48; call target\n\t"
        "          mov %rax, %rdi\n\t"
        "          .byte 0xf2; call target\n\t"
        "          mov %rax, %rdi\n\t"
        "          notrack call *1f(%rip)\n\t"
        "          add $8, %rsp\n\t"
        "          .byte 0xf2; ret\n\t"
        ".section .data.rel.local, \"aw\"\n\t"
        "1:        .quad target\n\t"
        ".text\n");
long relaxed(long), tail(long), start(long);

int main(void)
{
    long sum = 0;
    for (long i = 0; i < 1000000; i++)
        sum += relaxed(i) - tail(i) + (start(i) ^ i);
    printf("%ld %ld\n", sum, start(0));
    return 0;
}
