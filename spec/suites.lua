-- What `make test` runs, in order: cheap and telling first. See spec/tools/suite.lua for the form.
local B = os.getenv("B") or "build"
local suites = {}
local function add(name, run, seconds) suites[#suites + 1] = { name = name, run = run, seconds = seconds } end
local function files(pattern)
	local t = {}
	for f in io.popen("ls " .. pattern .. " 2>/dev/null"):lines() do t[#t + 1] = f end
	return t
end

local function with(name) -- C programs that talk to a real server
	local server = name:match("redis") or name:match("memcached") or name:match("syslog") and "rsyslog"
		or name:match("loki") and "loki_stub"
		or (name == "test_faults" or name == "test_states") and "redis memcached"
	return server and ("lua5.4 spec/services/with.lua " .. server .. " -- ") or ""
end
local paths = 'LUA_PATH="$PWD/?.lua;$LUA_PATH" '
local luas = {
	{ name = "lua5.4", busted = paths .. "lua5.4 /usr/bin/busted -o plainTerminal " },
	{ name = "luajit", busted = paths .. 'LUA_CPATH="$LUAJIT_CPATH" luajit /usr/bin/busted -o plainTerminal ' },
}

for _, f in ipairs(files("spec/c/test_*.c")) do
	local name = f:match("([^/]+)%.c$")
	add("c " .. name, with(name) .. B .. "/spec/" .. name)
end
add("c crash_log", B .. "/spec/crash_log 12")
for _, case in ipairs {
	{ "memory", "clock=fake" }, { "ristretto", "clock=fake" }, { "shared", "clock=fake" }, { "filesystem", "clock=fake base_dir=$dir" },
	{ "multitier", "l1.provider=memory l2.provider=memory clock=fake" },
	{ "multitier over redis", "l1.provider=shared l2.provider=redis l2.url=$REDIS_URL" },
	{ "multitier over redis by pubsub", "invalidation=pubsub l1.provider=memory l2.provider=redis l2.url=$REDIS_URL" },
	{ "multitier over memcached", "l1_ttl=1m l1.provider=memory l2.provider=memcached l2.servers=$MEMCACHED_SERVERS" },
	{ "fault", "inner.provider=memory" }, { "redis", "url=$REDIS_URL" }, { "memcached", "servers=$MEMCACHED_SERVERS" },
} do
	local run = [[dir=$(mktemp -d); export dir; %ssh -c '%s/spec/conformance provider=%s %s'; code=$?; rm -rf "$dir"; exit $code]]
	add("c conformance " .. case[1], run:format(with(case[1]), B, case[1]:match("^%S+"), case[2]))
end
for _, lua in ipairs(luas) do
	for _, f in ipairs(files("spec/lua/*_spec.lua")) do
		add(lua.name .. " " .. f:match("([^/]+)_spec%.lua$"), lua.busted .. f)
	end
	for _, f in ipairs(files("spec/conformance/*_spec.lua")) do
		add(lua.name .. " conformance " .. f:match("([^/]+)_spec%.lua$"), lua.busted .. f, 900)
	end
end
for _, f in ipairs(files("spec/nginx/*_spec.lua")) do
	add("nginx " .. f:match("([^/]+)_spec%.lua$"), luas[1].busted .. f, 300)
end
add("examples", "lua5.4 spec/services/with.lua redis memcached loki_stub -- lua5.4 spec/tools/examples.lua")
add("readme", "lua5.4 spec/services/with.lua redis memcached -- lua5.4 spec/tools/readme.lua")
add("lint", "spec/tools/check_lint.sh")
add("include direction", "lua5.4 spec/tools/check_includes.lua")
add("symbols", "spec/tools/check_symbols.sh " .. B)
add("install", "spec/tools/check_install.sh", 600)
add("asan", "make -s asan", 1200)
add("tsan", "make -s tsan", 900)
add("fuzz", "make -s fuzz FUZZ_SECONDS=15", 600)
return suites
