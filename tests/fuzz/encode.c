#include "tests/fuzz/encode.h"

#include <string.h>

static void put(struct item *it, unsigned v)
{
    it->bytes[it->len++ & 15] = (uint8_t)v;
}

static void put_le(struct item *it, uint64_t v, unsigned bytes)
{
    while (bytes--) {
        put(it, (unsigned)(v & 0xff));
        v >>= 8;
    }
}

static void put_modrm(struct item *it, unsigned reg, const struct operands *o)
{
    unsigned r = (reg & 7) << 3;
    if (!o->is_mem) {
        put(it, 0xc0 | r | (o->rm & 7));
    } else if (o->rip) {
        put(it, r | 5);
        it->rip_at = it->len;
        it->arg = (int16_t)o->disp;
        put_le(it, 0, 4);
    } else {
        bool d8 = o->disp == (int8_t)o->disp;
        bool sib = o->index != R_NONE || (o->rm & 7) == 4;
        put(it, (d8 ? 0x40u : 0x80u) | r | (sib ? 4 : o->rm & 7));
        if (sib)
            put(it, o->scale << 6 | (o->index == R_NONE ? 4 : o->index & 7) << 3 | (o->rm & 7));
        put_le(it, (uint64_t)o->disp, d8 ? 1 : 4);
    }
}

static void put_vex(const struct form *f, const struct operands *o, unsigned x, unsigned b, struct item *it)
{
    unsigned pp = f->prefix == 0x66 ? 1 : f->prefix == 0xf3 ? 2 : f->prefix == 0xf2 ? 3 : 0;
    unsigned r = f->digit < 0 && !(f->f & F_BARE) ? o->reg >> 3 : 0;
    bool nd = (f->f & (F_NDS | F_NDG | F_NDD)) != 0;
    unsigned v = nd ? ~o->vvvv & 15 : 15, l = o->wide ? 4 : 0, w = (f->f & F_Y) && o->size == 8 ? 0x80 : 0;
    if (f->map == 1 && !w && !x && !b) {
        put(it, 0xc5);
        put(it, (r ? 0 : 0x80u) | v << 3 | l | pp);
    } else {
        put(it, 0xc4);
        put(it, (r ? 0 : 0x80u) | (x ? 0 : 0x40u) | (b ? 0 : 0x20u) | f->map);
        put(it, w | v << 3 | l | pp);
    }
}

/* Byte registers 4 to 7 need a REX prefix to be spl, bpl, sil, dil. */
static bool wants_rex(const struct form *f, const struct operands *o)
{
    bool byte_reg = (f->f & F_B) && f->digit < 0 && !(f->f & (F_OPREG | F_BARE));
    bool byte_rm = (f->f & (F_B | F_RMB)) && !o->is_mem && !(f->f & F_BARE);
    return (byte_reg && o->reg > 3 && o->reg < 8) || (byte_rm && o->rm > 3 && o->rm < 8);
}

static bool put_legacy(const struct form *f, const struct operands *o, unsigned x, unsigned b,
                       struct item *it)
{
    unsigned r = f->digit < 0 && !(f->f & (F_BARE | F_OPREG)) ? o->reg >> 3 : 0;
    if (o->lock)
        put(it, 0xf0);
    if ((f->f & F_V) && o->size == 2)
        put(it, 0x66);
    if (f->prefix)
        put(it, f->prefix);
    unsigned w = (f->f & F_Q) || ((f->f & (F_V | F_Y)) && o->size == 8);
    unsigned rex = w << 3 | r << 2 | x << 1 | b;
    if (o->high && rex)
        return false;
    if (rex || (!o->high && wants_rex(f, o)))
        put(it, 0x40 | rex);
    if (f->map)
        put(it, 0x0f);
    if (f->map > 1)
        put(it, f->map == 2 ? 0x38 : 0x3a);
    return true;
}

bool encode_form(const struct form *f, const struct operands *o, struct item *it)
{
    *it = (struct item){.op = I_PLAIN};
    bool has_rm = !(f->f & F_BARE);
    unsigned x = has_rm && o->is_mem && !o->rip && o->index != R_NONE ? o->index >> 3 : 0;
    unsigned b = has_rm && !(o->is_mem && o->rip) ? o->rm >> 3 : 0;
    if (f->f & F_VEX)
        put_vex(f, o, x, b, it);
    else if (!put_legacy(f, o, x, b, it))
        return false;
    if (f->f & F_OPREG) {
        put(it, f->op | (o->rm & 7));
    } else {
        put(it, f->op | (f->f & F_CC ? o->cc : 0));
        if (has_rm)
            put_modrm(it, f->digit < 0 ? o->reg : (unsigned)f->digit, o);
        else if (f->f & F_ICX && f->map == 1) /* endbr64 */
            put(it, 0xfa);
    }
    put_le(it, o->imm, f->f & F_IMMZ ? (o->size == 2 ? 2 : 4) : f->imm);
    return it->len <= 15;
}
