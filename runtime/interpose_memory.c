/* libc functions that end what fragments were made under (facts.h): a second thread, memory that others write, text or constants
 * that go or change. What was made is withdrawn first.
 *
 * Allocators call mmap with their locks held, so next definitions are looked up before there are several threads and not after
 * that: dlsym takes the loader's lock. Where one is not known the kernel is called at once. Not seen: system calls that are not made through libc. */
#include <asm/mman.h>
#include <linux/mman.h>

#include "fragcache/poke.h"
#include "runtime/base/sys.h"
#include "runtime/dispatch.h"
#include "runtime/interpose.h"
#include "runtime/several.h"
#include "runtime/slice.h"

#define NO_AGAIN 11 /* EAGAIN */
#define MOST_STARTS 64
#define THRD_ERROR 2 /* <threads.h> */

static bool several; /* threads may exist */

static struct {
    void *mmap, *mmap64, *munmap, *mprotect, *shmat, *mremap, *madvise;
} next_of;

void event_text(long addr, size_t len)
{
    several_text_begins();
    if (slice_active())
        (void)dispatch_text_changes((uint64_t)addr, (uint64_t)addr + len);
}

void event_text_done(void) { several_text_ends(); }

void event_shared(void)
{
    if (slice_active())
        dispatch_no_longer_alone();
}

static void *next_find(void **cache, const char *name)
{
    static bool inside;
    if (!*cache && dlsym && !several && !inside) {
        inside = true;
        *cache = dlsym(RTLD_NEXT_, name);
        inside = false;
    }
    return *cache;
}

static void next_find_all(void)
{
    (void)next_find(&next_of.mmap, "mmap");
    (void)next_find(&next_of.mmap64, "mmap64");
    (void)next_find(&next_of.munmap, "munmap");
    (void)next_find(&next_of.mprotect, "mprotect");
    (void)next_find(&next_of.shmat, "shmat");
    (void)next_find(&next_of.mremap, "mremap");
    (void)next_find(&next_of.madvise, "madvise");
}

void event_thread(bool known)
{
    next_find_all();
    bool goes_on = known && several_begin();
    if (!goes_on)
        event_shared();
    if (!known)
        several_strangers();
    several = true;
}

static long result(long rc)
{
    if (rc >= 0 || rc < -4095)
        return rc;
    if (__errno_location)
        *__errno_location() = (int)-rc;
    return -1;
}

static void *map(void **next, const char *name, void *addr, size_t len, int prot, int flags, int fd, long offset)
{
    if (flags & MAP_FIXED)
        event_text((long)addr, len);
    bool shares = (flags & MAP_SHARED) && (prot & PROT_READ);
    if (shares)
        event_shared();
    void *(*real)(void *, size_t, int, int, int, long) = next_find(next, name);
    void *at = real ? real(addr, len, prot, flags, fd, offset)
                    : (void *)result(sys_call6(__NR_mmap, (long)addr, (long)len, prot, flags, fd, offset));
    if (shares)
        event_shared(); /* a slice may have come between */
    if (flags & MAP_FIXED)
        event_text_done();
    return at;
}

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, long offset);
void *mmap(void *addr, size_t len, int prot, int flags, int fd, long offset)
{
    return map(&next_of.mmap, "mmap", addr, len, prot, flags, fd, offset);
}

EXPORT void *mmap64(void *addr, size_t len, int prot, int flags, int fd, long offset);
void *mmap64(void *addr, size_t len, int prot, int flags, int fd, long offset)
{
    return map(&next_of.mmap64, "mmap64", addr, len, prot, flags, fd, offset);
}

EXPORT int munmap(void *addr, size_t len);
int munmap(void *addr, size_t len)
{
    event_text((long)addr, len);
    int (*real)(void *, size_t) = next_find(&next_of.munmap, "munmap");
    int rc = real ? real(addr, len) : (int)result(sys_call3(__NR_munmap, addr, len, 0));
    event_text_done();
    return rc;
}

EXPORT int mprotect(void *addr, size_t len, int prot);
int mprotect(void *addr, size_t len, int prot)
{
    event_text((long)addr, len);
    int (*real)(void *, size_t, int) = next_find(&next_of.mprotect, "mprotect");
    int rc = real ? real(addr, len, prot) : (int)result(sys_call3(__NR_mprotect, addr, len, prot));
    event_text_done();
    return rc;
}

EXPORT void *shmat(int id, const void *addr, int flags);
void *shmat(int id, const void *addr, int flags)
{
    event_shared();
    void *(*real)(int, const void *, int) = next_find(&next_of.shmat, "shmat");
    return real ? real(id, addr, flags) : (void *)result(sys_call3(__NR_shmat, id, addr, flags));
}

EXPORT void *mremap(void *old, size_t len, size_t new_len, int flags, void *fixed);
void *mremap(void *old, size_t len, size_t new_len, int flags, void *fixed) /* variadic: what was not passed is passed on unread */
{
    event_text((long)old, len);
    if (flags & MREMAP_FIXED)
        event_text((long)fixed, new_len);
    void *(*real)(void *, size_t, size_t, int, void *) = next_find(&next_of.mremap, "mremap");
    void *at = real ? real(old, len, new_len, flags, fixed)
                    : (void *)result(sys_call6(__NR_mremap, (long)old, (long)len, (long)new_len, flags, (long)fixed, 0));
    event_text_done();
    if (flags & MREMAP_FIXED)
        event_text_done();
    return at;
}

static int advise(void *addr, size_t len, int advice)
{
    int (*real)(void *, size_t, int) = next_find(&next_of.madvise, "madvise");
    return real ? real(addr, len, advice) : (int)result(sys_call3(__NR_madvise, addr, len, advice));
}

/* Pages are given back, and what is read next is the file's. */
static bool gives_back(int advice)
{
    return advice == MADV_DONTNEED || advice == MADV_DONTNEED_LOCKED || advice == MADV_FREE || advice == MADV_WIPEONFORK;
}

/* Text that we have replaced has no file behind it, but what is in it is what would be read. */

int madvise(void *addr, size_t len, int advice)
{
    uint64_t start = (uint64_t)addr, end = start + len, page = 0;
    while (gives_back(advice) && start < end && (page = poke_next_replaced(start, end))) {
        if (page > start && advise((void *)start, page - start, advice) != 0)
            return -1;
        start = page + 4096;
    }
    return start < end || !len ? advise((void *)start, len ? end - start : 0, advice) : 0;
}

/* No lock of an allocator is held here. */
static void *next_of_threads(void **cache, const char *name)
{
    if (!*cache && dlsym)
        *cache = dlsym(RTLD_NEXT_, name);
    return *cache;
}

/* What a thread is to begin with, until it does. */
static struct start {
    void *(*fn)(void *);
    void *arg;
    bool taken, blocked; /* blocked: our signal, by the program */
} starts[MOST_STARTS];

static struct start *start_get(void *(*fn)(void *), void *arg)
{
    for (int i = 0; i < MOST_STARTS; i++)
        if (!__atomic_exchange_n(&starts[i].taken, true, __ATOMIC_ACQUIRE)) {
            starts[i].fn = fn;
            starts[i].arg = arg;
            starts[i].blocked = event_mask_blocked();
            return &starts[i];
        }
    return NULL;
}

static void start_free(struct start *s) { __atomic_store_n(&s->taken, false, __ATOMIC_RELEASE); }

/* Ends in a jump: no frame of ours. */
static void *started(void *start)
{
    struct start *s = start;
    void *(*fn)(void *) = s->fn;
    void *arg = s->arg;
    event_mask_begins(s->blocked);
    start_free(s);
    slice_thread_starts();
    return fn(arg);
}

EXPORT int pthread_create(void *thread, const void *attributes, void *(*start)(void *), void *arg);
int pthread_create(void *thread, const void *attributes, void *(*start)(void *), void *arg)
{
    static void *next;
    int (*real)(void *, const void *, void *(*)(void *), void *) = next_of_threads(&next, "pthread_create");
    event_thread(true);
    struct start *s = slice_active() ? start_get(start, arg) : NULL;
    int error = !real ? NO_AGAIN : s ? real(thread, attributes, started, s) : real(thread, attributes, start, arg);
    if (error && s)
        start_free(s);
    event_thread(true); /* a slice may have come between */
    return error;
}

EXPORT int thrd_create(void *thread, int (*start)(void *), void *arg);
int thrd_create(void *thread, int (*start)(void *), void *arg)
{
    static void *next;
    int (*real)(void *, int (*)(void *), void *) = next_of_threads(&next, "thrd_create");
    event_thread(true);
    int error = real ? real(thread, start, arg) : THRD_ERROR;
    event_thread(true);
    return error;
}
