/* The log: one line per event, appended to the file the `log` setting names, never to the program's own
 * descriptors. Opened and closed for each line, so no descriptor is held while the program runs. Without the
 * setting nothing is written. Any thread, async-signal-safe. */
#ifndef REHEAT_LOG_H
#define REHEAT_LOG_H

#include "runtime/base/fmt.h"
#include "runtime/base/types.h"

/* Path with %p for the process id; empty: no log. */
void log_set(const char *path, unsigned verbose);
bool log_wants(unsigned level);
/* Writes "reheat[pid]: <text>\n". */
void log_line(const char *text);
/* Appends text as it is to a file. */
void log_append(const char *path, const char *text, size_t len);

#endif
