/* What is live where a trace leaves to: a short look at the program's text there, along both sides of branches. */
#include "optimizer/liveness.h"

#define LOOK_INSNS 32
#define LOOK_WAYS 8
#define LOOK_BYTES 64

static const struct live_set everything = {0xffff, LIVE_FLAGS};

/* The text at pc, reached with these written before they were read. */
struct way {
    uint64_t pc;
    struct live_set dead;
};

struct look {
    const struct ir *ir;
    struct live_set live; /* on some way: read, or not known to be written */
    int insns; /* that may still be looked at */
    int met, followed; /* of way: all that were met; the first so many have been followed */
    struct way way[LOOK_WAYS];
};

static void give_up(struct look *l, struct live_set dead)
{
    l->live.gpr |= (uint16_t)(everything.gpr & ~dead.gpr);
    l->live.flags |= (uint16_t)(everything.flags & ~dead.flags);
}

/* One that was met with no more dead than now says nothing new: what is read there is or will be found then. */
static void meet(struct look *l, uint64_t pc, struct live_set dead)
{
    for (int i = 0; i < l->met; i++) {
        const struct way *w = &l->way[i];
        if (w->pc == pc && !(w->dead.gpr & ~dead.gpr) && !(w->dead.flags & ~dead.flags))
            return;
    }
    if (l->met == LOOK_WAYS)
        give_up(l, dead);
    else
        l->way[l->met++] = (struct way){pc, dead};
}

static void run(struct look *l, struct live_set *dead, const struct insn *in)
{
    l->live.gpr |= (uint16_t)(liveness_gpr_read(in) & ~dead->gpr);
    l->live.flags |= (uint16_t)(in->flags_read & ~dead->flags);
    dead->gpr |= in->gpr_full;
    dead->flags |= in->flags_killed;
}

static bool nothing_left(const struct look *l, struct live_set dead)
{
    return (l->live.gpr | dead.gpr) == everything.gpr && (l->live.flags | dead.flags) == everything.flags;
}

static void follow(struct look *l, uint64_t pc, struct live_set dead)
{
    uint8_t text[LOOK_BYTES];
    size_t have = 0, at = 0;
    while (!nothing_left(l, dead)) {
        struct insn in;
        if (at + INSN_MAX_BYTES > have) {
            have = l->ir->peek(app_pc(pc), text, sizeof text);
            at = 0;
        }
        decode_one(text + at, have - at, app_pc(pc), &in);
        bool border = liveness_abi_border(&in);
        bool known = in.kind == IK_PLAIN || in.kind == IK_JMP || in.kind == IK_CALL || in.kind == IK_JCC || border;
        if (l->insns-- <= 0 || !known) {
            give_up(l, dead);
            return;
        }
        run(l, &dead, &in);
        if (border) {
            dead.gpr |= l->ir->indirect_gpr_dead;
            dead.flags |= l->ir->indirect_flags_dead & FL_STATUS;
            give_up(l, dead);
            return;
        }
        at += in.len;
        pc += in.len;
        if (in.kind != IK_PLAIN)
            meet(l, in.target, dead);
        if (in.kind == IK_JMP || in.kind == IK_CALL)
            return;
    }
}

struct live_set liveness_at_exit(const struct ir *ir, uint64_t pc)
{
    struct look l = {.ir = ir, .insns = LOOK_INSNS};
    if (!ir->peek)
        return everything;
    meet(&l, pc, (struct live_set){0, 0});
    while (l.followed < l.met) {
        const struct way w = l.way[l.followed++];
        follow(&l, w.pc, w.dead);
    }
    return l.live;
}
