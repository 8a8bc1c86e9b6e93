#include "runtime/plant.h"

#include "fragcache/cache.h"
#include "tracer/asm.h"

#define UNIT_BYTES 3u /* mov rsp, rsp */
#define JUMP_BYTES 5u

static struct plant_spec spec;

void plant_init(const struct options *o)
{
    if (!options_parse_plant(o->plant, &spec))
        spec.kind = PLANT_NONE;
}

uint32_t plant_units(enum plant_kind kind, uint32_t id)
{
    return spec.kind == kind && (spec.all || spec.id == id) ? spec.units : 0;
}

rc_t plant_stub(struct app_pc site, struct cache_pc to, uint32_t units, struct cache_pc *stub)
{
    static uint8_t bytes[PLANT_MOST_UNITS * UNIT_BYTES + JUMP_BYTES];
    const uint32_t len = units * UNIT_BYTES + JUMP_BYTES;
    const struct recipe recipe = {site.v, 0, R_NONE, R_NONE, R_NONE, PC_KNOWN, 0, 0};
    TRY(fc_add_code(site, len, stub));
    TRY(fc_add_recipes(*stub, len, &recipe, 1));
    struct asm_buf a = asm_on(bytes, len, *stub);
    lower_plant(&a, units);
    asm_jmp(&a, to.v);
    if (a.overflow || a.len != len)
        return RC_FAR_BRANCH;
    TRY(code_stage(*stub, bytes, len));
    return code_commit();
}
