-- make asan: the C tests, the core's conformance and every Lua spec with AddressSanitizer and UBSan; leaks are failures.
local B = assert(os.getenv("B"))
local suites = dofile("spec/suites.lua")
local lib = io.popen("gcc -print-file-name=libasan.so"):read("l")
local kept = {}
for _, s in ipairs(suites) do
	if s.name:match("^c ") then
		kept[#kept + 1] = s
	elseif s.name:match("^lua5.4 ") then
		kept[#kept + 1] = { name = s.name, seconds = 900, run = (
			[[export LUA_CPATH="$PWD/%s/lua54/?.so;;" LUA_PATH="$PWD/lua/?.lua;$PWD/lua/?/init.lua;;"; ]] ..
			[[export LSAN_OPTIONS=suppressions=$PWD/spec/tools/lsan.supp:print_suppressions=0; ASAN_PRELOAD=%s %s]]):format(B, lib,
			(s.run:gsub("lua5.4 /usr/bin/busted", "LD_PRELOAD=" .. lib .. " %0"))) }
	end
end
return kept
