#include "runtime/native.h"

#include "runtime/base/mem.h"

#define PIECE_SHIFT 4 /* 16 bytes */
#define PIECES 32768u /* a power of two */
#define MOST_PROBES 8u
#define MOST_BYTES 65536u /* of one piece of news */

/* (address of the piece) << 8 | reason; 0: free. Neighbours in text are neighbours here: few pages are touched. */
static uint64_t *table;

static uint64_t *piece_find(uint64_t piece, bool make)
{
    uint64_t free_at = PIECES;
    for (uint64_t i = 0; i < MOST_PROBES; i++) {
        uint64_t at = (piece + (piece >> 15) * 37 + i * 64) % PIECES; /* 37: modules do not lie on each other */
        if (table[at] >> 8 == piece)
            return &table[at];
        if (!table[at] && free_at == PIECES)
            free_at = at;
    }
    return make && free_at < PIECES ? &table[free_at] : NULL;
}

void native_note(uint64_t start, uint64_t end, rc_t why)
{
    if (!table)
        table = mem_map(PIECES * sizeof *table);
    if (!table || start >= end || end - start > MOST_BYTES)
        return;
    for (uint64_t piece = start >> PIECE_SHIFT; piece <= (end - 1) >> PIECE_SHIFT; piece++) {
        uint64_t *p = piece_find(piece, true);
        if (p && (!*p || why != RC_COLD))
            *p = piece << 8 | (uint8_t)why;
    }
}

rc_t native_why(uint64_t pc)
{
    const uint64_t *p = table ? piece_find(pc >> PIECE_SHIFT, false) : NULL;
    return p ? (rc_t)(*p & 0xff) : RC_UNSEEN;
}

void native_forget(void)
{
    if (table)
        mem_unmap(table, PIECES * sizeof *table);
    table = NULL;
}
