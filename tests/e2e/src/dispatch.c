/* build: -O2
 * run: switch
 * run: goto
 * Interpreters, by one switch and by a jump at the end of each instruction. The programs they run go round and round: short
 * rounds, long ones, longer than can be followed, rounds that are left in the middle now and then, and none at all. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

enum { ADD, MIX, ROTATE, STORE, LOAD, SKIP, COUNT, END };

struct machine {
    uint64_t a, b, cell[16];
    long left;
};

static void by_switch(struct machine *m, const unsigned char *program)
{
    const unsigned char *pc = program;
    for (;;)
        switch (*pc++) {
        case ADD: m->a += m->b ^ *pc++; break;
        case MIX: m->b = (m->b ^ m->a) * 0x9e3779b97f4a7c15u; break;
        case ROTATE: m->a = m->a << 7 | m->a >> 57; break;
        case STORE: m->cell[*pc++ & 15] = m->a; break;
        case LOAD: m->b += m->cell[*pc++ & 15]; break;
        case SKIP: pc += (m->b & 255) == 7 ? 1 + *pc : 1; break;
        case COUNT:
            pc = program;
            if (--m->left <= 0)
                return;
            break;
        case END: return;
        }
}

static void by_goto(struct machine *m, const unsigned char *program)
{
    static const void *const to[] = {&&add, &&mix, &&rotate, &&store, &&load, &&skip, &&count, &&end};
    const unsigned char *pc = program;
    goto *to[*pc++];
add:
    m->a += m->b ^ *pc++;
    goto *to[*pc++];
mix:
    m->b = (m->b ^ m->a) * 0x9e3779b97f4a7c15u;
    goto *to[*pc++];
rotate:
    m->a = m->a << 7 | m->a >> 57;
    goto *to[*pc++];
store:
    m->cell[*pc++ & 15] = m->a;
    goto *to[*pc++];
load:
    m->b += m->cell[*pc++ & 15];
    goto *to[*pc++];
skip:
    pc += (m->b & 255) == 7 ? 1 + *pc : 1;
    goto *to[*pc++];
count:
    pc = program;
    if (--m->left <= 0)
        return;
    goto *to[*pc++];
end:
    return;
}

static volatile sig_atomic_t ticks;

static void tick(int sig)
{
    (void)sig;
    ticks++;
}

/* `length` instructions; with `skips`, some of them leave the round at random. */
static void make(unsigned char *program, int length, int skips, unsigned seed)
{
    unsigned char *p = program;
    for (int i = 0; i < length; i++) {
        seed = seed * 1664525u + 1013904223u;
        unsigned op = (seed >> 24) % (skips ? SKIP + 1 : SKIP);
        *p++ = (unsigned char)op;
        if (op == ADD || op == STORE || op == LOAD)
            *p++ = (unsigned char)(seed >> 16);
        if (op == SKIP) {
            *p++ = 2;
            *p++ = MIX, *p++ = ROTATE;
        }
    }
    *p++ = COUNT;
    *p = END;
}

int main(int argc, char **argv)
{
    static const struct {
        int length, skips;
    } rounds[] = {{3, 0}, {29, 0}, {29, 1}, {200, 0}, {60, 1}, {5, 0}};
    void (*run)(struct machine *, const unsigned char *) = argc > 1 && !strcmp(argv[1], "goto") ? by_goto : by_switch;
    struct itimerval every = {{0, 3000}, {0, 3000}};
    static unsigned char program[1024];
    signal(SIGVTALRM, tick);
    setitimer(ITIMER_VIRTUAL, &every, NULL);
    for (unsigned i = 0; i < sizeof rounds / sizeof rounds[0]; i++) {
        struct machine m = {1, i, {0}, 24000000 / (rounds[i].length + 1)};
        make(program, rounds[i].length, rounds[i].skips, i + 1);
        run(&m, program);
        printf("%d %016llx %016llx %d\n", rounds[i].length, (unsigned long long)m.a, (unsigned long long)m.b, ticks > 0);
    }
    return 0;
}
