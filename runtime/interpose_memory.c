/* libc functions that end what fragments were made under (facts.h): a second thread, memory that others write, text or constants
 * that go or change. What was made is withdrawn first.
 *
 * Allocators call mmap with their locks held, so the next definition is not looked up once there may be several threads: dlsym
 * takes the loader's lock. Then the kernel is called at once. Not seen: system calls that are not made through libc. */
#include <asm/mman.h>
#include <linux/mman.h>

#include "runtime/base/sys.h"
#include "runtime/dispatch.h"
#include "runtime/slice.h"

#define EXPORT __attribute__((visibility("default")))
#define RTLD_NEXT_ ((void *)-1L)
#define NO_AGAIN 11 /* EAGAIN */

extern void *dlsym(void *handle, const char *name) __attribute__((weak));
extern int *__errno_location(void) __attribute__((weak));

static bool several; /* threads may exist */

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
    if (slice_active() && (flags & MAP_FIXED))
        (void)dispatch_text_changes((uint64_t)(uintptr_t)addr, (uint64_t)(uintptr_t)addr + len);
    bool shares = (flags & MAP_SHARED) && (prot & PROT_READ);
    if (slice_active() && shares)
        dispatch_no_longer_alone();
    void *(*real)(void *, size_t, int, int, int, long) = next_find(next, name);
    void *at = real ? real(addr, len, prot, flags, fd, offset)
                    : (void *)result(sys_call6(__NR_mmap, (long)addr, (long)len, prot, flags, fd, offset));
    if (slice_active() && shares)
        dispatch_no_longer_alone(); /* a slice may have come between */
    return at;
}

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, long offset);
void *mmap(void *addr, size_t len, int prot, int flags, int fd, long offset)
{
    static void *next;
    return map(&next, "mmap", addr, len, prot, flags, fd, offset);
}

EXPORT void *mmap64(void *addr, size_t len, int prot, int flags, int fd, long offset);
void *mmap64(void *addr, size_t len, int prot, int flags, int fd, long offset)
{
    static void *next;
    return map(&next, "mmap64", addr, len, prot, flags, fd, offset);
}

EXPORT int munmap(void *addr, size_t len);
int munmap(void *addr, size_t len)
{
    static void *next;
    if (slice_active())
        (void)dispatch_text_changes((uint64_t)(uintptr_t)addr, (uint64_t)(uintptr_t)addr + len);
    int (*real)(void *, size_t) = next_find(&next, "munmap");
    return real ? real(addr, len) : (int)result(sys_call3(__NR_munmap, addr, len, 0));
}

EXPORT int mprotect(void *addr, size_t len, int prot);
int mprotect(void *addr, size_t len, int prot)
{
    static void *next;
    if (slice_active())
        (void)dispatch_text_changes((uint64_t)(uintptr_t)addr, (uint64_t)(uintptr_t)addr + len);
    int (*real)(void *, size_t, int) = next_find(&next, "mprotect");
    return real ? real(addr, len, prot) : (int)result(sys_call3(__NR_mprotect, addr, len, prot));
}

EXPORT void *shmat(int id, const void *addr, int flags);
void *shmat(int id, const void *addr, int flags)
{
    static void *next;
    if (slice_active())
        dispatch_no_longer_alone();
    void *(*real)(int, const void *, int) = next_find(&next, "shmat");
    return real ? real(id, addr, flags) : (void *)result(sys_call3(__NR_shmat, id, addr, flags));
}

EXPORT int pthread_create(void *thread, const void *attributes, void *(*start)(void *), void *arg);
int pthread_create(void *thread, const void *attributes, void *(*start)(void *), void *arg)
{
    static void *next;
    int (*real)(void *, const void *, void *(*)(void *), void *) = next_find(&next, "pthread_create");
    if (!real && dlsym) /* no lock of an allocator is held here */
        real = next = dlsym(RTLD_NEXT_, "pthread_create");
    if (slice_active())
        dispatch_no_longer_alone();
    several = true;
    int error = real ? real(thread, attributes, start, arg) : NO_AGAIN;
    if (slice_active())
        dispatch_no_longer_alone(); /* a slice may have come between */
    return error;
}
