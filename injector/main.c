/* reheat: starts programs under the runtime and shows what it did to them. */
#include <string.h>

#include "injector/command.h"
#include "injector/message.h"

const struct command command_table[] = {
    {"run", cmd_run, "[-o KEY=VALUE]... [--] PROGRAM [ARG]...", "run a program under reheat",
     "Starts PROGRAM in this process, with the runtime library preloaded. The process\n"
     "id, the descriptors and the environment stay as they are, except for LD_PRELOAD\n"
     "(the library is put in front of what is there) and REHEAT (the options are put\n"
     "after what is there; the last setting of an option wins).\n"
     "\n"
     "PROGRAM is searched in PATH unless it contains a slash. It must be a dynamically\n"
     "linked x86-64 program without elevated privileges, or a script for one.\n",
     true},
    {"report", cmd_report, "[--format=text|json] PID|FILE", "show what reheat did in a process",
     "PID is a process that runs under reheat or did so until it ended. FILE is a stat\n"
     "page, or a copy of one. A file whose name is a number is written as ./NUMBER.\n"
     "\n"
     "Stat pages of processes that ended more than an hour ago are removed on the way.\n",
     false},
    {"bisect", cmd_bisect, "[-o KEY=VALUE]... [--] PROGRAM [ARG]...", "find the change that makes a program's output wrong",
     "Runs PROGRAM natively and then under reheat with all, none and some of the\n"
     "optimizer's changes, until it is known which change makes its standard output or\n"
     "exit status another one. Prints the number of the change (as -o bisect=N counts\n"
     "them), the pass that made it, and its place.\n"
     "\n"
     "Each run gets the same standard input, addresses that are not randomized, and\n"
     "control=full,bailout=0,rate=0 before the options that are given. Standard error is\n"
     "discarded. A run that takes 10 s and 50 times as long as the native one counts as\n"
     "wrong.\n"
     "\n"
     "Exits with 1 when the output is right, when it is wrong without any change, and\n"
     "when it differs from one run to the next.\n",
     true},
    {"version", cmd_version, "", "print the version",
     "Prints the version and exits. --version does the same.\n", false},
    {"help", cmd_help, "[COMMAND]", "explain a command",
     "Explains COMMAND, or lists the commands. COMMAND --help does the same.\n", false},
};

const size_t command_count = sizeof command_table / sizeof command_table[0];

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < command_count; i++)
        if (strcmp(command_table[i].name, name) == 0)
            return &command_table[i];
    return NULL;
}

int command_fail_unknown(const char *name)
{
    const char *names[sizeof command_table / sizeof command_table[0]];
    char hint[64];
    for (size_t i = 0; i < command_count; i++)
        names[i] = command_table[i].name;
    message_suggest(name, names, command_count, hint, sizeof hint);
    const char *what = name[0] == '-' ? "option" : "command";
    return message_fail(EXIT_USAGE, "there is no %s '%s'%s; 'reheat help' lists the commands", what, name,
                        hint);
}

static bool is_help(const char *arg)
{
    return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        help_print_overview(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (is_help(name))
        name = "help";
    else if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
        name = "version";
    const struct command *command = command_find(name);
    if (command == NULL)
        return command_fail_unknown(name);
    if (argc > 2 && is_help(argv[2])) {
        help_print_command(stdout, command);
        return message_finish_stdout();
    }
    return command->run(argc - 1, argv + 1);
}
