/* A stack machine whose loop is one switch: a single indirect jump decides for all instructions. A path through the
 * program it runs has that jump once per instruction, each with one target.
 *
 * kernel: switch 1.05 64 1900 -O2 */
#include <stdio.h>
#include <stdlib.h>

enum op { PUSH, LOAD, STORE, ADD, MUL, XOR, SHIFT, LESS, JUMP_IF, SWAP, POP, HALT };

/* x = seed; for (i = 0; i < 1000; i++) { x = x * 5 + i; x ^= x >> 7; } */
static const int program[] = {
    PUSH, 0,    STORE, 1, /* i = 0 */
    LOAD, 0,    PUSH,  5, MUL,  LOAD, 1, ADD,   STORE, 0, /* x = x * 5 + i */
    LOAD, 0,    LOAD,  0, SHIFT, 7,    XOR, STORE, 0, /* x ^= x >> 7 */
    LOAD, 1,    PUSH,  1, ADD,  STORE, 1, /* i++ */
    PUSH, 1000, LOAD,  1, SWAP, SWAP, LESS, JUMP_IF, 4, HALT,
};

static unsigned run(unsigned seed)
{
    unsigned stack[16], variables[4] = {seed}, *top = stack;
    const int *pc = program;
    for (;;) {
        switch ((enum op)*pc++) {
        case PUSH: *++top = (unsigned)*pc++; break;
        case LOAD: *++top = variables[*pc++]; break;
        case STORE: variables[*pc++] = *top--; break;
        case ADD: top--, *top += top[1]; break;
        case MUL: top--, *top *= top[1]; break;
        case XOR: top--, *top ^= top[1]; break;
        case SHIFT: *top >>= *pc++; break;
        case LESS: top--, *top = top[1] < *top; break;
        case JUMP_IF: pc = *top-- ? program + *pc : pc + 1; break;
        case SWAP: {
            unsigned first = *top;
            *top = top[-1];
            top[-1] = first;
            break;
        }
        case POP: top--; break;
        case HALT: return variables[0];
        }
    }
}

int main(int argc, char **argv)
{
    unsigned sum = 1;
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    for (int r = 0; r < rounds * 100; r++)
        sum = sum * 3 + run(sum);
    printf("%x\n", sum);
    return 0;
}
