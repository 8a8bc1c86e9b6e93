/* The man page, from the tables that also feed the parser and --help. */
#include <stdio.h>

#include "injector/command.h"
#include "injector/options.h"
#include "runtime/proto.h"

/* Text with roff's special characters escaped; an empty line starts a paragraph. */
static void print_roff(FILE *out, const char *text)
{
    bool line_start = true;
    for (; *text; text++) {
        if (line_start && *text == '\n') {
            fputs(".PP\n", out);
            continue;
        }
        if (line_start && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
        line_start = *text == '\n';
    }
    if (!line_start)
        fputc('\n', out);
}

static void print_tagged(FILE *out, const char *tag, const char *text)
{
    fputs(".TP\n.B ", out);
    print_roff(out, tag);
    print_roff(out, text);
}

static void print_commands(FILE *out)
{
    fputs(".SH COMMANDS\n", out);
    for (size_t i = 0; i < command_count; i++) {
        char line[200];
        const struct command *command = &command_table[i];
        snprintf(line, sizeof line, "reheat %s %s", command->name, command->usage);
        fputs(".SS ", out);
        print_roff(out, line);
        print_roff(out, command->details);
    }
}

static void print_options(FILE *out)
{
    fputs(".SH OPTIONS\n", out);
    print_roff(out, "Each is given to reheat run as -o KEY=VALUE. A SIZE takes K, M or G.\n");
    for (size_t i = 0; i < option_count; i++) {
        char shape[64], range[96], tag[140], text[512];
        option_format_value(&option_table[i], shape, sizeof shape);
        option_format_range(&option_table[i], range, sizeof range);
        snprintf(tag, sizeof tag, "%s=%s", option_table[i].name, shape);
        snprintf(text, sizeof text, "%s (%s)", option_table[i].help, range);
        print_tagged(out, tag, text);
    }
}

void manpage_print(FILE *out)
{
    fputs(".TH REHEAT 1 \"\" \"reheat " REHEAT_VERSION "\" \"User Commands\"\n", out);
    fputs(".SH NAME\nreheat \\- make unmodified, running programs faster\n.SH SYNOPSIS\n.nf\n", out);
    for (size_t i = 0; i < command_count; i++) {
        fprintf(out, "\\fBreheat %s\\fP ", command_table[i].name);
        print_roff(out, command_table[i].usage);
        if (*command_table[i].usage == 0)
            fputc('\n', out);
    }
    fputs(".fi\n.SH DESCRIPTION\n", out);
    print_roff(out, "reheat is a dynamic binary optimizer for x86-64 Linux. A library preloaded into the\n"
                    "program looks at it for short moments, optimizes the paths it runs most into a fragment\n"
                    "cache, measures whether that is faster, and keeps only what is. Everything else runs\n"
                    "natively. The program needs no change and behaves as it does without it.\n");
    print_commands(out);
    print_options(out);
    fputs(".SH ENVIRONMENT\n", out);
    print_tagged(out, "REHEAT", "KEY=VALUE options, separated by commas; the command line overrides them.");
    print_tagged(out, "REHEAT_LIBRARY",
                 "The runtime library. Default: libreheat.so beside the reheat program, "
                 "or in ../lib/reheat from there.");
    fputs(".SH FILES\n", out);
    print_tagged(out, "/dev/shm/reheat-UID/PID", "The stat page of a process, which reheat report reads.");
    fputs(".SH EXIT STATUS\n", out);
    print_roff(out, "reheat run exits with the status of the program. Otherwise:");
    print_tagged(out, "1", "there is nothing to report");
    print_tagged(out, "2", "wrong usage, an unknown option or a value out of its range");
    print_tagged(out, "125", "the runtime library cannot be found");
    print_tagged(out, "126", "the program was found but cannot be run under reheat");
    print_tagged(out, "127", "the program was not found");
    fputs(".SH SEE ALSO\n.BR ld.so (8),\n.BR env (1)\n", out);
}
