/* A rough model of what a pass through a trace costs before and after: whether a fragment is worth measuring at all. It
 * decides nothing else; what is kept is decided by measuring. Unit: a quarter of a cycle, an instruction's share of a core
 * that issues four in a cycle. Costs of branches and calls: as measured on Intel Golden Cove (call and ret of an empty
 * function 4.2 cycles, as push and compare 1.1). */
#ifndef REHEAT_ESTIMATE_H
#define REHEAT_ESTIMATE_H

#include "optimizer/ir.h"

struct estimated {
    uint32_t before, after; /* of all of the path, once */
};

/* Of them, what the longest chain from one iteration to the next through a slot of a loop takes; 0: there is none. */
struct estimated ir_estimate_chain(const struct ir *ir);

/* After optimize(). */
struct estimated ir_estimate(const struct ir *ir);

#endif
