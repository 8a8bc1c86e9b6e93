/* Planted faults: the instructions at a fragment's entry and in the stub before native code change nothing, and the state is
 * right at each of them. */
#include "tests/unit/stepper.h"

#include "fragcache/recover.h"
#include "runtime/plant.c" /* of runtime/, the unit library has what is pure */
#include "tests/unit/module.h"

/* Flags and the red zone are live where the loop begins anew; the loop's head is at offset 6. */
PROGRAM(loop, "mov r14d, 5\n"
              "0: adc rax, r14\n mov [rsp-8], rax\n cmp r14d, 3\n lea r10, [rsp-16]\n mov r11, [rsp-8]\n"
              "adc rbx, r11\n dec r14d\n jnz 0b\n jmp r15");

static const struct step_kind live = {0};

static unsigned steps_with(uint32_t units, uint32_t *insns)
{
    lower_set_plant(units);
    step_load(MACHINE_TEXT, loop_start, loop_end);
    struct fragment *f = step_emit(stepper.text + 6, &live);
    lower_set_plant(0);
    *insns = f->insns_out;
    step_compare("planted");
    assert_int_equal(stepper.entered, 1); /* and back by its own edge */
    return stepper.in_cache;
}

static void test_slow_fragment(void **state)
{
    (void)state;
    uint32_t insns, planted;
    unsigned without = steps_with(0, &insns), with = steps_with(7, &planted);
    assert_int_equal(planted, insns + 7);
    assert_true(with >= without + 4 * 7); /* in each pass but the first */
}

static void test_slow_native(void **state)
{
    (void)state;
    struct cache_pc stub;
    struct options o;
    char bad[OPTION_TEXT];
    options_default(&o);
    assert_ok(options_parse(&o, "plant=fast:3:9", bad));
    plant_init(&o);
    assert_int_equal(plant_units(PLANT_FAST, 3), 9);
    assert_int_equal(plant_units(PLANT_FAST, 4), 0);
    assert_int_equal(plant_units(PLANT_SLOW, 3), 0);
    step_load(MACHINE_TEXT, loop_start, loop_end);
    struct fragment *f = step_emit(stepper.text + 6, &live);
    assert_ok(plant_stub(f->tag, f->entry, 9, &stub));
    struct fragment *later = step_emit(stepper.text + 6, &live);
    assert_true(later->start.v > stub.v);
    stepper.stub = stub.v;
    step_run(STEP_COMPARE, true, 0);
    assert_null(step_difference());
    assert_true(stepper.entered && stepper.in_cache > 9);
    for (uint64_t pc = stub.v; pc <= stub.v + 9 * UNIT_BYTES; pc += UNIT_BYTES) {
        struct cpu_state s = {.gpr = {1, 2, 3}, .pc = pc}, was = s;
        assert_true(fc_recover(&s, step_slots()));
        assert_int_equal(s.pc, f->tag.v);
        assert_memory_equal(s.gpr, was.gpr, sizeof s.gpr);
    }
}

int main(void)
{
    step_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_fragment),
        cmocka_unit_test(test_slow_native),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
