#include "fragcache/cache.h"

#include <linux/mman.h>

#include "fragcache/recover.h"
#include "runtime/base/context.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "tracer/stubs.h"

#define LOOKUP_ENTRIES 65536u
#define LOOKUP_HIGHEST 0x7ff00000u /* out of the way of a low program's heap */
#define LOOKUP_LOWEST 0x60000000u
#define TAG_BUCKETS 4096u
#define MAX_EXITS (1u << 20)
#define ARENA_LIMIT (256u << 20)

/* Everything known about one app pc: the fragment that starts there and the exits that lead there. */
struct tag {
    struct app_pc pc;
    struct tag *chain;
    struct fragment *fragments; /* live ones, by same_tag; several only as variants on trial */
    struct frag_exit *exits;
};

static struct {
    uint64_t *lookup; /* cache pc by the low 16 bits of the target, or 0; below 2 GiB */
    struct tag **tags;
    struct frag_exit **exits; /* by id */
    uint32_t exit_next;
    uint32_t id_next;
    struct fragment *newest;
    struct fragment **sorted; /* by start, for fc_at; rebuilt when stale */
    int sorted_count, sorted_cap;
    struct arena arena;
    struct lowered out;
    bool link, patching, held, several;
    fc_observer *observer;
    struct fc_stats stats;
} fc;

static struct tag *tag_find(struct app_pc pc, bool make)
{
    uint32_t i = (uint32_t)((pc.v * 0x9e3779b97f4a7c15ULL) >> 52);
    struct tag *t = fc.tags[i];
    while (t && t->pc.v != pc.v)
        t = t->chain;
    if (!t && make && (t = arena_alloc(&fc.arena, sizeof *t))) {
        t->pc = pc;
        t->chain = fc.tags[i];
        fc.tags[i] = t;
    }
    return t;
}

static uint64_t *map_low(size_t bytes)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    for (uint64_t at = LOOKUP_HIGHEST; at > LOOKUP_LOWEST; at -= 16u << 20) {
        void *p = sys_mmap((void *)at, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED_NOREPLACE, -1, 0);
        if (p == (void *)at)
            return p;
    }
    void *p = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_32BIT, -1, 0);
    return sys_failed(p) || (uint64_t)p + bytes > 0x7fffffffu ? NULL : p;
}

rc_t fc_init(size_t capacity, bool link, fc_observer *observer)
{
    fc.stats.capacity = capacity;
    fc.link = link;
    fc.patching = true;
    fc.observer = observer;
    fc.arena.limit = ARENA_LIMIT;
    fc.exit_next = EXIT_FIRST;
    fc.id_next = 1;
    fc.lookup = map_low(LOOKUP_ENTRIES * sizeof *fc.lookup);
    if (!fc.lookup)
        return RC_LOW_MEMORY_MAP;
    fc.tags = mem_map(TAG_BUCKETS * sizeof *fc.tags);
    fc.exits = mem_map(MAX_EXITS * sizeof *fc.exits);
    fc.out.bytes = mem_map(LOWER_MAX_BYTES);
    fc.out.exits = mem_map(LOWER_MAX_EXITS * sizeof *fc.out.exits);
    fc.out.map = mem_map(8192 * sizeof *fc.out.map);
    fc.out.recipes = mem_map(LOWER_MAX_RECIPES * sizeof *fc.out.recipes);
    bool all = fc.tags && fc.exits && fc.out.bytes && fc.out.exits && fc.out.map && fc.out.recipes;
    return all ? RC_OK : RC_NO_MEMORY;
}

struct fc_stats fc_stats_get(void) { return fc.stats; }
struct fragment *fc_newest(void) { return fc.newest; }

struct fragment *fc_find(struct app_pc pc)
{
    struct tag *t = fc.tags ? tag_find(pc, false) : NULL;
    struct fragment *f = t ? t->fragments : NULL;
    while (f && f->set && f->same_tag)
        f = f->same_tag;
    return f;
}

/* FC-5 */
static bool may_link(const struct frag_exit *e, const struct fragment *to)
{
    if (!fc.link || !e->owner->live || (to == e->owner && to->counted))
        return false;
    if (fc.several && to != e->owner)
        return false;
    return !to->set || to->set == e->owner->set;
}

/* What an exit may lead to: of its own set, or kept. */
static struct fragment *link_target(const struct frag_exit *e, const struct tag *t)
{
    struct fragment *best = NULL;
    for (struct fragment *f = t->fragments; f; f = f->same_tag)
        if (may_link(e, f) && (!best || f->set))
            best = f;
    return best;
}

bool fc_has_exits_to(struct app_pc pc)
{
    struct tag *t = fc.tags ? tag_find(pc, false) : NULL;
    for (struct frag_exit *e = t ? t->exits : NULL; e; e = e->same_target)
        if (e->owner->live)
            return true;
    return false;
}

struct frag_exit *fc_exit(uint32_t id) { return id >= EXIT_FIRST && id < fc.exit_next ? fc.exits[id] : NULL; }

static void lookup_set(struct app_pc tag, uint64_t to) { __atomic_store_n(&fc.lookup[tag.v & 0xffff], to, __ATOMIC_RELEASE); }

void fc_lookup_prefer(struct fragment *f) { lookup_set(f->tag, f->lookup_entry.v); }

static void lookup_forget(const struct fragment *f)
{
    if (fc.lookup[f->tag.v & 0xffff] == f->lookup_entry.v)
        lookup_set(f->tag, 0);
}

/* A branch behind which registers are restored leads there always, but for the loop's own edge. */
static rc_t exit_link(struct frag_exit *e, struct fragment *to)
{
    bool loops = e->back && to == e->owner;
    uint64_t entry = loops ? to->loop_head.v : to->entry.v;
    if ((loops || !e->restores) && code_reaches(e->branch.v, entry)) {
        int32_t d = (int32_t)(entry - (e->branch.v + 4));
        TRY(code_stage(e->branch, &d, 4));
    } else {
        uint8_t stub[STUB_BYTES_EACH];
        lower_stub_far(stub, e->stub, to->entry);
        TRY(code_stage(e->stub, stub, sizeof stub));
    }
    e->linked = to;
    fc.stats.links++;
    return RC_OK;
}

static rc_t link_incoming(struct fragment *f, struct tag *own)
{
    for (struct frag_exit *e = own->exits; e && fc.patching; e = e->same_target)
        if (!e->linked && may_link(e, f))
            TRY(exit_link(e, f));
    return RC_OK;
}

static rc_t fragment_link(struct fragment *f, struct tag *own)
{
    f->same_tag = own->fragments;
    own->fragments = f;
    TRY(link_incoming(f, own));
    for (int i = 0; i < f->exit_count; i++) {
        struct frag_exit *e = fc.exits[f->first_exit + (uint32_t)i];
        struct tag *t = tag_find(e->target, true);
        if (!t)
            return RC_NO_MEMORY;
        e->same_target = t->exits;
        t->exits = e;
        struct fragment *to = link_target(e, t);
        if (to) /* not yet reachable by anyone: no patching of running code */
            TRY(exit_link(e, to));
    }
    return RC_OK;
}

void fc_set_several(bool several) { fc.several = several; }

void fc_set_patching(bool allowed) { fc.patching = allowed; }

rc_t fc_link_exit(struct frag_exit *e)
{
    struct tag *t = tag_find(e->target, false);
    struct fragment *to = t && fc.patching && !e->linked ? link_target(e, t) : NULL;
    if (!to)
        return RC_OK;
    TRY(exit_link(e, to));
    return code_commit();
}

/* Back to the stub, whichever way it was linked. */
static rc_t exit_unlink(struct frag_exit *e)
{
    uint8_t stub[STUB_BYTES_EACH];
    uint32_t id = e->owner->first_exit + e->index;
    const struct code_region *r = code_region_find(e->stub.v);
    bool straight = r->native_exits && !e->restores && code_reaches(e->branch.v, e->target.v);
    uint64_t to = straight ? e->target.v : e->restore.v;
    int32_t d = (int32_t)(to - (e->branch.v + 4));
    lower_stub(stub, e->stub, r, id, e->target);
    TRY(code_stage(e->stub, stub, sizeof stub));
    TRY(code_stage(e->branch, &d, 4));
    e->linked = NULL;
    fc.stats.links--;
    return RC_OK;
}

static bool fragment_touches(const struct fragment *f, uint64_t start, uint64_t end)
{
    for (int i = 0; i < f->text_count; i++)
        if (f->text[i].start < end && f->text[i].end > start)
            return true;
    return false;
}

static void fragment_retire(struct fragment *f)
{
    struct tag *t = tag_find(f->tag, false);
    for (struct fragment **p = t ? &t->fragments : NULL; p && *p; p = &(*p)->same_tag)
        if (*p == f) {
            *p = f->same_tag;
            break;
        }
    lookup_forget(f);
    f->live = false;
    fc.stats.live--;
    fc.stats.retired++;
}

void fc_set_held(bool held) { fc.held = held; }

static rc_t exit_relink(struct frag_exit *e, const struct tag *t)
{
    if (fc.several)
        return RC_OK;
    struct fragment *to = e->owner->live ? link_target(e, t) : NULL;
    if (to == e->linked)
        return RC_OK;
    if (e->linked)
        TRY(exit_unlink(e));
    return to ? exit_link(e, to) : RC_OK;
}

/* Makes FC-5 true again around f. */
static rc_t fragment_relink(struct fragment *f)
{
    struct tag *own = tag_find(f->tag, false);
    for (struct frag_exit *e = own ? own->exits : NULL; e; e = e->same_target)
        TRY(exit_relink(e, own));
    for (int i = 0; i < f->exit_count; i++) {
        struct frag_exit *e = fc.exits[f->first_exit + (uint32_t)i];
        struct tag *t = tag_find(e->target, false);
        if (t)
            TRY(exit_relink(e, t));
    }
    return RC_OK;
}

rc_t fc_move(struct fragment *const *f, int n, uint32_t set, bool counted)
{
    for (int i = 0; i < n; i++) {
        f[i]->set = set;
        f[i]->counted = counted;
    }
    for (int i = 0; i < n; i++) {
        TRY(fragment_relink(f[i]));
        if (!set)
            fc_lookup_prefer(f[i]);
        else
            lookup_forget(f[i]);
    }
    return code_commit();
}

rc_t fc_retire(struct fragment *f)
{
    struct fragment **p = &fc.newest;
    while (*p && *p != f)
        p = &(*p)->next;
    if (*p)
        *p = f->next;
    fragment_retire(f);
    fc.sorted_count = 0;
    TRY(fragment_relink(f));
    return code_commit();
}

rc_t fc_add_code(struct app_pc near, size_t len, struct cache_pc *at)
{
    struct code_region *r;
    TRY(stubs_region(near, &r));
    if (fc.stats.used + len > fc.stats.capacity || len > r->fragments.end - r->fragments.next)
        return RC_CACHE_FULL;
    *at = cache_pc(r->fragments.next);
    r->fragments.next += (len + 15) & ~(size_t)15;
    fc.stats.used += (len + 15) & ~(size_t)15;
    return RC_OK;
}

rc_t fc_add_recipes(struct cache_pc at, uint32_t len, const struct recipe *recipes, int count)
{
    struct recipe *kept = arena_alloc(&fc.arena, sizeof *kept * (size_t)count);
    if (!kept)
        return RC_NO_MEMORY;
    mem_copy(kept, recipes, sizeof *kept * (size_t)count);
    return recover_add(at, len, kept, count);
}

rc_t fc_retire_range(uint64_t start, uint64_t end)
{
    struct fragment **p = &fc.newest;
    bool any = false;
    while (*p) {
        struct fragment *f = *p;
        if (!fragment_touches(f, start, end)) {
            p = &f->next;
            continue;
        }
        *p = f->next;
        any = true;
        fragment_retire(f);
    }
    fc.sorted_count = 0;
    if (!any || fc.several)
        return RC_OK;
    for (uint32_t id = EXIT_FIRST; id < fc.exit_next; id++) {
        struct frag_exit *e = fc.exits[id];
        if (e && e->linked && (!e->linked->live || !e->owner->live))
            TRY(exit_unlink(e));
    }
    return code_commit();
}

static bool insn_continues(const struct ir *ir, int i)
{
    return i && ir->insns[i].pc.v == ir->insns[i - 1].pc.v + ir->insns[i - 1].len;
}

static rc_t fragment_note_text(struct fragment *f, const struct ir *ir)
{
    int runs = 0;
    for (int i = 0; i < ir->insn_count; i++)
        runs += !insn_continues(ir, i);
    for (int i = 0; i < ir->hammock_count; i++)
        runs += ir->hammocks[i].other_count;
    struct text_run *text = arena_alloc(&fc.arena, sizeof *text * (size_t)runs);
    if (!text)
        return RC_NO_MEMORY;
    int n = 0;
    for (int i = 0; i < ir->insn_count; i++) {
        const struct insn *in = &ir->insns[i];
        if (!insn_continues(ir, i))
            text[n++].start = in->pc.v;
        text[n - 1].end = in->pc.v + in->len;
    }
    for (int i = 0; i < ir->hammock_count; i++)
        for (int k = 0; k < ir->hammocks[i].other_count; k++) {
            const struct insn *in = &ir->made[ir->hammocks[i].other_at + k];
            text[n++] = (struct text_run){in->pc.v, in->pc.v + in->len};
        }
    f->text = text;
    f->text_count = runs;
    return RC_OK;
}

static rc_t fragment_register(struct fragment *f, const struct lowered *out, const struct ir *ir)
{
    struct frag_exit *exits = arena_alloc(&fc.arena, sizeof *exits * (size_t)(out->exit_count + 1));
    struct lowered_node *map = arena_alloc(&fc.arena, sizeof *map * (size_t)out->map_count);
    uint64_t *map_pc = arena_alloc(&fc.arena, sizeof *map_pc * (size_t)out->map_count);
    struct recipe *recipes = arena_alloc(&fc.arena, sizeof *recipes * (size_t)out->recipe_count);
    if (!exits || !map || !map_pc || !recipes)
        return RC_NO_MEMORY;
    mem_copy(recipes, out->recipes, sizeof *recipes * (size_t)out->recipe_count);
    TRY(recover_add(f->start, f->len, recipes, out->recipe_count));
    for (int i = 0; i < out->exit_count; i++) {
        const struct lowered_exit *le = &out->exits[i];
        exits[i] = (struct frag_exit){.owner = f,
                                      .index = (uint32_t)i,
                                      .target = app_pc(le->target),
                                      .branch = cache_pc(f->start.v + le->branch),
                                      .restore = cache_pc(f->start.v + le->restore),
                                      .stub = cache_pc(f->start.v + le->stub),
                                      .restores = le->saved != 0,
                                      .back = le->back};
        fc.exits[f->first_exit + (uint32_t)i] = &exits[i];
    }
    fc.exit_next += (uint32_t)out->exit_count;
    for (int i = 0; i < out->map_count; i++) {
        map[i] = out->map[i];
        map_pc[i] = ir->insns[ir->nodes[map[i].node].insn].pc.v;
    }
    f->map = map;
    f->map_pc = map_pc;
    f->map_count = out->map_count;
    return RC_OK;
}

static void fragment_describe(struct fragment *f, const struct ir *ir, const struct lowered *out)
{
    f->tag = ir->tag;
    f->len = out->len;
    f->body_end = out->body_end;
    f->entry = cache_pc(f->start.v + out->entry);
    f->loop_head = cache_pc(f->start.v + out->loop);
    f->lookup_entry = cache_pc(f->start.v + out->lookup_entry);
    f->insns_in = (uint32_t)ir->insn_count;
    f->insns_out = out->insns_out;
    for (int i = 0; i < ir->insn_count; i++)
        f->bytes_in += ir->insns[i].len;
    f->loop = ir->end == TRACE_LOOP;
    f->exit_count = out->exit_count;
    f->first_exit = fc.exit_next;
    f->id = fc.id_next;
}

static rc_t room_for(const struct code_region *r, uint32_t len)
{
    if (len > fc.stats.capacity)
        return RC_TOO_LONG;
    bool fits = fc.stats.used + len <= fc.stats.capacity && len <= r->fragments.end - r->fragments.next;
    bool tables = fc.exit_next + LOWER_MAX_EXITS < MAX_EXITS && fc.arena.used + (4u << 20) < ARENA_LIMIT;
    return fits && tables ? RC_OK : RC_CACHE_FULL;
}

rc_t fc_emit(const struct ir *ir, struct fragment **result)
{
    struct code_region *r;
    if (ir->count > 8192)
        return RC_TOO_LONG;
    TRY(stubs_region(ir->tag, &r));
    TRY(room_for(r, 0));
    struct cache_pc at = cache_pc(r->fragments.next);
    TRY(lower(ir, at, r, fc.exit_next, (uint32_t)(uintptr_t)fc.lookup, &fc.out));
    TRY(room_for(r, fc.out.len));
    struct fragment *f = arena_alloc(&fc.arena, sizeof *f);
    struct tag *own = tag_find(ir->tag, true);
    if (!f || !own)
        return RC_NO_MEMORY;
    f->start = at;
    fragment_describe(f, ir, &fc.out);
    f->set = fc.held ? f->id : 0;
    f->live = true;
    TRY(fragment_register(f, &fc.out, ir));
    TRY(fragment_note_text(f, ir));
    if (fc.observer)
        fc.observer(f, ir, &fc.out);
    TRY(code_stage(at, fc.out.bytes, fc.out.len));
    r->fragments.next += fc.out.len;
    TRY(fragment_link(f, own));
    TRY(code_commit());
    if (!f->set)
        fc_lookup_prefer(f); /* only now: another thread may jump there at once */
    f->next = fc.newest;
    fc.newest = f;
    fc.id_next++;
    fc.sorted_count = 0;
    fc.stats.used += f->len;
    fc.stats.emitted++;
    fc.stats.live++;
    fc.stats.insns_in += f->insns_in;
    fc.stats.insns_out += f->insns_out;
    *result = f;
    return RC_OK;
}

void fc_flush(void)
{
    if (!fc.tags)
        return; /* nothing was ever emitted */
    for (int i = 0; i < code_region_count(); i++)
        code_region_get(i)->fragments.next = code_region_get(i)->fragments.start;
    for (const struct fragment *f = fc.newest; f; f = f->next)
        fc.lookup[f->tag.v & 0xffff] = 0;
    fc.stats.retired += fc.stats.live;
    fc.stats.live = fc.stats.used = fc.stats.links = 0;
    fc.stats.flushes++;
    fc.newest = NULL;
    fc.sorted = NULL;
    fc.sorted_count = fc.sorted_cap = 0;
    mem_zero(fc.tags, TAG_BUCKETS * sizeof *fc.tags);
    recover_forget();
    mem_zero(fc.exits, fc.exit_next * sizeof *fc.exits);
    fc.exit_next = EXIT_FIRST;
    arena_reset(&fc.arena);
}

/* Shell sort: few calls, at most some ten thousand fragments, no recursion on a borrowed stack. */
static void sort_by_start(struct fragment **v, int n)
{
    for (int gap = n / 2; gap; gap /= 2)
        for (int i = gap; i < n; i++) {
            struct fragment *f = v[i];
            int j = i;
            for (; j >= gap && v[j - gap]->start.v > f->start.v; j -= gap)
                v[j] = v[j - gap];
            v[j] = f;
        }
}

static bool sorted_build(void)
{
    if ((uint64_t)fc.sorted_cap < fc.stats.live) {
        int cap = (int)fc.stats.live * 2;
        fc.sorted = arena_alloc(&fc.arena, sizeof(struct fragment *) * (size_t)cap);
        fc.sorted_cap = fc.sorted ? cap : 0;
    }
    if (!fc.sorted)
        return false;
    for (struct fragment *f = fc.newest; f; f = f->next)
        fc.sorted[fc.sorted_count++] = f;
    sort_by_start(fc.sorted, fc.sorted_count);
    return true;
}

struct fragment *fc_at(uint64_t address)
{
    if (!fc.stats.live || (!fc.sorted_count && !sorted_build()))
        return NULL;
    int low = 0, high = fc.sorted_count;
    while (low < high) {
        int mid = (low + high) / 2;
        if (fc.sorted[mid]->start.v <= address)
            low = mid + 1;
        else
            high = mid;
    }
    struct fragment *f = low ? fc.sorted[low - 1] : NULL;
    return f && address < f->start.v + f->len ? f : NULL;
}
