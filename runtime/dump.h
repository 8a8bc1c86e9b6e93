/* The dump of a fragment: its instructions as an annotated diff against the program's.
 *
 *   ---- fragment 12  libapp.so+0x11a2  loop
 *   0017  >0 +0x0b  76 13                 layout: inverted
 *   001d  =  +0x0d  4c 8b 43 10
 *         -  +0x11  eb 20                 layout: jump dropped
 *
 * Columns: offset in the fragment; = copied, ~ changed, + added, - removed, >n leaves by exit n, @ loop end;
 * offset from the head; the program's bytes; the pass and what it did. */
#ifndef REHEAT_DUMP_H
#define REHEAT_DUMP_H

#include "fragcache/cache.h"

/* Where to append; %p is the process id. The text must stay. */
void dump_set(const char *path);
/* An fc_observer. */
void dump_fragment(const struct fragment *f, const struct ir *ir, const struct lowered *out);

#endif
