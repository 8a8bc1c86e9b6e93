# reheat: a dynamic binary optimizer. `make help` lists the targets.
#
# Nothing here calls a tool before scripts/deps.sh has run: a fresh machine has make and git, and no compiler.
CC = gcc
BUILD = build
PREFIX = /usr/local
DESTDIR =
JOBS = 2
ZYDIS_PATH = /usr/lib/x86_64-linux-gnu/libZydis.so.4.0
WARN = -Wall -Wextra -Wshadow -Wconversion -Werror
OPT = -O2 -g
CFLAGS_ALL = -std=gnu2x $(WARN) -I. -MMD -MP

# The runtime: no libc, general registers only, nothing visible.
RT_SRC = $(wildcard runtime/base/*.c tracer/*.c optimizer/*.c fragcache/*.c runtime/*.c)
RT_ASM = $(wildcard tracer/*.S runtime/*.S)
# What runs in every process is linked first, and so comes in with the headers' pages.
RT_START = $(addprefix runtime/,entry options slice interpose interpose_syscall interpose_memory sampler)
RT_OBJ = $(RT_START:%=$(BUILD)/rt/%.o) $(filter-out $(RT_START:%=$(BUILD)/rt/%.o),$(RT_SRC:%.c=$(BUILD)/rt/%.o)) \
	$(RT_ASM:%.S=$(BUILD)/rt/%.o)
RT_FLAGS = $(OPT) -ffreestanding -fPIC -fvisibility=hidden -mgeneral-regs-only -mno-red-zone -fno-stack-protector \
	-fno-tree-loop-distribute-patterns -fcf-protection=none -fno-strict-aliasing \
	-DREHEAT_ZYDIS_PATH='"$(ZYDIS_PATH)"'

# Runs in signal handlers only, where vector registers are free.
$(BUILD)/rt/runtime/fit.o: RT_FLAGS := $(filter-out -mgeneral-regs-only,$(RT_FLAGS)) -fno-math-errno

TOOL_SRC = $(wildcard injector/*.c)
TOOL_OBJ = $(TOOL_SRC:%.c=$(BUILD)/tool/%.o) $(BUILD)/tool/runtime/proto_json.o

# The unit tests: the same sources, hosted, under ASan and UBSan, one program per test_*.c.
UNIT_SRC = $(filter-out runtime/base/freestanding.c,$(wildcard runtime/base/*.c)) \
	$(wildcard tracer/*.c optimizer/*.c fragcache/*.c) runtime/options.c runtime/proto_json.c runtime/fit.c runtime/verdict.c runtime/exposure.c runtime/gains.c runtime/careful.c
UNIT_TESTS = $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
UNIT_SUPPORT = $(patsubst %.c,$(BUILD)/unit/o/%.o,$(filter-out tests/unit/test_%,$(wildcard tests/unit/*.c)))
UNIT_OBJ = $(UNIT_SRC:%.c=$(BUILD)/unit/o/%.o)
UNIT_FLAGS = -O1 -g -D_GNU_SOURCE -DREHEAT_HOSTED -DREHEAT_ZYDIS_PATH='"$(ZYDIS_PATH)"' -fno-strict-aliasing \
	-fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined

# What scripts/deps.sh installs, one stamp a group. DEPS=0: the packages are somebody else's business.
DEPS = 1
DEPS_BUILD = $(if $(filter 1,$(DEPS)),$(BUILD)/.deps-build)
DEPS_TEST = $(if $(filter 1,$(DEPS)),$(BUILD)/.deps-test)
DEPS_BENCH = $(if $(filter 1,$(DEPS)),$(BUILD)/.deps-bench)
DEPS_LINT = $(if $(filter 1,$(DEPS)),$(BUILD)/.deps-lint)

# Configurations of the end-to-end tests. `default` is without settings; with trial=0 every fragment is entered, however
# short the program; with passes=all those made by unsure passes too. Under control=full everything is, but without bailout=0 a short program at hot=2 soon runs natively.
TEST_SAMPLED = -c default -c control=sampled,trial=0,hot=2,passes=all
TEST_FULL = -c control=full,hot=2,bailout=0
TEST_CONFIGS = $(TEST_SAMPLED) $(TEST_FULL) -c control=full,hot=2,cache=64K,bailout=0 -c control=full,cache=64K
STRESS_CONFIGS = -c control=full,hot=1,bailout=0 -c control=full,hot=1,cache=64K,bailout=0 \
	-c control=full,hot=1,link=0,bailout=0 -c control=sampled,trial=0,hot=1 -c control=full,hot=1,passes=convert+unroll+loads+idle,bailout=0 -c control=sampled,trial=0,hot=1,cache=64K,unroll=8
REHEAT = $(abspath $(BUILD))/reheat
RUN_PARTS = BUILD=$(abspath $(BUILD)) KERNELS=$(abspath $(BUILD))/kernels REHEAT_BIN=$(REHEAT) tests/all.sh
TEST_PARTS = 'unit: tests/unit/run.sh $(UNIT_TESTS)' \
	'command line: tests/cli/test_reheat_cli.sh' \
	'hooks: tests/hooks/run.sh --cycles 300 --sites 5000' \
	'cases: tests/e2e/cases.sh -j $(JOBS) $(TEST_CONFIGS)' \
	'cases, threads: tests/e2e/cases.sh -j $(JOBS) -c control=sampled,trial=0,hot=2,threads=1 -c threads=1,least=0,hot=2 \
		-k "among crowd thread cancel early fork mask signals dlopen spawn text_advice"' \
	'cases, conversion: tests/e2e/cases.sh -j $(JOBS) -c control=sampled,trial=0,hot=5,passes=convert+idle -k "merge_fault signals"' \
	'programs: tests/e2e/run.sh -j $(JOBS) $(TEST_CONFIGS)' \
	'kernels: tests/kernels/run.sh -j $(JOBS) $(TEST_SAMPLED) $(TEST_FULL) -c control=sampled,trial=0,passes=convert+loads+idle' \
	'residency: tests/e2e/residency.sh $(BUILD)/libreheat.so' \
	'more: tests/e2e/more.sh -j $(JOBS) $(TEST_SAMPLED) -c control=full' \
	'faults: tests/e2e/faults.sh -j $(JOBS) -s "calls samplers" -n "1 1+"' \
	'csmith: tests/e2e/csmith.sh -j $(JOBS) $(TEST_FULL) -n 50 -s 1' \
	'fuzz: $(BUILD)/fuzz/fuzz --seed $(FUZZ_SEED) --seconds 20' \
	'fuzz, wrong passes: $(BUILD)/fuzz/fuzz --selftest 10000' \
	'fuzz, facts: $(BUILD)/fuzz/fuzz-wild --facts $(FUZZ_ELF)' \
	'fuzz, faults: $(BUILD)/fuzz/fuzz-wild --seed $(FUZZ_SEED) --faults 400' \
	'verified entries: tests/e2e/verify.sh $(BUILD)/libreheat.so $(BUILD)/libreheat-breaks.so $(BUILD)/fuzz/fuzz-wild' \
	'fuzz, wrong recipes: $(BUILD)/fuzz/fuzz-wild --faults-selftest 2000'
FULL_PARTS = 'full size: scripts/bench.py --rounds 1 --systems native,reheat' \
	'full size, sampled, all kept: scripts/bench.py --rounds 1 --systems native,reheat --reheat-options control=sampled,trial=0' \
	'full size, full, hot=50: scripts/bench.py --rounds 1 --systems native,reheat --reheat-options control=full,hot=50' \
	'full size, full, hot=2: scripts/bench.py --rounds 1 --systems native,reheat --reheat-options control=full,hot=2' \
	'lint: $(MAKE) --no-print-directory lint'
STRESS_PARTS = 'hooks: tests/hooks/run.sh' \
	'cases: tests/e2e/cases.sh -j $(JOBS) $(STRESS_CONFIGS)' \
	'programs: tests/e2e/run.sh -j $(JOBS) $(STRESS_CONFIGS)' \
	'kernels: tests/kernels/run.sh -j $(JOBS)' \
	'more: tests/e2e/more.sh -j $(JOBS) -n 4 -r 3 $(TEST_SAMPLED) -c control=full' \
	'faults: tests/e2e/faults.sh -j $(JOBS)' \
	'csmith: tests/e2e/csmith.sh -j $(JOBS) -c control=full,hot=1,bailout=0 -n 1000 -s 1000' \
	'faults: $(BUILD)/fuzz/fuzz-wild --seed $(FUZZ_SEED) --faults $(FAULT_FRAGMENTS)' \
	'recorded traces: tests/fuzz/record.sh $(BUILD)/fuzz/fuzz-wild'

.PHONY: all
all: $(BUILD)/reheat $(BUILD)/libreheat.so $(BUILD)/reheat.1

.PHONY: help
help:
	@echo "make all         build/reheat, build/libreheat.so and build/reheat.1 (the default)"
	@echo "make demo        install what is missing, build, run bzip2 and python3 under reheat, show the reports"
	@echo "make test        install what is missing, build, run the tests: some minutes"
	@echo "make unit        only the unit tests, hosted, under ASan and UBSan; make asan is the same"
	@echo "make test-full   test, then the programs at full size, then lint"
	@echo "make stress      end-to-end tests at hot=1, with a 64 KiB cache, with link=0, all fragments kept; 1000 random programs"
	@echo "make fuzz        random traces, optimized, against the CPU: FUZZ_SECONDS=n (60) or FUZZ_TRACES=n, FUZZ_SEED=n"
	@echo "make fuzz-faults    fragments stopped at each instruction, each access faulting: FAULT_FRAGMENTS=n (10000), FUZZ_RECORD=file"
	@echo "make fuzz-selftest  wrong passes on purpose: the fuzzer must notice each"
	@echo "make fuzz-facts  the decoder's facts against the CPU, on instructions of FUZZ_ELF=files"
	@echo "make fuzz-replay FUZZ_RECORD=file  traces recorded from real programs"
	@echo "make bench       native, reheat, qemu-user and valgrind on the twelve programs; minutes to an hour"
	@echo "make bench-kernels  native and reheat on small programs, one effect each; minutes"
	@echo "make bench-servers  native and reheat on redis and nginx under load (scripts/deps.sh more); minutes"
	@echo "make soak        programs with threads under threads=1 and settings drawn at random: N=runs (300)"
	@echo "make bench-startup  what reheat costs processes that are over soon"
	@echo "make debug       a build with -O1 -DREHEAT_DEBUG in build/debug"
	@echo "make lint        layers, file sizes, shellcheck, cppcheck, clang-tidy"
	@echo "make format      clang-format over the C sources, in place"
	@echo "make install     to DESTDIR and PREFIX ($(PREFIX)); make uninstall takes it away"
	@echo "make clean       remove $(BUILD)"
	@echo
	@echo "BUILD=dir  JOBS=n  CC=compiler  ZYDIS_PATH=libZydis.so.4.0  DEPS=0 (never look for packages)"

# --- building

$(BUILD)/libreheat.so: $(RT_OBJ)
	@echo "  CC   $@"; $(CC) -shared -nostdlib -Wl,-z,defs,-z,now,-z,norelro,-z,noseparate-code,-z,noexecstack,-soname,libreheat.so,--hash-style=gnu,--build-id -o $@ $^

# The same with mistakes that can be planted in the optimizer's results: for tests of verify=.
BREAKS_OBJ = $(filter-out %/runtime/traces.o %/runtime/options.o,$(RT_OBJ)) \
	$(addprefix $(BUILD)/breaks/,runtime/traces.o runtime/options.o tests/fuzz/breaks.o tests/fuzz/breaks_loops.o tests/fuzz/breaks_shared.o tests/e2e/verify/strcmp.o)

$(BUILD)/breaks/%.o: %.c | $(DEPS_BUILD)
	@mkdir -p $(@D)
	@echo "  CC   $@"; $(CC) $(CFLAGS_ALL) $(RT_FLAGS) -DREHEAT_BREAKS -c -o $@ $<

$(BUILD)/libreheat-breaks.so: $(BREAKS_OBJ)
	@echo "  CC   $@"; $(CC) -shared -nostdlib -Wl,-z,defs,-z,now,-z,norelro,-z,noseparate-code,-z,noexecstack,-soname,libreheat.so,--hash-style=gnu -o $@ $^

$(BUILD)/reheat: $(TOOL_OBJ)
	@echo "  CC   $@"; $(CC) -o $@ $^

$(BUILD)/reheat.1: $(BUILD)/reheat
	@echo "  MAN  $@"; $< help --man >$@.new && mv $@.new $@

$(BUILD)/rt/%.o: %.c | $(DEPS_BUILD)
	@mkdir -p $(@D)
	@echo "  CC   $@"; $(CC) $(CFLAGS_ALL) $(RT_FLAGS) -c -o $@ $<

$(BUILD)/rt/%.o: %.S | $(DEPS_BUILD)
	@mkdir -p $(@D)
	@echo "  CC   $@"; $(CC) -I. -MMD -MP -fPIC -g -c -o $@ $<

$(BUILD)/tool/%.o: %.c | $(DEPS_BUILD)
	@mkdir -p $(@D)
	@echo "  CC   $@"; $(CC) $(CFLAGS_ALL) $(OPT) -D_FORTIFY_SOURCE=2 -c -o $@ $<

$(BUILD)/unit/o/%.o: %.c | $(DEPS_BUILD)
	@mkdir -p $(@D)
	@echo "  CC   $@"; $(CC) $(CFLAGS_ALL) $(UNIT_FLAGS) -c -o $@ $<

# Zydis has relocations inside packed tables.
$(BUILD)/unit/o/tracer/zyload.o: UNIT_FLAGS += -fno-sanitize=alignment

# As an archive, so that each test links only what it reaches.
$(BUILD)/unit/libunit.a: $(UNIT_OBJ) $(UNIT_SUPPORT)
	@echo "  AR   $@"; rm -f $@; ar rcs $@ $^

$(BUILD)/unit/test_%: $(BUILD)/unit/o/tests/unit/test_%.o $(BUILD)/unit/libunit.a
	@echo "  CC   $@"; $(CC) $(UNIT_FLAGS) -o $@ $< $(BUILD)/unit/libunit.a -lZydis -lcmocka -lm
.PRECIOUS: $(BUILD)/unit/o/%.o

.PHONY: debug
debug:
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/debug OPT='-O1 -g -DREHEAT_DEBUG' all

$(BUILD)/.deps-build $(BUILD)/.deps-test $(BUILD)/.deps-bench $(BUILD)/.deps-lint: $(BUILD)/.deps-%: scripts/deps.sh
	@mkdir -p $(@D)
	@scripts/deps.sh $*
	@touch $@

# --- running

.PHONY: demo
demo: all | $(DEPS_TEST)
	@scripts/demo.sh $(REHEAT) $(BUILD)/demo

.PHONY: unit asan
unit asan: $(UNIT_TESTS)
	@tests/unit/run.sh $^

# The fuzzer (tests/fuzz): hosted objects again, and generated code run natively. Once under ASan and UBSan, once under
# UBSan alone: what runs with wild pointers may write to ASan's shadow memory.
FUZZ_SECONDS = 60
FUZZ_TRACES = 0
FUZZ_SEED = 1
FUZZ_RECORD =
FAULT_FRAGMENTS = 10000
FUZZ_ELF = /lib/x86_64-linux-gnu/libc.so.6 /usr/bin/python3 /usr/bin/perl
FUZZERS = $(BUILD)/fuzz/fuzz $(BUILD)/fuzz/fuzz-wild
FUZZ_OWN = $(basename $(wildcard tests/fuzz/*.c tests/fuzz/*.S))
FUZZ_SRC = $(basename $(filter-out runtime/%,$(UNIT_SRC)) $(filter runtime/base/%,$(UNIT_SRC)))
FUZZ_FLAGS = -O2 $(filter-out -O1 -fsanitize% -fno-sanitize%,$(UNIT_FLAGS)) -fsanitize=undefined -fno-sanitize-recover=undefined

$(BUILD)/fuzz/o/%.o: %.S | $(DEPS_BUILD)
	@mkdir -p $(@D)
	@echo "  CC   $@"; $(CC) -g -MMD -MP -c -o $@ $<

$(BUILD)/fuzz/o/%.o: %.c | $(DEPS_BUILD)
	@mkdir -p $(@D)
	@echo "  CC   $@"; $(CC) $(CFLAGS_ALL) $(FUZZ_FLAGS) -c -o $@ $<

$(BUILD)/fuzz/fuzz: $(FUZZ_OWN:%=$(BUILD)/fuzz/o/%.o) $(FUZZ_SRC:%=$(BUILD)/unit/o/%.o)
	@echo "  CC   $@"; $(CC) $(UNIT_FLAGS) -o $@ $^ -lZydis

$(BUILD)/fuzz/fuzz-wild: $(FUZZ_OWN:%=$(BUILD)/fuzz/o/%.o) $(FUZZ_SRC:%=$(BUILD)/fuzz/o/%.o)
	@echo "  CC   $@"; $(CC) $(FUZZ_FLAGS) -o $@ $^ -lZydis

.PHONY: fuzz fuzz-selftest fuzz-facts fuzz-faults fuzz-replay
fuzz: $(BUILD)/fuzz/fuzz
	@$< --seed $(FUZZ_SEED) --traces $(FUZZ_TRACES) --seconds $(if $(filter 0,$(FUZZ_TRACES)),$(FUZZ_SECONDS),0)

fuzz-selftest: $(FUZZERS)
	@$< --selftest 10000
	@$(BUILD)/fuzz/fuzz-wild --faults-selftest 2000

fuzz-facts: $(BUILD)/fuzz/fuzz-wild
	@$< --facts $(FUZZ_ELF)

fuzz-faults: $(BUILD)/fuzz/fuzz-wild
	@$< --seed $(FUZZ_SEED) --faults $(FAULT_FRAGMENTS) $(addprefix --replay ,$(FUZZ_RECORD))

fuzz-replay: $(BUILD)/fuzz/fuzz-wild
	@$< --seed $(FUZZ_SEED) --replay $(or $(FUZZ_RECORD),$(error FUZZ_RECORD=file is missing))

.PHONY: test test-full stress
test: all $(BUILD)/libreheat-breaks.so $(UNIT_TESTS) $(FUZZERS) | $(DEPS_TEST)
	@$(RUN_PARTS) $(TEST_PARTS)

test-full: all $(BUILD)/libreheat-breaks.so $(UNIT_TESTS) $(FUZZERS) | $(DEPS_TEST) $(DEPS_LINT)
	@$(RUN_PARTS) $(TEST_PARTS) $(FULL_PARTS)

stress: all $(FUZZERS) | $(DEPS_TEST)
	@$(RUN_PARTS) $(STRESS_PARTS)

.PHONY: bench
bench: all | $(DEPS_TEST) $(DEPS_BENCH)
	@REHEAT_BIN=$(REHEAT) scripts/bench.py

N = 300
.PHONY: soak
soak: all
	nice -n 19 tests/e2e/soak.sh -n $(N) -j 1

.PHONY: bench-kernels bench-servers bench-startup
bench-kernels: all | $(DEPS_TEST)
	@REHEAT_BIN=$(REHEAT) scripts/bench_kernels.py

bench-servers: all
	@REHEAT_BIN=$(REHEAT) scripts/bench_servers.py

bench-startup: all
	@REHEAT_BIN=$(REHEAT) scripts/bench_startup.py

.PHONY: lint format
lint: | $(DEPS_BUILD) $(DEPS_LINT)
	@CLANG_TIDY_FLAGS='-std=gnu2x -D_GNU_SOURCE -I. -DREHEAT_ZYDIS_PATH="$(ZYDIS_PATH)"' JOBS=$(JOBS) scripts/lint.sh

format: | $(DEPS_LINT)
	@clang-format -i $(wildcard injector/*.[ch] tracer/*.[ch] optimizer/*.[ch] fragcache/*.[ch] runtime/*.[ch] \
		runtime/base/*.[ch] tests/unit/*.[ch] tests/fuzz/*.[ch])

# --- installing

.PHONY: install uninstall
install: all
	install -D -m 755 $(BUILD)/reheat $(DESTDIR)$(PREFIX)/bin/reheat
	install -D -m 644 $(BUILD)/libreheat.so $(DESTDIR)$(PREFIX)/lib/reheat/libreheat.so
	install -D -m 644 $(BUILD)/reheat.1 $(DESTDIR)$(PREFIX)/share/man/man1/reheat.1

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/reheat $(DESTDIR)$(PREFIX)/share/man/man1/reheat.1
	rm -rf $(DESTDIR)$(PREFIX)/lib/reheat

.PHONY: clean
clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
