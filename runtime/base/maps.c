#include "runtime/base/maps.h"

#include <asm/fcntl.h>

#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

#define MAX_RANGES 768
#define PAGE 4096u
#define LINE_BYTES 4352 /* PATH_MAX and the numbers before it */

#define MAX_DATA 1024

struct data_range {
    uint64_t start, end, path; /* path: its hash */
};
static struct {
    struct data_range range[MAX_DATA];
    int count;
    bool shared;
} data;
static struct {
    uint64_t page, offset, path; /* path: its hash; page 0: free */
    bool seen; /* by the last reading */
} replaced[MAPS_REPLACED];
/* Where the line before ends, and where in which file; path 0: in none. */
static struct {
    uint64_t end, offset, path;
} before;
static struct map_range *ranges; /* sorted by start, as the kernel gives them */
static int range_count;
static bool ranges_valid;
static uint64_t loader_address;
static int last_hit;

void maps_set_loader(uint64_t address) { loader_address = address; }
void maps_forget(void) { ranges_valid = false; }
bool maps_known(void) { return ranges_valid; }

static const char *parse_hex(const char *p, uint64_t *v)
{
    *v = 0;
    for (;; p++) {
        if (*p >= '0' && *p <= '9')
            *v = *v << 4 | (uint64_t)(*p - '0');
        else if (*p >= 'a' && *p <= 'f')
            *v = *v << 4 | (uint64_t)(*p - 'a' + 10);
        else
            return p;
    }
}

static bool starts_with(const char *s, const char *prefix)
{
    while (*prefix && *s == *prefix)
        s++, prefix++;
    return !*prefix;
}

static enum map_kind classify(const struct map_range *r, bool writable, bool shared)
{
    if (str_equal(r->path, "[vdso]") || str_equal(r->path, "[vsyscall]"))
        return MAP_VDSO;
    if (loader_address >= r->start - r->file_offset && loader_address < r->end) /* its header lies before its text */
        return MAP_LOADER;
    uint64_t self = (uint64_t)(uintptr_t)&maps_parse_line;
    if (self >= r->start && self < r->end)
        return MAP_SELF;
    bool memory = starts_with(r->path, "/memfd:") || starts_with(r->path, "/dev/zero") || starts_with(r->path, "/SYSV");
    if (r->path[0] != '/' || memory || writable || shared)
        return MAP_VOLATILE;
    return MAP_TEXT;
}

/* From the offset on: device, inode, path. */
static const char *path_after(const char *p)
{
    for (int field = 0; field < 3; field++) {
        while (*p == ' ')
            p++;
        while (*p && *p != ' ')
            p++;
    }
    while (*p == ' ')
        p++;
    return p;
}

bool maps_parse_line(const char *line, struct map_range *r)
{
    const char *p = parse_hex(line, &r->start);
    if (*p++ != '-')
        return false;
    p = parse_hex(p, &r->end);
    if (*p++ != ' ' || p[0] != 'r' || p[2] != 'x') /* what cannot be read cannot be copied */
        return false;
    bool writable = p[1] == 'w', shared = p[3] == 's';
    (void)parse_hex(p + 5, &r->file_offset);
    str_copy(r->path, path_after(p + 5), sizeof r->path);
    r->kind = classify(r, writable, shared);
    return true;
}

static uint64_t path_hash(const char *s)
{
    uint64_t h = 0xcbf29ce484222325ULL; /* FNV-1a */
    for (; *s; s++)
        h = (h ^ (uint8_t)*s) * 0x100000001b3ULL;
    return h;
}

/* One more range, or more of the last one: pages of code memory that were replaced are mappings of their own. */
static void range_add(const struct map_range *r)
{
    struct map_range *last = range_count ? &ranges[range_count - 1] : NULL;
    bool same = last && last->end == r->start && last->kind == r->kind && str_equal(last->path, r->path);
    bool on = !r->path[0] || (same && last->file_offset + (last->end - last->start) == r->file_offset);
    if (same && on)
        last->end = r->end;
    else if (range_count < MAX_RANGES)
        ranges[range_count++] = *r;
}

/* What was at `page` before we replaced it, if what is there can be nothing else: the same file still lies before it. */
static int replaced_find(uint64_t page)
{
    for (int i = 0; before.path && before.end == page && i < MAPS_REPLACED; i++)
        if (replaced[i].page == page && replaced[i].path == before.path && replaced[i].offset == before.offset) {
            replaced[i].seen = true;
            return i;
        }
    return -1;
}

static void before_set(uint64_t end, uint64_t offset, uint64_t path)
{
    before.end = end;
    before.offset = offset;
    before.path = path;
}

/* A mapping of code without a file: pages that we replaced, then anybody's. `path`: of the file before it. */
static void anonymous_note(struct map_range *r, const char *path)
{
    const struct map_range all = *r;
    uint64_t page = all.start;
    for (int i; page < all.end && (i = replaced_find(page)) >= 0; page += PAGE) {
        *r = (struct map_range){page, page + PAGE, replaced[i].offset, MAP_TEXT, ""};
        str_copy(r->path, path, sizeof r->path);
        before_set(page + PAGE, before.offset + PAGE, before.path);
        range_add(r);
    }
    if (page == all.end)
        return;
    before.path = 0;
    *r = all;
    r->start = page;
    range_add(r);
}

bool maps_page_is_replaced(uint64_t page)
{
    for (int i = 0; i < MAPS_REPLACED; i++)
        if (replaced[i].page == page)
            return true;
    return false;
}

bool maps_file_has(uint64_t at, const uint8_t *bytes, size_t len)
{
    uint8_t of_file[512];
    const struct map_range *r = maps_find(app_pc(at));
    if (!r || r->path[0] != '/' || len > sizeof of_file)
        return false;
    long fd = sys_open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0)
        return false;
    uint64_t offset = r->file_offset + (at - r->start);
    long n = sys_call6(__NR_pread64, fd, (long)of_file, (long)len, (long)offset, 0, 0);
    (void)sys_close(fd);
    for (long i = n < 0 ? 0 : n; i < (long)len; i++)
        of_file[i] = 0; /* behind the file's end */
    return n > 0 && mem_compare(of_file, bytes, len) == 0;
}

bool maps_replace_page(uint64_t page)
{
    const struct map_range *r = maps_find(app_pc(page));
    int room = -1;
    for (int i = 0; i < MAPS_REPLACED; i++) {
        if (replaced[i].page == page)
            return true;
        if (!replaced[i].page && room < 0)
            room = i;
    }
    if (!r || r->kind != MAP_TEXT || room < 0)
        return false;
    replaced[room].page = page;
    replaced[room].offset = r->file_offset + (page - r->start);
    replaced[room].path = path_hash(r->path);
    return true;
}

static void replaced_unsee(void)
{
    for (int i = 0; i < MAPS_REPLACED; i++)
        replaced[i].seen = false;
}

static void replaced_drop_unseen(void)
{
    for (int i = 0; i < MAPS_REPLACED; i++)
        if (!replaced[i].seen)
            replaced[i].page = 0;
}

void maps_forget_replaced(uint64_t start, uint64_t end)
{
    if (!start && end == UINT64_MAX)
        return; /* what is unmapped of that, the next reading sees */
    for (int i = 0; i < MAPS_REPLACED; i++)
        if (replaced[i].page >= start && replaced[i].page < end)
            replaced[i].page = 0;
}

/* A line that is not of code. */
static void data_note(const char *line)
{
    uint64_t start, end;
    const char *p = parse_hex(line, &start);
    p = parse_hex(p + 1, &end) + 1;
    const char *path = path_after(p + 5);
    if (p[0] == 'r' && p[3] == 's') {
        bool ours = starts_with(path, "/dev/shm/reheat-") || str_equal(path, "anon_inode:[perf_event]");
        data.shared |= !ours;
    } else if (path[0] == '/' && starts_with(p, "r--p") && data.count < MAX_DATA) {
        data.range[data.count++] = (struct data_range){start, end, path_hash(path)};
    }
}

/* Of data ranges, those of modules. */
static void data_filter(void)
{
    static uint64_t text[MAX_RANGES];
    int kept = 0;
    for (int k = 0; k < range_count; k++)
        text[k] = ranges[k].kind == MAP_TEXT ? path_hash(ranges[k].path) : 0;
    for (int i = 0; i < data.count; i++)
        for (int k = 0; k < range_count; k++)
            if (text[k] == data.range[i].path) {
                data.range[kept++] = data.range[i];
                break;
            }
    data.count = kept;
}

bool maps_is_constant(uint64_t at, unsigned bytes)
{
    for (int i = 0; i < data.count; i++)
        if (at >= data.range[i].start && at + bytes <= data.range[i].end)
            return true;
    return false;
}

bool maps_is_shared(void) { return data.shared; }

static void line_note(const char *line)
{
    static struct map_range r;
    static char path[sizeof r.path]; /* of the file before; its hash is before.path */
    uint64_t start, end, offset;
    const char *p = parse_hex(parse_hex(line, &start) + 1, &end) + 1;
    bool code = maps_parse_line(line, &r);
    if (code && !r.path[0]) {
        anonymous_note(&r, path);
        return;
    }
    (void)parse_hex(p + 5, &offset);
    str_copy(path, path_after(p + 5), sizeof path);
    before_set(end, offset + (end - start), path[0] == '/' ? path_hash(path) : 0);
    if (code)
        range_add(&r);
    else
        data_note(line);
}

void maps_read(void)
{
    static char line[LINE_BYTES]; /* one controlled thread: no other user */
    static char buf[4096]; /* not on the program's stack */
    range_count = 0;
    data.count = 0;
    data.shared = false;
    last_hit = 0;
    before_set(0, 0, 0);
    replaced_unsee();
    ranges_valid = true;
    if (!ranges)
        ranges = mem_map(sizeof *ranges * MAX_RANGES);
    if (!ranges)
        return;
    long fd = sys_open("/proc/thread-self/maps", O_RDONLY | O_CLOEXEC, 0); /* self: the first thread, which may have ended */
    if (fd < 0)
        return;
    size_t len = 0;
    for (;;) {
        long n = sys_read(fd, buf, sizeof buf);
        if (n <= 0)
            break;
        for (long i = 0; i < n; i++) {
            if (buf[i] != '\n') {
                if (len + 1 < sizeof line)
                    line[len++] = buf[i];
                continue;
            }
            line[len] = 0;
            len = 0;
            line_note(line);
        }
    }
    (void)sys_close(fd);
    replaced_drop_unseen();
    data_filter();
}

static const struct map_range *ranges_search(uint64_t pc)
{
    if (last_hit < range_count && pc >= ranges[last_hit].start && pc < ranges[last_hit].end)
        return &ranges[last_hit];
    for (int i = 0; i < range_count; i++)
        if (pc >= ranges[i].start && pc < ranges[i].end) {
            last_hit = i;
            return &ranges[i];
        }
    return NULL;
}

const struct map_range *maps_find(struct app_pc pc)
{
    if (ranges_valid) {
        const struct map_range *r = ranges_search(pc.v);
        if (r)
            return r;
    }
    maps_read();
    return ranges_search(pc.v);
}

enum map_kind maps_kind(struct app_pc pc)
{
    const struct map_range *r = maps_find(pc);
    return r ? r->kind : MAP_NONE;
}

bool maps_touches_code(uint64_t start, uint64_t end)
{
    for (int i = 0; i < data.count; i++)
        if (start < data.range[i].end && end > data.range[i].start)
            return true;
    for (int i = 0; i < range_count; i++)
        if (start < ranges[i].end && end > ranges[i].start)
            return true;
    return false;
}
