/* Wrong recipes, as a lowering with a certain mistake would make them; for the campaign's own test. */
#ifndef REHEAT_FUZZ_BREAKS_RECIPE_H
#define REHEAT_FUZZ_BREAKS_RECIPE_H

#include "fragcache/lower.h"

/* Makes one recipe of `out` wrong, `roll` says which. False when there is none that can be wrong in that way. */
bool break_recipe(struct lowered *out, const char *name, uint32_t roll);
/* The names, in order; NULL after the last. */
const char *break_recipe_name(int i);

#endif
