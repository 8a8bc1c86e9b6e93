#include "injector/options.h"

#include <stdlib.h>
#include <string.h>

#include "injector/message.h"

const struct option_setting option_table[] = {
#define OPT_NUM(name, field, def, lo, hi, unit, text)                                                        \
    {#name, OPTION_NUMBER, def, lo, hi, sizeof unit > 1, NULL, text},
#define OPT_ENUM(name, field, def, words, text) {#name, OPTION_CHOICE, def, 0, 0, false, words, text},
#define OPT_STR(name, field, shape, text) {#name, OPTION_TEXT, 0, 0, 0, false, shape, text},
#include "runtime/options.def"
#undef OPT_NUM
#undef OPT_ENUM
#undef OPT_STR
};

enum { COUNT = sizeof option_table / sizeof option_table[0] };
const size_t option_count = COUNT;

static const struct option_setting *option_find(const char *name, size_t length)
{
    for (size_t i = 0; i < option_count; i++)
        if (strlen(option_table[i].name) == length && memcmp(option_table[i].name, name, length) == 0)
            return &option_table[i];
    return NULL;
}

/* A number as one would type it: 8388608 as 8M where the setting is a size. */
static void format_number(const struct option_setting *option, long long n, char *text, size_t size)
{
    const char *unit = "";
    for (const char *const *next = (const char *const[]){"K", "M", "G", NULL};
         option->size && *next != NULL && n >= 1024 && n % 1024 == 0; next++) {
        n /= 1024;
        unit = *next;
    }
    snprintf(text, size, "%lld%s", n, unit);
}

/* Decimal digits only: strtoll alone would take blanks, signs and the empty string. */
static bool parse_number(const char *text, bool is_size, long long *n)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 15)
        return false;
    *n = strtoll(text, NULL, 10);
    const char *unit = text + digits;
    if (*unit == 0)
        return true;
    if (!is_size || unit[1] != 0)
        return false;
    unsigned shift = *unit == 'K' ? 10 : *unit == 'M' ? 20 : *unit == 'G' ? 30 : 0;
    if (shift == 0 || *n > (1LL << 62) >> shift)
        return false;
    *n <<= shift;
    return true;
}

static bool choice_has(const char *choices, const char *value)
{
    size_t length = strlen(value);
    for (;;) {
        size_t word = strcspn(choices, "|");
        if (word == length && memcmp(choices, value, length) == 0)
            return true;
        if (choices[word] == 0)
            return false;
        choices += word + 1;
    }
}

static bool check_value(const struct option_setting *option, const char *value, char *why, size_t size)
{
    if (option->kind == OPTION_TEXT)
        return true;
    if (option->kind == OPTION_CHOICE) {
        if (choice_has(option->choices, value))
            return true;
        snprintf(why, size, "%s must be one of %s, not '%s'", option->name, option->choices, value);
        return false;
    }
    long long n;
    if (parse_number(value, option->size, &n) && n >= option->min && n <= option->max)
        return true;
    char min[24], max[24];
    format_number(option, option->min, min, sizeof min);
    format_number(option, option->max, max, sizeof max);
    snprintf(why, size, "%s must be a number from %s to %s%s, not '%s'", option->name, min, max,
             option->size ? " (with K, M or G for powers of 1024)" : "", value);
    return false;
}

static void explain_unknown(const char *name, char *why, size_t size)
{
    const char *names[COUNT];
    char hint[64];
    for (size_t i = 0; i < option_count; i++)
        names[i] = option_table[i].name;
    message_suggest(name, names, option_count, hint, sizeof hint);
    snprintf(why, size, "there is no option '%s'%s; 'reheat run --help' lists them", name, hint);
}

bool option_check(const char *setting, char *why, size_t size)
{
    size_t length = strcspn(setting, "=");
    const struct option_setting *option = option_find(setting, length);
    if (option == NULL) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)(length < sizeof name ? length : sizeof name - 1), setting);
        explain_unknown(name, why, size);
        return false;
    }
    if (setting[length] == 0) {
        char shape[64];
        option_format_value(option, shape, sizeof shape);
        snprintf(why, size, "option %s needs a value: %s=%s", option->name, option->name, shape);
        return false;
    }
    const char *value = setting + length + 1;
    if (strchr(value, ',') != NULL) {
        snprintf(why, size,
                 "the value of %s contains a comma, which separates options: '%s'; "
                 "give each option its own -o",
                 option->name, value);
        return false;
    }
    return check_value(option, value, why, size);
}

bool option_check_list(const char *list, char *why, size_t size)
{
    while (*list) {
        size_t length = strcspn(list, ",");
        char *setting = strndup(list, length);
        bool good = setting != NULL && (length == 0 || option_check(setting, why, size));
        if (setting == NULL)
            snprintf(why, size, "out of memory");
        free(setting);
        if (!good)
            return false;
        list += length + (list[length] == ',');
    }
    return true;
}

void option_format_value(const struct option_setting *option, char *text, size_t size)
{
    const char *shape = option->kind == OPTION_CHOICE ? option->choices
                        : option->kind == OPTION_TEXT ? option->choices
                        : option->size                ? "SIZE"
                                                      : "N";
    snprintf(text, size, "%s", shape);
}

void option_format_range(const struct option_setting *option, char *text, size_t size)
{
    if (option->kind == OPTION_TEXT) {
        snprintf(text, size, "default: none");
        return;
    }
    if (option->kind == OPTION_CHOICE) {
        const char *word = option->choices;
        for (long long i = 0; i < option->initial; i++)
            word += strcspn(word, "|") + 1;
        snprintf(text, size, "default %.*s", (int)strcspn(word, "|"), word);
        return;
    }
    char initial[24], min[24], max[24];
    format_number(option, option->initial, initial, sizeof initial);
    format_number(option, option->min, min, sizeof min);
    format_number(option, option->max, max, sizeof max);
    snprintf(text, size, "default %s, %s to %s", initial, min, max);
}

/* Breaks `text` between words so that lines end before column 80. */
static void print_wrapped(FILE *out, const char *text, int indent)
{
    for (int column = 0; *text;) {
        int word = (int)strcspn(text, " ");
        if (column == 0 || column + 1 + word > 79)
            column = fprintf(out, "%s%*s%.*s", column ? "\n" : "", indent, "", word, text) - (column != 0);
        else
            column += fprintf(out, " %.*s", word, text);
        text += word;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

void option_print_table(FILE *out)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_setting *option = &option_table[i];
        char shape[64], range[96], head[140];
        option_format_value(option, shape, sizeof shape);
        option_format_range(option, range, sizeof range);
        snprintf(head, sizeof head, "%s=%s", option->name, shape);
        fprintf(out, "  %-18s (%s)\n", head, range);
        print_wrapped(out, option->help, 6);
    }
}
