/* build: -O2
 * One indirect jump with 50,000 targets, each reached, in an order without pattern; written in assembly because
 * a compiler needs half a minute for the switch. */
#include <stdio.h>

unsigned step(unsigned value, unsigned target);
__asm__(".section .data.rel.ro,\"aw\"\n"
        "targets: .set number, 0\n"
        ".rept 50000\n .quad first_target + 16 * number\n .set number, number + 1\n .endr\n"
        ".text\n"
        "step: lea targets(%rip), %rdx\n mov %esi, %esi\n mov %edi, %eax\n jmp *(%rdx,%rsi,8)\n"
        ".p2align 4\n"
        "first_target: .set number, 0\n"
        ".rept 50000\n imul $2 * number + 3, %eax, %eax\n rol $(number % 27 + 1), %eax\n ret\n .p2align 4\n"
        ".set number, number + 1\n .endr\n");

int main(void)
{
    unsigned x = 1, n = 0;
    for (int i = 0; i < 150000; i++) {
        n = (n + 34591) % 50000;
        x = step(x, n) + 1;
    }
    printf("%u\n", x);
    return 0;
}
