/* Tiny functions of the C library, called through the PLT. A trace that goes through call, PLT jump, function and
 * return leaves a push, the body and nothing to predict.
 *
 * kernel: plt 1.5 17 500 -O2 -fno-builtin */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    static unsigned char text[4096];
    unsigned long sum = 0;
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    for (unsigned i = 0; i < sizeof text; i++)
        text[i] = (unsigned char)(i * 2654435761u >> 24);
    for (int r = 0; r < rounds * 500; r++) {
        for (unsigned i = 0; i < sizeof text; i++) {
            int c = text[i] & 127;
            sum += (unsigned long)((isalpha)(c) + abs(c - 64));
            sum = sum * 3 + (unsigned long)ffs(c);
        }
    }
    printf("%lx\n", sum);
    return 0;
}
