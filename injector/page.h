/* Stat pages of processes: finding, copying and checking them. */
#ifndef REHEAT_INJECTOR_PAGE_H
#define REHEAT_INJECTOR_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/proto.h"

/* Copies the page of `target`, a process id or a file, and terminates its strings and sorts top[].
 * EXIT_DONE; else says why there is none and returns EXIT_NOTHING. */
int page_load(const char *target, struct proto_page *page);

/* Whether a process of that number exists and has not ended. */
bool page_process_runs(uint32_t pid);

/* The number that `text` is written as in decimal, or 0: no process has that. */
uint32_t page_parse_pid(const char *text);

#endif
