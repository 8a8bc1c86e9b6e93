/* build: -O0
 * run: 20000
 * run: 60000
 * Vector registers in loops over numbers in memory, and in the frames of signals that arrive there: a handler sees those that
 * the program has put there, and what it puts there itself arrives. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>

static volatile sig_atomic_t arrived, wrong;
static volatile int inside;
static uint64_t shown[8];

/* While `inside`, xmm8 to xmm15 are shown[i] and its complement; the handler changes one of them now and then. */
static void on_signal(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)sig, (void)info;
    if (!inside)
        return;
    for (int i = 0; i < 8; i++) {
        uint64_t v[2];
        memcpy(v, &uc->uc_mcontext.fpregs->_xmm[8 + i], 16);
        if (v[0] != shown[i] || v[1] != ~shown[i])
            wrong = 1;
    }
    if (++arrived % 3 == 0) {
        int i = arrived % 8;
        uint64_t v[2] = {shown[i] + 1, ~(shown[i] + 1)};
        memcpy(&uc->uc_mcontext.fpregs->_xmm[8 + i], v, 16);
        shown[i]++;
    }
}

/* By the system call itself, which keeps vector registers. */
static inline __attribute__((always_inline)) void change_mask(int how)
{
    static const uint64_t mask = 1ULL << (SIGVTALRM - 1);
    register long size __asm__("r10") = sizeof mask;
    long number = SYS_rt_sigprocmask;
    __asm__ volatile("syscall" : "+a"(number) : "D"(how), "S"(&mask), "d"(0), "r"(size) : "rcx", "r11", "memory");
}

#define SET(n) __asm__ volatile("movups %0, %%xmm" #n : : "m"(*(uint64_t(*)[2])set[n - 8]))
#define GET(n) __asm__ volatile("movups %%xmm" #n ", %0" : "=m"(*(uint64_t(*)[2])got[n - 8]))

int main(int argc, char **argv)
{
    struct sigaction act = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
    uint64_t set[8][2], got[8][2];
    int rounds = argc > 1 ? atoi(argv[1]) : 1000;
    double sum = 0, step = 0.25;
    float small = 1;
    for (int i = 0; i < 8; i++)
        shown[i] = 0x1234567890abcdefu * (unsigned)(i + 1);
    sigaction(SIGVTALRM, &act, NULL);
    setitimer(ITIMER_VIRTUAL, &often, NULL);
    for (int r = 0; r < rounds; r++) {
        change_mask(0); /* SIG_BLOCK */
        for (int i = 0; i < 8; i++) {
            set[i][0] = shown[i];
            set[i][1] = ~shown[i];
        }
        SET(8); SET(9); SET(10); SET(11); SET(12); SET(13); SET(14); SET(15);
        inside = 1;
        change_mask(1); /* SIG_UNBLOCK */
        for (int k = 0; k < 2000; k++) {
            sum += step * (k & 7);
            small = small * 0.5f + 1;
        }
        inside = 0;
        GET(8); GET(9); GET(10); GET(11); GET(12); GET(13); GET(14); GET(15);
        for (int i = 0; i < 8; i++)
            if (got[i][0] != shown[i] || got[i][1] != ~shown[i])
                wrong |= 2;
    }
    setitimer(ITIMER_VIRTUAL, &never, NULL);
    printf("%.17g %g wrong=%d signals=%d\n", sum, (double)small, wrong, arrived > 0);
    return 0;
}
