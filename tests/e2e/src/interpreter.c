/* build: -O2 -fwrapv
 * A bytecode interpreter with computed goto: one indirect jump per operation. */
#include <stdio.h>

enum { PUSH, ADD, SUB, MUL, XOR, DUP, SWAP, DECN, JNZ, HALT };

static long run(const int *code, long n)
{
    static const void *const labels[] = {&&push, &&add, &&sub, &&mul, &&xor, &&dup, &&swap, &&decn, &&jnz, &&halt};
    long stack[64] = {0}, *sp = stack;
    const int *pc = code;
#define NEXT goto *labels[*pc++]
    NEXT;
push: *++sp = *pc++; NEXT;
add: sp--; sp[0] += sp[1]; NEXT;
sub: sp--; sp[0] -= sp[1]; NEXT;
mul: sp--; sp[0] = (long)((unsigned long)sp[0] * (unsigned long)sp[1]); NEXT;
xor: sp--; sp[0] ^= sp[1]; NEXT;
dup: sp[1] = sp[0]; sp++; NEXT;
swap: { long t = sp[0]; sp[0] = sp[-1]; sp[-1] = t; } NEXT;
decn: n--; NEXT;
jnz: pc = n ? code + *pc : pc + 1; NEXT;
halt: return *sp;
}

int main(void)
{
    static const int program[] = {PUSH, 1, PUSH, 3, MUL, DUP, PUSH, 17, XOR, ADD, DUP, PUSH, 5, SUB, SWAP, PUSH, 9, XOR, ADD,
                                  PUSH, 7, XOR, DECN, JNZ, 2, HALT};
    printf("%ld\n", run(program, 200000));
    return 0;
}
