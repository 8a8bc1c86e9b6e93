#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "injector/command.h"
#include "injector/message.h"
#include "injector/page.h"
#include "injector/prune.h"
#include "injector/report_text.h"

static void put_stdout(void *arg, const char *text, size_t len)
{
    (void)arg;
    fwrite(text, 1, len, stdout);
}

int cmd_report(int argc, char **argv)
{
    const char *target = NULL, *format = "text";
    bool options_end = false;
    for (int i = 1; i < argc; i++) {
        if (!options_end && strcmp(argv[i], "--") == 0)
            options_end = true;
        else if (!options_end && strncmp(argv[i], "--format=", 9) == 0)
            format = argv[i] + 9;
        else if (!options_end && strcmp(argv[i], "--format") == 0 && i + 1 < argc)
            format = argv[++i];
        else if (!options_end && argv[i][0] == '-')
            return message_fail(EXIT_USAGE, "report has no option '%s'; usage: reheat report %s", argv[i],
                                command_find("report")->usage);
        else if (target != NULL)
            return message_fail(EXIT_USAGE, "report takes one PID or FILE, but got '%s' and '%s'", target,
                                argv[i]);
        else
            target = argv[i];
    }
    bool json = strcmp(format, "json") == 0;
    if (!json && strcmp(format, "text") != 0)
        return message_fail(EXIT_USAGE, "--format must be text or json, not '%s'", format);
    if (target == NULL)
        return message_fail(EXIT_USAGE, "report needs a PID or a FILE; usage: reheat report %s",
                            command_find("report")->usage);

    struct proto_page page;
    int code = page_load(target, &page);
    if (code == EXIT_DONE && json)
        proto_write_json(&page, put_stdout, NULL);
    else if (code == EXIT_DONE)
        report_print_text(stdout, &page, page.running != 0 && page_process_runs(page.pid));
    prune_old_pages();
    return code == EXIT_DONE ? message_finish_stdout() : code;
}
