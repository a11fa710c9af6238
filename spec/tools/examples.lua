-- Runs every example under Lua 5.4 and under LuaJIT: it must end with status 0, print something, and print the same under both.
-- C examples are built and run. Servers come from the environment (spec/services/with.lua).
local passed, failed = 0, 0
local function check(ok, text)
	if ok then passed = passed + 1 else failed = failed + 1; print("FAIL " .. text) end
end
local function lines(cmd)
	local p <close> = assert(io.popen(cmd))
	local t = {}
	for l in p:lines() do t[#t + 1] = l end
	return t
end
local function run(cmd)
	local p = assert(io.popen("timeout 60 sh -c '" .. cmd:gsub("'", "'\\''") .. "' 2>&1 </dev/null"))
	local out = p:read("a")
	return out, (p:close())
end

for _, file in ipairs(lines("ls examples/*.lua")) do
	local n = 0
	for _ in io.lines(file) do n = n + 1 end
	check(n <= 60, file .. " is longer than 60 lines")
	local a, a_ok = run("lua5.4 " .. file)
	check(a_ok and #a > 0, file .. " under lua5.4:\n" .. a)
	local b, b_ok = run('LUA_CPATH="$LUAJIT_CPATH" luajit ' .. file)
	check(b_ok and #b > 0, file .. " under luajit:\n" .. b)
end

-- The promise of the provider seam: one program, several backends, the same bytes out.
local first
for _, backend in ipairs { "memory", "filesystem", "redis", "memcached" } do
	local out, ok = run("BACKEND=" .. backend .. " lua5.4 examples/byoc.lua")
	check(ok, "byoc.lua on " .. backend .. ":\n" .. out)
	first = first or out
	check(out == first, "byoc.lua prints something else on " .. backend .. ":\n" .. out)
end

local out, ok = run((os.getenv("B") or "build") .. "/embed")
check(ok and #out > 0, "embed.c:\n" .. out)

print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0, true)
