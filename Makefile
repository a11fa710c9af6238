# zbz. `make help` lists the targets; `make demo` and `make test` are all a newcomer needs.
B ?= build
CC ?= gcc
OPT ?= -O2 -g
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter
CFLAGS_ALL = -std=c11 -D_GNU_SOURCE $(WARN) $(OPT) $(CFLAGS) -fPIC -fvisibility=hidden -pthread -Icsrc/include -Icsrc -MMD -MP
LDFLAGS_ALL = $(LDFLAGS) -pthread -Wl,-z,nodelete -Wl,--as-needed
VERSION := $(shell sed -n 's/^.define ZBZ_VERSION "\(.*\)"/\1/p' csrc/include/zbz/zbz.h)

# The core: libc and pthreads only. Providers that need a library are plug-ins.
CORE_SRC := $(wildcard csrc/base/*.c csrc/core/*.c csrc/cache/*.c csrc/layer/*.c) csrc/provider/cache_memory.c \
            $(wildcard csrc/provider/memory_*.c) csrc/provider/cache_filesystem.c $(wildcard csrc/provider/filesystem_*.c)
BIND_SRC := $(wildcard csrc/bind/*.c)
REDIS_SRC := $(wildcard csrc/provider/cache_redis*.c csrc/provider/redis_*.c csrc/proto/resp*.c csrc/net/*.c)
MEMCACHED_SRC := $(wildcard csrc/provider/cache_memcached*.c csrc/provider/memcached_*.c csrc/proto/memcache*.c) csrc/net/tcp.c

obj = $(patsubst csrc/%.c,$(B)/$(2)/%.o,$(1))
pkg = $(shell pkg-config $(1) $(2) 2>/dev/null)
has = $(shell pkg-config --exists $(1) 2>/dev/null && echo yes)

LUA54_PC := $(firstword $(foreach p,lua5.4 lua-5.4 lua54,$(if $(call has,$(p)),$(p))))
LUAJIT_PC := $(if $(call has,luajit),luajit)
LUA54_CFLAGS ?= $(if $(LUA54_PC),$(call pkg,--cflags,$(LUA54_PC)))
LUAJIT_CFLAGS ?= $(if $(LUAJIT_PC),$(call pkg,--cflags,$(LUAJIT_PC)))

TARGETS := $(B)/libzbz.so
TARGETS += $(if $(LUA54_CFLAGS),$(B)/lua54/zbz/core.so)
TARGETS += $(if $(LUAJIT_CFLAGS),$(B)/luajit/zbz/core.so)
TARGETS += $(if $(call has,hiredis openssl),$(B)/zbz/provider/redis.so)
TARGETS += $(if $(call has,libmemcached),$(B)/zbz/provider/memcached.so)

all: $(TARGETS)

$(B)/libzbz.so: $(call obj,$(CORE_SRC),core)
	$(CC) -shared -o $@ $^ $(LDFLAGS_ALL) -Wl,-soname,libzbz.so -ldl
$(B)/lua54/zbz/core.so: $(call obj,$(BIND_SRC),lua54) | $(B)/libzbz.so
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $^ $(LDFLAGS_ALL) -L$(B) -lzbz -lm '-Wl,-rpath,$$ORIGIN:$$ORIGIN/../..:$$ORIGIN/../../..'
$(B)/luajit/zbz/core.so: $(call obj,$(BIND_SRC),luajit) | $(B)/libzbz.so
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $^ $(LDFLAGS_ALL) -L$(B) -lzbz -lm '-Wl,-rpath,$$ORIGIN:$$ORIGIN/../..:$$ORIGIN/../../..'
$(B)/zbz/provider/redis.so: $(call obj,$(REDIS_SRC),plugin) | $(B)/libzbz.so
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $^ $(LDFLAGS_ALL) -L$(B) -lzbz $(call pkg,--libs,hiredis openssl) '-Wl,-rpath,$$ORIGIN/../..:$$ORIGIN'
$(B)/zbz/provider/memcached.so: $(call obj,$(MEMCACHED_SRC),plugin) | $(B)/libzbz.so
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $^ $(LDFLAGS_ALL) -L$(B) -lzbz $(call pkg,--libs,libmemcached) '-Wl,-rpath,$$ORIGIN/../..:$$ORIGIN'

$(B)/core/%.o: csrc/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -c -o $@ $<
$(B)/plugin/%.o: csrc/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(call pkg,--cflags,hiredis) $(call pkg,--cflags,libmemcached) -c -o $@ $<
$(B)/lua54/%.o: csrc/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(LUA54_CFLAGS) -c -o $@ $<
$(B)/luajit/%.o: csrc/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(LUAJIT_CFLAGS) -c -o $@ $<

-include $(shell find $(B) -name '*.d' 2>/dev/null)

# C unit tests: one program per spec/c/test_*.c
CTESTS := $(patsubst spec/c/%.c,$(B)/spec/%,$(wildcard spec/c/test_*.c))
$(B)/spec/test_%: spec/c/test_%.c $(B)/libzbz.so
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -o $@ $< -L$(B) -lzbz -pthread '-Wl,-rpath,$$ORIGIN/..'
ctests: $(CTESTS)

env:
	@echo 'export LUA_PATH="$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;;"'
	@echo 'export LUA_CPATH="$(CURDIR)/$(B)/lua54/?.so;;"'
	@echo 'export LUAJIT_CPATH="$(CURDIR)/$(B)/luajit/?.so;;"'

clean:
	rm -rf $(B)

.PHONY: all ctests env clean
