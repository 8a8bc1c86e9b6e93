#include "runtime/base/fail.h"

#include <asm/errno.h>
#include <asm/unistd.h>

#define COUNT_MAX 1000000000u

static const struct {
    char name[16];
    long number;
    int error; /* the likely one: errno(3) of the call's manual page */
} points[] = {
    {"mmap", __NR_mmap, ENOMEM},
    {"munmap", __NR_munmap, ENOMEM},
    {"mprotect", __NR_mprotect, ENOMEM},
    {"mremap", __NR_mremap, ENOMEM},
    {"open", __NR_openat, EMFILE},
    {"open_mem", FAIL_OPEN_MEM, EACCES},
    {"code_write", FAIL_CODE_WRITE, EIO},
    {"membarrier", __NR_membarrier, EPERM},
    {"perf_event_open", __NR_perf_event_open, EACCES},
    {"timer_create", __NR_timer_create, EAGAIN},
    {"timer_settime", __NR_timer_settime, EINVAL},
    {"rt_sigaction", __NR_rt_sigaction, EINVAL},
};

long fail_armed = -1;
static uint32_t from, made, failed; /* the first call to fail; calls so far; failed so far */
static bool all_later;
static long error;

static bool parse_count(const char *text)
{
    uint32_t n = 0;
    for (; *text >= '0' && *text <= '9' && n < COUNT_MAX / 10; text++)
        n = n * 10 + (uint32_t)(*text - '0');
    all_later = *text == '+';
    text += all_later;
    from = n;
    return n > 0 && !*text;
}

static bool point_find(const char *spec, size_t length)
{
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        size_t n = 0;
        while (n < length && points[i].name[n] == spec[n])
            n++;
        if (n == length && !points[i].name[n]) {
            error = -points[i].error;
            fail_armed = points[i].number;
            return true;
        }
    }
    return false;
}

bool fail_set(const char *spec)
{
    size_t length = 0;
    fail_armed = -1;
    made = failed = 0;
    if (!spec[0])
        return true;
    while (spec[length] && spec[length] != '@')
        length++;
    return spec[length] == '@' && parse_count(spec + length + 1) && point_find(spec, length);
}

uint32_t fail_count(void)
{
    return __atomic_load_n(&failed, __ATOMIC_RELAXED);
}

long fail_next(void)
{
    uint32_t call = __atomic_add_fetch(&made, 1, __ATOMIC_RELAXED);
    if (call != from && !(all_later && call > from))
        return 0;
    __atomic_fetch_add(&failed, 1, __ATOMIC_RELAXED);
    return error;
}
