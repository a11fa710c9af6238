# zbz. `make help` lists the targets; `make demo` and `make test` are all a newcomer needs.
B ?= build
ifeq ($(origin CC),default)
CC := gcc
endif
OPT ?= -O2 -g
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter
CFLAGS_ALL = -std=c11 -D_GNU_SOURCE $(WARN) $(OPT) $(CFLAGS) -fPIC -fvisibility=hidden -pthread -Icsrc/include -Icsrc -MMD -MP
LDFLAGS_ALL = $(LDFLAGS) -pthread -Wl,-z,nodelete -Wl,--as-needed
VERSION := $(shell sed -n 's/^.define ZBZ_VERSION "\(.*\)"/\1/p' csrc/include/zbz/zbz.h)

# The core: libc and pthreads only. Providers that need a library are plug-ins.
CORE_SRC := $(wildcard csrc/base/*.c csrc/core/*.c csrc/cache/*.c csrc/log/*.c csrc/watch/*.c csrc/layer/*.c) csrc/provider/cache_memory.c \
            $(wildcard csrc/provider/memory_*.c) csrc/provider/cache_filesystem.c $(wildcard csrc/provider/filesystem_*.c) \
            csrc/provider/cache_shared.c $(wildcard csrc/provider/shared_*.c csrc/provider/source_*.c) \
            $(patsubst %,csrc/provider/sink_%.c,file rotate kept pack console memory null net net_text tcp udp unix syslog storage retain) csrc/provider/syslog_frame.c $(wildcard csrc/provider/bucket_*.c) \
            $(patsubst %,csrc/net/%.c,address datagram resolve tcp unix)
BIND_SRC := $(wildcard csrc/bind/*.c)
FFI_SRC := $(wildcard csrc/ffi/*.c)
REDIS_SRC := $(wildcard csrc/provider/cache_redis*.c csrc/provider/redis_*.c csrc/proto/resp*.c csrc/net/*.c)
MEMCACHED_SRC := $(wildcard csrc/provider/cache_memcached*.c csrc/provider/memcached_*.c csrc/proto/memcache*.c) csrc/net/tcp.c csrc/net/resolve.c
TLS_SRC := csrc/provider/tls_openssl.c csrc/net/tls.c csrc/net/tcp.c csrc/net/resolve.c
LOKI_SRC := $(wildcard csrc/provider/sink_loki*.c)

obj = $(patsubst csrc/%.c,$(B)/$(2)/%.o,$(1))
pkg = $(shell pkg-config $(1) $(2) 2>/dev/null)
has = $(shell pkg-config --exists $(1) 2>/dev/null && echo yes)

LUA54_PC := $(firstword $(foreach p,lua5.4 lua-5.4 lua54,$(if $(call has,$(p)),$(p))))
LUAJIT_PC := $(if $(call has,luajit),luajit)
LUA54_CFLAGS := $(if $(LUA_INCDIR),-I$(LUA_INCDIR),$(if $(LUA54_PC),$(call pkg,--cflags,$(LUA54_PC))))
LUAJIT_CFLAGS := $(if $(LUA_INCDIR),-I$(LUA_INCDIR),$(if $(LUAJIT_PC),$(call pkg,--cflags,$(LUAJIT_PC))))

TARGETS := $(B)/libzbz.so
TARGETS += $(if $(LUA54_CFLAGS),$(B)/lua54/zbz/core.so)
TARGETS += $(if $(LUAJIT_CFLAGS),$(B)/luajit/zbz/core.so)
TARGETS += $(if $(call has,hiredis openssl),$(B)/zbz/provider/redis.so)
TARGETS += $(if $(call has,libmemcached),$(B)/zbz/provider/memcached.so)
TARGETS += $(if $(call has,zlib),$(B)/zbz/provider/gzip.so)
TARGETS += $(if $(call has,openssl),$(B)/zbz/provider/tls.so)
TARGETS += $(if $(call has,libcurl snappy openssl),$(B)/zbz/provider/loki.so)
TARGETS += $(if $(call has,libcrypto),$(B)/zbz/provider/aes.so)

all: $(TARGETS)

$(B)/libzbz.so: $(call obj,$(CORE_SRC),core)
	$(CC) -shared -o $@ $^ $(LDFLAGS_ALL) -Wl,-soname,libzbz.so -ldl
$(B)/lua54/zbz/core.so: $(call obj,$(BIND_SRC),lua54) | $(B)/libzbz.so
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $^ $(LDFLAGS_ALL) -L$(B) -lzbz -lm '-Wl,-rpath,$$ORIGIN:$$ORIGIN/../..:$$ORIGIN/../../..'
$(B)/luajit/zbz/core.so: $(call obj,$(BIND_SRC) $(FFI_SRC),luajit) | $(B)/libzbz.so
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $^ $(LDFLAGS_ALL) -L$(B) -lzbz -lm '-Wl,-rpath,$$ORIGIN:$$ORIGIN/../..:$$ORIGIN/../../..'
$(B)/zbz/provider/redis.so: $(call obj,$(REDIS_SRC),plugin) | $(B)/libzbz.so
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $^ $(LDFLAGS_ALL) -L$(B) -lzbz $(call pkg,--libs,hiredis openssl) '-Wl,-rpath,$$ORIGIN/../..:$$ORIGIN/..'
$(B)/zbz/provider/memcached.so: $(call obj,$(MEMCACHED_SRC),plugin) | $(B)/libzbz.so
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $^ $(LDFLAGS_ALL) -L$(B) -lzbz $(call pkg,--libs,libmemcached) '-Wl,-rpath,$$ORIGIN/../..:$$ORIGIN/..'
$(B)/zbz/provider/gzip.so: $(call obj,csrc/provider/packer_gzip.c,plugin) | $(B)/libzbz.so
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $^ $(LDFLAGS_ALL) -L$(B) -lzbz $(call pkg,--libs,zlib) '-Wl,-rpath,$$ORIGIN/../..:$$ORIGIN/..'
$(B)/zbz/provider/tls.so: $(call obj,$(TLS_SRC),plugin) | $(B)/libzbz.so
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $^ $(LDFLAGS_ALL) -L$(B) -lzbz $(call pkg,--libs,openssl) '-Wl,-rpath,$$ORIGIN/../..:$$ORIGIN/..'
$(B)/zbz/provider/loki.so: $(call obj,$(LOKI_SRC),plugin) | $(B)/libzbz.so
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $^ $(LDFLAGS_ALL) -L$(B) -lzbz $(call pkg,--libs,libcurl snappy) -lcrypto '-Wl,-rpath,$$ORIGIN/../..:$$ORIGIN/..'

$(B)/zbz/provider/aes.so: $(call obj,csrc/provider/cipher_aes.c,plugin) | $(B)/libzbz.so
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $^ $(LDFLAGS_ALL) -L$(B) -lzbz $(call pkg,--libs,libcrypto) '-Wl,-rpath,$$ORIGIN/../..:$$ORIGIN/..'

$(B)/core/%.o: csrc/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -c -o $@ $<
$(B)/plugin/%.o: csrc/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(call pkg,--cflags,hiredis) $(call pkg,--cflags,libmemcached) $(call pkg,--cflags,libcurl snappy) -c -o $@ $<
$(B)/lua54/%.o: csrc/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(LUA54_CFLAGS) -c -o $@ $<
$(B)/luajit/%.o: csrc/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(LUAJIT_CFLAGS) -c -o $@ $<

-include $(shell find $(B) -name '*.d' 2>/dev/null)

# C unit tests: one program per spec/c/test_*.c, and the conformance program
CTESTS := $(patsubst spec/c/%.c,$(B)/spec/%,$(wildcard spec/c/test_*.c)) $(B)/spec/conformance
LUATESTS := $(B)/spec/test_states $(B)/spec/test_parked_memory
CTESTS := $(if $(LUA54_PC),$(CTESTS),$(filter-out $(LUATESTS),$(CTESTS)))
$(B)/spec/%: spec/c/%.c $(B)/libzbz.so
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -o $@ $< -L$(B) -lzbz -pthread '-Wl,-rpath,$$ORIGIN/..'
# Those that speak Lua: they link Lua 5.4 and the binding's objects.
$(LUATESTS): $(B)/spec/%: spec/c/%.c $(call obj,$(BIND_SRC),lua54) $(B)/libzbz.so
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(LUA54_CFLAGS) -o $@ $(filter %.c %.o,$^) -L$(B) -lzbz $(call pkg,--libs,$(LUA54_PC)) -lm '-Wl,-rpath,$$ORIGIN/..'
ctests: $(CTESTS) $(B)/spec/crash_log

# ---- for people
help:
	@sed -n 's/^## //p' Makefile

## make            build libzbz.so, the plug-ins whose libraries are here, and zbz/core.so for every Lua found
## make demo       install what is missing, build, run examples/quickstart.lua on the embedded memory provider
## make test       install what is missing, build, run everything (SUITE=name runs the suites whose name holds it)
## make openresty-demo   run examples/openresty in nginx on port 8080 (stop it with make openresty-stop); REDIS_URL=... for Redis
## make env        print the exports for running programs from this tree: eval "$(make -s env)"
## make install    PREFIX=/usr/local DESTDIR=: the core, both Lua modules, the plug-ins, the headers
## make asan tsan valgrind fuzz    the C tests (and the Lua ones) under the sanitizers; FUZZ_SECONDS=60
## make crash-log  150 random deaths of logging processes, then: is every record there, once and whole? TRIALS=150
## make bench      the measurements of the README, as ratios in one run
## make bench-log  the log beside spdlog, lualogging and lua-cjson
## make bench-nginx   inside nginx: beside lua-nginx-redis, ngx.shared and lua-resty-lrucache, with wrk; ROUNDS=7
## make format     clang-format over every C file
## make readme      write the generated parts of the README anew (after a full make test)
## make deps       install what build and tests need (Debian packages)
deps:
	@spec/tools/deps.sh test
demo:
	@spec/tools/deps.sh build
	@$(MAKE) -s all
	@eval "$$($(MAKE) -s env)" && lua5.4 examples/quickstart.lua
test:
	@spec/tools/deps.sh test
	@$(MAKE) -s all ctests embed
	@eval "$$($(MAKE) -s env)" && B=$(B) lua5.4 spec/tools/suite.lua spec/suites.lua $(B)/log

env:
	@echo 'export LUA_PATH="$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;;"'
	@echo 'export LUA_CPATH="$(abspath $(B))/lua54/?.so;;"'
	@echo 'export LUAJIT_CPATH="$(abspath $(B))/luajit/?.so;;"'

openresty-demo: all
	@mkdir -p build/openresty/logs
	nginx -p $(CURDIR)/build/openresty/ -c $(CURDIR)/examples/openresty/nginx.conf -e $(CURDIR)/build/openresty/error.log
	@echo 'curl -i http://127.0.0.1:8080/api/item/1      stop it: make openresty-stop'
openresty-stop:
	nginx -p $(CURDIR)/build/openresty/ -c $(CURDIR)/examples/openresty/nginx.conf -e $(CURDIR)/build/openresty/error.log -s quit

embed: $(B)/embed
$(B)/embed: examples/embed.c $(B)/libzbz.so
	$(CC) -Icsrc/include -o $@ $< -L$(B) -lzbz '-Wl,-rpath,$$ORIGIN'

# ---- the same tests under other builds
FUZZ_SECONDS ?= 60
asan:
	@$(MAKE) -s all ctests B=build/asan OPT='-O1 -g -fno-omit-frame-pointer' CFLAGS=-fsanitize=address,undefined LDFLAGS=-fsanitize=address,undefined
	@B=build/asan lua5.4 spec/tools/suite.lua spec/suites_asan.lua build/log/asan
tsan:
	@$(MAKE) -s all ctests B=build/tsan OPT='-O1 -g -Wno-maybe-uninitialized' CFLAGS=-fsanitize=thread LDFLAGS=-fsanitize=thread
	@B=build/tsan lua5.4 spec/tools/suite.lua spec/suites_tsan.lua build/log/tsan
valgrind: all ctests
	@eval "$$($(MAKE) -s env)" && B=$(B) lua5.4 spec/tools/suite.lua spec/suites_valgrind.lua build/log/valgrind
fuzz:
	@$(MAKE) -s -f spec/fuzz/fuzz.mk run SECONDS=$(FUZZ_SECONDS)
TRIALS ?= 150
crash-log: $(B)/spec/crash_log
	@$(B)/spec/crash_log $(TRIALS) /dev/shm
	@$(B)/spec/crash_log $$(( ($(TRIALS) + 4) / 5 )) $${TMPDIR:-/tmp}
bench: all
	@spec/tools/deps.sh test
	@eval "$$($(MAKE) -s env)" && spec/bench/run.sh
bench-log: all
	@spec/tools/deps.sh bench
	@eval "$$($(MAKE) -s env)" && spec/bench/log.sh
bench-nginx: all
	@spec/tools/deps.sh bench
	@eval "$$($(MAKE) -s env)" && export LUA_PATH="$(CURDIR)/?.lua;$$LUA_PATH" && \
		lua5.4 spec/bench/nginx/http.lua && lua5.4 spec/bench/nginx/workers.lua
readme: all
	@eval "$$($(MAKE) -s env)" && lua5.4 spec/tools/readme.lua write
format:
	clang-format -i $$(find csrc spec examples -name '*.[ch]')

# ---- installation
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCDIR ?= $(PREFIX)/include
LUA54_LIB ?= $(LIBDIR)/lua/5.4
LUA54_SHARE ?= $(PREFIX)/share/lua/5.4
LUA51_LIB ?= $(LIBDIR)/lua/5.1
LUA51_SHARE ?= $(PREFIX)/share/lua/5.1
LUA_FILES := $(shell find lua/zbz -name '*.lua')

# $(call put,FILE,DIRECTORY)
put = install -D -m $(if $(filter %.so,$(1)),755,644) $(1) $(DESTDIR)$(2)/$(notdir $(1))
install_lua = $(foreach f,$(LUA_FILES),$(call put,$(f),$(1)/$(patsubst lua/%,%,$(dir $(f))))$(newline))
define newline


endef
install: all
	$(call put,$(B)/libzbz.so,$(LIBDIR))
	$(foreach h,$(wildcard csrc/include/zbz/*.h),$(call put,$(h),$(INCDIR)/zbz)$(newline))
	$(foreach p,$(filter $(B)/zbz/provider/%,$(TARGETS)),$(call put,$(p),$(LIBDIR)/zbz/provider)$(newline))
	install -D -m 755 lua/zbz/cli/zbz.lua $(DESTDIR)$(PREFIX)/bin/zbz
	$(if $(filter $(B)/lua54/%,$(TARGETS)),$(call put,$(B)/lua54/zbz/core.so,$(LUA54_LIB)/zbz)$(newline)$(call install_lua,$(LUA54_SHARE)))
	$(if $(filter $(B)/luajit/%,$(TARGETS)),$(call put,$(B)/luajit/zbz/core.so,$(LUA51_LIB)/zbz)$(newline)$(call install_lua,$(LUA51_SHARE)))

# What the rockspecs call: one Lua, the one of LUA_INCDIR, everything inside the tree.
ABI := $(if $(LUA_INCDIR),$(if $(shell grep 'LUA_VERSION_NUM.*501' $(LUA_INCDIR)/lua.h),luajit,lua54),lua54)
rock: $(B)/libzbz.so $(B)/$(ABI)/zbz/core.so
install-rock: rock
	$(call put,$(B)/libzbz.so,$(ROCK_LIB)/zbz)
	$(call put,$(B)/$(ABI)/zbz/core.so,$(ROCK_LIB)/zbz)
	$(call install_lua,$(ROCK_LUA))
	$(if $(ROCK_BIN),install -D -m 755 lua/zbz/cli/zbz.lua $(DESTDIR)$(ROCK_BIN)/zbz)
rock-%: $(B)/zbz/provider/%.so ;
install-rock-%: rock-%
	$(call put,$(B)/zbz/provider/$*.so,$(ROCK_LIB)/zbz/provider)

clean:
	rm -rf $(B)

.PHONY: openresty-demo openresty-stop bench-log bench-nginx crash-log
.PHONY: all ctests help deps demo test env embed asan tsan valgrind fuzz bench readme format install rock install-rock clean
