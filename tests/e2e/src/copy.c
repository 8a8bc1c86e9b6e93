/* build: -O2
 * stdin: cases.sh
 * Copies standard input to standard output through read/write, then counts what it saw on standard error. */
#include <stdio.h>
#include <unistd.h>

int main(void)
{
    char buffer[777];
    unsigned sum = 0;
    long total = 0;
    ssize_t count;
    while ((count = read(0, buffer, sizeof buffer)) > 0) {
        for (ssize_t i = 0; i < count; i++)
            sum = sum * 31 + (unsigned char)buffer[i];
        total += count;
        for (ssize_t at = 0; at < count;) {
            ssize_t wrote = write(1, buffer + at, (size_t)(count - at));
            if (wrote < 0)
                return 2;
            at += wrote;
        }
    }
    fprintf(stderr, "%ld bytes, %u\n", total, sum);
    return 3;
}
