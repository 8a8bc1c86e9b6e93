/* What the parts of pass_promote share: pass_promote.c finds slots and makes the new body, promote_check.c sees to the stores
 * that may reach a slot. */
#ifndef REHEAT_PROMOTE_H
#define REHEAT_PROMOTE_H

#include "optimizer/values.h"

#define MAX_ACCESSES 200
#define MAX_FOUND 40 /* slots and what may be some */
#define NO_SLOT 0xff
#define NO_STEP (-1)

enum access_kind { ACCESS_LOAD = 1, ACCESS_STORE = 2 };

struct access {
    int node, step; /* step: of a hammock; others: NO_STEP */
    uint8_t kind; /* mask of enum access_kind */
    uint8_t slot; /* index of what is found */
    bool whole; /* the slot's own width */
    bool first; /* the first iteration has been there */
    uint8_t root; /* the register whose value at the head is the base; R_NONE: a constant; R_RIP: unknown */
    uint16_t same_base; /* registers that hold the base and an offset */
    int64_t apart[16]; /* their offsets from it */
    int64_t from; /* of a store at a constant and an index of few bits: where it may begin; */
    uint64_t reach; /* bytes from there on that it may be in; 0: of others */
    struct place at;
};

struct found {
    uint32_t base; /* id */
    uint8_t root, bytes, load_bytes, reg;
    uint8_t touched; /* bytes, by the first iteration */
    bool bad, stored;
    bool vector; /* a number in a vector register */
    int gain;
    int64_t off;
};

struct promotion {
    struct ir *ir;
    int body, first; /* nodes; of them, those of the first iteration */
    struct access access[MAX_ACCESSES];
    int access_count;
    struct found found[MAX_FOUND];
    int found_count;
    uint16_t steady; /* registers that are at the end what they are at the head */
    uint32_t free; /* a mask as ir.borrowed */
    uint8_t bits[16]; /* of what registers hold at the head, after the first iteration */
    uint32_t noted; /* the base that same_base is about */
    unsigned scratch; /* R_NONE: there is none */
};

enum check_need { CHECK_NONE, CHECK_ONCE, CHECK_EACH };

static inline bool promote_is_slot(const struct found *f) { return !f->bad && f->gain > 0; }

/* Its address is the same in each iteration. */
static inline bool promote_is_fixed(const struct promotion *p, const struct access *a)
{
    return a->root == R_NONE || (a->root < R_NONE && p->steady & 1u << a->root);
}

/* The register of the slot that it accesses; R_NONE. */
static inline unsigned promote_register(const struct promotion *p, const struct access *a)
{
    return a->slot != NO_SLOT && promote_is_slot(&p->found[a->slot]) ? p->found[a->slot].reg : R_NONE;
}

/* What is known at the head of the body. */
static inline void promote_start(const struct promotion *p, struct values *s)
{
    values_start(s, p->ir);
    for (unsigned r = 0; r < 16; r++)
        s->reg[r].bits = p->bits[r];
}

/* To the end of the body, where it leads back to the head: what holds behind an N_BACK_IF that does not is nothing to it. */
static inline void promote_step(struct values *s, const struct node *n)
{
    if (n->op != N_BACK_IF)
        values_step(s, n);
}

/* Notes what a hammock does to memory; false: it may store anywhere. */
bool promote_note_hammock(struct promotion *p, const struct values *s, const struct values *start, int node);
/* Where an access of a hammock's is, registers as at its branch. */
bool promote_step_place(const struct promotion *p, const struct values *s, const struct access *a, struct place *at);
/* Whether it can be done with a register, too. */
bool promote_step_fits(const struct promotion *p, const struct access *a, const struct found *f);
/* The hammock with slots' registers: those of the accesses from `first` on. RC_TOO_LONG. */
rc_t promote_add_hammock(struct promotion *p, const struct node *n, int node, int first);

bool promote_add_access(struct promotion *p, const struct access *a);
uint8_t promote_root_of(const struct values *start, const struct place *p);

/* Drops moves of a slot's register that only the next instruction looks at. After the body is made. */
void promote_fuse(struct ir *ir);

/* Leaves slots of those bases only that are worth it; true when a check is needed. */
bool promote_choose_groups(struct promotion *p);
/* The checks that are needed once, or in front of access a. RC_TOO_LONG. */
rc_t promote_add_checks(struct promotion *p, const struct access *a, enum check_need need);

#endif
