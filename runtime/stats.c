#include "runtime/stats.h"

#include <asm/fcntl.h>
#include <asm/resource.h>
#include <asm/stat.h>
#include <linux/mman.h>

#include "fragcache/cache.h"
#include "fragcache/hook.h"
#include "runtime/adopt.h"
#include "runtime/base/codewrite.h"
#include "runtime/base/fail.h"
#include "runtime/base/fmt.h"
#include "runtime/base/maps.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/sampler.h"
#include "runtime/policy.h"
#include "runtime/symbol.h"
#include "runtime/traces.h"
#include "runtime/verdict.h"
#include "tracer/block.h"

#define AT_SYMLINK_NOFOLLOW_ 0x100
#define FILE_MOST (4u << 20) /* bytes; no file of ours gets larger at once */
#define PUT_BYTES 8192

struct proto_page stats;
static struct proto_page *shared; /* of this process; NULL: not created */

static void exe_read(char *out, size_t cap)
{
    long n = sys_call3(__NR_readlink, "/proc/self/exe", out, cap - 1);
    out[n > 0 ? n : 0] = 0;
}

void stats_init(const struct options *o)
{
    stats.version = PROTO_VERSION;
    stats.bytes = sizeof stats;
    stats.control = (uint32_t)o->control;
    stats.cache_capacity = o->cache_bytes;
    stats.running = 1;
}

void stats_declined(rc_t reason)
{
    if (reason < PROTO_REASONS)
        stats.traces_declined[reason]++;
}

/* The user's directory for pages, made if need be; -1 when it is not the user's own: /dev/shm is everyone's. */
static long page_directory(void)
{
    char path[64];
    struct stat st;
    long uid = sys_call3(__NR_geteuid, 0, 0, 0);
    struct fmt f = fmt_on(path, sizeof path);
    fmt_str(&f, "/dev/shm/reheat-"); /* PROTO_DIR_FORMAT */
    fmt_dec(&f, uid);
    (void)sys_call3(__NR_mkdir, path, 0700, 0);
    long dir = sys_open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (dir < 0)
        return -1;
    if (sys_call3(__NR_fstat, dir, &st, 0) == 0 && (long)st.st_uid == uid && !(st.st_mode & 022))
        return dir;
    (void)sys_close(dir);
    return -1;
}

static void page_name(char *out, size_t cap)
{
    struct fmt f = fmt_on(out, cap);
    fmt_dec(&f, stats.pid);
}

/* A write beyond the limit on file sizes would raise SIGXFSZ in the program. */
static bool files_may_grow(void)
{
    uint64_t limit[2];
    return sys_call6(__NR_prlimit64, 0, RLIMIT_FSIZE, 0, (long)limit, 0, 0) == 0 && limit[0] >= FILE_MOST;
}

/* A page left by an earlier process of the same number is replaced, never written to. All of its memory is reserved
 * at once: a full file system must not fault later. */
static void page_create(void)
{
    char name[16];
    page_name(name, sizeof name);
    long dir = files_may_grow() ? page_directory() : -1;
    if (dir < 0)
        return;
    (void)sys_call3(__NR_unlinkat, dir, name, 0);
    long fd = sys_call6(__NR_openat, dir, (long)name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600, 0, 0);
    if (fd >= 0 && sys_call6(__NR_fallocate, fd, 0, 0, sizeof stats, 0, 0) == 0) {
        void *p = sys_mmap(NULL, sizeof stats, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0);
        if (!sys_failed(p))
            shared = p;
    }
    if (fd >= 0)
        (void)sys_close(fd);
    (void)sys_close(dir);
}

/* The page's age counts from here; stores through the mapping do not move its time. */
static void page_touch(void)
{
    char name[16];
    page_name(name, sizeof name);
    long dir = page_directory();
    if (dir < 0)
        return;
    (void)sys_call6(__NR_utimensat, dir, (long)name, 0, AT_SYMLINK_NOFOLLOW_, 0, 0);
    (void)sys_close(dir);
}

static void fragment_describe(struct proto_fragment *out, const struct fragment *f, bool with_symbols)
{
    mem_zero(out, sizeof *out);
    out->id = f->id;
    out->state = f->live ? PROTO_FRAG_LIVE : PROTO_FRAG_RETIRED;
    out->kind = f->loop ? PROTO_KIND_LOOP : PROTO_KIND_STRAIGHT;
    out->insns_in = f->insns_in;
    out->insns_out = f->insns_out;
    out->bytes_in = f->bytes_in;
    out->bytes_out = f->len;
    out->samples = f->samples;
    out->entries = f->entries;
    out->gain_ppm = (int32_t)((int64_t)f->gain * 1000000 / VERDICT_ONE);
    out->gain_error_ppm = (int32_t)((int64_t)f->gain_error * 1000000 / VERDICT_ONE);
    const struct map_range *r = maps_find(f->tag);
    if (r) {
        out->offset = f->tag.v - r->start + r->file_offset;
        str_copy(out->module, str_base(r->path), sizeof out->module);
    }
    if (with_symbols)
        symbol_find(f->tag, out->symbol, sizeof out->symbol);
}

static bool hotter(const struct fragment *a, const struct fragment *b)
{
    return a->samples != b->samples ? a->samples > b->samples : a->entries > b->entries;
}

/* The hottest fragments, by insertion into a short list. */
static void top_gather(bool with_symbols)
{
    static const struct fragment *top[PROTO_TOP];
    int n = 0;
    for (const struct fragment *f = fc_newest(); f; f = f->next) {
        if (n == PROTO_TOP && !hotter(f, top[n - 1]))
            continue;
        int i = n < PROTO_TOP ? n++ : n - 1;
        for (; i > 0 && hotter(f, top[i - 1]); i--)
            top[i] = top[i - 1];
        top[i] = f;
    }
    mem_zero(stats.top, sizeof stats.top);
    for (int i = 0; i < n; i++)
        fragment_describe(&stats.top[i], top[i], with_symbols);
}

_Static_assert((int)PROTO_TACTICS == (int)TACTIC_COUNT && 1 << CODE_WAY_MEM >> 1 == PROTO_WRITE_MEM &&
                   1 << CODE_WAY_PAGE >> 1 == PROTO_WRITE_PAGE,
               "the page's numbers are the modules' own");

static void gather_hooks(void)
{
    struct hook_counts c = hook_counts_get();
    for (int t = 0; t < PROTO_TACTICS; t++) {
        stats.hooks_set[t] = c.set[t];
        stats.hooks_live[t] = c.live[t];
    }
    for (size_t rc = 0; rc < ARRAY_LEN(c.refused) && rc < PROTO_REASONS; rc++)
        stats.hooks_refused[rc] = c.refused[rc];
    stats.hooks_stuck = c.stuck;
    stats.hook_traps = c.traps;
}

_Static_assert((int)PASS_COUNT <= PROTO_PASSES, "each pass has its place in the page");

static int64_t ppm(int64_t gain) { return gain * 1000000 / VERDICT_ONE; }

static void gather(void)
{
    struct fc_stats s = fc_stats_get();
    stats.fragments_live = s.live;
    stats.fragments_emitted = s.emitted;
    stats.fragments_retired = s.retired;
    stats.flushes = s.flushes;
    stats.links = s.links;
    stats.hooks = adopt_hooks();
    gather_hooks();
    stats.sampler_reason = sampler_refusal();
    stats.write_ways = code_ways_used() >> 1;
    stats.faults = fail_count();
    stats.cache_used = s.used;
    stats.insns_in = s.insns_in;
    stats.insns_out = s.insns_out;
    stats.blocks = block_stats_get().blocks;
    stats.cpu_ns = sys_clock_ns(PROCESS_CPU);
    uint64_t samples = stats.samples_fragment + stats.samples_native + stats.samples_runtime;
    stats.runtime_ns = samples ? stats.cpu_ns / samples * stats.samples_runtime : 0;
    struct policy_stats p = policy_stats_get();
    for (int i = 0; i < 4; i++)
        stats.trials[i] = p.trials[i];
    stats.gain_ppm = ppm(p.gain);
    stats.slices = p.slices;
    stats.slice_ns = p.spent;
    stats.phase = PROTO_PHASE_NONE;
    if (stats.control == CONTROL_SAMPLED) {
        stats.runtime_ns = p.spent;
        stats.phase = stats.bailout_reason ? PROTO_PHASE_NONE : policy_phase(sys_clock_ns(THREAD_CPU));
    }
    for (int i = 0; i < PASS_COUNT; i++) {
        stats.changes[i] = traces_changes(i);
        stats.gains[i] = (struct proto_gain){p.gains.fragments[i], ppm(p.gains.measured[i]), ppm(p.gains.shared[i])};
    }
    stats.layout = (struct proto_gain){p.gains.fragments[PASS_COUNT], 0, ppm(p.gains.shared[PASS_COUNT])};
}

static void copy_to_shared(void)
{
    if (!shared)
        page_create();
    if (!shared)
        return;
    struct proto_page *from = &stats;
    from->magic = shared->magic; /* PROTO-1: set after all else */
    mem_copy(shared, from, sizeof *from);
    __atomic_store_n(&shared->magic, PROTO_MAGIC, __ATOMIC_RELEASE);
}

static void own_page(void)
{
    uint32_t pid = (uint32_t)sys_getpid();
    if (stats.pid == pid)
        return;
    if (stats.pid) /* forked where we did not see it: STAT-2 */
        shared = NULL;
    stats.pid = pid;
    if (!stats.exe[0])
        exe_read(stats.exe, sizeof stats.exe);
}

void stats_publish(void)
{
    own_page();
    gather();
    if (stats.bailout_reason == RC_OK || !stats.top[0].id)
        top_gather(!stats.running || stats.bailout_reason != RC_OK); /* names cost too much for every time */
    copy_to_shared();
}

void stats_forked(void)
{
    struct options o = {.control = stats.control, .cache_bytes = stats.cache_capacity};
    char exe[PROTO_PATH];
    str_copy(exe, stats.exe, sizeof exe);
    mem_zero(&stats, sizeof stats);
    stats_init(&o);
    str_copy(stats.exe, exe, sizeof stats.exe);
    if (shared)
        (void)sys_munmap(shared, sizeof stats);
    shared = NULL;
}

struct json_file {
    long fd;
    size_t len;
    char buf[PUT_BYTES];
};

static void json_flush(struct json_file *j)
{
    for (size_t done = 0; done < j->len;) {
        long n = sys_write(j->fd, j->buf + done, j->len - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    j->len = 0;
}

static void json_put(void *arg, const char *text, size_t len)
{
    struct json_file *j = arg;
    for (size_t i = 0; i < len; i++) {
        if (j->len == sizeof j->buf)
            json_flush(j);
        j->buf[j->len++] = text[i];
    }
}

static void json_write(const char *pattern)
{
    static struct json_file j;
    char path[OPTION_TEXT + 32];
    struct fmt f = fmt_on(path, sizeof path);
    fmt_path(&f, pattern, stats.pid);
    j.fd = sys_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (j.fd < 0)
        return;
    proto_write_json(&stats, json_put, &j);
    json_flush(&j);
    (void)sys_close(j.fd);
}

void stats_finish(const struct options *o)
{
    bool hot = fc_stats_get().emitted || shared || stats.bailout_reason;
    if (!hot && !o->stats_path[0])
        return;
    own_page();
    stats.running = 0;
    if (hot) {
        stats_publish();
        if (shared)
            page_touch();
    } else {
        gather();
    }
    if (o->stats_path[0] && files_may_grow())
        json_write(o->stats_path);
}
