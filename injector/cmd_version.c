#include <stdio.h>

#include "injector/command.h"
#include "injector/message.h"
#include "runtime/proto.h"

int cmd_version(int argc, char **argv)
{
    if (argc > 1)
        return message_fail(EXIT_USAGE, "version takes no argument, not '%s'", argv[1]);
    printf("reheat %s\n", REHEAT_VERSION);
    return message_finish_stdout();
}
