/* Recorded traces in a file: what the optimizer was given, for replays of it (tests/fuzz/replay.h has the format).
 *
 *   RF-1  a record is one write to a file opened for appending, so several processes may share the file.
 *
 * Lock held. */
#ifndef REHEAT_RECORD_FILE_H
#define REHEAT_RECORD_FILE_H

#include "tracer/record.h"

/* Little-endian, without padding. */
struct record_header {
    char magic[8];
    uint32_t end, steps, insns, bytes;
    uint64_t head, exit;
};
struct record_step {
    uint64_t pc, next, went;
    uint8_t taken, zero[7];
};
struct record_insn {
    uint64_t pc;
    uint8_t len, bytes[INSN_MAX_BYTES];
};
_Static_assert(sizeof(struct record_header) == 40 && sizeof(struct record_step) == 32 &&
                   sizeof(struct record_insn) == 24,
               "as tests/fuzz/replay.h says");

/* The record in memory: its size, and the record itself, zeroed before. */
size_t record_file_bytes(const struct trace *t, int n);
void record_file_make(uint8_t *record, const struct trace *t, const struct insn *insns, int n);
/* Appends the trace and its n decoded instructions to the file that `path` names (%p: the process id). Without memory, or where
 * the file cannot be written, nothing is recorded. */
void record_file_append(const char *path, const struct trace *t, const struct insn *insns, int n);

#endif
