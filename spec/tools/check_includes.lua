-- A file includes public headers, its own room and the rooms above it in the house's order; providers and layers never include
-- each other. Also: every public header compiles alone as C11 and as C++.
local rooms = { "include", "base", "core", "cache", "storage", "log", "watch", "proto", "net", "provider", "layer", "bind", "ffi" }
local rank = {}
for i, r in ipairs(rooms) do rank[r] = i end

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

for _, path in ipairs(lines("find csrc -name '*.[ch]' | sort")) do
	local room = path:match("^csrc/(%w+)/")
	local bad
	for line in io.lines(path) do
		local inc = line:match('^%s*#%s*include%s+"([^"]+)"')
		local target = inc and inc:match("^(%w+)/")
		if inc and inc:match("^zbz/") or not target then target = nil end
		if target and target ~= room then
			if not rank[target] or rank[target] > rank[room] or (room == "layer" and target == "provider") then bad = inc end
		end
	end
	check(not bad, path .. " includes " .. tostring(bad) .. ", which is below its room")
end

for _, h in ipairs(lines("ls csrc/include/zbz/*.h")) do
	check(os.execute("gcc -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c " .. h), h .. " does not compile alone as C")
	check(os.execute("g++ -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c++ " .. h), h .. " does not compile alone as C++")
end
print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0, true)
