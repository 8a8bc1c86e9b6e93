/* Loading the decoder library without the dynamic loader: the real file, and files that are not one. */
#include "tests/unit/unit.h"

#include <elf.h>
#include <stdlib.h>
#include <unistd.h>
#include <Zydis/Zydis.h>

#include "tracer/zyload.h"

static void test_real_library_decodes(void **state)
{
    (void)state;
    struct zy_module m;
    assert_ok(zy_load(REHEAT_ZYDIS_PATH, &m));
    assert_true(m.symbol_count > 10);
    ZyanU64 (*version)(void) = (ZyanU64(*)(void))(uintptr_t)zy_symbol(&m, "ZydisGetVersion");
    assert_non_null(version);
    assert_ptr_not_equal((void *)(uintptr_t)version, (void *)(uintptr_t)ZydisGetVersion); /* not the linked one */
    assert_int_equal(version(), ZydisGetVersion());

    ZyanStatus (*init)(ZydisDecoder *, ZydisMachineMode, ZydisStackWidth) = zy_symbol(&m, "ZydisDecoderInit");
    ZyanStatus (*decode)(const ZydisDecoder *, const void *, ZyanUSize, ZydisDecodedInstruction *,
                         ZydisDecodedOperand *) = zy_symbol(&m, "ZydisDecoderDecodeFull");
    ZydisDecoder decoder;
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    assert_true(ZYAN_SUCCESS(init(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)));
    assert_true(ZYAN_SUCCESS(decode(&decoder, "\x62\xf1\xfe\x48\x7f\x44\x24\x01", 8, &insn, ops)));
    assert_int_equal(insn.length, 8);
    assert_int_equal(insn.mnemonic, ZYDIS_MNEMONIC_VMOVDQU64);
    assert_int_equal(ops[0].mem.disp.value, 64);
}

static void test_missing_symbol(void **state)
{
    (void)state;
    struct zy_module m;
    assert_ok(zy_load(REHEAT_ZYDIS_PATH, &m));
    assert_null(zy_symbol(&m, "ZydisNoSuchThing"));
    assert_null(zy_symbol(&m, ""));
    assert_null(zy_symbol(&m, "memcpy")); /* imported, not defined */
}

static rc_t load_bytes(const void *bytes, size_t len)
{
    char path[] = "/tmp/reheat-unit-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    close(fd);
    struct zy_module m;
    rc_t rc = zy_load(path, &m);
    unlink(path);
    return rc;
}

static void test_not_a_library(void **state)
{
    (void)state;
    struct zy_module m;
    static uint8_t garbage[8192];
    assert_rc(zy_load("/nonexistent/libZydis.so", &m), RC_NO_DECODER);
    assert_rc(zy_load("/", &m), RC_NO_DECODER);
    assert_rc(load_bytes("", 0), RC_NO_DECODER);
    assert_rc(load_bytes("\177ELF", 4), RC_NO_DECODER);
    assert_rc(load_bytes(garbage, sizeof garbage), RC_NO_DECODER);
    srand(1);
    for (int i = 0; i < 50; i++) {
        for (size_t k = 0; k < sizeof garbage; k++)
            garbage[k] = (uint8_t)rand();
        assert_rc(load_bytes(garbage, sizeof garbage), RC_NO_DECODER);
    }
}

static uint8_t *read_library(size_t *len)
{
    FILE *f = fopen(REHEAT_ZYDIS_PATH, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *len = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = malloc(*len);
    assert_int_equal(fread(bytes, 1, *len, f), *len);
    fclose(f);
    return bytes;
}

static void test_damaged_headers(void **state)
{
    (void)state;
    size_t len;
    uint8_t *good = read_library(&len);
    assert_rc(load_bytes(good, 900), RC_NO_DECODER); /* shorter than its program headers may be */
    Elf64_Ehdr *eh = (Elf64_Ehdr *)(void *)good, saved = *eh;
    eh->e_ident[EI_CLASS] = ELFCLASS32;
    assert_rc(load_bytes(good, len), RC_NO_DECODER);
    *eh = saved;
    eh->e_machine = EM_AARCH64;
    assert_rc(load_bytes(good, len), RC_NO_DECODER);
    *eh = saved;
    eh->e_phnum = 200;
    assert_rc(load_bytes(good, len), RC_NO_DECODER);
    *eh = saved;
    eh->e_phnum = 0;
    assert_rc(load_bytes(good, len), RC_NO_DECODER);
    *eh = saved;
    eh->e_phoff = 128;
    assert_rc(load_bytes(good, len), RC_NO_DECODER);
    *eh = saved;
    eh->e_ident[0] = 'x';
    assert_rc(load_bytes(good, len), RC_NO_DECODER);
    *eh = saved;
    Elf64_Phdr *ph = (Elf64_Phdr *)(void *)(good + 64);
    for (int i = 0; i < eh->e_phnum; i++)
        if (ph[i].p_type == PT_DYNAMIC)
            ph[i].p_type = PT_NULL;
    assert_rc(load_bytes(good, len), RC_NO_DECODER);
    free(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_library_decodes),
        cmocka_unit_test(test_missing_symbol),
        cmocka_unit_test(test_not_a_library),
        cmocka_unit_test(test_damaged_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
