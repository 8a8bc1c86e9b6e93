#include "tests/unit/module.h"

#include <elf.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/base/maps.h"

static uint64_t next_base = 0x200000000000;
uint64_t module_text;
uint8_t module_image[4 * PAGE];
static void put32(size_t at, uint32_t v) { memcpy(module_image + at, &v, 4); }
void module_code(size_t at, const char *hex)
{
    unit_bytes(hex, module_image + PAGE + at, 2 * PAGE - at);
}

void module_clear(void)
{
    memset(module_image, 0, sizeof module_image);
    memset(module_image + PAGE, 0xcc, 2 * PAGE);
}

static void unwind_tables(const unsigned (*bounds)[2], unsigned flags)
{
    static const uint8_t cie[] = {16, 0, 0, 0, 0, 0, 0, 0, 1, 'z', 'L', 'R', 0, 1, 0x78, 16, 2, 0x1b, 0x1b, 0};
    size_t hdr = 3 * PAGE, frames = hdr + 512, at = frames + sizeof cie;
    uint32_t n = 0;
    memcpy(module_image + hdr, "\x01\x1b\x03\x3b", 4);
    memcpy(module_image + frames, cie, sizeof cie);
    for (; bounds[n][1]; n++, at += 24) {
        put32(hdr + 12 + n * 8, PAGE + bounds[n][0] - (uint32_t)hdr);
        put32(hdr + 16 + n * 8, (uint32_t)(at - hdr));
        put32(at, 20);
        put32(at + 4, (uint32_t)(at + 4 - frames));
        put32(at + 8, PAGE + bounds[n][0] - (uint32_t)(at + 8));
        put32(at + 12, bounds[n][1] - bounds[n][0]);
        module_image[at + 16] = 4;
        put32(at + 17, flags & MODULE_LANDING_PADS ? 0x100 : 0);
    }
    put32(hdr + 8, n);
}

static void headers(uint64_t base, unsigned flags)
{
    Elf64_Ehdr eh = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1}, .e_type = ET_DYN,
                     .e_phoff = sizeof eh, .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 4,
                     .e_shoff = 3 * PAGE + 2048, .e_shentsize = sizeof(Elf64_Shdr), .e_shnum = 3, .e_shstrndx = 1};
    const Elf64_Phdr ph[] = {
        {.p_type = PT_LOAD, .p_flags = PF_R, .p_filesz = PAGE, .p_memsz = PAGE},
        {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_offset = PAGE, .p_vaddr = PAGE, .p_filesz = 2 * PAGE},
        {.p_type = PT_LOAD, .p_flags = PF_R, .p_offset = 3 * PAGE, .p_vaddr = 3 * PAGE, .p_filesz = PAGE},
        {.p_type = PT_GNU_EH_FRAME, .p_offset = 3 * PAGE, .p_vaddr = 3 * PAGE, .p_memsz = 512},
    };
    const Elf64_Shdr sh[] = {
        {0},
        {.sh_name = 1, .sh_type = SHT_STRTAB, .sh_offset = 3 * PAGE + 1024, .sh_size = 32},
        {.sh_name = flags & MODULE_RSEQ ? 1 : 2, .sh_flags = SHF_ALLOC, .sh_addr = 3 * PAGE + 1536, .sh_size = 32},
    };
    const uint64_t rseq[] = {0, base + PAGE + 16, 16, base + PAGE + 64};
    if (flags & MODULE_NO_SECTIONS)
        eh.e_shnum = 0;
    memcpy(module_image, &eh, sizeof eh);
    memcpy(module_image + sizeof eh, ph, sizeof ph);
    memcpy(module_image + 3 * PAGE + 1024, "\0__rseq_cs", 11);
    memcpy(module_image + 3 * PAGE + 1536, rseq, sizeof rseq);
    memcpy(module_image + 3 * PAGE + 2048, sh, sizeof sh);
}

static void map_piece(uint64_t at, size_t len, int prot, int fd, long offset)
{
    assert_ptr_equal(mmap((void *)at, len, prot, MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd, offset), (void *)at);
}

static char kept[32];

void module_load(const unsigned (*bounds)[2], unsigned flags)
{
    char path[] = "/tmp/test_hook_XXXXXX";
    uint64_t base = next_base;
    next_base += 16ULL << 30;
    unwind_tables(bounds, flags);
    headers(base, flags);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, module_image, sizeof module_image), sizeof module_image);
    map_piece(base, PAGE, PROT_READ, fd, 0);
    map_piece(base + PAGE, 2 * PAGE, PROT_READ | PROT_EXEC, fd, PAGE);
    map_piece(base + 3 * PAGE, PAGE, PROT_READ, fd, 3 * PAGE);
    close(fd);
    module_text = base + PAGE;
    maps_forget();
    site_forget();
    struct site_function f;
    if (flags & MODULE_UNLINKED)
        unlink(path);
    (void)site_function_find(app_pc(module_text), &f); /* reads the headers, before the file goes */
    if (flags & MODULE_KEPT)
        strcpy(kept, path);
    else
        unlink(path);
}

void module_forget_file(void) { unlink(kept); }

const unsigned module_one_function[2][2] = {{0, 256}, {0, 0}};

void module_load_function(const char *hex)
{
    module_clear();
    module_code(0, hex);
    module_load(module_one_function, 0);
}

rc_t module_ask_site(unsigned at, const struct site_ask *ask)
{
    struct site s;
    return site_check(app_pc(module_text + at), ask, &s);
}
