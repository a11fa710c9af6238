-- What `make test` runs, in order: cheap and telling first. See spec/tools/suite.lua for the form.
local B = os.getenv("B") or "build"
local suites = {}
local function add(name, run, seconds) suites[#suites + 1] = { name = name, run = run, seconds = seconds } end
local function files(pattern)
	local t = {}
	for f in io.popen("ls " .. pattern .. " 2>/dev/null"):lines() do t[#t + 1] = f end
	return t
end

local servers = { test_redis = "redis", test_memcached = "memcached" } -- C programs that talk to a real server
local paths = 'LUA_PATH="$PWD/?.lua;$LUA_PATH" '
local luas = {
	{ name = "lua5.4", busted = paths .. "lua5.4 /usr/bin/busted -o plainTerminal " },
	{ name = "luajit", busted = paths .. 'LUA_CPATH="$LUAJIT_CPATH" luajit /usr/bin/busted -o plainTerminal ' },
}

for _, f in ipairs(files("spec/c/test_*.c")) do
	local name = f:match("([^/]+)%.c$")
	local with = servers[name] and ("lua5.4 spec/services/with.lua " .. servers[name] .. " -- ") or ""
	add("c " .. name, with .. B .. "/spec/" .. name)
end
for _, target in ipairs { "provider=memory clock=fake", "provider=filesystem base_dir=$dir", "provider=fault inner.provider=memory",
	"provider=redis", "provider=memcached" } do
	local name = target:match("provider=(%w+)")
	local with = (name == "redis" or name == "memcached") and ("lua5.4 spec/services/with.lua " .. name .. " -- ") or ""
	add("c conformance " .. name, "dir=$(mktemp -d); " .. with .. B .. "/spec/conformance " .. target .. "; code=$?; rm -rf \"$dir\"; exit $code")
end
for _, lua in ipairs(luas) do
	for _, f in ipairs(files("spec/lua/*_spec.lua")) do
		add(lua.name .. " " .. f:match("([^/]+)_spec%.lua$"), lua.busted .. f)
	end
	for _, f in ipairs(files("spec/conformance/*_spec.lua")) do
		add(lua.name .. " conformance " .. f:match("([^/]+)_spec%.lua$"), lua.busted .. f, 900)
	end
end
add("examples", "lua5.4 spec/services/with.lua redis memcached -- lua5.4 spec/tools/examples.lua")
add("readme", "lua5.4 spec/services/with.lua redis memcached -- lua5.4 spec/tools/readme.lua")
add("lint", "spec/tools/check_lint.sh")
add("include direction", "lua5.4 spec/tools/check_includes.lua")
add("symbols", "spec/tools/check_symbols.sh " .. B)
add("install", "spec/tools/check_install.sh", 600)
add("asan", "make -s asan", 1200)
add("tsan", "make -s tsan", 900)
add("fuzz", "make -s fuzz FUZZ_SECONDS=15", 600)
return suites
