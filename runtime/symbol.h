/* Names for addresses: the nearest dynamic symbol of a loaded module, from its tables in memory. No file is
 * read and nothing is allocated; stripped programs have few. */
#ifndef REHEAT_SYMBOL_H
#define REHEAT_SYMBOL_H

#include "runtime/base/types.h"

/* Writes the name of the function symbol at or before pc and returns the distance; writes "" and returns 0
 * when there is none. `cap` bytes including the terminator. */
uint64_t symbol_find(struct app_pc pc, char *name, size_t cap);

#endif
