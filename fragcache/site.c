#include "fragcache/site.h"

#include <asm/fcntl.h>
#include <elf.h>

#include "fragcache/hook.h"
#include "fragcache/landing.h"
#include "fragcache/pun.h"
#include "runtime/base/maps.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

#define MAX_MODULES 64
#define MAX_SEGMENTS 8
#define FUNCTION_MAX (256u << 10) /* bytes; longer ones count as unknown */
#define BLIND_REACH 4096u /* where no function bounds are known */
#define SHORT_REACH 130u /* of a two-byte branch, and its own bytes */

/* What a module's headers say, as addresses. */
struct module {
    uint64_t bias; /* what is added to the addresses in its file */
    uint64_t text_start, text_end;
    uint64_t eh_hdr, eh_hdr_end;
    uint64_t rseq, rseq_end; /* its struct rseq_cs descriptors */
    struct {
        uint64_t start, end;
    } segment[MAX_SEGMENTS];
    int segment_count;
    bool readable; /* otherwise only text_start and text_end are known */
};

/* The bytes that nothing may land on. */
struct interior {
    uint64_t lo, hi;
};

static struct module modules[MAX_MODULES];
static int module_count, module_next;
static uint8_t *copy; /* a function without our hooks in it, and room behind it for the decoder */
static uint64_t copy_start, copy_end; /* what it is a copy of */

void site_forget(void)
{
    landing_forget();
    module_count = module_next = 0;
    copy_start = copy_end = 0;
}

/* --- a module's headers */

static long file_read(long fd, void *to, size_t len, uint64_t offset)
{
    return sys_call6(__NR_pread64, fd, (long)to, (long)len, (long)offset, 0, 0);
}

static bool in_segment(const struct module *m, uint64_t at, uint64_t bytes)
{
    for (int i = 0; i < m->segment_count; i++)
        if (at >= m->segment[i].start && at <= m->segment[i].end && m->segment[i].end - at >= bytes)
            return true;
    return false;
}

/* Memory that need not be there: a program may map part of its text a second time, without what lies around it. */
static bool memory_equals(uint64_t at, const void *want, size_t n)
{
    Elf64_Ehdr got;
    struct {
        void *base;
        uint64_t len;
    } to = {&got, n}, from = {(void *)at, n};
    return n <= sizeof got && sys_call6(__NR_process_vm_readv, sys_getpid(), (long)&to, 1, (long)&from, 1, 0) == (long)n &&
           mem_compare(&got, want, n) == 0;
}

static bool segments_read(struct module *m, long fd, const Elf64_Ehdr *eh, const struct map_range *r)
{
    Elf64_Phdr ph[64];
    if (eh->e_phentsize != sizeof *ph || eh->e_phnum > ARRAY_LEN(ph))
        return false;
    size_t bytes = eh->e_phnum * sizeof *ph;
    if (file_read(fd, ph, bytes, eh->e_phoff) != (long)bytes)
        return false;
    bool known = false;
    for (int i = 0; i < eh->e_phnum; i++)
        if (ph[i].p_type == PT_LOAD && (ph[i].p_flags & PF_X) && r->file_offset < ph[i].p_offset + ph[i].p_filesz &&
            ph[i].p_offset < r->file_offset + (r->end - r->start)) {
            m->bias = r->start - r->file_offset - (ph[i].p_vaddr - ph[i].p_offset);
            m->text_start = m->bias + ph[i].p_vaddr;
            m->text_end = m->text_start + ph[i].p_filesz;
            known = true;
        }
    uint64_t header = 0;
    for (int i = 0; known && i < eh->e_phnum; i++) {
        uint64_t at = m->bias + ph[i].p_vaddr;
        if (ph[i].p_type == PT_LOAD && m->segment_count < MAX_SEGMENTS) {
            m->segment[m->segment_count].start = at;
            m->segment[m->segment_count++].end = at + ph[i].p_filesz;
            header = ph[i].p_offset ? header : at;
        } else if (ph[i].p_type == PT_GNU_EH_FRAME) {
            m->eh_hdr = at;
            m->eh_hdr_end = at + ph[i].p_memsz;
        }
    }
    /* The same file as the one that is mapped, as far as its header tells. */
    return header && in_segment(m, header, sizeof *eh) && memory_equals(header, eh, sizeof *eh);
}

/* __rseq_cs holds the descriptors of critical sections (Linux, include/uapi/linux/rseq.h). Only section headers
 * tell where it is, and only the file has them: where it has none, the question stays open. */
static bool rseq_read(struct module *m, long fd, const Elf64_Ehdr *eh)
{
    static const char wanted[] = "__rseq_cs";
    Elf64_Shdr names, sh;
    if (!eh->e_shnum || eh->e_shentsize != sizeof sh || eh->e_shstrndx >= eh->e_shnum ||
        file_read(fd, &names, sizeof names, eh->e_shoff + eh->e_shstrndx * sizeof sh) != sizeof names)
        return false;
    for (uint64_t i = 0; i < eh->e_shnum; i++) {
        char name[sizeof wanted];
        if (file_read(fd, &sh, sizeof sh, eh->e_shoff + i * sizeof sh) != sizeof sh)
            return false;
        if ((sh.sh_flags & SHF_ALLOC) && sh.sh_name + sizeof name <= names.sh_size &&
            file_read(fd, name, sizeof name, names.sh_offset + sh.sh_name) == sizeof name &&
            mem_compare(name, wanted, sizeof name) == 0) {
            m->rseq = m->bias + sh.sh_addr;
            m->rseq_end = m->rseq + sh.sh_size;
        }
    }
    return true;
}

static void module_read(struct module *m, const struct map_range *r)
{
    Elf64_Ehdr eh;
    *m = (struct module){.text_start = r->start, .text_end = r->end};
    long fd = sys_open(r->path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    m->readable = file_read(fd, &eh, sizeof eh, 0) == sizeof eh && mem_compare(eh.e_ident, ELFMAG, SELFMAG) == 0 &&
                  eh.e_ident[EI_CLASS] == ELFCLASS64 && segments_read(m, fd, &eh, r) && rseq_read(m, fd, &eh);
    (void)sys_close(fd);
    if (!m->readable) /* nothing outside the range is known to belong to it */
        *m = (struct module){.text_start = r->start, .text_end = r->end};
}

/* The module of a pc; it is read if `r`, the range of that pc, is given. */
static struct module *module_find(uint64_t pc, const struct map_range *r)
{
    for (int i = 0; i < module_count; i++)
        if (pc >= modules[i].text_start && pc < modules[i].text_end)
            return &modules[i];
    if (!r)
        return NULL;
    struct module *m = &modules[module_next];
    module_next = (module_next + 1) % MAX_MODULES;
    module_count += module_count < MAX_MODULES;
    module_read(m, r);
    return m;
}

/* --- function bounds */

static uint32_t load32(uint64_t at)
{
    uint32_t v;
    mem_copy(&v, (const void *)at, 4);
    return v;
}

static uint64_t load_uleb(uint64_t *at)
{
    uint64_t v = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t b = *(const uint8_t *)(*at)++;
        if (shift < 64)
            v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return v;
    }
}

/* Bytes of a DW_EH_PE-encoded value; 0: not a fixed size. */
static unsigned encoded_bytes(uint8_t encoding)
{
    switch (encoding & 7) {
    case 0: case 4: return 8;
    case 2: return 2;
    case 3: return 4;
    default: return 0;
    }
}

struct cie {
    uint8_t pc_encoding, lsda_encoding;
    bool sized, has_lsda, signal_frame;
};

static bool cie_read(const struct module *m, uint64_t at, struct cie *c)
{
    *c = (struct cie){0};
    if (!in_segment(m, at, 16) || !in_segment(m, at, load32(at) + 4ULL) || load32(at + 4) != 0)
        return false;
    uint8_t version = *(const uint8_t *)(at + 8);
    const char *aug = (const char *)(at + 9);
    at += 9 + str_len(aug) + 1;
    (void)load_uleb(&at);
    (void)load_uleb(&at); /* an sleb has the same length */
    if (version == 1)
        at++;
    else
        (void)load_uleb(&at);
    if (*aug != 'z')
        return *aug == 0;
    c->sized = true;
    (void)load_uleb(&at);
    while (*++aug) {
        uint8_t e = *aug == 'S' || *aug == 'B' ? 0 : *(const uint8_t *)at++;
        switch (*aug) {
        case 'R': c->pc_encoding = e; break;
        case 'S': c->signal_frame = true; break;
        case 'B': break;
        case 'L':
            c->has_lsda = true;
            c->lsda_encoding = e;
            break;
        case 'P':
            if (!encoded_bytes(e) || (e & 0x70) == 0x50)
                return false;
            at += encoded_bytes(e);
            break;
        default: return false;
        }
    }
    return true;
}

static bool load_encoded(uint64_t *at, uint8_t encoding, uint64_t *v)
{
    unsigned n = encoded_bytes(encoding);
    *v = 0;
    mem_copy(v, (const void *)*at, n);
    *at += n;
    return n != 0;
}

static bool fde_read(const struct module *m, uint64_t at, struct site_function *f)
{
    struct cie c;
    uint64_t v, size;
    if (!in_segment(m, at, 8) || load32(at) < 12 || !in_segment(m, at, load32(at) + 4ULL) ||
        !cie_read(m, at + 4 - load32(at + 4), &c))
        return false;
    at += 8;
    if (!load_encoded(&at, c.pc_encoding, &v) || !load_encoded(&at, c.pc_encoding, &size))
        return false;
    f->end = f->start + size;
    f->signal_frame = c.signal_frame;
    f->landing_pads = !c.sized;
    if (c.sized && load_uleb(&at) && c.has_lsda && c.lsda_encoding != 0xff)
        f->landing_pads = !load_encoded(&at, c.lsda_encoding, &v) || v != 0;
    return true;
}

/* The table of .eh_frame_hdr in the one form that linkers write: version 1, count udata4, entries datarel sdata4. */
static bool function_find(const struct module *m, uint64_t pc, struct site_function *f)
{
    static const uint8_t form[] = {1, 0x1b, 0x03, 0x3b};
    uint64_t hdr = m->eh_hdr;
    if (!hdr || !in_segment(m, hdr, 12) || mem_compare((const void *)hdr, form, 4) != 0)
        return false;
    uint64_t lo = 0, hi = load32(hdr + 8);
    if (!in_segment(m, hdr + 12, hi * 8))
        return false;
    while (lo < hi) { /* the first entry that starts behind pc */
        uint64_t mid = (lo + hi) / 2;
        if (hdr + (uint64_t)(int64_t)(int32_t)load32(hdr + 12 + mid * 8) <= pc)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (!lo)
        return false;
    f->start = hdr + (uint64_t)(int64_t)(int32_t)load32(hdr + 12 + (lo - 1) * 8);
    return fde_read(m, hdr + (uint64_t)(int64_t)(int32_t)load32(hdr + 16 + (lo - 1) * 8), f) && pc < f->end &&
           f->end - f->start <= FUNCTION_MAX && f->start >= m->text_start && f->end <= m->text_end;
}

bool site_function_find(struct app_pc pc, struct site_function *out)
{
    const struct map_range *r = maps_find(pc);
    const struct module *m = r ? module_find(pc.v, r->kind == MAP_TEXT ? r : NULL) : NULL;
    return m && m->readable && function_find(m, pc.v, out);
}

/* --- who lands where */

static bool mapped_text(uint64_t start, uint64_t end)
{
    while (start < end) {
        const struct map_range *r = maps_find(app_pc(start));
        if (!r || (r->kind != MAP_TEXT && !poke_replaced_page(start)))
            return false;
        start = r->end;
    }
    return true;
}

/* Calls fn for each instruction of a function, with our hooks taken out. False when it stopped: fn said so, or an
 * instruction cannot be decoded. */
static bool function_walk(const struct site_function *f, bool (*fn)(const struct insn *, void *), void *arg)
{
    if (copy_start != f->start || copy_end != f->end) {
        copy_start = copy_end = 0;
        if (!copy)
            copy = mem_map(FUNCTION_MAX);
        if (!copy || !mapped_text(f->start, f->end))
            return false;
        mem_copy(copy, (const void *)f->start, f->end - f->start);
        (void)hook_overlay(f->start, copy, f->end - f->start);
        copy_start = f->start;
        copy_end = f->end;
    }
    for (uint64_t pc = f->start; pc < f->end;) {
        struct insn in;
        decode_one(copy + (pc - f->start), f->end - pc, app_pc(pc), &in);
        bool trap = in.len == 1 && (in.bytes[0] == 0xcc || in.bytes[0] == 0xf4); /* int3, hlt */
        if ((in.kind == IK_STRANGE && in.len == 1 && !trap) || !fn(&in, arg))
            return false;
        pc += in.len;
    }
    return true;
}

static bool is_direct(const struct insn *in)
{
    return in->kind == IK_JMP || in->kind == IK_JCC || in->kind == IK_LOOP || in->kind == IK_CALL ||
           in->kind == IK_XBEGIN;
}

static bool not_branch_ending_at(const struct insn *in, void *end)
{
    return in->pc.v + in->len != *(uint64_t *)end || !is_direct(in);
}

/* Whether what looks like a branch that ends at `end` may be one. */
static bool branch_ends_at(const struct module *m, uint64_t end)
{
    struct site_function f;
    return !function_find(m, end - 1, &f) || !function_walk(&f, not_branch_ending_at, &end);
}

static uint8_t byte_at(uint64_t at) { return *(const uint8_t *)at; }

/* 70..7f jcc, e0..e3 loop and jrcxz, eb jmp. */
static bool opcode_before_rel8(uint64_t end)
{
    uint8_t b = byte_at(end - 2);
    return (b & 0xf0) == 0x70 || (b & 0xfc) == 0xe0 || b == 0xeb;
}

static bool lands(const struct interior *in, uint64_t target) { return target - in->lo < in->hi - in->lo; }

/* A direct branch in [start, end), which is mapped, lands in the interior. */
static bool scan(const struct module *m, uint64_t start, uint64_t end, const struct interior *in)
{
    bool far_ones = landing_possible(start, end, in->lo, in->hi);
    for (uint64_t e = start + 5; far_ones && e <= end; e++)
        if (lands(in, e + (uint64_t)(int64_t)(int32_t)load32(e - 4)) && landing_opcode(e, start) && branch_ends_at(m, e))
            return true;
    uint64_t near = in->lo - SHORT_REACH > start ? in->lo - SHORT_REACH : start;
    uint64_t far = in->hi + SHORT_REACH < end ? in->hi + SHORT_REACH : end;
    for (uint64_t e = near + 2; e <= far; e++)
        if (lands(in, e + (uint64_t)(int64_t)(int8_t)byte_at(e - 1)) && opcode_before_rel8(e) && branch_ends_at(m, e))
            return true;
    return false;
}

/* The same for what is mapped of [start, end), and for branches that hooks have displaced. */
static bool landed_on(const struct module *m, uint64_t start, uint64_t end, const struct interior *in)
{
    start = start > m->text_start ? start : m->text_start;
    end = end < m->text_end ? end : m->text_end;
    if (in->lo >= in->hi)
        return false;
    if (hook_branch_into(in->lo, in->hi) || !mapped_text(start, end))
        return true;
    return scan(m, start, end, in);
}

static uint64_t min64(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* --- the tactics */

static bool displaceable(const struct insn *in)
{
    return in->kind == IK_PLAIN || in->kind == IK_JMP || in->kind == IK_JCC || in->kind == IK_LOOP ||
           in->kind == IK_CALL;
}

static rc_t check_one(const struct module *m, enum hook_tactic tactic, struct site *s)
{
    uint64_t at = s->at.v;
    struct interior in = {at + 1, at + s->insn[0].len};
    struct site_function f;
    bool known = function_find(m, at, &f);
    uint64_t reach = known ? SHORT_REACH : BLIND_REACH;
    uint64_t start = known ? f.start - reach : at - reach, end = known ? f.end + reach : in.hi + reach;
    s->tactic = (uint8_t)tactic;
    s->insn_count = 1;
    s->len = s->insn[0].len;
    s->written = (uint8_t)min64(s->len, SITE_JUMP_BYTES);
    if (tactic == TACTIC_PUN && !pun_possible(s->at, s->bytes, s->len))
        return RC_HOOK_PLACE;
    if (hook_conflicts(at, s->written, SITE_JUMP_BYTES))
        return RC_HOOK_OVERLAP;
    if (landed_on(m, start, end, &in))
        return RC_HOOK_INTERIOR;
    if (tactic == TACTIC_PUN && s->insn[0].kind == IK_PLAIN && !m->rseq)
        pun_take_after(s);
    return RC_OK;
}

/* Functions that a function jumps to: its cold part is one of them, and may jump back. */
struct leaving {
    const struct module *m;
    struct site_function own, others[8];
    int count;
    bool too_many;
};

/* Jumps through one fixed cell, as in a PLT, are no jump tables. */
static bool not_table_jump(const struct insn *in, void *arg)
{
    struct leaving *l = arg;
    if (in->kind == IK_JMP_IND && !in->rip_relative)
        return false;
    if (!l || (in->kind != IK_JMP && in->kind != IK_JCC) || in->target - l->own.start < l->own.end - l->own.start)
        return true;
    for (int i = 0; i < l->count; i++)
        if (in->target - l->others[i].start < l->others[i].end - l->others[i].start)
            return true;
    if (l->count == (int)ARRAY_LEN(l->others))
        l->too_many = true;
    else if (function_find(l->m, in->target, &l->others[l->count]))
        l->count++;
    return true;
}

static rc_t check_entries(const struct module *m, const struct site_function *f)
{
    struct leaving l = {.m = m, .own = *f};
    if (f->landing_pads || f->signal_frame || !function_walk(f, not_table_jump, &l) || l.too_many)
        return RC_HOOK_INDIRECT;
    for (int i = 0; i < l.count; i++)
        if (!function_walk(&l.others[i], not_table_jump, NULL))
            return RC_HOOK_INDIRECT;
    return RC_OK;
}

static rc_t check_several(const struct module *m, const struct site_ask *ask, struct site *s)
{
    struct site_function f;
    uint64_t at = s->at.v, pc = at;
    if (!function_find(m, at, &f))
        return RC_HOOK_BOUNDS;
    s->tactic = TACTIC_SEVERAL;
    s->insn_count = 0;
    while (pc - at < SITE_JUMP_BYTES) {
        struct insn *in = &s->insn[s->insn_count++];
        decode_one(s->bytes + (pc - at), min64(SITE_MAX_BYTES - (pc - at), f.end - pc), app_pc(pc), in);
        pc += in->len;
        bool last = pc - at >= SITE_JUMP_BYTES;
        if (!displaceable(in) || (!last && (in->kind == IK_CALL || in->kind == IK_JMP)))
            return RC_HOOK_KIND; /* a call returns among them; what follows a jump is entered from elsewhere */
        if (pc >= f.end && !last)
            return RC_HOOK_SHORT;
    }
    s->len = (uint8_t)(pc - at);
    s->written = SITE_JUMP_BYTES;
    if (hook_conflicts(at, s->written, SITE_JUMP_BYTES))
        return RC_HOOK_OVERLAP;
    if (!ask->others_outside)
        return RC_HOOK_THREADS;
    TRY(check_entries(m, &f));
    struct interior in = {at + 1, pc};
    return landed_on(m, m->text_start, m->text_end, &in) ? RC_HOOK_INTERIOR : RC_OK;
}

/* --- the whole question */

/* struct rseq_cs: version, flags; start_ip at 8, post_commit_offset at 16, abort_ip at 24; 32 bytes each. */
static bool in_rseq(const struct module *m, uint64_t start, uint64_t end)
{
    if (!m->rseq)
        return false;
    if (!in_segment(m, m->rseq, m->rseq_end - m->rseq))
        return true;
    for (uint64_t d = m->rseq; d + 32 <= m->rseq_end; d += 32) {
        const uint64_t *cs = (const uint64_t *)d;
        if ((start < cs[1] + cs[2] && end > cs[1]) || (start < cs[3] && end > cs[3] - 4))
            return true;
    }
    return false;
}

struct check {
    const struct module *m;
    const struct site_ask *ask;
    struct site *site;
    size_t avail;
    rc_t rc;
};

static rc_t check_tactics(const struct module *m, const struct site_ask *ask, struct site *s, size_t avail)
{
    struct insn *in = &s->insn[0];
    decode_one(s->bytes, avail, s->at, in);
    if (in->kind == IK_SYSCALL)
        return RC_SYSCALL;
    if (!displaceable(in))
        return RC_HOOK_KIND;
    unsigned len = in->len;
    rc_t rc = RC_HOOK_SHORT;
    if (len >= SITE_JUMP_BYTES && (ask->tactics & TACTIC_BIT(TACTIC_LONG)))
        rc = check_one(m, TACTIC_LONG, s);
    else if (len >= PUN_MIN_LEN && len <= PUN_MAX_LEN && (ask->tactics & TACTIC_BIT(TACTIC_PUN)))
        rc = check_one(m, TACTIC_PUN, s);
    if (rc != RC_OK && len < SITE_JUMP_BYTES && (ask->tactics & TACTIC_BIT(TACTIC_SEVERAL)))
        rc = check_several(m, ask, s);
    if (rc == RC_OK && in_rseq(m, s->at.v, s->at.v + s->len))
        rc = RC_HOOK_RSEQ;
    return rc;
}

static void check_gated(void *arg)
{
    struct check *c = arg;
    c->rc = check_tactics(c->m, c->ask, c->site, c->avail);
}

static rc_t check_range(struct app_pc at, const struct module **module)
{
    const struct map_range *r = maps_find(at);
    enum map_kind kind = r ? r->kind : MAP_NONE;
    if (kind == MAP_LOADER)
        return RC_LOADER;
    if (kind == MAP_SELF)
        return RC_SELF;
    if (kind != MAP_TEXT && !poke_replaced_page(at.v))
        return RC_NOT_FILE_TEXT;
    *module = module_find(at.v, kind == MAP_TEXT ? r : NULL);
    return *module && (*module)->readable ? RC_OK : RC_HOOK_MODULE;
}

static rc_t check_all(struct app_pc at, const struct site_ask *ask, struct site *out)
{
    const struct module *m = NULL;
    TRY(check_range(at, &m));
    size_t avail = SITE_MAX_BYTES;
    if (m->text_end - at.v < avail || !mapped_text(at.v, at.v + avail))
        return RC_NOT_FILE_TEXT; /* the last bytes of a text: not worth a special case */
    *out = (struct site){.at = at};
    mem_copy(out->bytes, (const void *)at.v, avail);
    (void)hook_overlay(at.v, out->bytes, avail);
    struct check c = {m, ask, out, avail, RC_OK};
    TRY(decode_gate(check_gated, &c));
    return c.rc;
}

rc_t site_check(struct app_pc at, const struct site_ask *ask, struct site *out)
{
    rc_t rc = check_all(at, ask, out);
    if (rc != RC_OK)
        hook_count_refusal(rc);
    return rc;
}

bool site_has_rseq(struct app_pc pc)
{
    const struct module *m = module_find(pc.v, NULL);
    if (!m) {
        const struct map_range *r = maps_find(pc);
        if (!r || r->kind != MAP_TEXT)
            return false;
        struct map_range range = *r;
        m = module_find(pc.v, &range);
    }
    return m && m->rseq != 0;
}
