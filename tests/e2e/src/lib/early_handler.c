/* A library whose constructor sets a handler, before the program's first instruction and before a preloaded library's. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stddef.h>
#include <ucontext.h>

volatile long early_calls, early_strange;

static void handler(int sig, siginfo_t *info, void *context)
{
    Dl_info of;
    (void)sig, (void)info;
    early_calls++;
    early_strange += !dladdr((void *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP], &of);
}

__attribute__((constructor)) static void begin(void)
{
    struct sigaction act = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGVTALRM, &act, NULL);
}
