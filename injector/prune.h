/* Removes stat pages that nobody will ask for any more. */
#ifndef REHEAT_INJECTOR_PRUNE_H
#define REHEAT_INJECTOR_PRUNE_H

/* Of the caller's own directory, those of processes that ended more than an hour ago. Errors are ignored:
 * the next call tries again. */
void prune_old_pages(void);

#endif
