#include "injector/message.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

int message_fail(enum exit_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("reheat: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return code;
}

int message_finish_stdout(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_DONE;
    return message_fail(EXIT_NOTHING, "cannot write to the standard output: %s", strerror(errno));
}

/* Damerau-Levenshtein distance with adjacent swaps (optimal string alignment); words above 31 are far. */
static unsigned word_distance(const char *a, const char *b)
{
    enum { LONGEST = 31 };
    unsigned cost[LONGEST + 1][LONGEST + 1];
    size_t rows = strlen(a), columns = strlen(b);
    if (rows > LONGEST || columns > LONGEST)
        return LONGEST;
    for (unsigned i = 0; i <= rows; i++)
        cost[i][0] = i;
    for (unsigned j = 0; j <= columns; j++)
        cost[0][j] = j;
    for (size_t i = 1; i <= rows; i++) {
        for (size_t j = 1; j <= columns; j++) {
            unsigned best = cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (best > cost[i - 1][j] + 1)
                best = cost[i - 1][j] + 1;
            if (best > cost[i][j - 1] + 1)
                best = cost[i][j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && best > cost[i - 2][j - 2] + 1)
                best = cost[i - 2][j - 2] + 1;
            cost[i][j] = best;
        }
    }
    return cost[rows][columns];
}

void message_suggest(const char *word, const char *const *candidates, size_t count, char *line, size_t size)
{
    const char *nearest = NULL;
    unsigned least = (unsigned)strlen(word) / 2 + 1; /* half the letters wrong is another word */
    for (size_t i = 0; i < count; i++) {
        unsigned distance = word_distance(word, candidates[i]);
        if (distance < least) {
            least = distance;
            nearest = candidates[i];
        }
    }
    line[0] = 0;
    if (nearest != NULL)
        snprintf(line, size, " (did you mean %s?)", nearest);
}
