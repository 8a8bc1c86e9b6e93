# reheat: a dynamic binary optimizer. `make help` lists the targets.
CC = gcc
BUILD = build
ZYDIS_PATH = /usr/lib/x86_64-linux-gnu/libZydis.so.4.0
WARN = -Wall -Wextra -Wshadow -Wconversion -Werror
OPT = -O2 -g
CFLAGS_ALL = -std=gnu2x $(WARN) -I. -MMD -MP

# The runtime: no libc, general registers only, nothing visible.
RT_SRC = $(wildcard runtime/base/*.c tracer/*.c optimizer/*.c fragcache/*.c runtime/*.c)
RT_ASM = $(wildcard tracer/*.S runtime/*.S)
RT_OBJ = $(RT_SRC:%.c=$(BUILD)/rt/%.o) $(RT_ASM:%.S=$(BUILD)/rt/%.o)
RT_FLAGS = $(OPT) -ffreestanding -fPIC -fvisibility=hidden -mgeneral-regs-only -mno-red-zone -fno-stack-protector \
	-fno-tree-loop-distribute-patterns -fcf-protection=none -fno-strict-aliasing \
	-DREHEAT_ZYDIS_PATH='"$(ZYDIS_PATH)"'

TOOL_SRC = $(wildcard injector/*.c)
TOOL_OBJ = $(TOOL_SRC:%.c=$(BUILD)/tool/%.o) $(BUILD)/tool/runtime/proto_json.o

.PHONY: all
all: $(BUILD)/reheat $(BUILD)/libreheat.so

$(BUILD)/libreheat.so: $(RT_OBJ)
	@echo "  CC   $@"; $(CC) -shared -nostdlib -Wl,-z,defs,-z,now,-z,relro,-z,noexecstack,-soname,libreheat.so,--hash-style=gnu,--build-id -o $@ $^

$(BUILD)/reheat: $(TOOL_OBJ)
	@echo "  CC   $@"; $(CC) -o $@ $^

$(BUILD)/rt/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC   $@"; $(CC) $(CFLAGS_ALL) $(RT_FLAGS) -c -o $@ $<

$(BUILD)/rt/%.o: %.S
	@mkdir -p $(@D)
	@echo "  CC   $@"; $(CC) -I. -MMD -MP -fPIC -g -c -o $@ $<

$(BUILD)/tool/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC   $@"; $(CC) $(CFLAGS_ALL) $(OPT) -D_FORTIFY_SOURCE=2 -c -o $@ $<

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
