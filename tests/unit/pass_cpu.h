/* Runs a few instructions on the CPU with given registers, flags and memory: for tests that compare what was computed
 * about instructions with what they do. Addresses below 2 GiB, so that they can be named by disp32. */
#ifndef REHEAT_UNIT_PASS_CPU_H
#define REHEAT_UNIT_PASS_CPU_H

#include "tests/unit/unit.h"

#define CPU_LOW 0x10000000ull
#define CPU_CONSTANTS CPU_LOW /* one page of bytes that tests do not change */
#define CPU_CODE (CPU_LOW + 0x1000)
#define CPU_STATE (CPU_LOW + 0x10000)
#define CPU_AREA 2048

struct cpu_state {
    uint64_t gpr[16];
    uint64_t flags;
    uint32_t exit; /* which cpu_emit_leave ended it */
    uint32_t unused;
    uint8_t stack[CPU_AREA], data[CPU_AREA]; /* the first 16 bytes of stack are in xmm0 too */
};
#define CPU_STACK (CPU_STATE + offsetof(struct cpu_state, stack))
#define CPU_DATA (CPU_STATE + offsetof(struct cpu_state, data))

/* Maps everything. 0, or -1 when the addresses are taken. */
int cpu_setup(void);
/* A random number below n; cpu_seed starts another sequence. */
uint32_t cpu_dice(uint32_t n);
void cpu_seed(uint64_t seed);

/* Where the code to run is written, and what must end it: 25 bytes. */
uint8_t *cpu_code(void);
uint8_t *cpu_emit_leave(uint8_t *to, uint32_t exit);
/* Signals that code raises make cpu_run fail. To be called in each test that wants so: cmocka has handlers of its
 * own. */
void cpu_catch_signals(void);
/* Runs the code from `start`; false when it raised a signal. rsp and memory named by registers must lie in the state.
 * */
bool cpu_run(const struct cpu_state *start, struct cpu_state *out);

#endif
