/* The settings of the runtime, from runtime/options.def: one table for checking, help and man page. */
#ifndef REHEAT_INJECTOR_OPTIONS_H
#define REHEAT_INJECTOR_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum option_kind { OPTION_NUMBER, OPTION_CHOICE, OPTION_TEXT };

struct option_setting {
    const char *name;
    enum option_kind kind;
    long long initial, min, max; /* OPTION_CHOICE: initial is an index into choices */
    bool size;                   /* a number that accepts K, M, G */
    const char *choices;         /* OPTION_CHOICE: words separated by |; OPTION_TEXT: the shape, as "FILE" */
    const char *help;
};

extern const struct option_setting option_table[];
extern const size_t option_count;

/* Checks one "key=value". False: `why` says what is wrong, what was given, and what is allowed. */
bool option_check(const char *setting, char *why, size_t size);

/* Checks a comma separated list, such as the environment variable REHEAT holds. */
bool option_check_list(const char *list, char *why, size_t size);

/* The value's shape, as "N", "SIZE", "off|full" or "FILE"; default and range as "default 8M, 16K to 1G". */
void option_format_value(const struct option_setting *option, char *text, size_t size);
void option_format_range(const struct option_setting *option, char *text, size_t size);

/* The table as --help shows it. */
void option_print_table(FILE *out);

#endif
