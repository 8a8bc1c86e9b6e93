#include "runtime/base/fmt.h"

void fmt_char(struct fmt *f, char c)
{
    if (f->len + 1 >= f->cap)
        return;
    f->buf[f->len++] = c;
    f->buf[f->len] = 0;
}

void fmt_str(struct fmt *f, const char *s)
{
    while (*s)
        fmt_char(f, *s++);
}

static void fmt_unsigned(struct fmt *f, uint64_t v, unsigned base, int width)
{
    char digits[24];
    int n = 0;
    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v || n < width);
    while (n)
        fmt_char(f, digits[--n]);
}

void fmt_dec(struct fmt *f, int64_t v)
{
    if (v < 0)
        fmt_char(f, '-');
    fmt_unsigned(f, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10, 1);
}

void fmt_hex(struct fmt *f, uint64_t v, int width) { fmt_unsigned(f, v, 16, width > 16 ? 16 : width); }

void fmt_pad(struct fmt *f, size_t col)
{
    size_t start = f->len;
    while (start && f->buf[start - 1] != '\n')
        start--;
    while (f->len - start < col && f->len + 1 < f->cap)
        fmt_char(f, ' ');
}

void fmt_path(struct fmt *f, const char *pattern, long pid)
{
    for (; *pattern; pattern++) {
        if (pattern[0] == '%' && pattern[1] == 'p') {
            fmt_dec(f, pid);
            pattern++;
        } else if (pattern[0] == '%' && pattern[1] == '%') {
            fmt_char(f, '%');
            pattern++;
        } else {
            fmt_char(f, *pattern);
        }
    }
}
