/* Planted faults: fragments that are slower, or faster, than the code they replace by as much as a test asks for
 * (plant=), so that it is known what a trial should find.
 *
 *   slow    the fragment's entry, to which its back edge leads too:   N times mov rsp, rsp; the path
 *   fast    arm 0 of its candidate, while on trial:   site: jmp stub    stub: N times mov rsp, rsp; jmp native
 *
 * mov rsp, rsp changes neither registers nor flags, so the program's state is exact before and after each. A body of an
 * unrolled variant gets what the loop of one body gets.
 *
 * Lock held, outside signal handlers. */
#ifndef REHEAT_PLANT_H
#define REHEAT_PLANT_H

#include "runtime/base/types.h"
#include "runtime/options.h"

void plant_init(const struct options *o);
/* How many are planted in this way at the fragment whose first variant has this id. */
uint32_t plant_units(enum plant_kind kind, uint32_t id);
/* The stub before `to`, a native copy of what lies at `site`. RC_CACHE_FULL, RC_NO_MEMORY, RC_FAR_BRANCH. */
rc_t plant_stub(struct app_pc site, struct cache_pc to, uint32_t units, struct cache_pc *stub);

#ifdef REHEAT_BREAKS
struct ir;
/* Applies a mistake of that name to optimized IR; of tests/fuzz/breaks.c, in the library of tests/e2e/verify.sh only. */
bool break_apply(struct ir *ir, const char *name, uint32_t roll);
#endif

#endif
