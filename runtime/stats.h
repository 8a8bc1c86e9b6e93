/* The process's counters. Kept in private memory, so a forked child never writes its parent's page, and
 * published to the shared stat page (runtime/proto.h) now and then and at the end.
 *
 *   STAT-1  the page is created at the first publication after something became hot, not at start.
 *   STAT-2  a page is written only by the process whose pid it carries. */
#ifndef REHEAT_STATS_H
#define REHEAT_STATS_H

#include "runtime/base/rc.h"
#include "runtime/options.h"
#include "runtime/proto.h"

extern REH_HIDDEN struct proto_page stats;

void stats_init(const struct options *o);
void stats_declined(rc_t reason);
/* Gathers from the other modules and copies to the shared page, creating it if need be. */
void stats_publish(void);
/* Called in a forked child: counters start again, with a page of its own. */
void stats_forked(void);
/* The last publication: also writes the JSON report if one was asked for. */
void stats_finish(const struct options *o);

#endif
