#include "runtime/facts.h"

#include <cpuid.h>

#include "fragcache/hook.h"
#include "runtime/adopt.h"
#include "runtime/base/maps.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/several.h"

#define HOLDS_NS 20000000u /* CPU time for which what was seen is believed */

static bool alone, others;
static uint64_t seen_ns;

static size_t peek(struct app_pc pc, uint8_t *out, size_t cap)
{
    const struct map_range *r = maps_find(pc);
    if (!r || r->kind != MAP_TEXT)
        return 0;
    size_t n = r->end - pc.v < cap ? r->end - pc.v : cap;
    mem_copy(out, (const void *)pc.v, n);
    (void)hook_overlay(pc.v, out, n);
    return n;
}

static bool constant_at(uint64_t at, unsigned bytes, uint64_t *value)
{
    if (!maps_is_constant(at, bytes))
        return false;
    *value = 0;
    mem_copy(value, (const void *)at, bytes);
    return true;
}

void facts_refresh(void)
{
    uint64_t now = sys_clock_ns(THREAD_CPU);
    if (seen_ns && now - seen_ns < HOLDS_NS && maps_known())
        return;
    seen_ns = now;
    maps_read();
    others = several_now() || !adopt_alone();
    alone = !others && !maps_is_shared();
}

void facts_expire(void) { seen_ns = 0; }

static uint32_t cpu_features(void)
{
    static uint32_t known;
    unsigned a, b, c, d;
    if (!known) { /* in a virtual machine cpuid takes tens of microseconds */
        known = 1u << 31;
        if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_BMI2)
            known |= CPU_BMI2;
    }
    return known;
}

void facts_give(struct ir *ir)
{
    ir->cpu = cpu_features();
    ir->peek = peek;
    ir->constant_at = constant_at;
    ir->alone = alone;
    ir->others = others;
    ir->native = true;
    /* Nothing is passed in the flags or in r11 to what is called through a pointer or a PLT (psABI 3.2.3). */
    ir->indirect_flags_dead = FL_STATUS;
    ir->indirect_gpr_dead = 1u << 11;
}
