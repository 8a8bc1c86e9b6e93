/* Prints a failing case: the trace, what became of it, the state it starts from, what differs. */
#ifndef REHEAT_FUZZ_REPORT_H
#define REHEAT_FUZZ_REPORT_H

#include "tests/fuzz/shrink.h"

void report_trace(const struct built *b, const struct subject *sub);
/* subject_make gave RC_VERIFY: the trace, the pass, the nodes as it left them. */
void report_rejected_trace(const struct built *b, const struct knobs *k);
void report_rejected(const struct case_under_test *t);
/* case_shared */
void report_shared(const struct case_under_test *t);
void report_case(const struct case_under_test *t);

#endif
