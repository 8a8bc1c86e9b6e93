/* Where the runtime library is, and how it gets into the program: through the environment alone. */
#ifndef REHEAT_INJECTOR_PRELOAD_H
#define REHEAT_INJECTOR_PRELOAD_H

#include <limits.h>

/* Absolute path of libreheat.so. EXIT_DONE, or says where it was looked for and returns EXIT_SETUP. */
int preload_find_library(char path[PATH_MAX]);

/* Puts the library in front of LD_PRELOAD. EXIT_DONE or EXIT_SETUP, with a message. */
int preload_set_library(const char *library);

/* Appends one "key=value" to REHEAT. EXIT_DONE or EXIT_SETUP, with a message. */
int preload_add_setting(const char *setting);

#endif
