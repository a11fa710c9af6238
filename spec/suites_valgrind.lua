-- make valgrind: the C tests and the Lua specs under memcheck. Slow; not part of make test.
local kept = {}
local vg = "valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite "
for _, s in ipairs(dofile("spec/suites.lua")) do
	local c = s.name:match("^c ") and s.name ~= "c crash_log" -- full speed is the point of that one
	if c then
		s.run = s.run:gsub("(%S*/spec/[%w_]+)", vg .. "%1", 1)
	elseif s.name:match("^lua5.4 ") then
		s.run = s.run:gsub("lua5.4 /usr/bin/busted", vg .. "%0")
	end
	if c or s.name:match("^lua5.4 ") then
		s.seconds = 1800
		kept[#kept + 1] = s
	end
end
return kept
