/* Makes a failing case small: takes items out of the program as long as it still fails. */
#ifndef REHEAT_FUZZ_SHRINK_H
#define REHEAT_FUZZ_SHRINK_H

#include "tests/fuzz/compare.h"

struct case_under_test {
    struct program program;
    struct knobs knobs;
    struct state state;
    struct memory memory;
    struct way way;
};

/* True when the case still fails; what differs is in c. */
bool case_fails(const struct case_under_test *t, struct built *b, struct subject *sub, struct comparison *c);
/* A pass makes of it what the verifier forbids; *what is then case_rejected. */
extern const char case_rejected[];
bool case_is_rejected(const struct case_under_test *t, const char **what);
/* shared.h; *what is then case_shared. */
extern const char case_shared[];
bool case_shares_otherwise(const struct case_under_test *t, const char **what);
void shrink(struct case_under_test *t);
/* The same for another way to fail; `what` differs from the first is another mistake. */
typedef bool shrink_fails_fn(const struct case_under_test *t, const char **what);
void shrink_by(struct case_under_test *t, shrink_fails_fn *fails);

#endif
