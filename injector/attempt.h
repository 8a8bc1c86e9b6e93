/* One run of a command, natively or under the runtime: its standard output and how it ended, to be compared with other runs.
 *
 * Each run reads the same standard input, has the same addresses (no randomization), and writes its standard error
 * nowhere. */
#ifndef REHEAT_INJECTOR_ATTEMPT_H
#define REHEAT_INJECTOR_ATTEMPT_H

#include <stdbool.h>
#include <stdio.h>

struct command_line {
    const char *path, *library;
    char *const *argv;
    int input;    /* descriptor of the standard input */
    bool rewinds; /* it is set back to where it was before each run */
    long input_at;
    double limit; /* seconds after which a run is killed; 0: none */
};

struct attempt {
    FILE *output;
    long bytes;
    int status; /* as waitpid(2) gives it, without the core flag */
    bool late;  /* killed at the limit */
    double seconds;
};

/* Makes the standard input one that can be read again: what comes from a pipe is kept in a file. EXIT_DONE, or says what failed
 * and returns EXIT_NOTHING. */
int attempt_keep_input(struct command_line *c);

/* Runs it: natively (setting NULL), or under the runtime with the settings of REHEAT and then this list. EXIT_DONE, or says what
 * failed and returns EXIT_NOTHING. */
int attempt_run(const struct command_line *c, const char *setting, struct attempt *out);
void attempt_free(struct attempt *a);

bool attempt_same(const struct attempt *a, const struct attempt *b);
/* "exit status 0, 12 bytes". */
void attempt_describe(const struct attempt *a, char *text, size_t size);
/* Offset of the first byte that differs; -1: none. */
long attempt_first_difference(const struct attempt *a, const struct attempt *b);

#endif
