#include "tracer/zyload.h"

#include <asm/fcntl.h>
#include <linux/mman.h>
#include <elf.h>

#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

#define MAX_HEADERS 16

static void import_missing(void) { __builtin_trap(); }

static const struct {
    const char *name;
    void *address;
} imports[] = {
    {"memcpy", mem_copy},
    {"memset", NULL}, /* filled below: its second argument is a value */
    {"strlen", str_len},
};

static void *import_memset(void *to, int value, size_t n)
{
    if (value == 0)
        return mem_zero(to, n);
    char *t = to;
    while (n--)
        *t++ = (char)value;
    return to;
}

static uint64_t import_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(imports); i++)
        if (str_equal(name, imports[i].name))
            return imports[i].address ? (uint64_t)imports[i].address : (uint64_t)import_memset;
    return (uint64_t)import_missing;
}

static uint64_t page_down(uint64_t v) { return v & ~4095ULL; }
static uint64_t page_up(uint64_t v) { return (v + 4095) & ~4095ULL; }

static int segment_prot(uint32_t flags)
{
    return (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) | (flags & PF_X ? PROT_EXEC : 0);
}

static rc_t segments_map(long fd, const Elf64_Phdr *ph, int n, uint64_t *bias)
{
    uint64_t top = 0;
    for (int i = 0; i < n; i++)
        if (ph[i].p_type == PT_LOAD && ph[i].p_vaddr + ph[i].p_memsz > top)
            top = page_up(ph[i].p_vaddr + ph[i].p_memsz);
    void *at = sys_mmap(NULL, top, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!top || sys_failed(at))
        return RC_NO_DECODER;
    *bias = (uint64_t)at;
    for (int i = 0; i < n; i++) {
        if (ph[i].p_type != PT_LOAD)
            continue;
        uint64_t start = page_down(*bias + ph[i].p_vaddr);
        uint64_t file_end = *bias + ph[i].p_vaddr + ph[i].p_filesz, end = *bias + ph[i].p_vaddr + ph[i].p_memsz;
        void *p = sys_mmap((void *)start, page_up(file_end) - start, segment_prot(ph[i].p_flags),
                           MAP_PRIVATE | MAP_FIXED | (ph[i].p_flags & PF_W ? MAP_POPULATE : 0), (int)fd, (long)page_down(ph[i].p_offset));
        if (sys_failed(p))
            return RC_NO_DECODER;
        if (end > file_end)
            mem_zero((void *)file_end, page_up(file_end) - file_end < end - file_end ? page_up(file_end) - file_end
                                                                                   : end - file_end);
        if (page_up(end) > page_up(file_end)) {
            p = sys_mmap((void *)page_up(file_end), page_up(end) - page_up(file_end), segment_prot(ph[i].p_flags),
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
            if (sys_failed(p))
                return RC_NO_DECODER;
        }
    }
    return RC_OK;
}

struct dynamic {
    const Elf64_Rela *rela, *plt_rela;
    size_t rela_bytes, plt_bytes;
    const Elf64_Sym *symbols;
    const char *strings;
    const uint32_t *gnu_hash;
};

static struct dynamic dynamic_read(uint64_t bias, const Elf64_Dyn *d)
{
    struct dynamic out = {0};
    for (; d->d_tag != DT_NULL; d++) {
        uint64_t v = d->d_un.d_val;
        switch (d->d_tag) {
        case DT_RELA: out.rela = (const Elf64_Rela *)(bias + v); break;
        case DT_RELASZ: out.rela_bytes = v; break;
        case DT_JMPREL: out.plt_rela = (const Elf64_Rela *)(bias + v); break;
        case DT_PLTRELSZ: out.plt_bytes = v; break;
        case DT_SYMTAB: out.symbols = (const Elf64_Sym *)(bias + v); break;
        case DT_STRTAB: out.strings = (const char *)(bias + v); break;
        case DT_GNU_HASH: out.gnu_hash = (const uint32_t *)(bias + v); break;
        default: break;
        }
    }
    return out;
}

static rc_t relocate(uint64_t bias, const struct dynamic *d, const Elf64_Rela *r, size_t bytes)
{
    for (const Elf64_Rela *end = r + bytes / sizeof *r; r < end; r++) {
        uint64_t *where = (uint64_t *)(bias + r->r_offset);
        const Elf64_Sym *s = &d->symbols[ELF64_R_SYM(r->r_info)];
        switch (ELF64_R_TYPE(r->r_info)) {
        case R_X86_64_RELATIVE: *where = bias + (uint64_t)r->r_addend; break;
        case R_X86_64_64:
        case R_X86_64_GLOB_DAT:
        case R_X86_64_JUMP_SLOT:
            *where = s->st_shndx != SHN_UNDEF                    ? bias + s->st_value
                     : ELF64_ST_BIND(s->st_info) == STB_WEAK ? 0
                                                             : import_find(d->strings + s->st_name);
            if (ELF64_R_TYPE(r->r_info) == R_X86_64_64)
                *where += (uint64_t)r->r_addend;
            break;
        case R_X86_64_NONE: break;
        default: return RC_NO_DECODER;
        }
    }
    return RC_OK;
}

uint32_t zy_symbols_count(const uint32_t *h)
{
    if (!h)
        return 0;
    uint32_t buckets = h[0], first = h[1], bloom = h[2], last = 0;
    const uint32_t *bucket = h + 4 + bloom * 2, *chain = bucket + buckets;
    for (uint32_t i = 0; i < buckets; i++)
        if (bucket[i] > last)
            last = bucket[i];
    if (last < first)
        return first;
    while (!(chain[last - first] & 1))
        last++;
    return last + 1;
}

rc_t zy_load(const char *path, struct zy_module *m)
{
    union {
        Elf64_Ehdr eh;
        uint8_t raw[64 + MAX_HEADERS * sizeof(Elf64_Phdr)];
    } head;
    long fd = sys_open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return RC_NO_DECODER;
    rc_t rc = RC_NO_DECODER;
    const Elf64_Phdr *ph = NULL;
    if (sys_read(fd, &head, sizeof head) == (long)sizeof head && mem_compare(head.raw, ELFMAG, SELFMAG) == 0 &&
        head.eh.e_ident[EI_CLASS] == ELFCLASS64 &&
        head.eh.e_machine == EM_X86_64 && head.eh.e_phnum <= MAX_HEADERS && head.eh.e_phoff == 64) {
        ph = (const Elf64_Phdr *)(head.raw + 64);
        rc = segments_map(fd, ph, head.eh.e_phnum, &m->base);
    }
    (void)sys_close(fd);
    TRY(rc);
    const Elf64_Dyn *dyn = NULL;
    for (int i = 0; i < head.eh.e_phnum; i++)
        if (ph[i].p_type == PT_DYNAMIC)
            dyn = (const Elf64_Dyn *)(m->base + ph[i].p_vaddr);
    if (!dyn)
        return RC_NO_DECODER;
    struct dynamic d = dynamic_read(m->base, dyn);
    TRY(relocate(m->base, &d, d.rela, d.rela_bytes));
    TRY(relocate(m->base, &d, d.plt_rela, d.plt_bytes));
    m->symbols = d.symbols;
    m->strings = d.strings;
    m->symbol_count = zy_symbols_count(d.gnu_hash);
    return RC_OK;
}

void *zy_symbol(const struct zy_module *m, const char *name)
{
    const Elf64_Sym *s = m->symbols;
    for (uint32_t i = 0; i < m->symbol_count; i++)
        if (s[i].st_shndx != SHN_UNDEF && str_equal(m->strings + s[i].st_name, name))
            return (void *)(m->base + s[i].st_value);
    return NULL;
}
