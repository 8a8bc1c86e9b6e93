/* Flags that are had again by doing an instruction once more: what overwrites them need not save them.
 *
 *   add rax, rdi; jmp rax   becomes   add rax, rdi; cmp rax, expected; jne miss
 *                           miss:     sub rax, rdi; add rax, rdi; jmp rax
 *
 * A jump through a table comes right behind such an instruction (GCC, -fpic), and what it leads to may, as far as can be
 * proved, read the flags. */
#ifndef REHEAT_REDO_H
#define REHEAT_REDO_H

#include "optimizer/ir.h"

/* The instruction in front of guard n that sets all status flags and can be done again, from the registers that it leaves
 * and without any other effect, when nothing on the path behind n reads them; else NULL. Liveness is up to date. */
const struct insn *redo_before(const struct ir *ir, const struct node *n);

/* It is done again only after it was undone: dst = dst - src or dst + src. */
static inline bool redo_undoes(const struct insn *in)
{
    return in->act == ACT_ADD || in->act == ACT_SUB;
}

#endif
