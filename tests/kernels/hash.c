/* Hashing and counting words in an open-addressing table: byte loops of different lengths and a probe loop.
 *
 * kernel: hash-O0 1.5 40 1160 -O0
 * kernel: hash-O1 1.1 100 3000 -O1 */
#include <stdio.h>
#include <stdlib.h>

#define WORDS 2000
#define SLOTS 8192

static char words[WORDS][24];
static struct slot {
    const char *word;
    unsigned count;
} slots[SLOTS];

static unsigned hash(const char *s)
{
    unsigned h = 2166136261u;
    while (*s)
        h = (h ^ (unsigned char)*s++) * 16777619u;
    return h;
}

static int equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static unsigned add(const char *word)
{
    unsigned at = hash(word) % SLOTS;
    while (slots[at].word && !equal(slots[at].word, word))
        at = (at + 1) % SLOTS;
    slots[at].word = word;
    return ++slots[at].count;
}

int main(int argc, char **argv)
{
    unsigned long sum = 0;
    unsigned seed = 3;
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    for (int i = 0; i < WORDS; i++) {
        seed = seed * 1664525u + 1013904223u;
        snprintf(words[i], sizeof words[i], "%.*s%u", 2 + (int)(seed >> 29), "identifier", seed >> 16);
    }
    for (int r = 0; r < rounds * 40; r++)
        for (int i = 0; i < WORDS; i++)
            sum = sum * 3 + add(words[(unsigned)i * 7u % WORDS]);
    printf("%lx\n", sum);
    return 0;
}
