/* A small dispatcher for tests: runs a program made of real instructions natively, block by block, or from fragments, on
 * the same memory, so that the three can be compared.
 *
 * A program is a run of position-independent bytes. It is called with
 *   rdi = machine.data   rsi = an argument   r15 = where to jump in the end (jmp *%r15)   rsp = its own stack
 * and any values in the other registers. r15 is the one register whose value differs between the ways. */
#ifndef REHEAT_UNIT_MACHINE_H
#define REHEAT_UNIT_MACHINE_H

#include "fragcache/cache.h"
#include "runtime/base/context.h"
#include "tracer/interp.h"
#include "tracer/record.h"

#define MACHINE_TEXT 0x200000000000ULL /* where programs are loaded, unless said otherwise */
#define MACHINE_FAR 0x300000000000ULL /* no rel32 from there to the other */
#define MACHINE_DATA 4096
#define MACHINE_STACK 8192

struct machine_state {
    struct cpu_ctx ctx;
    uint8_t data[MACHINE_DATA];
    uint8_t stack[MACHINE_STACK];
};

struct machine {
    struct machine_state now;
    uint64_t rsi; /* argument */
    uint64_t rflags; /* at the start */
    /* what the last run did */
    unsigned block_runs, fragment_runs, lookup_misses;
};

extern struct machine machine;

/* A program of a test file: PROGRAM(name, "assembly"); then &name_start and name_len. */
#define PROGRAM(name, text)                                                                                  \
    extern const uint8_t name##_start[], name##_end[];                                                       \
    __asm__(".pushsection .rodata\n.balign 256\n.globl " #name "_start, " #name "_end\n" #name                \
            "_start:\n.intel_syntax noprefix\n" text "\n.att_syntax\n" #name "_end:\n.popsection\n")

/* Once: regions, slots. Again: forgets blocks and fragments; `capacity` of the fragment cache. */
void machine_reset(size_t capacity, bool link);
/* Maps the bytes at `at` (page-aligned), executable; replaces what was there. Returns at. */
uint64_t machine_load(uint64_t at, const uint8_t *bytes, const uint8_t *end);
#define LOAD(at, name) machine_load((at), name##_start, name##_end)

/* Runs the program at pc. Each starts from the same registers and memory and leaves the result in machine.now. */
void machine_native(uint64_t pc);
void machine_blocks(uint64_t pc);
/* Makes a fragment of each head that is reached `hot` times; keeps those there are. */
void machine_fragments(uint64_t pc, unsigned hot);
/* Native, then blocks, then fragments at hot=1 and hot=2, each compared with the first. */
void machine_compare(uint64_t pc);

/* Emits the fragment of the trace that starts at pc when the program at `start` runs block by block. */
struct fragment *machine_emit(uint64_t start, uint64_t pc);
/* The same, with the refusal. */
rc_t machine_try_emit(uint64_t start, uint64_t pc, struct fragment **out);

#endif
