/* Who has the lock among several threads, and what counts as text that changes (SEV-3, SEV-4): several.c with the lock of thread.c.
 * Each test is a process of its own. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fragcache/cache.h"
#include "fragcache/poke.h"
#include "runtime/adopt.h"
#include "runtime/dispatch.h"
#include "runtime/several.c" /* NOLINT(bugprone-suspicious-include) */
#include "runtime/thread.c" /* NOLINT(bugprone-suspicious-include) */
#include "tests/unit/unit.h"

static bool alone = true, blocked_throughout = true;
static int withdrawn;

static void look_at_mask(void)
{
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    blocked_throughout &= sigismember(&now, SIGURG) == 1;
}

bool adopt_alone(void) { return alone; }
void dispatch_no_longer_alone(void) { look_at_mask(); }
bool dispatch_text_changes(uint64_t start, uint64_t end)
{
    (void)start, (void)end;
    withdrawn++;
    return several_waits();
}
void poke_set_alone(bool yes) { (void)yes; }
void poke_set_traps(bool yes) { (void)yes; }
void fc_set_several(bool yes)
{
    (void)yes;
    look_at_mask();
}
void code_set_way(enum code_way way) { (void)way; }
enum code_way code_way_get(void) { return CODE_WAY_AUTO; }
enum proto_sampler sampler_start(struct sampler *s, uint64_t rate)
{
    (void)s, (void)rate;
    return PROTO_SAMPLER_NONE;
}
void sampler_forget(struct sampler *s) { (void)s; }
void sampler_stop(struct sampler *s) { (void)s; }

static bool lock_is_free(void)
{
    bool first = thread_lock_try();
    if (first)
        thread_lock_drop();
    return first;
}

static bool lock_counts(void)
{
    bool once = thread_lock_try(), twice = thread_lock_try();
    thread_lock_drop();
    return once && !twice;
}

/* Each in a child: what several.c knows cannot be forgotten. */
static void in_a_process(void (*body)(void))
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        body();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

#define CHECK(e)                                                                                                       \
    do {                                                                                                               \
        if (!(e)) {                                                                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #e);                                                    \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

static void become_several(void)
{
    several_init(true);
    CHECK(several_begin());
    CHECK(several_now() && !several_waits() && lock_counts());
}

/* A slice that came in between would make what only a process by itself may have. */
static void no_signal_comes_between(void)
{
    become_several();
    CHECK(blocked_throughout);
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    CHECK(!sigismember(&now, SIGURG));
}

static void strangers_from_before(void)
{
    several_init(true);
    alone = false;
    CHECK(!several_begin());
    alone = true;
    CHECK(!several_begin() && !several_now());
}

static void nothing_more_after_strangers(void)
{
    become_several();
    several_strangers();
    CHECK(withdrawn == 1 && several_is_over() && several_waits());
}

static void handlers_that_fork(void)
{
    become_several();
    several_fork_begins();
    several_fork_begins(); /* in a handler */
    several_fork_ends(false);
    CHECK(!lock_is_free() && several_rests());
    several_fork_ends(false);
    CHECK(lock_is_free() && lock_counts());
    several_fork_begins();
    several_fork_begins();
    several_fork_ends(true);
    several_fork_ends(true);
    CHECK(lock_is_free() && lock_counts() && !several_waits());
}

/* What a slice learns late, that the process was forked, does not take the lock from the threads it has by then. */
static void threads_of_a_child(void)
{
    become_several();
    several_fork_begins();
    several_fork_ends(true);
    CHECK(several_begin());
    thread_forked(NULL);
    CHECK(lock_counts());
}

static void *holds(void *arg)
{
    (void)arg;
    return thread_lock_try() ? arg : NULL;
}

static void lock_that_is_never_returned(void)
{
    pthread_t t;
    void *held = NULL;
    become_several();
    pthread_create(&t, NULL, holds, &held);
    pthread_join(t, &held);
    CHECK(held);
    several_fork_begins();
    CHECK(!several_is_over());
    pid_t pid = fork();
    several_fork_ends(pid == 0);
    if (pid == 0) {
        CHECK(several_is_over() && lock_is_free());
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(!several_is_over() && !several_lock() && several_is_over());
    time_t start = time(NULL);
    for (int i = 0; i < 1000; i++)
        CHECK(!several_lock());
    CHECK(time(NULL) - start < 2); /* the first one waited for long enough */
}

#define TEST(name)                                                                                                     \
    static void test_##name(void **state)                                                                              \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        in_a_process(name);                                                                                            \
    }
TEST(no_signal_comes_between)
TEST(strangers_from_before)
TEST(nothing_more_after_strangers)
TEST(handlers_that_fork)
TEST(threads_of_a_child)
TEST(lock_that_is_never_returned)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_signal_comes_between),      cmocka_unit_test(test_strangers_from_before),
        cmocka_unit_test(test_nothing_more_after_strangers), cmocka_unit_test(test_handlers_that_fork),
        cmocka_unit_test(test_threads_of_a_child),           cmocka_unit_test(test_lock_that_is_never_returned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
