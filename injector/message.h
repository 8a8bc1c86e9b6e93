/* What the program says on stderr, and its exit codes, which follow env(1). */
#ifndef REHEAT_INJECTOR_MESSAGE_H
#define REHEAT_INJECTOR_MESSAGE_H

#include <stddef.h>

enum exit_code {
    EXIT_DONE = 0,
    EXIT_NOTHING = 1, /* nothing to show, or it cannot be written */
    EXIT_USAGE = 2,
    EXIT_SETUP = 125, /* reheat itself is not installed right */
    EXIT_NOT_RUNNABLE = 126,
    EXIT_NOT_FOUND = 127,
};

/* One line "reheat: ..."; gives `code` back, so that a caller can return it. */
[[gnu::format(printf, 2, 3)]] int message_fail(enum exit_code code, const char *format, ...);

/* Flushes stdout. EXIT_DONE, or EXIT_NOTHING when not all of it could be written. */
int message_finish_stdout(void);

/* Copies to `line` the candidate that `word` was probably meant to be, as " (did you mean x?)", or "". */
void message_suggest(const char *word, const char *const *candidates, size_t count, char *line, size_t size);

#endif
