/* Finds in two dumps of fragments (`dump=FILE`) the one change that the first has and the second has not. */
#ifndef REHEAT_INJECTOR_DUMP_CHANGE_H
#define REHEAT_INJECTOR_DUMP_CHANGE_H

#include <stdbool.h>

struct dump_change {
    char pass[32];
    char fragment[200]; /* the head of its dump, from the fragment's number on */
    char node[300];     /* its line, without blanks in front */
};

/* False: the dumps cannot be read, are alike, or differ in more than a change: other paths were traced. */
bool dump_change_find(const char *with, const char *without, struct dump_change *out);

#endif
