-- make valgrind: the C tests and the Lua specs under memcheck. Slow; not part of make test.
local kept = {}
local vg = "valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite "
for _, s in ipairs(dofile("spec/suites.lua")) do
	if s.name == "c crash_log" then -- full speed is the point of it
		s.name = "crash_log"
	elseif s.name:match("^c ") then
		s.run = s.run:gsub("(%S*/spec/[%w_]+)", vg .. "%1", 1)
	elseif s.name:match("^lua5.4 ") then
		s.run = s.run:gsub("lua5.4 /usr/bin/busted", vg .. "%0")
	end
	if s.name:match("^c ") or s.name:match("^lua5.4 ") then
		s.seconds = 1800
		kept[#kept + 1] = s
	end
end
return kept
