/* The CPU-time signal (TRL-4, ADP-1): where it leaves the thread, and when the next one comes. What it asks is made up. Its file is
 * part of this one, so that each test begins with a new process's state. */
#include "runtime/base/sys.h"
#include "tests/unit/unit.h"

static uint64_t armed; /* ns of CPU time until the next signal; 0: none was set */

static uint64_t others_ns; /* CPU time of the thread that is looked at; 0: it has ended */

static long kernel_call(long nr, long a, long b, long c, long d, long e, long f)
{
    (void)a, (void)c, (void)d, (void)e, (void)f;
    if (nr != __NR_clock_gettime)
        return 0;
    *(int64_t *)b = 0;
    ((int64_t *)b)[1] = (int64_t)others_ns;
    return others_ns ? 0 : -1;
}
#define sys_call6 kernel_call
#include "runtime/slice.c" /* NOLINT(bugprone-suspicious-include) */
#undef sys_call6

#define TEXT 0x400000u
#define FRAGMENT 0x7f0000000000u /* its first bytes stand for TEXT, with rbx borrowed */
#define OURS 0x7f0000100000u /* nothing is known of that */

/* What the thread and the process are like. */
static struct {
    bool alone, in_control, locked, slice, on_trial, several, waits, over, resting;
    int moves, blocked;
    int ticks, slices, others, locks, drops;
    bool in_code; /* as the policy was told */
    rc_t refuse; /* a slice */
} world;

static struct code_region region;
static struct thread thread;
struct proto_page stats;

bool fc_recover(struct cpu_state *s, const struct tls_slots *slots)
{
    (void)slots;
    if (s->pc < FRAGMENT || s->pc >= FRAGMENT + 0x1000)
        return false;
    s->pc = TEXT + (s->pc - FRAGMENT);
    s->gpr[R_RBX] = 5;
    return true;
}
struct code_region *code_region_find(uint64_t pc) { return pc >= FRAGMENT ? &region : NULL; }
uint16_t near_owner(uint64_t pc)
{
    (void)pc;
    return 0;
}
struct tls_slots *control_slots(void) { return NULL; }
bool adopt_alone(void) { return world.alone; }
bool dispatch_text_changes(uint64_t start, uint64_t end) { return start < end; }
void housekeep_exit(void) {}
bool dispatch_in_control(void) { return world.in_control; }
void dispatch_others_came(void) { world.others++; }
rc_t dispatch_slice_begin(const struct cpu_state *state, uint64_t *entry, uint64_t *sp, uint64_t *arg)
{
    assert_int_equal(state->pc, TEXT + 7);
    world.slices++;
    *entry = 11;
    *sp = 12;
    *arg = 13;
    return world.refuse;
}
bool signals_is_ours(uint64_t pc)
{
    (void)pc;
    return false;
}
void signals_state_get(const struct sigcontext *sc, struct cpu_state *s)
{
    memset(s, 0, sizeof *s);
    s->pc = sc->rip;
    s->gpr[R_RBX] = sc->rbx;
}
void signals_state_put(struct sigcontext *sc, const struct cpu_state *s)
{
    sc->rip = s->pc;
    sc->rbx = s->gpr[R_RBX];
}
bool policy_tick(uint64_t now, bool in_code, uint64_t *wait)
{
    (void)now;
    world.ticks++;
    world.in_code = in_code;
    *wait = 4000000;
    return world.slice && !in_code;
}
bool several_now(void) { return world.several; }
bool several_waits(void) { return world.waits || world.over; }
bool several_is_over(void) { return world.over; }
void several_fork_begins(void) {}
void several_fork_ends(bool child) { (void)child; }
bool timers_make(int sig) { return sig == SLICE_SIGNAL; }
bool timers_mine(void) { return true; }
bool timers_arm(uint64_t ns)
{
    armed = ns;
    return true;
}
void timers_delete(void) {}
void timers_forked(void) {}
bool several_lock(void) { return true; }
void signals_wrap_all(void) {}
void thread_forked(struct thread *self) { (void)self; }
void thread_unlock_native(void) {}
void signals_block(uint64_t *mask)
{
    *mask = ~0ULL;
    world.blocked++;
}
void policy_moves(uint64_t from, uint64_t to)
{
    (void)from, (void)to;
    world.moves++;
}
enum proto_phase policy_phase(uint64_t now)
{
    (void)now;
    return world.resting ? PROTO_PHASE_REST : PROTO_PHASE_LOOK;
}
bool policy_on_trial(void) { return world.on_trial; }
bool policy_wants_samples(void) { return false; }
bool policy_in_budget(uint64_t now)
{
    (void)now;
    return true;
}
void policy_slice_begins(void) {}
uint64_t policy_slice_ends(uint64_t began, uint64_t now)
{
    (void)began, (void)now;
    return 5000000;
}
void policy_forked(void) {}
bool thread_lock_try(void)
{
    world.locks += !world.locked;
    return !world.locked;
}
void thread_lock_drop(void) { world.drops++; }
struct thread *thread_first(void) { return &thread; }
void sampler_expect_ticks(bool yes) { (void)yes; }
void sampler_tick(struct sampler *s, uint64_t pc) { (void)s, (void)pc; }
rc_t housekeep(struct thread *t)
{
    (void)t;
    return RC_OK;
}
void housekeep_sample(struct thread *t) { (void)t; }
void housekeep_drain(void) {}
void housekeep_rate(struct thread *t, bool fast) { (void)t, (void)fast; }
void housekeep_phase(void) {}

static int new_process(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    memset(&sl, 0, sizeof sl);
    world.alone = true;
    sl.active = true;
    sl.pid = sys_getpid();
    sl.owner = (int32_t)sys_gettid();
    others_ns = 1000;
    armed = 0;
    return 0;
}

/* The signal finds the thread at pc. Where it goes on. */
static struct sigcontext signal_at(uint64_t pc)
{
    static struct ucontext uc;
    siginfo_t info;
    memset(&uc, 0, sizeof uc);
    memset(&info, 0, sizeof info);
    info.si_code = SI_TIMER;
    struct sigcontext *sc = (struct sigcontext *)&uc.uc_mcontext;
    sc->rip = pc;
    sc->rsp = 0x1000;
    sc->rbx = 99;
    on_tick(SLICE_SIGNAL, &info, &uc);
    assert_int_equal(world.locks, world.drops + (sc->rip == 11)); /* SEV-3: a slice keeps it */
    world.locks = world.drops = 0;
    return *sc;
}

/* TRL-4: out of the fragment that the last window ran, so that the next one begins in the program's own code. */
static void test_trials_move_the_thread_to_its_own_code(void **state)
{
    (void)state;
    world.on_trial = true;
    struct sigcontext sc = signal_at(FRAGMENT + 7);
    assert_int_equal(sc.rip, TEXT + 7);
    assert_int_equal(sc.rbx, 5);
    assert_int_equal(sc.rsp, 0x1000);
    assert_int_equal(world.ticks, 1);
    assert_false(world.in_code);
    assert_int_equal(world.slices, 0);
    assert_int_equal(armed, 4000000);
}

/* Otherwise a tick leaves it where it is. */
static void test_without_a_trial_it_stays(void **state)
{
    (void)state;
    struct sigcontext sc = signal_at(FRAGMENT + 7);
    assert_int_equal(sc.rip, FRAGMENT + 7);
    assert_int_equal(sc.rbx, 99);
    assert_int_equal(world.ticks, 1);
}

/* What is not known cannot be moved, and no slice begins there. */
static void test_on_its_way_through_our_code(void **state)
{
    (void)state;
    world.on_trial = world.slice = true;
    struct sigcontext sc = signal_at(OURS);
    assert_int_equal(sc.rip, OURS);
    assert_int_equal(sc.rbx, 99);
    assert_true(world.in_code);
    assert_int_equal(world.slices, 0);
}

static void test_slices_begin_in_the_programs_state(void **state)
{
    (void)state;
    world.slice = true;
    struct sigcontext sc = signal_at(FRAGMENT + 7);
    assert_int_equal(world.slices, 1);
    assert_int_equal(sc.rip, 11);
    assert_int_equal(sc.rsp, 12);
    assert_int_equal(sc.rdi, 13);
    assert_int_equal(sc.eflags, 0x202);
    assert_int_equal(armed, 0); /* at its end */
    world.refuse = RC_NO_MEMORY;
    sc = signal_at(FRAGMENT + 7);
    assert_int_equal(sc.rip, FRAGMENT + 7);
}

/* ADP-1: nothing is turned, nor is a slice begun. */
static void test_with_other_threads_nothing_is_done(void **state)
{
    (void)state;
    world.on_trial = world.slice = true;
    world.alone = false;
    struct sigcontext sc = signal_at(FRAGMENT + 7);
    assert_int_equal(sc.rip, FRAGMENT + 7);
    assert_int_equal(world.ticks, 0);
    assert_int_equal(world.others, 1);
    assert_int_equal(armed, OTHERS_NS);
}

/* SEV-3, SEV-4 */
static void test_among_others(void **state)
{
    (void)state;
    world.slice = world.several = true;
    world.alone = false;
    world.waits = true;
    assert_int_equal(signal_at(FRAGMENT + 7).rip, FRAGMENT + 7);
    assert_int_equal(armed, WAIT_NS);
    world.waits = false;
    assert_int_equal(signal_at(FRAGMENT + 7).rip, 11);
    assert_int_equal(world.blocked, 1);
    assert_int_equal(world.others, 0);
    world.over = true;
    armed = 0;
    assert_int_equal(signal_at(FRAGMENT + 7).rip, FRAGMENT + 7);
    assert_int_equal(armed, 0);
    assert_int_equal(world.slices, 1);
}

static void wait_a_little(void)
{
    for (uint64_t start = sys_clock_ns(THREAD_CPU); sys_clock_ns(THREAD_CPU) - start < 2000000;)
        ;
}

/* The thread that is looked at is another: as long as it does its part, and to the end of its trial. */
static void test_whose_turn_it_is(void **state)
{
    (void)state;
    world.several = true;
    sl.owner++;
    for (int i = 0; i < 3; i++) {
        others_ns += 50000000;
        signal_at(FRAGMENT + 7);
        wait_a_little();
        assert_int_equal(armed, BID_NS);
    }
    world.on_trial = true;
    for (int i = 1; i < BIDS_ON_TRIAL; i++) {
        signal_at(FRAGMENT + 7);
        wait_a_little();
        assert_int_equal(world.ticks, 0);
    }
    signal_at(FRAGMENT + 7);
    assert_int_equal(world.ticks, 1);
    assert_int_equal(world.moves, 1);
    assert_int_equal(sl.owner, (int32_t)sys_gettid());
}

static void test_the_last_one_has_ended(void **state)
{
    (void)state;
    world.several = true;
    sl.owner += 2;
    others_ns = 0;
    signal_at(FRAGMENT + 7);
    assert_int_equal(world.ticks, 1);
    assert_int_equal(world.moves, 1);
}

static void test_rests_change_turns(void **state)
{
    (void)state;
    world.several = true;
    sl.owner += 3;
    signal_at(FRAGMENT + 7);
    wait_a_little();
    others_ns += 2000000;
    signal_at(FRAGMENT + 7);
    assert_int_equal(world.ticks, 0);
    world.resting = true;
    wait_a_little();
    others_ns += 2000000;
    signal_at(FRAGMENT + 7);
    assert_int_equal(world.ticks, 1);
}

static void test_in_control_it_is_put_off(void **state)
{
    (void)state;
    world.on_trial = world.slice = true;
    world.in_control = true;
    assert_int_equal(signal_at(FRAGMENT + 7).rip, FRAGMENT + 7);
    world.in_control = false;
    world.locked = true;
    assert_int_equal(signal_at(FRAGMENT + 7).rip, FRAGMENT + 7);
    assert_int_equal(world.ticks, 0);
    assert_int_equal(armed, LEAST_NS);
}

#define TEST(name) cmocka_unit_test_setup(name, new_process)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_trials_move_the_thread_to_its_own_code),
        TEST(test_without_a_trial_it_stays),
        TEST(test_on_its_way_through_our_code),
        TEST(test_slices_begin_in_the_programs_state),
        TEST(test_with_other_threads_nothing_is_done),
        TEST(test_in_control_it_is_put_off),
        TEST(test_among_others),
        TEST(test_whose_turn_it_is),
        TEST(test_the_last_one_has_ended),
        TEST(test_rests_change_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
