#include "tests/fuzz/shrink.h"

#include <string.h>

#include "tests/fuzz/shared.h"

bool case_fails(const struct case_under_test *t, struct built *b, struct subject *sub, struct comparison *c)
{
    if (!program_build(&t->program, b) || subject_make(b, &t->knobs, sub) != RC_OK)
        return false;
    return compare_run(sub, &t->state, &t->memory, t->way, c) == V_DIFFERENT;
}

const char case_rejected[] = "what the verifier allows";

bool case_is_rejected(const struct case_under_test *t, const char **what)
{
    static struct built b;
    struct subject sub;
    *what = case_rejected;
    return program_build(&t->program, &b) && subject_make(&b, &t->knobs, &sub) == RC_VERIFY;
}

const char case_shared[] = "what other threads see";

bool case_shares_otherwise(const struct case_under_test *t, const char **what)
{
    static struct built b;
    struct subject sub;
    *what = case_shared;
    return program_build(&t->program, &b) && subject_make(&b, &t->knobs, &sub) == RC_OK &&
           shared_compare(&sub, &t->program.start, &t->program.memory) == V_DIFFERENT;
}

static struct case_under_test smaller;
static shrink_fails_fn *fails;
static const char *what; /* the difference it began with: another would be another mistake */

#define MAX_STOPS 120

static bool fails_as_it_is(void)
{
    const char *now = NULL;
    bool failed = fails(&smaller, &now) && (!what || now == what);
    what = failed ? now : what;
    return failed;
}

/* Where it is stopped depends on the size of the fragment: any stop will do. */
static bool still_fails(void)
{
    if (!smaller.way.stop || fails_as_it_is())
        return smaller.way.stop || fails_as_it_is();
    for (smaller.way.stop = 1; smaller.way.stop <= MAX_STOPS; smaller.way.stop++)
        if (fails_as_it_is())
            return true;
    return false;
}

static bool without_items(struct case_under_test *t, int from, int n)
{
    smaller = *t;
    struct program *p = &smaller.program;
    memmove(p->items + from, p->items + from + n, sizeof p->items[0] * (size_t)(p->count - from - n));
    p->count -= n;
    if (!still_fails())
        return false;
    *t = smaller;
    return true;
}

/* The recorded state itself, or a plainer entry, makes it easier to read. */
static void simplify_state(struct case_under_test *t)
{
    smaller = *t;
    smaller.way = (struct way){.entry = ENTER_DIRECT, .linked = true, .stop = t->way.stop};
    if (still_fails())
        *t = smaller;
    smaller = *t;
    smaller.state = smaller.program.start;
    smaller.memory = smaller.program.memory;
    if (still_fails())
        *t = smaller;
    smaller = *t;
    smaller.knobs.place = PLACE_NEAR;
    if (still_fails())
        *t = smaller;
}

static bool ends_differ(const struct case_under_test *t, const char **difference)
{
    static struct built built;
    static struct comparison comparison;
    struct subject sub;
    bool failed = case_fails(t, &built, &sub, &comparison);
    *difference = comparison.what;
    return failed;
}

void shrink(struct case_under_test *t)
{
    shrink_by(t, ends_differ);
}

void shrink_by(struct case_under_test *t, shrink_fails_fn *fn)
{
    bool changed = true;
    fails = fn;
    what = NULL;
    smaller = *t;
    if (!still_fails())
        return;
    for (int round = 0; changed && round < 10; round++) {
        changed = false;
        for (int n = t->program.count / 2; n; n /= 2)
            for (int at = t->program.count - n; at >= 0; at -= n)
                changed |= at + n <= t->program.count && without_items(t, at, n);
    }
    simplify_state(t);
}
