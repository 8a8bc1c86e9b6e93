/* build: -O2 -fnon-call-exceptions
 * A handler throws: the unwinder finds the frame that was interrupted, its destructors run, its catch is reached. The fault
 * comes in a loop that has long been hot, several frames deep. */
#include <csignal>
#include <cstdio>
#include <sys/mman.h>

static long destroyed;
struct Guard {
    ~Guard() { destroyed++; }
};
struct Fault {
    long offset;
};

static long *numbers;
constexpr long LENGTH = 1 << 14;

static void on_fault(int, siginfo_t *info, void *)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    sigprocmask(SIG_UNBLOCK, &set, nullptr);
    throw Fault{(long)((char *)info->si_addr - (char *)numbers)};
}

__attribute__((noinline)) static long add(const long *at, long sum)
{
    Guard guard;
    return sum * 3 + *at;
}

__attribute__((noinline)) static long total(long count)
{
    Guard guard;
    long sum = 0;
    for (long i = 0; i < count; i++)
        sum = add(numbers + i, sum);
    return sum;
}

int main()
{
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, nullptr);
    numbers = (long *)mmap(nullptr, LENGTH * 8 + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(numbers + LENGTH, 4096, PROT_NONE);
    for (long i = 0; i < LENGTH; i++)
        numbers[i] = i;
    long sum = 0;
    for (int i = 0; i < 12000; i++)
        sum += total(LENGTH);
    std::printf("%ld %ld\n", sum, destroyed);
    for (int i = 0; i < 50; i++) {
        try {
            sum += total(LENGTH + 5);
        } catch (const Fault &fault) {
            sum += fault.offset;
        }
        for (int k = 0; k < 10; k++)
            sum += total(LENGTH);
    }
    std::printf("%ld %ld\n", sum, destroyed);
    return 0;
}
