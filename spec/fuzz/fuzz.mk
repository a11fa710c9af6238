# Builds every spec/fuzz/fuzz_*.c with clang, libFuzzer, AddressSanitizer and UBSan, and runs each for SECONDS from its seed corpus.
# What a run finds is kept under build/fuzz/found; new inputs under build/fuzz/corpus. One target longer:
#   make -f spec/fuzz/fuzz.mk run ONLY=fuzz_json-lua54 SECONDS=3600
O ?= build/fuzz
SECONDS ?= 60
ONLY ?=
CLANG ?= clang
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined
FLAGS := -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wno-unused-parameter -O1 -g -fno-omit-frame-pointer $(SANITIZE) -pthread \
         -Icsrc/include -Icsrc -Ispec/fuzz -MMD -MP

CORE := $(wildcard csrc/base/*.c csrc/cache/envelope.c)
# The log's front; its outputs are stubs of the target's.
LOG := $(wildcard csrc/log/format_*.c) $(addprefix csrc/log/,admit.c field.c key.c level.c limit.c log.c logger.c plan.c \
       redact.c route.c seal.c snapshot.c tally.c text.c unpack.c write.c)
CODEC := $(wildcard csrc/bind/codec*.c)
ALL := $(wildcard spec/fuzz/fuzz_*.c)
WITH_LUA := $(shell grep -l fuzz_lua.h $(ALL))
LUAS := $(foreach p,lua5.4 luajit,$(shell pkg-config --exists $(p) 2>/dev/null && echo $(subst .,,$(subst 5.4,54,$(p)))))
NAMES := $(foreach f,$(filter-out $(WITH_LUA),$(ALL)),$(basename $(notdir $(f)))) \
         $(foreach l,$(LUAS),$(foreach f,$(WITH_LUA),$(basename $(notdir $(f)))-$(l)))
PROGRAMS := $(NAMES:%=$(O)/%)

lua54_pc := lua5.4
luajit_pc := luajit
cflags = $(shell pkg-config --cflags $($(1)_pc))
libs = $(shell pkg-config --libs $($(1)_pc)) -lm -ldl
core := $(CORE:csrc/%.c=$(O)/obj/%.o)

all: $(PROGRAMS)

$(filter-out $(foreach l,$(LUAS),%-$(l)),$(PROGRAMS)): $(O)/%: spec/fuzz/%.c $(core)
	$(CLANG) $(FLAGS) -fsanitize=fuzzer -o $@ $(filter %.c %.o,$^)
$(O)/fuzz_log: $(LOG:csrc/%.c=$(O)/obj/%.o)
$(O)/obj/%.o: csrc/%.c
	@mkdir -p $(@D)
	$(CLANG) $(FLAGS) -fsanitize=fuzzer-no-link -c -o $@ $<

define for_lua
$(filter %-$(1),$(PROGRAMS)): $(O)/%-$(1): spec/fuzz/%.c $(core) $(CODEC:csrc/%.c=$(O)/obj-$(1)/%.o)
	$(CLANG) $(FLAGS) $(call cflags,$(1)) -fsanitize=fuzzer -o $$@ $$(filter %.c %.o,$$^) $(call libs,$(1))
$(O)/obj-$(1)/%.o: csrc/%.c
	@mkdir -p $$(@D)
	$(CLANG) $(FLAGS) $(call cflags,$(1)) -fsanitize=fuzzer-no-link -c -o $$@ $$<
endef
$(foreach l,$(LUAS),$(eval $(call for_lua,$(l))))

run: $(PROGRAMS)
	@mkdir -p $(O)/found; passed=0; failed=0; \
	for name in $(if $(ONLY),$(ONLY),$(NAMES)); do \
		corpus=$${name#fuzz_}; corpus=$${corpus%%-*}; mkdir -p $(O)/corpus/$$name; \
		if $(O)/$$name -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix=$(O)/found/$$name- \
			$(O)/corpus/$$name $(wildcard spec/fuzz/corpus)/$$corpus >$(O)/$$name.log 2>&1; \
		then passed=$$((passed + 1)); \
		else failed=$$((failed + 1)); echo "FAIL $$name"; tail -30 $(O)/$$name.log; fi; \
		echo "$$name: $$(sed -n 's/^stat::number_of_executed_units: *//p' $(O)/$$name.log) inputs"; \
	done; echo "$$passed passed, $$failed failed"; [ $$failed = 0 ]

-include $(shell find $(O) -name '*.d' 2>/dev/null)
.PHONY: all run
