/* Counts blocking system calls that a signal of somebody else cut short: EINTR, or less than was asked for.
 *
 *   eintr [CALLS]           every kind in turn, with computing in between
 *   eintr masked [CALLS]    the kinds that take a signal mask, with all signals blocked outside them
 *
 * The process installs no handler, so that every count must be 0. A helper process answers requests late, so that
 * the calls do block. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HELPER_NS 20000
#define BIG       (256 << 10)
#define MANY      64 /* descriptors in the poll that takes kernel time */

enum request { ANSWER = 'a', CONNECT = 'c', WAKE = 'w', DRAIN = 'd', QUIT = 'q' };

static int ask[2], answer[2], pair[2], bulk[2], listener, polled;
static struct sockaddr_in address;
static uint32_t *word; /* shared with the helper */
static char buffer[BIG];
static unsigned sink = 1;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void rest(long ns)
{
    struct timespec t = {0, ns};
    nanosleep(&t, NULL);
}

static void drain(void)
{
    static char to[BIG];
    for (size_t got = 0; got < BIG;) {
        ssize_t n = read(bulk[0], to, sizeof to);
        if (n <= 0)
            _exit(3);
        got += (size_t)n;
    }
}

static void helper(void)
{
    char request;
    while (read(ask[0], &request, 1) == 1 && request != QUIT) {
        rest(HELPER_NS);
        if (request == ANSWER && (write(answer[1], "", 1) != 1 || write(pair[1], "", 1) != 1))
            _exit(1);
        if (request == DRAIN)
            drain();
        if (request == WAKE) {
            __atomic_store_n(word, 1, __ATOMIC_SEQ_CST);
            syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
        }
        if (request == CONNECT) {
            int s = socket(AF_INET, SOCK_STREAM, 0);
            if (connect(s, (struct sockaddr *)&address, sizeof address))
                _exit(2);
            close(s);
        }
    }
    _exit(0);
}

static void request(enum request r)
{
    char c = (char)r;
    if (write(ask[1], &c, 1) != 1)
        fail("request");
}

/* Both bytes of an answer; the call under test has waited for the first. */
static void take_answer(void)
{
    char c;
    if (read(answer[0], &c, 1) != 1 || read(pair[0], &c, 1) != 1)
        fail("answer");
}

/* Each kind makes one call and returns true when it was cut short. */

static bool try_read(void)
{
    char c;
    request(ANSWER);
    bool cut = read(answer[0], &c, 1) != 1;
    if (cut && read(answer[0], &c, 1) != 1)
        fail("read");
    if (read(pair[0], &c, 1) != 1)
        fail("read");
    return cut;
}

static bool try_recv(void)
{
    char c;
    request(ANSWER);
    bool cut = recv(pair[0], &c, 1, 0) != 1;
    if (cut && recv(pair[0], &c, 1, 0) != 1)
        fail("recv");
    if (read(answer[0], &c, 1) != 1)
        fail("read");
    return cut;
}

static bool try_poll(void)
{
    struct pollfd p = {.fd = pair[0], .events = POLLIN};
    request(ANSWER);
    bool cut = poll(&p, 1, 10000) != 1;
    take_answer();
    return cut;
}

/* Much time in the kernel before it sleeps: a tick may fall into it. */
static bool try_poll_many(void)
{
    struct pollfd p[MANY];
    for (int i = 0; i < MANY; i++)
        p[i] = (struct pollfd){.fd = i + 1 < MANY ? polled : pair[0], .events = POLLIN};
    request(ANSWER);
    bool cut = poll(p, MANY, 10000) != 1;
    take_answer();
    return cut;
}

static bool try_select(void)
{
    fd_set set;
    struct timeval t = {10, 0};
    FD_ZERO(&set);
    FD_SET(pair[0], &set);
    request(ANSWER);
    bool cut = select(pair[0] + 1, &set, NULL, NULL, &t) != 1;
    take_answer();
    return cut;
}

static bool try_epoll(void)
{
    static int epoll = -1;
    struct epoll_event e = {.events = EPOLLIN};
    if (epoll < 0) {
        epoll = epoll_create1(0);
        epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &e);
    }
    request(ANSWER);
    bool cut = epoll_wait(epoll, &e, 1, 10000) != 1;
    take_answer();
    return cut;
}

static bool try_nanosleep(void)
{
    struct timespec t = {0, HELPER_NS};
    return nanosleep(&t, NULL) != 0;
}

static bool try_futex(void)
{
    struct timespec t = {10, 0};
    bool cut = false;
    __atomic_store_n(word, 0, __ATOMIC_SEQ_CST);
    request(WAKE);
    while (!__atomic_load_n(word, __ATOMIC_SEQ_CST))
        if (syscall(SYS_futex, word, FUTEX_WAIT, 0, &t, NULL, 0) && errno == EINTR)
            cut = true;
    return cut;
}

static bool try_accept(void)
{
    request(CONNECT);
    int s = accept(listener, NULL, NULL);
    bool cut = s < 0;
    if (cut && (s = accept(listener, NULL, NULL)) < 0)
        fail("accept");
    close(s);
    return cut;
}

static bool try_write(void)
{
    request(DRAIN);
    ssize_t n = write(bulk[1], buffer, BIG);
    for (ssize_t done = n < 0 ? 0 : n; done < BIG;) {
        ssize_t more = write(bulk[1], buffer, (size_t)(BIG - done));
        if (more < 0)
            fail("write");
        done += more;
    }
    return n != BIG;
}

static bool try_getrandom(void)
{
    return getrandom(buffer, BIG / 8, 0) != BIG / 8;
}

static bool try_wait(void)
{
    int status;
    pid_t pid = vfork();
    if (pid == 0)
        _exit(0);
    bool cut = waitpid(pid, &status, 0) != pid;
    if (cut)
        waitpid(pid, &status, 0);
    return cut;
}

static bool try_ppoll(void)
{
    sigset_t none;
    struct timespec t = {0, HELPER_NS};
    struct pollfd p = {.fd = polled, .events = POLLIN};
    sigemptyset(&none);
    return ppoll(&p, 1, &t, &none) != 0;
}

static bool try_pselect(void)
{
    sigset_t none;
    struct timespec t = {0, HELPER_NS};
    sigemptyset(&none);
    return pselect(0, NULL, NULL, NULL, &t, &none) != 0;
}

static bool try_epoll_pwait(void)
{
    static int epoll = -1;
    struct epoll_event e;
    sigset_t none;
    if (epoll < 0)
        epoll = epoll_create1(0);
    sigemptyset(&none);
    return epoll_pwait(epoll, &e, 1, 1, &none) != 0;
}

static bool try_sigpending(void)
{
    sigset_t set;
    sigpending(&set);
    for (int sig = 1; sig < NSIG; sig++)
        if (sigismember(&set, sig) == 1)
            return true;
    return false;
}

struct kind {
    const char *name;
    bool (*call)(void);
    unsigned every; /* costly ones run in every Nth round only */
    unsigned calls, cut;
};

static struct kind plain[] = {
    {.name = "read", .call = try_read, .every = 1},
    {.name = "recv", .call = try_recv, .every = 1},
    {.name = "poll", .call = try_poll, .every = 1},
    {.name = "poll of many", .call = try_poll_many, .every = 1},
    {.name = "select", .call = try_select, .every = 1},
    {.name = "epoll_wait", .call = try_epoll, .every = 1},
    {.name = "nanosleep", .call = try_nanosleep, .every = 1},
    {.name = "futex", .call = try_futex, .every = 1},
    {.name = "accept", .call = try_accept, .every = 1},
    {.name = "ppoll", .call = try_ppoll, .every = 1},
    {.name = "write", .call = try_write, .every = 8},
    {.name = "getrandom", .call = try_getrandom, .every = 8},
    {.name = "wait", .call = try_wait, .every = 8},
};

static struct kind masked[] = {
    {.name = "sigpending", .call = try_sigpending, .every = 1},
    {.name = "ppoll", .call = try_ppoll, .every = 1},
    {.name = "pselect", .call = try_pselect, .every = 1},
    {.name = "epoll_pwait", .call = try_epoll_pwait, .every = 8},
};

/* Enough that most of the process's time is spent in user mode, in a loop worth a fragment. */
static void compute(void)
{
    for (unsigned i = 0; i < 20000; i++)
        sink = sink * 1664525 + (i ^ sink >> 7);
}

static unsigned run(struct kind *kinds, size_t n, unsigned calls)
{
    unsigned done = 0;
    for (unsigned round = 0; done < calls; round++)
        for (size_t k = 0; k < n && done < calls; k++) {
            if (round % kinds[k].every)
                continue;
            compute();
            done++;
            kinds[k].calls++;
            kinds[k].cut += kinds[k].call();
        }
    unsigned cut = 0;
    for (size_t k = 0; k < n; k++) {
        printf("%s: %u calls, %u cut short\n", kinds[k].name, kinds[k].calls, kinds[k].cut);
        cut += kinds[k].cut;
    }
    printf("%u calls, %u cut short\n", done, cut);
    return cut;
}

static void set_up(void)
{
    socklen_t size = sizeof address;
    word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int idle[2];
    if (word == MAP_FAILED || pipe(ask) || pipe(answer) || pipe(bulk) || pipe(idle) ||
        socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
        fail("set-up");
    polled = idle[0];
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 8) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        fail("listen");
}

int main(int argc, char **argv)
{
    bool with_mask = argc > 1 && !strcmp(argv[1], "masked");
    const char *count = argc > 1 + with_mask ? argv[1 + with_mask] : "2000";
    unsigned calls = (unsigned)strtoul(count, NULL, 10), cut;
    set_up();
    pid_t pid = fork();
    if (pid == 0) {
        close(ask[1]); /* so that the helper ends with this process */
        helper();
    }
    if (with_mask) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL);
        cut = run(masked, sizeof masked / sizeof *masked, calls);
    } else {
        cut = run(plain, sizeof plain / sizeof *plain, calls);
    }
    request(QUIT);
    waitpid(pid, NULL, 0);
    return cut != 0;
}
