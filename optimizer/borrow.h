/* Registers that nothing in a loop uses, for passes to use inside of it. */
#ifndef REHEAT_BORROW_H
#define REHEAT_BORROW_H

#include "optimizer/ir.h"

/* General registers that these read or write. */
uint16_t borrow_used(const struct insn *in, int count);
/* General registers that hammocks may want (ir->wanted): those that neither the loop nor `more` uses; none where there is
 * no loop, or not `alone`. */
uint16_t borrow_unused(const struct ir *ir, const struct insn *more, int count);

/* Sees to it that what hammocks want is borrowed, before the first of them. After the last pass. RC_TOO_LONG. */
rc_t borrow_wanted(struct ir *ir);

#endif
