-- make tsan: the C tests with ThreadSanitizer.
local kept = {}
for _, s in ipairs(dofile("spec/suites.lua")) do
	if s.name:match("^c ") and s.name ~= "c crash_log" then -- its processes are all children
		s.run = 'export TSAN_OPTIONS="halt_on_error=1 second_deadlock_stack=1"; ' .. s.run
		kept[#kept + 1] = s
	end
end
return kept
