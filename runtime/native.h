/* Why samples lie in the program's own code: what became of the text they are in. For the report.
 *
 *   never interpreted -> interpreted, no head of it became hot -> a trace of it was declined, for a reason
 *                                                              -> has a fragment, and was entered elsewhere
 *
 * Remembered for pieces of 16 bytes, the last word wins. What there is no room for counts as never interpreted. Lock held. */
#ifndef REHEAT_NATIVE_H
#define REHEAT_NATIVE_H

#include "runtime/base/rc.h"
#include "runtime/base/types.h"

/* What became of [start, end): a reason of declined traces, RC_COLD, which nothing else gives way to, or RC_OUTSIDE. */
void native_note(uint64_t start, uint64_t end, rc_t why);
/* The reason for a sample; RC_UNSEEN where nothing is known. */
rc_t native_why(uint64_t pc);
/* Text has changed: nothing is known any more. */
void native_forget(void);

#endif
