/* Work clocks by themselves (WCK-1): which places of the text are chosen, which are taken out, in again, and when a record is used for
 * another place. Hooks and code memory are made up. Its file is part of this one, so that each test begins anew. */
#include "runtime/workclock.c" /* NOLINT(bugprone-suspicious-include) */

#include "tests/unit/unit.h"

#define TEXT 0x400000u
#define BLOCKS 64
#define STEP 64u /* bytes between two blocks */

static struct block blocks[BLOCKS];
static int block_count, sets, clears, releases, stubs, written, asked, batches, abandoned;
static bool several;
static bool refuse[BLOCKS], in_jump[BLOCKS];
static struct fragment *newest;
static struct app_pc exits[BLOCKS];

static int index_of(uint64_t at) { return (int)((at - TEXT) / STEP); }

void block_each(void (*fn)(struct block *))
{
    for (int i = 0; i < block_count; i++)
        fn(&blocks[i]);
}
struct block *block_find(struct app_pc pc)
{
    for (int i = 0; i < block_count; i++)
        if (app_pc_eq(blocks[i].pc, pc))
            return &blocks[i];
    return NULL;
}
struct fragment *fc_newest(void) { return newest; }
struct frag_exit *fc_exit(uint32_t number)
{
    static struct frag_exit e;
    e.target = exits[number];
    return &e;
}
enum map_kind maps_kind(struct app_pc pc) { return blocks[index_of(pc.v)].map_kind; }
rc_t fc_add_code(struct app_pc near, size_t len, struct cache_pc *at)
{
    (void)near;
    *at = cache_pc(0x10000000u + (uint64_t)stubs++ * len);
    return RC_OK;
}
rc_t fc_add_recipes(struct cache_pc start, uint32_t len, const struct recipe *r, int n)
{
    (void)start;
    for (int i = 1; i < n; i++)
        assert_in_range(r[i].at, r[i - 1].at + 1u, len - 1);
    return RC_OK;
}
rc_t code_stage(struct cache_pc at, const void *bytes, size_t n)
{
    (void)at, (void)bytes, (void)n;
    written++;
    return RC_OK;
}
rc_t code_commit(void) { return RC_OK; }
rc_t site_check(struct app_pc at, const struct site_ask *ask, struct site *out)
{
    (void)ask;
    asked++;
    *out = (struct site){.at = at, .len = 5};
    return refuse[index_of(at.v)] ? RC_HOOK_SHORT : RC_OK;
}
bool site_leaves_jump(const struct site *s) { return !in_jump[index_of(s->at.v)]; }
rc_t hook_prepare(struct hook *h, const struct site *s, struct cache_pc to)
{
    (void)s, (void)to;
    assert_int_equal(h->state, HOOK_FREE);
    h->state = HOOK_CLEARED;
    h->native = cache_pc(0x20000000);
    return RC_OK;
}
rc_t hook_set(struct hook *h, const struct site *s, struct cache_pc to, bool switched)
{
    (void)s, (void)to, (void)switched;
    assert_int_not_equal(h->state, HOOK_LIVE);
    h->state = HOOK_LIVE;
    sets++;
    return RC_OK;
}
rc_t hook_clear(struct hook *h)
{
    assert_int_equal(h->state, HOOK_LIVE);
    h->state = HOOK_CLEARED;
    clears++;
    return RC_OK;
}
void hook_release(struct hook *h)
{
    assert_int_equal(h->state, HOOK_CLEARED);
    h->state = HOOK_FREE;
    releases++;
}
void hook_abandon(struct hook *h)
{
    assert_true(several);
    h->state = HOOK_FREE;
    abandoned++;
}
bool several_now(void) { return several; }
void poke_batch_begin(void) { batches++; }
void poke_batch_end(void) { batches--; }

static int new_process(void **state)
{
    (void)state;
    memset(&wc, 0, sizeof wc);
    memset(count, 0, sizeof count);
    memset(blocks, 0, sizeof blocks);
    memset(refuse, 0, sizeof refuse);
    memset(in_jump, 0, sizeof in_jump);
    several = false;
    block_count = abandoned = sets = clears = releases = stubs = written = asked = 0;
    newest = NULL;
    return 0;
}

static struct block *block_add(uint32_t runs)
{
    struct block *b = &blocks[block_count];
    *b = (struct block){.pc = app_pc(TEXT + STEP * (unsigned)block_count), .runs = runs, .insns = 5, .map_kind = MAP_TEXT};
    block_count++;
    return b;
}

/* One that takes all the time there is: with it, 1000 runs of another are the ideal share. */
static void busy_block(void) { block_add(1000 * IDEAL_SHARE); }

static bool is_live(int block)
{
    for (int i = 0; i < TABLE; i++)
        if (wc.clock[i].live && wc.clock[i].site.at.v == blocks[block].pc.v)
            return true;
    return false;
}

/* A fragment made from the text of a block, `from` bytes behind its start. */
static struct fragment fragment_of(int block, unsigned from, uint32_t set, struct text_run *text)
{
    *text = (struct text_run){blocks[block].pc.v + from, blocks[block].pc.v + 20};
    return (struct fragment){.set = set, .text = text, .text_count = 1};
}

static void test_the_steadiest_are_chosen(void **state)
{
    (void)state;
    busy_block();
    for (uint32_t i = 1; i <= 20; i++)
        block_add(1000 >> (i < 20 ? i / 2 : 0)); /* the last is the best */
    blocks[3].map_kind = MAP_VOLATILE;
    blocks[4].insns = 1;
    blocks[6].pc.v = blocks[5].pc.v + 8; /* too near to another */
    refuse[7] = true;
    assert_int_equal(workclock_choose(WORKCLOCK_SLOW, NULL, 0), WORKCLOCK_MOST);
    assert_int_equal(workclock_live(), WORKCLOCK_MOST);
    for (int i = 1; i <= 15; i++)
        assert_int_equal(is_live(i), i != 3 && i != 4 && i != 6 && i != 7);
    assert_true(is_live(20));
    assert_false(is_live(0)); /* the one that runs all the time */
    assert_int_equal(written, WORKCLOCK_MOST);
}

/* Where there is another kind of clock, one that ticks at each pass of the innermost loop is not even tried. */
static void test_busy_blocks_only_if_asked_for(void **state)
{
    (void)state;
    block_add(1000);
    for (uint32_t i = 0; i < FAST_SHARE; i++)
        block_add(i ? 50 : 1000 / FAST_SHARE);
    assert_int_equal(workclock_choose(WORKCLOCK_SLOW, NULL, 0), WORKCLOCK_MOST);
    assert_false(is_live(0));
    new_process(state);
    block_add(1000);
    assert_int_equal(workclock_choose(WORKCLOCK_SLOW, NULL, 0), 0);
    assert_int_equal(workclock_choose(WORKCLOCK_FAST, NULL, 0), 1);
}

static void test_seldom_says_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        block_add(LEAST_RUNS - 1);
    assert_int_equal(workclock_choose(WORKCLOCK_FAST, NULL, 0), 0);
    block_add(LEAST_RUNS);
    assert_int_equal(workclock_choose(WORKCLOCK_FAST, NULL, 0), 1);
}

static void test_never_in_text_of_fragments(void **state)
{
    (void)state;
    busy_block();
    for (int i = 0; i < 4; i++)
        block_add(1000);
    struct text_run text[3];
    struct fragment tried = fragment_of(1, 0, 7, &text[0]), kept = fragment_of(2, 0, 0, &text[1]);
    struct fragment waiting = fragment_of(3, 0, 8, &text[2]), *own = &tried;
    kept.next = &waiting;
    newest = &kept;
    assert_int_equal(workclock_choose(WORKCLOCK_FAST, &own, 1), 3); /* 0, 3 and 4 */
    assert_int_equal(asked, 3); /* nor are they given a record */
    assert_false(is_live(1));
    assert_false(is_live(2));
    assert_true(is_live(3) && is_live(4));
}

/* A hook of five bytes reaches into the next block. */
static void test_nor_do_their_bytes_reach_there(void **state)
{
    (void)state;
    busy_block();
    block_add(1000);
    struct text_run text;
    struct fragment tried = fragment_of(1, 4, 7, &text), *own = &tried;
    assert_int_equal(workclock_choose(WORKCLOCK_FAST, &own, 1), 1);
    assert_false(is_live(1));
    tried = fragment_of(1, 5, 7, &text);
    assert_int_equal(workclock_choose(WORKCLOCK_FAST, &own, 1), 2);
    assert_true(is_live(1));
}

/* A pun's jump ends in the bytes of what follows: where a fragment is entered, its own hook must find them as they were. */
static void test_nor_where_fragments_are_entered(void **state)
{
    (void)state;
    busy_block();
    block_add(1000);
    for (int off = -(int)HOOK_REACH; off <= (int)HOOK_REACH; off++) {
        struct fragment tried = {.set = 7, .tag = app_pc(blocks[1].pc.v + (uint64_t)(int64_t)off)}, *own = &tried;
        bool apart_enough = off == -(int)HOOK_REACH || off == (int)HOOK_REACH;
        assert_int_equal(workclock_choose(WORKCLOCK_FAST, &own, 1), apart_enough ? 2 : 1);
        assert_int_equal(is_live(1), apart_enough);
    }
}

static void test_dear_places_only_where_there_are_no_others(void **state)
{
    (void)state;
    busy_block();
    block_add(1000);
    block_add(1000);
    in_jump[0] = in_jump[1] = true;
    assert_int_equal(workclock_choose(WORKCLOCK_FAST, NULL, 0), 1);
    assert_true(is_live(2));
    in_jump[2] = true;
    new_process(state);
    busy_block();
    block_add(1000);
    in_jump[0] = in_jump[1] = true;
    assert_int_equal(workclock_choose(WORKCLOCK_FAST, NULL, 0), 2);
}

static void test_the_fastest_are_taken_out(void **state)
{
    uint64_t ticks[WORKCLOCK_MOST] = {0};
    (void)state;
    busy_block();
    for (int i = 0; i < 3; i++)
        block_add(1000);
    int n = workclock_choose(WORKCLOCK_FAST, NULL, 0), busy = 0;
    assert_int_equal(n, 4);
    while (wc.clock[wc.chosen[busy]].site.at.v != TEXT)
        busy++;
    for (int i = 0; i < n; i++)
        ticks[i] = i == busy ? MANY_RATE / 100 : MANY_RATE / 1000;
    assert_false(workclock_thin(ticks, 20000000)); /* 13 % of the most that four may tick in 100 ms */
    assert_true(workclock_thin(ticks, 8000000));
    assert_int_equal(workclock_live(), 3);
    assert_false(is_live(0));
    for (int i = 0; i < n; i++)
        ticks[i] = i == busy ? 0 : MOST_RATE / 10;
    wc.source = WORKCLOCK_SLOW;
    assert_true(too_fast(MOST_RATE / 10, 10000000, 1)); /* ten times, and none may tick like that */
    wc.source = WORKCLOCK_FAST;
    assert_true(workclock_thin(ticks, 10000000)); /* but the last of these may */
    assert_int_equal(workclock_live(), 1);
    for (int i = 0; i < n; i++)
        ticks[i] = is_live(0) ? 0 : LAST_RATE;
    assert_true(workclock_thin(ticks, 100000000));
    assert_int_equal(workclock_live(), 0);
    assert_false(workclock_thin(ticks, 100000000));
}

static void test_paused_and_resumed(void **state)
{
    uint64_t ticks[WORKCLOCK_MOST] = {0};
    (void)state;
    busy_block();
    block_add(1000);
    block_add(1000);
    assert_int_equal(workclock_choose(WORKCLOCK_FAST, NULL, 0), 3);
    ticks[0] = MANY_RATE; /* that many are not too fast for three */
    assert_false(workclock_thin(ticks, 1000000000));
    ticks[0] = MOST_RATE;
    assert_true(workclock_thin(ticks, 10000000));
    assert_int_equal(workclock_live(), 2);
    for (int i = 0; i < 3; i++) {
        workclock_pause();
        assert_int_equal(workclock_live(), 0);
        workclock_resume();
        assert_int_equal(workclock_live(), 2); /* what was thinned out stays out */
    }
    assert_int_equal(batches, 0);
    assert_int_equal(written, 3); /* the stubs are still those */
    workclock_stop();
    assert_int_equal(workclock_live(), 0);
    assert_int_equal(sets, clears);
    workclock_resume(); /* nothing comes back */
    assert_int_equal(sets, clears);
}

static void test_the_same_place_keeps_its_record(void **state)
{
    (void)state;
    busy_block();
    block_add(1000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(workclock_choose(WORKCLOCK_FAST, NULL, 0), 2);
    assert_int_equal(stubs, 2);
    assert_int_equal(written, 2);
    assert_int_equal(releases, 0);
}

/* TABLE records; who was in one a moment ago may still be in its stub. */
static void test_records_are_used_again_after_a_while(void **state)
{
    (void)state;
    for (unsigned round = 0; round < TABLE / WORKCLOCK_MOST; round++) {
        block_count = 0;
        for (int i = 0; i < WORKCLOCK_MOST; i++)
            block_add(1000)->pc.v = TEXT + STEP * (round * WORKCLOCK_MOST + (unsigned)i);
        assert_int_equal(workclock_choose(WORKCLOCK_FAST, NULL, 0), WORKCLOCK_MOST);
    }
    block_count = 0;
    for (unsigned i = 0; i < 3; i++)
        block_add(1000)->pc.v = TEXT + STEP * (BLOCKS - 1 - i);
    assert_int_equal(workclock_choose(WORKCLOCK_FAST, NULL, 0), 0);
    for (int i = 0; i < 2; i++)
        wc.clock[i].cleared_ns -= LIMBO_NS + 1000000;
    assert_int_equal(workclock_choose(WORKCLOCK_FAST, NULL, 0), 2);
    assert_int_equal(releases, 2);
}

static void test_refused_hooks_end_the_search(void **state)
{
    (void)state;
    for (int i = 0; i < BLOCKS; i++)
        block_add(1000);
    memset(refuse, true, sizeof refuse);
    assert_int_equal(workclock_choose(WORKCLOCK_FAST, NULL, 0), 0);
    assert_in_range(asked, WORKCLOCK_MOST, 2 * 3 * WORKCLOCK_MOST);
    assert_int_equal(sets, 0);
}

/* What comes behind a loop is where its fragment is left to. */
static void test_at_exits(void **state)
{
    struct text_run text;
    (void)state;
    for (int i = 0; i < 5; i++)
        block_add(1)->insns = 1; /* none that would be chosen for itself */
    for (unsigned i = 0; i < 4; i++)
        exits[10 + i] = blocks[i].pc;
    blocks[3].map_kind = MAP_VOLATILE;
    struct fragment tried = fragment_of(1, 0, 7, &text), *own = &tried;
    tried.first_exit = 10;
    tried.exit_count = 4;
    assert_int_equal(workclock_choose(WORKCLOCK_FAST, &own, 1), 0);
    assert_int_equal(workclock_choose(WORKCLOCK_SLOW, &own, 1), 2);
    assert_true(is_live(0) && is_live(2));
    assert_int_equal(workclock_tick_ns(), 12);
}

/* Or the side of a branch that was never seen taken; behind loops first. */
static void test_at_sides_of_branches(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++)
        block_add(i == 20 ? 1000 : 0)->insns = 1;
    block_add(30)->insns = 1; /* seen */
    for (int i = 0; i < 20; i++) {
        struct block *b = &blocks[i];
        b->kind = IK_JCC;
        b->runs = (uint32_t)i + 1;
        b->next = blocks[i == 3 ? 40 : 20 + i].pc;
        b->target = i == 5 ? b->pc.v : blocks[40].pc.v;
    }
    blocks[19].map_kind = MAP_VOLATILE;
    assert_int_equal(workclock_choose(WORKCLOCK_FAST, NULL, 0), 0);
    assert_int_equal(workclock_choose(WORKCLOCK_SLOW, NULL, 0), WORKCLOCK_MOST);
    assert_int_equal(wc.clock[wc.chosen[0]].site.at.v, blocks[25].pc.v); /* the loop's */
    for (int i = 28; i < 39; i++)
        assert_true(is_live(i)); /* what runs most */
    assert_false(is_live(39));
    assert_false(is_live(40));
}

/* Of each kind some, so that one that says nothing is not all there is. */
static void test_kinds_are_mixed(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * WORKCLOCK_MOST; i++)
        block_add(100);
    for (unsigned i = 0; i < 10; i++)
        exits[i] = block_add(0)->pc;
    struct fragment tried = {.set = 7, .exit_count = 10, .tag = app_pc(0x1000)}, *own = &tried;
    assert_int_equal(workclock_choose(WORKCLOCK_SLOW, &own, 1), WORKCLOCK_MOST);
    int at_blocks = 0;
    for (int i = 0; i < 2 * WORKCLOCK_MOST; i++)
        at_blocks += is_live(i);
    assert_int_equal(at_blocks, WORKCLOCK_MOST - (EXIT_CLOCKS - BLOCK_CLOCKS)); /* there were no sides */
}

static void test_counters_are_read(void **state)
{
    struct cache_pc stub;
    (void)state;
    assert_int_equal(workclock_read(WORKCLOCK_HEAD), 0);
    busy_block();
    block_add(1000);
    assert_int_equal(workclock_choose(WORKCLOCK_FAST, NULL, 0), 2);
    assert_ok(workclock_stub(app_pc(TEXT), cache_pc(0x20000000), &stub));
    count[wc.chosen[1]] = 77;
    count[TABLE] = 99;
    assert_int_equal(workclock_read(0), 0);
    assert_int_equal(workclock_read(1), 77);
    assert_int_equal(workclock_read(WORKCLOCK_HEAD), 99);
}

#define TEST(name) cmocka_unit_test_setup(name, new_process)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_steadiest_are_chosen),
        TEST(test_busy_blocks_only_if_asked_for),
        TEST(test_seldom_says_nothing),
        TEST(test_never_in_text_of_fragments),
        TEST(test_nor_do_their_bytes_reach_there),
        TEST(test_nor_where_fragments_are_entered),
        TEST(test_dear_places_only_where_there_are_no_others),
        TEST(test_the_fastest_are_taken_out),
        TEST(test_paused_and_resumed),
        TEST(test_the_same_place_keeps_its_record),
        TEST(test_records_are_used_again_after_a_while),
        TEST(test_refused_hooks_end_the_search),
        TEST(test_at_exits),
        TEST(test_at_sides_of_branches),
        TEST(test_kinds_are_mixed),
        TEST(test_counters_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
