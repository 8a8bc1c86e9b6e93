/* The subcommands: one table that dispatch, help and man page are made from. */
#ifndef REHEAT_INJECTOR_COMMAND_H
#define REHEAT_INJECTOR_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct command {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the subcommand; returns the exit code */
    const char *usage;                 /* its arguments */
    const char *summary;
    const char *details; /* paragraphs separated by empty lines, in lines of 79 columns */
    bool takes_settings; /* its help lists the option table */
};

extern const struct command command_table[];
extern const size_t command_count;

/* NULL when there is none of that name. */
const struct command *command_find(const char *name);

/* Says that there is no such subcommand and which one may be meant; EXIT_USAGE. */
int command_fail_unknown(const char *name);

int cmd_run(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_bisect(int argc, char **argv);
int cmd_version(int argc, char **argv);
int cmd_help(int argc, char **argv);

void help_print_overview(FILE *out);
void help_print_command(FILE *out, const struct command *command);
void manpage_print(FILE *out);

#endif
