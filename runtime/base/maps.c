#include "runtime/base/maps.h"

#include <asm/fcntl.h>

#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

#define MAX_RANGES 768
#define LINE_BYTES 4352 /* PATH_MAX and the numbers before it */

static struct map_range *ranges; /* sorted by start, as the kernel gives them */
static int range_count;
static bool ranges_valid;
static uint64_t loader_address;
static int last_hit;

void maps_set_loader(uint64_t address) { loader_address = address; }
void maps_forget(void) { ranges_valid = false; }

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

bool maps_parse_line(const char *line, struct map_range *r)
{
    const char *p = parse_hex(line, &r->start);
    if (*p++ != '-')
        return false;
    p = parse_hex(p, &r->end);
    if (*p++ != ' ' || p[0] != 'r' || p[2] != 'x') /* what cannot be read cannot be copied */
        return false;
    bool writable = p[1] == 'w', shared = p[3] == 's';
    p = parse_hex(p + 5, &r->file_offset);
    for (int field = 0; field < 2; field++) { /* device, inode */
        while (*p == ' ')
            p++;
        while (*p && *p != ' ')
            p++;
    }
    while (*p == ' ')
        p++;
    str_copy(r->path, p, sizeof r->path);
    r->kind = classify(r, writable, shared);
    return true;
}

static void ranges_read(void)
{
    static char line[LINE_BYTES]; /* one controlled thread: no other user */
    char buf[4096];
    range_count = 0;
    last_hit = 0;
    ranges_valid = true;
    if (!ranges)
        ranges = mem_map(sizeof *ranges * MAX_RANGES);
    if (!ranges)
        return;
    long fd = sys_open("/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
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
            if (range_count < MAX_RANGES && maps_parse_line(line, &ranges[range_count]))
                range_count++;
        }
    }
    (void)sys_close(fd);
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
    ranges_read();
    return ranges_search(pc.v);
}

enum map_kind maps_kind(struct app_pc pc)
{
    const struct map_range *r = maps_find(pc);
    return r ? r->kind : MAP_NONE;
}

bool maps_touches_code(uint64_t start, uint64_t end)
{
    for (int i = 0; i < range_count; i++)
        if (start < ranges[i].end && end > ranges[i].start)
            return true;
    return false;
}
