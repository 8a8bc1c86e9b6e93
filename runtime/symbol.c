#include "runtime/symbol.h"

#include <elf.h>

#include "runtime/base/maps.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "tracer/zyload.h"

#define PAGES_AT_ONCE 128u /* of which the kernel is asked */

struct tables {
    const Elf64_Sym *symbols;
    const char *strings;
    const uint32_t *gnu_hash;
};

/* Addresses in a loaded module's dynamic section are relocated by glibc, but not by every loader. */
static uint64_t dynamic_address(uint64_t bias, uint64_t v) { return v < bias ? v + bias : v; }

/* Whatever is mapped there need not be an ELF file, nor all of it: the kernel tells what can be read. */
static bool readable(uint64_t at, size_t len)
{
    char bytes[PAGES_AT_ONCE];
    struct {
        uint64_t base, len;
    } from[PAGES_AT_ONCE], to = {(uint64_t)(uintptr_t)bytes, 0};
    for (uint64_t p = at & ~4095ULL; p < at + len;) {
        for (to.len = 0; to.len < PAGES_AT_ONCE && p < at + len; p += 4096) {
            from[to.len].base = p;
            from[to.len++].len = 1;
        }
        if (sys_call6(__NR_process_vm_readv, sys_getpid(), (long)&to, 1, (long)from, (long)to.len, 0) != (long)to.len)
            return false;
    }
    return true;
}

static bool loaded_whole(const Elf64_Phdr *ph, int n, uint64_t bias)
{
    for (int i = 0; i < n; i++)
        if (ph[i].p_type == PT_LOAD && (ph[i].p_flags & PF_R) && !readable(bias + ph[i].p_vaddr, ph[i].p_memsz))
            return false;
    return true;
}

static bool tables_find(uint64_t base, struct tables *t, uint64_t *bias)
{
    const Elf64_Ehdr *eh = (const Elf64_Ehdr *)base;
    if (!readable(base, sizeof *eh) || eh->e_phoff > 4096 || !readable(base, 4096) || eh->e_phnum > 32)
        return false;
    if (eh->e_ident[0] != 0x7f || eh->e_ident[1] != 'E' || eh->e_ident[4] != ELFCLASS64)
        return false;
    const Elf64_Phdr *ph = (const Elf64_Phdr *)(base + eh->e_phoff);
    const Elf64_Phdr *dynamic = NULL;
    *bias = base;
    bool first = true;
    for (int i = 0; i < eh->e_phnum; i++) {
        if (ph[i].p_type == PT_LOAD && first) {
            *bias = base - ph[i].p_vaddr;
            first = false;
        }
        if (ph[i].p_type == PT_DYNAMIC)
            dynamic = &ph[i];
    }
    if (!dynamic || !loaded_whole(ph, eh->e_phnum, *bias))
        return false;
    for (const Elf64_Dyn *d = (const Elf64_Dyn *)(*bias + dynamic->p_vaddr); d->d_tag != DT_NULL; d++) {
        if (d->d_tag == DT_SYMTAB)
            t->symbols = (const Elf64_Sym *)dynamic_address(*bias, d->d_un.d_ptr);
        else if (d->d_tag == DT_STRTAB)
            t->strings = (const char *)dynamic_address(*bias, d->d_un.d_ptr);
        else if (d->d_tag == DT_GNU_HASH)
            t->gnu_hash = (const uint32_t *)dynamic_address(*bias, d->d_un.d_ptr);
    }
    return t->symbols && t->strings && t->gnu_hash;
}

/* Start of the module's first mapping: where its ELF header is. Text is mapped after it, at the same distance
 * as in the file for every linker in use. */
static uint64_t module_base(const struct map_range *r)
{
    return r->file_offset <= r->start ? r->start - r->file_offset : 0;
}

uint64_t symbol_find(struct app_pc pc, char *name, size_t cap)
{
    name[0] = 0;
    const struct map_range *r = maps_find(pc);
    if (!r || (r->kind != MAP_TEXT && r->kind != MAP_LOADER))
        return 0;
    static struct tables t; /* of the module asked for last; lock held */
    static uint64_t last_base, bias;
    static bool found;
    if (module_base(r) != last_base) {
        last_base = module_base(r);
        t = (struct tables){0};
        found = tables_find(last_base, &t, &bias);
    }
    if (!found)
        return 0;
    uint64_t best = 0;
    for (uint32_t i = t.gnu_hash[1], end = zy_symbols_count(t.gnu_hash); i < end; i++) {
        const Elf64_Sym *s = &t.symbols[i];
        unsigned type = ELF64_ST_TYPE(s->st_info);
        uint64_t at = bias + s->st_value;
        bool inside = pc.v >= at && (pc.v < at + s->st_size || !s->st_size);
        if ((type == STT_FUNC || type == STT_GNU_IFUNC) && s->st_shndx != SHN_UNDEF && inside && at > best) {
            best = at;
            str_copy(name, t.strings + s->st_name, cap);
        }
    }
    return best ? pc.v - best : 0;
}
