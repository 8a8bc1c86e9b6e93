/* The last indirect branches of a thread, and whether they repeat: an interpreter's dispatch goes anywhere, but in a loop
 * of the interpreted program it goes the same round again and again.
 *
 * Pure. Belongs to a thread, as the recorder that asks. */
#ifndef REHEAT_PATH_H
#define REHEAT_PATH_H

#include "runtime/base/types.h"

#define PATH_KEEPS 512u /* branches; a power of 2 */
#define PATH_LONGEST 128u /* round */
#define PATH_LEAST 48u /* branches that must have repeated, and two rounds at least */

struct path {
    uint32_t branch[PATH_KEEPS]; /* a hash of where it is and where it went */
    uint64_t count; /* since path_clear */
};

/* What was before is not what led here. */
void path_clear(struct path *p);
/* The indirect branch of the block at `pc` went to `target`. */
void path_note(struct path *p, struct app_pc pc, struct app_pc target);
/* The length in branches of the shortest round that was gone at least twice, up to now; 0: there is none. */
uint32_t path_round(const struct path *p);
/* True when the last branch was the same as `round` branches before. */
bool path_repeats(const struct path *p, uint32_t round);
/* True when more branches could show a round that these do not. */
bool path_is_short(const struct path *p);

#endif
