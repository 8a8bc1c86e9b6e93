#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "injector/command.h"
#include "injector/message.h"
#include "injector/options.h"
#include "injector/preload.h"
#include "injector/program.h"

/* Settings already in the environment come first, so that those of the command line win. */
static int check_inherited(void)
{
    char why[512];
    const char *inherited = getenv("REHEAT");
    if (inherited == NULL || option_check_list(inherited, why, sizeof why))
        return EXIT_DONE;
    return message_fail(EXIT_USAGE, "in the environment variable REHEAT: %s", why);
}

static int add_setting(const char *setting)
{
    char why[512];
    if (setting == NULL)
        return message_fail(EXIT_USAGE, "-o needs KEY=VALUE; 'reheat run --help' lists the options");
    if (!option_check(setting, why, sizeof why))
        return message_fail(EXIT_USAGE, "%s", why);
    return preload_add_setting(setting);
}

int cmd_run(int argc, char **argv)
{
    int code = check_inherited();
    int i = 1;
    for (; code == EXIT_DONE && i < argc && argv[i][0] == '-' && argv[i][1] != 0; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            help_print_command(stdout, command_find("run"));
            return message_finish_stdout();
        }
        if (strncmp(argv[i], "-o", 2) != 0)
            return message_fail(EXIT_USAGE,
                                "run has no option '%s'; settings are given as -o KEY=VALUE, and "
                                "-- ends them",
                                argv[i]);
        code = add_setting(argv[i][2] ? argv[i] + 2 : argv[++i]);
    }
    if (code != EXIT_DONE)
        return code;
    const char *usage = command_find("run")->usage;
    if (i >= argc)
        return message_fail(EXIT_USAGE, "run needs a PROGRAM; usage: reheat run %s", usage);

    char path[PATH_MAX], library[PATH_MAX];
    code = program_find(argv[i], path);
    if (code == EXIT_DONE)
        code = program_check(path);
    if (code == EXIT_DONE)
        code = preload_find_library(library);
    if (code == EXIT_DONE)
        code = preload_set_library(library);
    if (code != EXIT_DONE)
        return code;
    execvp(path, argv + i); /* path has a slash: nothing is searched, but text without #! goes to the shell */
    return message_fail(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUNNABLE, "cannot run '%s': %s", path,
                        strerror(errno));
}
