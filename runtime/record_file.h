/* Recorded traces in a file: what the optimizer was given, for replays of it (tests/fuzz/replay.h has the format).
 *
 *   RF-1  a record is one write to a file opened for appending, so several processes may share the file.
 *
 * Lock held. */
#ifndef REHEAT_RECORD_FILE_H
#define REHEAT_RECORD_FILE_H

#include "tracer/record.h"

/* Appends the trace and its n decoded instructions to the file that `path` names (%p: the process id). Without memory, or where
 * the file cannot be written, nothing is recorded. */
void record_file_append(const char *path, const struct trace *t, const struct insn *insns, int n);

#endif
