/* Formatting without libc: a bounded text buffer that never overruns and is always terminated.
 * Any thread, async-signal-safe. */
#ifndef REHEAT_FMT_H
#define REHEAT_FMT_H

#include <stddef.h>
#include <stdint.h>

struct fmt {
    char *buf;
    size_t cap, len; /* len < cap always */
};

static inline struct fmt fmt_on(char *buf, size_t cap)
{
    buf[0] = 0;
    return (struct fmt){buf, cap, 0};
}
void fmt_str(struct fmt *f, const char *s);
void fmt_char(struct fmt *f, char c);
void fmt_dec(struct fmt *f, int64_t v);
/* Hexadecimal without prefix, at least `width` digits. */
void fmt_hex(struct fmt *f, uint64_t v, int width);
/* Blanks up to column `col` of the current line. */
void fmt_pad(struct fmt *f, size_t col);
/* Expands %p (process id) and %% of a file name setting. */
void fmt_path(struct fmt *f, const char *pattern, long pid);

#endif
