/* The site finder: may a jump be written over this instruction of the program's own text, and how.
 *
 *   site_check -> kind of memory -> module (its file's headers) -> instruction -> rseq -> tactic -> overlap
 *
 * Tactics, tried in this order:
 *
 *   long     one instruction of five bytes or more becomes jmp rel32; the bytes behind it stay as they are
 *   pun      one instruction of two to four bytes; see fragcache/pun.h
 *   several  instructions that together have five bytes: only inside one function whose bounds .eh_frame_hdr gives,
 *            without landing pads or indirect jumps, when no direct branch of the whole text can land among them and the
 *            caller knows that no other thread is there, nor will return there
 *
 * An instruction that has been executed is known to start at its first byte; what must be shown is that nothing enters
 * behind it. For one instruction that can only be hand-written code that skips a prefix (glibc has `je 1f; lock; 1:
 * cmpxchg`), so the direct branches of its function are looked at, or of 4 KiB around it where no bounds are known. A
 * branch is found by its bytes, at any alignment, and dismissed only when decoding the function it lies in from its
 * start shows that no instruction ends there: no branch is missed because decoding went astray.
 *
 *   SITE-1  a site lies in private, file-backed, read-only text, not the loader's and not ours (MAP_TEXT).
 *   SITE-2  no known branch lands on a byte that the hook changes, other than the first.
 *   SITE-3  no displaced instruction lies in an rseq critical section or an abort handler's signature.
 *   SITE-4  every displaced instruction can run elsewhere with the same effect.
 *   SITE-5  displaced bytes are the program's own: no standing hook wrote or depends on them.
 *
 * Not seen, so tactic `several` assumes there is none: an entry into the middle of a function through a pointer kept
 * in data, other than those a compiler makes (landing pads, jump tables).
 *
 * One thread at a time, outside signal handlers. The module's file is opened, read and closed at the first question
 * about it. */
#ifndef REHEAT_SITE_H
#define REHEAT_SITE_H

#include "runtime/base/rc.h"
#include "tracer/decode.h"

enum hook_tactic { TACTIC_LONG, TACTIC_PUN, TACTIC_SEVERAL, TACTIC_COUNT };
#define TACTIC_BIT(t) (1u << (t))
#define TACTIC_ALL    (TACTIC_BIT(TACTIC_COUNT) - 1)

#define SITE_JUMP_BYTES 5u
#define SITE_MAX_INSNS  5 /* the last of them may reach 14 bytes over the jump's end */
#define SITE_MAX_BYTES  24u /* of displaced instructions, or of one and a pun's tail */

struct site {
    struct app_pc at;
    uint8_t tactic; /* enum hook_tactic */
    uint8_t len; /* bytes of the displaced instructions */
    uint8_t written; /* bytes from `at` that a hook changes: min(len, 5) */
    uint8_t insn_count;
    uint8_t after_count; /* of a pun: instructions behind them in insn[] that its native copy has too */
    uint8_t bytes[SITE_MAX_BYTES]; /* the program's own, from `at` */
    struct insn insn[SITE_MAX_INSNS]; /* the displaced instructions; those after them */
};

/* What the caller allows. */
struct site_ask {
    unsigned tactics; /* TACTIC_BITs */
    bool others_outside; /* for `several`: every other thread is proven outside, its saved contexts too */
};

/* Whether and how `at` can be hooked; fills *out on RC_OK. The answer holds until text is mapped or hooked.
 * RC_NOT_FILE_TEXT, RC_LOADER, RC_SELF, RC_SYSCALL, RC_UNDECODABLE, RC_NO_DECODER, RC_NO_MEMORY, and of hooks:
 * MODULE, KIND, RSEQ, SHORT, INTERIOR, BOUNDS, INDIRECT, THREADS, OVERLAP, PLACE. With several tactics asked for, the
 * reason is that of the last one tried. */
rc_t site_check(struct app_pc at, const struct site_ask *ask, struct site *out);

/* The native copy goes back behind the hook's jump, not into it: see take_after. */
bool site_leaves_jump(const struct site *s);

/* The function that holds `pc`, from .eh_frame_hdr (LSB 4.1 Core, 10.6.2; DWARF 4, 6.4.1). */
struct site_function {
    uint64_t start, end; /* addresses */
    bool landing_pads; /* it has an LSDA, so the unwinder may enter it anywhere */
    bool signal_frame;
};
bool site_function_find(struct app_pc pc, struct site_function *out);

/* The module that holds `pc` has restartable sequences, which lose their atomicity when they run from copies. */
bool site_has_rseq(struct app_pc pc);

/* Forgets what is known of modules; when text is unmapped or something else is mapped. */
void site_forget(void);

#endif
