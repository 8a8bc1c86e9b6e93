/* What is written of a fragment that was found wrong: see verify.h. Lock held. */
#ifndef REHEAT_VERIFY_REPORT_H
#define REHEAT_VERIFY_REPORT_H

#include "fragcache/cache.h"
#include "fragcache/recover.h"
#include "runtime/careful.h"
#include "tracer/record.h"

/* Keeps the trace, as a record, with the fragment; without memory, it is not kept. */
void verify_report_keep(struct fragment *f, const struct trace *t, const struct insn *insns, int n);
/* A line to the log; the case to the file that `path` names, the record to that name with .trace; none when it is empty. */
void verify_report(const char *path, const struct fragment *f, const char *what, const struct cpu_state *start,
                   const struct cpu_state *made, const struct cpu_state *own, const struct stores *stores);

#endif
