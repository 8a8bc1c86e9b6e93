#include "runtime/thread.h"

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <linux/mman.h>

#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

#define LOCK_PATIENCE_NS 200000000ULL
#define NATIVE_PATIENCE_NS 2000000000ULL /* the holder is in a slice, and goes on when the scheduler says so */
#define SPINS 200
#define GUARD_BYTES 4096u

static struct thread *threads;
static bool several;
static __thread uint32_t native_depth __attribute__((tls_model("initial-exec")));
static uint32_t lock_word; /* 0 free, 1 held, 2 held and waited for (Drepper, Futexes Are Tricky, mutex 2) */

struct thread *thread_first(void) { return threads; }

struct thread *thread_current(void)
{
    for (struct thread *t = threads; t; t = t->next)
        if (t->state == THREAD_RUNTIME)
            return t; /* only one has the lock */
    return NULL;
}


static bool kernel_knows(int32_t tid) { return sys_call3(__NR_tgkill, sys_getpid(), tid, 0) == 0; }

/* GONE and truly so: its thread can execute nothing any more. */
static bool is_reusable(const struct thread *t)
{
    return (t->state == THREAD_GONE || t->state == THREAD_NATIVE) && (t->tid == 0 || !kernel_knows(t->tid));
}

static uint8_t *stack_map(void)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK;
    uint8_t *p = sys_mmap(NULL, THREAD_STACK_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (sys_failed(p))
        return NULL;
    (void)sys_mprotect(p, GUARD_BYTES, PROT_NONE);
    return p;
}

struct thread *thread_new(void)
{
    struct thread *t = threads;
    while (t && !is_reusable(t))
        t = t->next;
    if (!t) {
        uint8_t *stack = stack_map();
        t = mem_map(sizeof *t);
        if (!t || !stack)
            return NULL;
        t->stack_top = (uint64_t)(uintptr_t)(stack + THREAD_STACK_BYTES);
        t->next = threads;
        threads = t;
    }
    t->ctx.rt_sp = t->stack_top;
    t->tid = 0;
    sampler_stop(&t->sampler); /* of the thread that had it */
    t->dispatches = t->housekeeps = 0;
    t->sampler_tried = false;
    t->sampler_asked = t->sampler_rate = 0;
    t->previous = NULL;
    t->candidate = NO_HEAD;
    t->rec.active = false;
    t->state = THREAD_WAITING;
    return t;
}

void thread_gone(struct thread *t)
{
    t->rec.active = false;
    t->state = THREAD_GONE;
}

struct thread *thread_of(long tid)
{
    for (struct thread *t = threads; t; t = t->next)
        if (t->state == THREAD_NATIVE && t->tid == (int32_t)tid)
            return t;
    struct thread *t = thread_new();
    if (t)
        t->tid = (int32_t)tid;
    return t;
}

bool thread_alone(const struct thread *self)
{
    for (const struct thread *t = threads; t; t = t->next)
        if (t != self && !is_reusable(t))
            return false;
    return true;
}

bool thread_others_stopped(const struct thread *self)
{
    for (const struct thread *t = threads; t; t = t->next)
        if (t != self && __atomic_load_n(&t->state, __ATOMIC_ACQUIRE) == THREAD_RUNNING)
            return false;
    return true;
}

void thread_forked(struct thread *self)
{
    for (struct thread *t = threads; t; t = t->next)
        if (t != self) {
            t->state = THREAD_GONE;
            t->tid = 0;
            sampler_forget(&t->sampler);
        }
    if (self)
        self->tid = (int32_t)sys_gettid();
}

void thread_lock_reset(void)
{
    several = false;
    lock_word = 0;
}

void thread_expect_others(void)
{
    if (several)
        return;
    several = true;
    lock_word = 1;
    (void)sys_call3(__NR_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
}

void thread_others_come(void)
{
    if (several)
        return;
    thread_expect_others();
    lock_word = 0;
}

void thread_sync_code(void)
{
    if (several)
        (void)sys_call3(__NR_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
}

static bool lock_try(uint32_t to)
{
    uint32_t free = 0;
    return __atomic_compare_exchange_n(&lock_word, &free, to, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static bool lock_wait(uint64_t most_ns)
{
    const uint64_t start = sys_clock_ns(MONOTONIC);
    while (__atomic_exchange_n(&lock_word, 2, __ATOMIC_ACQUIRE) != 0) {
        struct {
            int64_t sec, nsec;
        } patience = {0, (int64_t)LOCK_PATIENCE_NS};
        if (sys_clock_ns(MONOTONIC) - start > most_ns)
            return false;
        (void)sys_call6(__NR_futex, (long)&lock_word, FUTEX_WAIT_PRIVATE, 2, (long)&patience, 0, 0);
    }
    return true;
}

static bool lock_take(uint64_t most_ns)
{
    for (int i = 0; i < SPINS; i++) {
        if (lock_try(1))
            return true;
        __builtin_ia32_pause();
    }
    return lock_wait(most_ns);
}

bool thread_lock_native(bool patient)
{
    if (!several || native_depth) {
        native_depth += several;
        return true;
    }
    native_depth = patient ? lock_take(NATIVE_PATIENCE_NS) : lock_try(1);
    return native_depth != 0;
}

bool thread_lock_is_free(void) { return !__atomic_load_n(&lock_word, __ATOMIC_SEQ_CST); }

void thread_unlock_native(void)
{
    if (native_depth && !--native_depth)
        thread_lock_drop();
}

bool thread_lock_try(void) { return !several || lock_try(1); }

void thread_lock_drop(void)
{
    if (several && __atomic_exchange_n(&lock_word, 0, __ATOMIC_RELEASE) == 2)
        (void)sys_call3(__NR_futex, &lock_word, FUTEX_WAKE_PRIVATE, 1);
}

bool thread_lock(struct thread *self)
{
    if (!several) {
        self->state = THREAD_RUNTIME;
        return true;
    }
    __atomic_store_n(&self->state, THREAD_WAITING, __ATOMIC_SEQ_CST);
    if (!lock_take(LOCK_PATIENCE_NS))
        return false;
    self->state = THREAD_RUNTIME;
    return true;
}

void thread_unlock(struct thread *self, enum thread_state next)
{
    if (!several) { /* THR-4 */
        self->state = next;
        return;
    }
    __atomic_store_n(&self->state, next, __ATOMIC_SEQ_CST);
    thread_lock_drop();
}
