#include <stdio.h>
#include <string.h>

#include "injector/command.h"
#include "injector/message.h"
#include "injector/options.h"

void help_print_overview(FILE *out)
{
    fputs("reheat makes unmodified, running programs faster.\n\nUsage:\n", out);
    for (size_t i = 0; i < command_count; i++)
        fprintf(out, "  reheat %s%s%s\n", command_table[i].name, *command_table[i].usage ? " " : "",
                command_table[i].usage);
    fputs("\nCommands:\n", out);
    for (size_t i = 0; i < command_count; i++)
        fprintf(out, "  %-9s %s\n", command_table[i].name, command_table[i].summary);
    fputs("\n'reheat help COMMAND' explains one of them; 'reheat help run' lists the options.\n", out);
}

void help_print_command(FILE *out, const struct command *command)
{
    fprintf(out, "Usage: reheat %s%s%s\n\n%s", command->name, *command->usage ? " " : "", command->usage,
            command->details);
    if (!command->takes_settings)
        return;
    fputs("\nOptions, each given as -o KEY=VALUE:\n", out);
    option_print_table(out);
}

int cmd_help(int argc, char **argv)
{
    if (argc > 2)
        return message_fail(EXIT_USAGE, "help takes one command, but got '%s' too", argv[2]);
    if (argc == 1) {
        help_print_overview(stdout);
    } else if (strcmp(argv[1], "--man") == 0) {
        manpage_print(stdout);
    } else {
        const struct command *command = command_find(argv[1]);
        if (command == NULL)
            return command_fail_unknown(argv[1]);
        help_print_command(stdout, command);
    }
    return message_finish_stdout();
}
