#include "tests/fuzz/facts_text.h"

#include <Zydis/Zydis.h>
#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/encode.h"

#define SLOTS 65536u

struct form_found forms_found[MAX_FORMS_FOUND];
int forms_found_count;
static int table[SLOTS]; /* index + 1, by hash of the key */
static ZydisDecoder decoder;

/* Which register classes and widths the operands have, and which of them are the same register. */
static uint64_t operand_key(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops)
{
    uint64_t k = 0;
    for (int i = 0; i < zi->operand_count_visible; i++) {
        const ZydisDecodedOperand *op = &ops[i];
        uint64_t v = (uint64_t)op->type << 12 | op->size >> 3;
        if (op->type == ZYDIS_OPERAND_TYPE_REGISTER) {
            v |= (uint64_t)ZydisRegisterGetClass(op->reg.value) << 16;
            v |= (uint64_t)(op->reg.value >= ZYDIS_REGISTER_AH && op->reg.value <= ZYDIS_REGISTER_BH) << 24;
            v |= (uint64_t)(op->reg.value == ZYDIS_REGISTER_RSP || op->reg.value == ZYDIS_REGISTER_RBP) << 25;
            v |= (uint64_t)(i > 0 && ops[0].type == op->type && ops[0].reg.value == op->reg.value) << 26;
        } else if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
            v |= (uint64_t)(op->mem.base == ZYDIS_REGISTER_RSP) << 16 |
                 (uint64_t)(op->mem.base == ZYDIS_REGISTER_RBP) << 17;
            v |= (uint64_t)(op->mem.base == ZYDIS_REGISTER_RIP) << 18 |
                 (uint64_t)(op->mem.index != ZYDIS_REGISTER_NONE) << 19;
            v |= (uint64_t)(op->mem.base == ZYDIS_REGISTER_NONE) << 20;
        }
        k = k * 0x9e3779b97f4a7c15ULL + v;
    }
    return k;
}

static unsigned note(const uint8_t *bytes, size_t avail)
{
    ZydisDecoderContext context;
    ZydisDecodedInstruction zi;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, &context, bytes, avail, &zi)))
        return 1;
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeOperands(&decoder, &context, &zi, ops, zi.operand_count)))
        return 1;
    struct form_found f = {0};
    f.key[0] =
        (uint64_t)zi.mnemonic << 32 | (uint64_t)zi.opcode_map << 24 | (uint64_t)zi.encoding << 16 | zi.opcode;
    f.key[1] = operand_key(&zi, ops);
    f.key[2] = (zi.attributes & (ZYDIS_ATTRIB_HAS_LOCK | ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
                                 ZYDIS_ATTRIB_HAS_REPNE | ZYDIS_ATTRIB_HAS_SEGMENT))
                   << 1 |
               (zi.avx.mask.reg != 0);
    uint32_t h = (uint32_t)((f.key[0] * 31 + f.key[1] * 7 + f.key[2]) * 0x9e3779b97f4a7c15ULL >> 48);
    while (table[h] && memcmp(forms_found[table[h] - 1].key, f.key, sizeof f.key) != 0)
        h = (h + 1) % SLOTS;
    if (!table[h] && forms_found_count < MAX_FORMS_FOUND) {
        f.sample.len = zi.length;
        memcpy(f.sample.bytes, bytes, zi.length);
        forms_found[forms_found_count++] = f;
        table[h] = forms_found_count;
    }
    return zi.length;
}

static void start(void)
{
    (void)ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
}

static void vary(struct rng *r, const struct form *f)
{
    static const uint8_t sizes[] = {2, 4, 8};
    struct operands o = {.size = f->f & F_B ? 1 : f->f & F_Q ? 8 : sizes[rng_below(r, 3)], .index = R_NONE};
    if ((f->f & F_Y) && o.size == 2)
        o.size = 4;
    o.wide = (f->f & F_L) && ((f->f & F_Q) || rng_percent(r, 50));
    o.reg = rng_below(r, 16);
    o.vvvv = rng_below(r, 16);
    o.rm = rng_below(r, 16);
    o.cc = rng_below(r, 16);
    o.imm = rng_next(r);
    o.high = rng_percent(r, 30) && (f->f & (F_B | F_RMB));
    o.is_mem = (f->f & F_M) || (!(f->f & (F_R | F_BARE | F_OPREG)) && rng_percent(r, 50));
    o.disp = o.is_mem ? (int32_t)rng_below(r, 200) - 100 : 0;
    o.lock = o.is_mem && (f->f & F_LOCKS) && rng_percent(r, 20);
    struct item it;
    if (encode_form(f, &o, &it))
        (void)note(it.bytes, it.len);
}

/* What neither compilers nor the generator make often: string instructions with every repeat prefix, bit strings,
 * writes to rsp, wide compares, gathers and masked moves. */
static const struct sample rare[] = {
#define S(...)                                                                                               \
    {                                                                                                        \
        {__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__})                                                      \
    }
    S(0xf3, 0xa6),
    S(0xf2, 0xa6),
    S(0xf3, 0x48, 0xa7),
    S(0xf3, 0xae),
    S(0xf2, 0xae),
    S(0xf2, 0x66, 0xaf),
    S(0xa6),
    S(0xae),
    S(0xf3, 0xa4),
    S(0xf3, 0x48, 0xa5),
    S(0xf3, 0xaa),
    S(0xf3, 0x48, 0xab),
    S(0xf3, 0xac),
    S(0xa4),
    S(0xa5),
    S(0xaa),
    S(0xac),
    S(0x48, 0xad),
    S(0x48, 0xab),
    S(0x0f, 0xa3, 0x07),
    S(0x48, 0x0f, 0xab, 0x07),
    S(0x0f, 0xb3, 0x0f),
    S(0x0f, 0xbb, 0x0f),
    S(0x54),
    S(0x5c),
    S(0x8f, 0x44, 0x24, 0x08),
    S(0xff, 0x74, 0x24, 0x08),
    S(0x66, 0x50),
    S(0x66, 0x58),
    S(0x6a, 0x01),
    S(0x48, 0x94),
    S(0x9c),
    S(0x66, 0x9c),
    S(0xc8, 0x10, 0x00, 0x00),
    S(0xc9),
    S(0x48, 0x8d, 0x65, 0xf0),
    S(0x48, 0x8d, 0x6c, 0x24, 0x10),
    S(0x48, 0x83, 0xc4, 0x10),
    S(0x48, 0x83, 0xec, 0x10),
    S(0x83, 0xc4, 0x10),
    S(0x48, 0x83, 0xe4, 0xe0),
    S(0x48, 0x89, 0xec),
    S(0x48, 0x89, 0xe5),
    S(0x66, 0x89, 0xe5),
    S(0x89, 0xec),
    S(0x8d, 0x65, 0xf0),
    S(0x0f, 0xc7, 0x0f),
    S(0x48, 0x0f, 0xc7, 0x0f),
    S(0xf0, 0x48, 0x0f, 0xc7, 0x0f),
    S(0xd7),
    S(0x66, 0x0f, 0xf7, 0xc1),
    S(0x0f, 0xf7, 0xc1),
    S(0x9e),
    S(0x9f),
    S(0xfc),
    S(0xfd),
    S(0xf5),
    S(0xf8),
    S(0xf9),
    S(0xd3, 0xd0),
    S(0xd3, 0xd8),
    S(0x48, 0xd3, 0x17),
    S(0xd3, 0x1f),
    S(0xc1, 0xd0, 0x20),
    S(0xc1, 0xe0, 0x00),
    S(0xc1, 0xe0, 0x20),
    S(0xc0, 0xc0, 0x08),
    S(0x0f, 0xbc, 0xc0),
    S(0x0f, 0xbd, 0xc1),
    S(0x0f, 0x44, 0xc1),
    S(0x0f, 0x42, 0x07),
    S(0x66, 0x0f, 0x44, 0xc1),
    S(0xc4, 0xe2, 0x6d, 0x90, 0x0c, 0x07),
    S(0xc4, 0xe2, 0x69, 0x8c, 0x0f),
    S(0xc4, 0xe2, 0x69, 0x8e, 0x0f),
    S(0xc4, 0xe2, 0x69, 0x2e, 0x0f),
    S(0x0f, 0xae, 0x1f),
    S(0x0f, 0xae, 0x17),
    S(0xd9, 0x3f),
    S(0xd9, 0x2f),
    S(0xdd, 0x3f),
    S(0x9b, 0xdd, 0x3f),
    S(0x48, 0x0f, 0xae, 0x07),
    S(0xdf, 0xe0),
    S(0xdb, 0xf1),
    S(0xda, 0xc1),
    S(0xdf, 0xf1),
    S(0x48, 0x0f, 0xc3, 0x07),
    S(0x0f, 0x2b, 0x07),
    S(0x0f, 0x18, 0x0f),
    S(0x0f, 0x0d, 0x0f),
    S(0x0f, 0xae, 0x3f),
    S(0x0f, 0xa2),
    S(0x0f, 0x01, 0xd0),
    S(0x98),
    S(0x66, 0x98),
    S(0x48, 0x98),
    S(0x99),
    S(0x66, 0x99),
    S(0x48, 0x99),
    S(0x90),
    S(0xf3, 0x90),
    S(0x87, 0xc0),
    S(0x48, 0x87, 0xc0),
    S(0x89, 0xc0),
    S(0x31, 0xc0),
    S(0x29, 0xc0),
    S(0x19, 0xc0),
    S(0x48, 0x31, 0xc0),
    S(0x30, 0xc0),
    S(0x66, 0x31, 0xc0),
    S(0x38, 0xc0),
    S(0x83, 0xc8, 0xff),
    S(0x83, 0xe0, 0x00),
    S(0xf6, 0xf9),
    S(0xf7, 0xf9),
    S(0x48, 0xf7, 0xf1),
    S(0x62, 0xf1, 0xfd, 0x49, 0x6f, 0x07),
    S(0x62, 0xf1, 0xfd, 0x49, 0x7f, 0x07),
    S(0x62, 0xf2, 0x7d, 0x49, 0x90, 0x0c, 0x07),
    S(0xc5, 0xf8, 0x93, 0xc1),
    S(0xc5, 0xf8, 0x92, 0xc8),
    S(0xc4, 0xe1, 0xfb, 0x93, 0xc1),
    S(0x0f, 0xc0, 0xc0),
    S(0x0f, 0xc1, 0xc0),
    S(0x0f, 0xb0, 0xc8),
    S(0x0f, 0xb1, 0xc8),
    S(0xf0, 0x0f, 0xb1, 0x0f),
    S(0x86, 0xc4),
    S(0x48, 0x63, 0xc0),
    S(0x63, 0xc1),
    S(0x66, 0x63, 0xc1),
    S(0x8c, 0xd8),
    S(0x66, 0x8c, 0xd8),
    S(0x0f, 0x31),
    S(0x48, 0x0f, 0xc8),
    S(0x0f, 0x38, 0xf1, 0x07),
    S(0xf2, 0x0f, 0x38, 0xf0, 0xc1),
    S(0xc4, 0xe2, 0xf3, 0xf6, 0xc0),
    S(0x0f, 0xf0, 0x07),
#undef S
};

void forms_from_generator(struct rng *r)
{
    start();
    for (size_t i = 0; i < ARRAY_LEN(rare); i++)
        (void)note(rare[i].bytes, rare[i].len);
    for (int i = 0; i < form_count; i++)
        for (int n = 0; n < 60; n++)
            vary(r, &forms[i]);
}

static void sweep(const uint8_t *p, size_t len)
{
    for (size_t at = 0; at < len;)
        at += note(p + at, len - at);
}

bool forms_from_elf(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) || (size_t)st.st_size < sizeof(Elf64_Ehdr)) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    size_t size = (size_t)st.st_size;
    const uint8_t *p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (p == MAP_FAILED)
        return false;
    start();
    Elf64_Ehdr eh;
    memcpy(&eh, p, sizeof eh);
    bool any = false;
    for (unsigned i = 0; memcmp(eh.e_ident, ELFMAG, 4) == 0 && i < eh.e_shnum; i++) {
        Elf64_Shdr sh;
        size_t at = eh.e_shoff + (size_t)i * sizeof sh;
        if (at + sizeof sh > size)
            break;
        memcpy(&sh, p + at, sizeof sh);
        if (sh.sh_type != SHT_PROGBITS || !(sh.sh_flags & SHF_EXECINSTR) || sh.sh_offset + sh.sh_size > size)
            continue;
        sweep(p + sh.sh_offset, sh.sh_size);
        any = true;
    }
    munmap((void *)(uintptr_t)p, size);
    return any;
}
