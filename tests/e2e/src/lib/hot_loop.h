/* A loop with a call and a branch that depends on data, for programs whose threads or children run the same one. */
__attribute__((noinline)) static unsigned long turn(unsigned long h, unsigned long i) { return (h ^ i) * 0x100000001b3UL; }

__attribute__((noinline)) static unsigned long compute(unsigned long h, int n)
{
    __asm__ volatile("" : "+r"(h)); /* each call counts */
    for (int i = 0; i < n; i++) {
        h = turn(h, (unsigned long)i);
        if (h & 32)
            h += h >> 9;
    }
    return h;
}
