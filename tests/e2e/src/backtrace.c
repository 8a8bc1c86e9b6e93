/* build: -O1 -rdynamic -fno-inline -fno-optimize-sibling-calls
 * backtrace() and _Unwind_Backtrace from hot recursion see the program's own frames, symbols and offsets. */
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unwind.h>

void show(const char *title);
long outer(int n);
long middle(int n);
long inner(int n);

static unsigned long frames, checksum;

static _Unwind_Reason_Code count(struct _Unwind_Context *context, void *argument)
{
    (void)argument;
    unsigned long start = (unsigned long)_Unwind_GetRegionStart(context);
    unsigned long pc = _Unwind_GetIP(context);
    frames++;
    checksum = checksum * 31 + (pc && start ? pc - start : 0); /* pc 0: the end of the stack */
    return _URC_NO_REASON;
}

void show(const char *title)
{
    void *addresses[64];
    int depth = backtrace(addresses, 64);
    char **names = backtrace_symbols(addresses, depth);
    printf("%s:", title);
    for (int i = 0; i < depth; i++) {
        char *open = strrchr(names[i], '('), *close = strrchr(names[i], ')');
        printf(" %.*s", open ? (int)(close - open - 1) : 1, open ? open + 1 : "?");
    }
    printf("\n");
    free(names);
}

long inner(int n)
{
    if (n % 500 == 499)
        show("inner");
    _Unwind_Backtrace(count, NULL);
    return n;
}

long middle(int n)
{
    long sum = 0;
    for (int i = 0; i < 3; i++)
        sum += inner(n + i);
    return sum;
}

long outer(int n)
{
    return n % 7 ? middle(n) + 1 : outer(n + 1) - 1;
}

int main(void)
{
    long sum = 0;
    for (int i = 0; i < 2000; i++)
        sum += outer(i);
    printf("%ld %lu %lx\n", sum, frames, checksum);
    return 0;
}
