/* Are the decoder's facts true? Each form of instruction is run on random states; what it does not read is changed, and
 * nothing may follow from that; what it does not write must stay.
 *
 *   gpr_read, gpr_written, flags_read, flags_written: nothing is missing
 *   gpr_full, gpr_zx, flags_killed: what is in them is overwritten whatever happens
 *   mem_read, mem_write, mem_bytes, mem_implied, stores; sp, sp_delta, bp_from_sp, writes_bp, pushes
 *   act, dst, src, immediate: the result is what C computes from them
 *
 * A register that is written in part (al, ax) keeps the rest: counted, not reported. */
#ifndef REHEAT_FUZZ_FACTS_H
#define REHEAT_FUZZ_FACTS_H

#include <stdint.h>

/* Checks the generator's forms, then those found in the text of the ELF files. Prints each wrong fact; returns how many
 * forms have one. */
int facts_check(uint64_t seed, int files, char **names);

#endif
