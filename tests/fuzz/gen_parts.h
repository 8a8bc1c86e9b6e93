/* What gen.c and gen_idioms.c share: the generator's view of the machine, and its smallest steps. */
#ifndef REHEAT_FUZZ_GEN_PARTS_H
#define REHEAT_FUZZ_GEN_PARTS_H

#include "tests/fuzz/encode.h"
#include "tests/fuzz/gen.h"

#define MAX_GUARDED   64
#define MAX_FUNCTIONS 8

struct function {
    int ret_sp; /* rsp, as an offset from the head's, where the return address lies */
    bool frame;
    int frame_sp; /* what rbp is, likewise */
    bool bp_was_pointer, bp_was_busy;
    int slack_before;
};

struct slot {
    uint8_t base; /* R_RIP: the constants */
    unsigned size;
    int disp; /* from rsp at the head, where that is the base */
};

struct gen {
    struct rng *r;
    struct program *p;
    uint16_t pointers, busy; /* busy: must not be written */
    uint16_t idle;           /* neither written nor read by choice */
    struct slot slots[6];
    int slot_count;
    bool steady_slot; /* the first is only read */
    uint32_t numbers; /* mask of slots that hold a number for scalar instructions */
    uint16_t kept;           /* pointers that the next iteration needs again */
    uint16_t stack_pointers;
    uint16_t foreign;                        /* of these, what the path did not make from rsp */
    int stack_at[16];                        /* what they point to */
    int sp, slack;                           /* rsp is sp, or up to slack lower */
    int guarded[MAX_GUARDED], guarded_count; /* 8-byte slots that must keep their value */
    struct function fn[MAX_FUNCTIONS];
    bool framed;
    int frame_top; /* framed: the highest slot of a return address; foreign pointers do not reach below it (values.h) */
    int depth;
    struct operands last; /* the memory operand before */
    int last_sp;
    bool has_last;
};

#define ROUGHLY(g, p) rng_percent((g)->r, (p))

/* False when the program is full. */
bool gen_add_item(struct gen *g, struct item it);
void gen_add_bytes(struct gen *g, const char *bytes, unsigned len);
const struct form *gen_form_named(const char *name);
/* The register is no pointer any more. */
void gen_wrote(struct gen *g, unsigned reg);
bool gen_may_write(const struct gen *g, unsigned reg);
/* A register to write to: rarely a pointer, never one that is in use. */
unsigned gen_pick_dest(struct gen *g);
unsigned gen_pick_source(struct gen *g);
int gen_pick_disp(struct gen *g);
/* An access of up to 32 bytes there leaves return addresses and saved registers alone. */
bool gen_stack_free(const struct gen *g, int at, int slack);
/* A memory operand on the stack. False: none was found. */
bool gen_pick_stack(struct gen *g, struct operands *o);
/* Sets the memory operand of `to`. */
void gen_pick_mem(struct gen *g, bool aligned, struct operands *to);
uint64_t gen_pick_imm(struct gen *g);
/* The form with random operands. */
bool gen_add_form(struct gen *g, const struct form *f);
/* Any form, by weight. */
void gen_add_any(struct gen *g);
/* The form of that name with these operands. */
bool gen_add_named(struct gen *g, const char *name, struct operands o);
#define ADD(g, bytes) gen_add_bytes((g), bytes, sizeof(bytes) - 1)

/* A branch whose sides meet again, and what goes with it. */
void gen_add_fork(struct gen *g);
/* gen_slots.c: some loops get slots. */
void gen_choose_slots(struct gen *g, const struct gen_roles *roles);
void gen_add_slot(struct gen *g);
/* One of them that holds no number. */
bool gen_pick_slot(struct gen *g, struct operands *to);

/* One instruction or idiom; what closes the program. */
void gen_add_step(struct gen *g);
void gen_add_end(struct gen *g, const struct gen_roles *roles);

#endif
