/* Prints a failing case: the trace, what became of it, the state it starts from, what differs. */
#ifndef REHEAT_FUZZ_REPORT_H
#define REHEAT_FUZZ_REPORT_H

#include "tests/fuzz/shrink.h"

void report_trace(const struct built *b, const struct subject *sub);
void report_case(const struct case_under_test *t);

#endif
