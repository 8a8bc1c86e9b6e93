/* Finds the program that `reheat run` is to start, and proves that the library can enter it. */
#ifndef REHEAT_INJECTOR_PROGRAM_H
#define REHEAT_INJECTOR_PROGRAM_H

#include <limits.h>

/* Searches as execvp(3) does. EXIT_DONE with `path` filled, else says why and returns 126 or 127. */
int program_find(const char *name, char path[PATH_MAX]);

/* EXIT_DONE when the file, or the interpreter of the script, is a dynamically linked x86-64 program without
 * elevated privileges; else says what is required, what was found and what to do, and returns 126 or 127. */
int program_check(const char *path);

#endif
