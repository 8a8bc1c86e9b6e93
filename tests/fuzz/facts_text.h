/* Forms of instructions: one sample of each kind found, from the generator and from the text of ELF files. */
#ifndef REHEAT_FUZZ_FACTS_TEXT_H
#define REHEAT_FUZZ_FACTS_TEXT_H

#include "tests/fuzz/facts_state.h"

struct form_found {
    uint64_t key[3];
    struct sample sample;
};

#define MAX_FORMS_FOUND 32768
extern struct form_found forms_found[];
extern int forms_found_count;

void forms_from_generator(struct rng *r);
/* False when the file is no ELF file with text. */
bool forms_from_elf(const char *path);

#endif
