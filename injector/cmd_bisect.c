/* Finds the change of the optimizer that makes a program's output wrong.
 *
 *   native twice: the reference, and is it one?     all changes: is anything wrong?     no change: is it a change?
 *   bisect=1, 4, 16, ... until it is wrong; halved from there; then once more with dumps, which name the change
 *
 * The first `good` changes leave the output right and the first `bad` do not, both seen, until bad is good + 1. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "injector/attempt.h"
#include "injector/command.h"
#include "injector/dump_change.h"
#include "injector/message.h"
#include "injector/options.h"
#include "injector/preload.h"
#include "injector/program.h"

#define DEFAULTS      "control=full,bailout=0,rate=0" /* the same traces in each run, and no end of them */
#define MOST          1000000000u                     /* of bisect=, see options.def */
#define PATIENCE      50.0                            /* native times, and */
#define PATIENCE_S    10.0                            /* seconds */
#define SETTING_BYTES 256

struct search {
    struct command_line command;
    struct attempt native;
};

/* Settings of ours, of the environment and of the command line, in this order, into REHEAT. Returns where the program stands
 * in argv; 0 after a message. */
static int read_arguments(int argc, char **argv)
{
    char why[512];
    const char *inherited = getenv("REHEAT");
    char *kept = strdup(inherited != NULL ? inherited : "");
    bool good = kept != NULL && option_check_list(kept, why, sizeof why);
    if (!good)
        message_fail(EXIT_USAGE, "in the environment variable REHEAT: %s",
                     kept != NULL ? why : "out of memory");
    good = good && setenv("REHEAT", DEFAULTS, 1) == 0 && (!*kept || preload_add_setting(kept) == EXIT_DONE);
    free(kept);
    int i = 1;
    for (; good && i < argc && argv[i][0] == '-' && argv[i][1] != 0; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        const char *setting = argv[i] + 2;
        if (strncmp(argv[i], "-o", 2) != 0) {
            message_fail(EXIT_USAGE, "bisect has no option '%s'; usage: reheat bisect %s", argv[i],
                         command_find("bisect")->usage);
            return 0;
        }
        if (!*setting && (setting = argv[++i]) == NULL) {
            message_fail(EXIT_USAGE, "-o needs KEY=VALUE; 'reheat bisect --help' lists the options");
            return 0;
        }
        if (!option_check(setting, why, sizeof why)) {
            message_fail(EXIT_USAGE, "%s", why);
            return 0;
        }
        good = preload_add_setting(setting) == EXIT_DONE;
    }
    if (good && i >= argc)
        message_fail(EXIT_USAGE, "bisect needs a PROGRAM; usage: reheat bisect %s",
                     command_find("bisect")->usage);
    return good && i < argc ? i : 0;
}

/* Always of one length, filled up with commas: where a program's stack lies depends on its environment, and what it does
 * there, as copying with long moves, on that. */
static void setting_write(uint32_t changes, const char *dump, char setting[SETTING_BYTES])
{
    int n = changes ? snprintf(setting, SETTING_BYTES, "passes=all,bisect=%" PRIu32, changes)
                    : snprintf(setting, SETTING_BYTES, "passes=none");
    if (dump != NULL)
        n += snprintf(setting + n, SETTING_BYTES - (size_t)n, ",dump=%s", dump);
    memset(setting + n, ',', SETTING_BYTES - (size_t)n);
    setting[SETTING_BYTES - 1] = 0;
}

/* One run with the first so many changes; dump NULL: none. 1: the output is wrong, 0: it is not, -1: the run could not be
 * made. */
static int is_wrong(const struct search *s, uint32_t changes, const char *dump)
{
    char setting[SETTING_BYTES], label[32] = "no change", text[100];
    struct attempt a;
    setting_write(changes, dump, setting);
    if (attempt_run(&s->command, setting, &a) != EXIT_DONE)
        return -1;
    bool wrong = !attempt_same(&s->native, &a);
    attempt_describe(&a, text, sizeof text);
    if (changes)
        snprintf(label, sizeof label, changes == MOST ? "all changes" : "changes to %" PRIu32, changes);
    printf("%-20s %s: %s", label, wrong ? "wrong" : "right", text);
    long at = attempt_first_difference(&s->native, &a);
    if (at >= 0)
        printf(", differs from byte %ld on", at);
    printf("\n");
    fflush(stdout);
    attempt_free(&a);
    return wrong;
}

/* The reference: two native runs. */
static int run_natively(struct search *s)
{
    char text[100];
    struct attempt again = {0};
    int code = attempt_run(&s->command, NULL, &s->native);
    if (code == EXIT_DONE)
        code = attempt_run(&s->command, NULL, &again);
    bool steady = code == EXIT_DONE && attempt_same(&s->native, &again);
    if (code == EXIT_DONE) {
        attempt_describe(&s->native, text, sizeof text);
        printf("%-20s %s\n", "natively", text);
    }
    if (code == EXIT_DONE && !steady)
        code = message_fail(EXIT_NOTHING,
                            "two native runs differ in standard output or exit status: nothing can be "
                            "compared with them");
    s->command.limit = PATIENCE_S + PATIENCE * s->native.seconds;
    attempt_free(&again);
    return code;
}

/* The least `bad`, or 0 after a message. */
static uint32_t find_change(const struct search *s)
{
    uint32_t good = 0, bad = 1;
    int wrong = is_wrong(s, MOST, NULL);
    if (wrong == 0)
        message_fail(
            EXIT_NOTHING,
            "the output under reheat is the native one; -o hot=N with a smaller N makes more traces");
    if (wrong != 1)
        return 0;
    wrong = is_wrong(s, 0, NULL);
    if (wrong == 1)
        message_fail(EXIT_NOTHING,
                     "the output is wrong without any change of the passes: the fault is in the "
                     "layout, the lowering or the runtime");
    if (wrong != 0)
        return 0;
    while ((wrong = is_wrong(s, bad, NULL)) == 0 && bad < MOST) {
        good = bad;
        bad = bad < MOST / 4 ? bad * 4 : MOST;
    }
    if (wrong == 0)
        message_fail(EXIT_NOTHING,
                     "the output was wrong at first and is right now: runs differ from each other");
    while (wrong >= 0 && bad - good > 1) {
        uint32_t middle = good + (bad - good) / 2;
        wrong = is_wrong(s, middle, NULL);
        if (wrong == 1)
            bad = middle;
        else
            good = middle;
        wrong = wrong < 0 ? -1 : 1;
    }
    return wrong == 1 ? bad : 0;
}

/* Runs on both sides of the change, with dumps in `directory`. */
static int name_change(const struct search *s, uint32_t bad, const char *directory)
{
    struct dump_change change;
    char with[220], without[220];
    snprintf(with, sizeof with, "%s/with", directory);
    snprintf(without, sizeof without, "%s/without", directory);
    int wrong = is_wrong(s, bad, with), right = is_wrong(s, bad - 1, without);
    bool found = wrong == 1 && right == 0 && dump_change_find(with, without, &change);
    (void)unlink(with);
    (void)unlink(without);
    if (wrong < 0 || right < 0)
        return EXIT_NOTHING;
    if (wrong != 1 || right != 0)
        return message_fail(EXIT_NOTHING,
                            "change %" PRIu32 " made the difference, but not when it was tried again", bad);
    printf("\nchange    %" PRIu32 "\n", bad);
    if (!found)
        return message_fail(
            EXIT_NOTHING,
            "the two runs made different traces, so the change cannot be named; compare their "
            "dump= with bisect=%" PRIu32 " and one less",
            bad);
    printf("pass      %s\nfragment  %s\nnode      %s\n", change.pass, change.fragment, change.node);
    return message_finish_stdout();
}

static int name_change_aside(const struct search *s, uint32_t bad)
{
    const char *parent = getenv("TMPDIR");
    char directory[200];
    if (parent == NULL || !*parent || strlen(parent) > 100 || strpbrk(parent, ",%") != NULL)
        parent = "/tmp"; /* a setting's value holds neither */
    snprintf(directory, sizeof directory, "%s/reheat-bisect-XXXXXX", parent);
    if (mkdtemp(directory) == NULL)
        return message_fail(EXIT_NOTHING, "change %" PRIu32 "; it cannot be named without a directory in %s",
                            bad, parent);
    int code = name_change(s, bad, directory);
    (void)rmdir(directory);
    return code;
}

int cmd_bisect(int argc, char **argv)
{
    char path[PATH_MAX], library[PATH_MAX];
    struct search s = {0};
    int first = read_arguments(argc, argv);
    if (first == 0)
        return EXIT_USAGE;
    int code = program_find(argv[first], path);
    if (code == EXIT_DONE)
        code = program_check(path);
    if (code == EXIT_DONE)
        code = preload_find_library(library);
    s.command = (struct command_line){.path = path, .library = library, .argv = argv + first};
    if (code == EXIT_DONE)
        code = attempt_keep_input(&s.command);
    if (code == EXIT_DONE)
        code = run_natively(&s);
    if (code == EXIT_DONE) {
        uint32_t bad = find_change(&s);
        code = bad ? name_change_aside(&s, bad) : EXIT_NOTHING;
    }
    attempt_free(&s.native);
    return code;
}
