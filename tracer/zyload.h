/* Loads a leaf shared library without the dynamic loader: no lock, no allocation, no name visible to the
 * program, and only when it is first needed. Enough of the ELF gABI for a library whose only imports are
 * memcpy, memset and strlen, which is what Debian packages Zydis as. */
#ifndef REHEAT_ZYLOAD_H
#define REHEAT_ZYLOAD_H

#include "runtime/base/rc.h"
#include "runtime/base/types.h"

struct zy_module {
    uint64_t base; /* load bias */
    const void *symbols; /* Elf64_Sym[] */
    const char *strings;
    uint32_t symbol_count;
};

/* Maps and relocates the library at `path`. Imports that are not provided resolve to a trap. RC_NO_DECODER. */
rc_t zy_load(const char *path, struct zy_module *m);
/* Address of an exported function, or NULL. */
void *zy_symbol(const struct zy_module *m, const char *name);
/* The number of dynamic symbols: one past the last of the longest chain (the gnu hash has no count). 0 without a hash. */
uint32_t zy_symbols_count(const uint32_t *gnu_hash);

#endif
