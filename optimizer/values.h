/* What is known about values along a path: a walk from the head, node by node.
 *
 * A value is `id + off`: id 0 is the constant 0, any other id an unknown number met on the path. Two values with the
 * same id and offset are equal, whatever the number is. That gives, for every general register, whether it is a
 * constant, a copy of another, or another plus a constant; for memory, which bytes are those of which value; for
 * addresses, whether two overlap; and for conditions, which ones follow from earlier ones.
 *
 * Memory is remembered only where nobody else writes (values_may_hold). A store whose address cannot be told apart
 * forgets what it may reach. A locked instruction or a fence forgets all.
 *
 * Frames: below a return address that a call on the path pushed lies memory that nobody had a pointer to before, so
 * while no address of the stack has been put into another register or stored, other addresses do not reach it. */
#ifndef REHEAT_VALUES_H
#define REHEAT_VALUES_H

#include "optimizer/ir.h"

#define VALUE_CONST 0u
#define VALUE_SP 1u /* rsp at the head */

struct value {
    uint32_t id;
    uint8_t bits; /* below 1 << bits; 64: any. Only a remark: not compared */
    int64_t off;
};

struct place {
    uint32_t base, index; /* ids; index 0: none */
    uint8_t scale, seg;
    uint16_t bytes;
    int64_t off;
};

struct held {
    struct place at;
    struct value v; /* its low at.bytes are there */
};

/* What the status flags are. */
struct flags_now {
    bool compared; /* as cmp a, b leaves them */
    bool result; /* those of `mask` are as cmp of `res` with 0 leaves them */
    uint8_t bytes; /* width of either */
    uint16_t mask;
    struct value a, b, res;
};

struct relation {
    struct value a, b;
    uint8_t bytes, orders; /* which orders of a and b are still possible; see conditions.c */
};

struct extension {
    struct value from, to;
    uint8_t bytes; /* of `from` */
    bool sign;
    uint8_t to_bytes;
};

#define VALUES_HELD 64
#define VALUES_RELATIONS 32
#define VALUES_EXTENSIONS 64

struct values {
    const struct ir *ir;
    struct value reg[16];
    uint32_t next_id;
    struct held held[VALUES_HELD];
    int held_count;
    struct flags_now flags;
    struct relation relations[VALUES_RELATIONS];
    int relation_count, relation_next;
    struct extension extensions[VALUES_EXTENSIONS];
    int extension_count, extension_next;
    bool framed, leaked; /* a call pushed a return address; an address of the stack is elsewhere too, */
    bool published; /* and may be in memory that others read */
    int64_t frame_top; /* offset of the highest such return address */
};

void values_start(struct values *s, const struct ir *ir);
/* Runs a node; removed ones have no effect. */
void values_step(struct values *s, const struct node *n);

static inline bool value_is_const(struct value v) { return v.id == VALUE_CONST; }
static inline bool value_equal(struct value a, struct value b) { return a.id == b.id && a.off == b.off; }
struct value value_const(uint64_t c);
struct value value_moved(struct value v, int64_t by); /* v + by */
uint64_t value_mask(unsigned bytes); /* the low bytes set */

/* A number of which only the width is known. */
struct value values_fresh(struct values *s, unsigned bytes);

/* The low `bytes` of v, the rest zero. */
struct value values_zero_extend(struct values *s, struct value v, unsigned bytes);
/* v, which fits in `bytes`, as a signed number, cut to to_bytes and zero-extended. */
struct value values_sign_extend(struct values *s, struct value v, unsigned bytes, unsigned to_bytes);
/* From now on, v is c. */
void values_learn(struct values *s, struct value v, uint64_t c);

/* Where the explicit memory operand of `in` lies, registers as they are now. False when that cannot be said. */
bool values_place(const struct values *s, const struct insn *in, struct place *p);
/* True when a load there may be taken for the last value loaded from or stored to there. */
bool values_may_hold(const struct values *s, const struct place *p);
/* The value whose low p->bytes lie there. */
bool values_find(const struct values *s, const struct place *p, struct value *v);
/* A store of v (NULL: of something) at p, one that may be anywhere, and a load: its value zero-extended. */
void values_store(struct values *s, const struct place *p, const struct value *v);
void values_forget_memory(struct values *s);
struct value values_load(struct values *s, const struct place *p);
bool place_through_sp(const struct place *p);
/* A register that holds v, or whose low `bytes` are the same; R_NONE. */
unsigned values_register_of(struct values *s, struct value v, unsigned bytes);

/* values_step.c */

/* What `in`, which writes one whole general register and reads no memory, will leave in it. */
bool values_result(struct values *s, const struct insn *in, struct value *v);
/* What `in`, which loads a whole general register (mov, movzx, movsx), will leave in it: `v`; and what is in memory:
 * `from`. */
bool values_loaded(struct values *s, const struct insn *in, struct value *v, struct value *from);
/* The flags in `mask` are already as `in`, a cmp or test, would leave them. */
bool values_compared(struct values *s, const struct insn *in, uint16_t mask);
/* The target of an indirect branch, if it is a constant. */
bool values_target(const struct values *s, const struct insn *in, uint64_t *target);

/* conditions.c: what is known of condition cc now: 1 it holds, 0 it does not, -1 neither is known. */
int values_condition(const struct values *s, unsigned cc);
/* From now on, cc holds of the flags as they are. */
void values_assume(struct values *s, unsigned cc);

#endif
