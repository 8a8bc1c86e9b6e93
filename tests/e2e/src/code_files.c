/* build: -O2
 * run: plain
 * run: wild
 * run: alias
 * Code mapped from files that are no libraries: from the second page of one, right behind memory that cannot be read
 * where a library would have its header; from one whose header calls itself ELF and is wild otherwise; and from a
 * memory file that is changed through another mapping. Hard for whoever wants to name the code's place from its
 * file, or watches only the address that the code runs at. */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

/* xor eax, eax; 1: inc eax; cmp eax, edi; jne 1b; ret */
static const unsigned char counting[] = {0x31, 0xc0, 0xff, 0xc0, 0x39, 0xf8, 0x75, 0xfa, 0xc3};
/* mov eax, 0; ret */
static const unsigned char constant[] = {0xb8, 0, 0, 0, 0, 0xc3};

static void from_file(int wild)
{
    char name[] = "/tmp/reheat-test-XXXXXX";
    int file = mkstemp(name);
    if (file < 0 || ftruncate(file, 2 * PAGE) != 0)
        return;
    Elf64_Ehdr header = {.e_ident = ELFMAG "\2\1\1", .e_type = ET_DYN, .e_machine = EM_X86_64, .e_version = 1};
    header.e_phoff = header.e_shoff = 0x7fffffffffffff00;
    header.e_ehsize = sizeof header;
    header.e_phentsize = header.e_shentsize = header.e_shstrndx = 0xffff;
    header.e_phnum = header.e_shnum = 0xfffe;
    if (wild && pwrite(file, &header, sizeof header, 0) < 0)
        return;
    if (pwrite(file, counting, sizeof counting, PAGE) < 0)
        return;
    char *room = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (wild)
        mmap(room + 0xf000, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, 0);
    void *code = mmap(room + 0x10000, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, file, PAGE);
    unlink(name);
    close(file);
    if (code == MAP_FAILED) {
        printf("refused\n");
        return;
    }
    int (*call)(int) = (int (*)(int))code;
    long sum = 0;
    for (int i = 1; i < 1000; i++)
        sum += call(i);
    printf("%ld\n", sum);
}

static void from_memory(int flags)
{
    int file = memfd_create("code", 0);
    if (file < 0 || ftruncate(file, PAGE) != 0 || pwrite(file, constant, sizeof constant, 0) < 0)
        return;
    volatile unsigned char *write = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    void *code = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, flags, file, 0);
    close(file);
    if (code == MAP_FAILED) {
        printf("refused\n");
        return;
    }
    int (*call)(void) = (int (*)(void))code;
    for (int i = 0; i < 5; i++) {
        long sum = 0;
        write[1] = (unsigned char)i;
        for (int k = 0; k < 1000; k++)
            sum += call();
        printf("%ld\n", sum);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "alias") == 0) {
        from_memory(MAP_PRIVATE);
        from_memory(MAP_SHARED);
    } else {
        from_file(argc > 1 && strcmp(argv[1], "wild") == 0);
    }
    return 3;
}
