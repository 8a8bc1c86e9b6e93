/* The campaign of faults: fragments of random programs and of recorded traces, each walked through (walk.h). */
#ifndef REHEAT_FUZZ_FAULTS_H
#define REHEAT_FUZZ_FAULTS_H

#include <stdint.h>

struct faults_settings {
    uint64_t seed, fragments; /* of random programs; each of a file's, if there is one */
    unsigned states;          /* of each fragment */
    const char *replay;       /* a file of recorded traces; NULL: random programs */
};

/* Prints the first mismatch, and counts. The exit status: 1 after a mismatch, 2 when there was nothing to look at. */
int faults_campaign(const struct faults_settings *set);
/* Each mistake of break_recipe_name must be noticed within n programs. The exit status. */
int faults_selftest(uint64_t seed, unsigned n);

#endif
