/* What the optimizer is told about the process it must not know (optimizer/ir.h).
 *
 *   FACT-1  a fragment that was made while these held is withdrawn before one of them ends: interpose_memory.c.
 *
 * Lock held, outside signal handlers. */
#ifndef REHEAT_FACTS_H
#define REHEAT_FACTS_H

#include "optimizer/ir.h"

/* Before a trace is optimized: looks at the address space anew, unless that was done moments ago and nothing has expired. */
void facts_refresh(void);
/* Something is about to change. Any thread. */
void facts_expire(void);
/* Sets the callbacks and assumptions of an IR. */
void facts_give(struct ir *ir);

#endif
