-- Runs the suites one after another, shows one line each, and adds up what they counted.
-- Usage: lua5.4 spec/tools/suite.lua FILE   where FILE returns { {name=, run=, seconds=}, ... }
-- A suite ends with "N passed, N failed[, N skipped]" or busted's summary. One that prints neither, that ends with a non-zero
-- status without a counted failure, or that ran nothing at all has failed. What failed is told once more before the sum, a few
-- lines a suite, so that the end of the output alone says where to look; a suite of suites hands on what its own ones say there.

local list = dofile(arg[1])
local logs = arg[2] or "build/log"
local only = os.getenv("SUITE")
os.execute("mkdir -p " .. logs)

local total = { passed = 0, failed = 0, skipped = 0 }
local skips, failures = {}, {}

local function count(text)
	local n = { passed = 0, failed = 0, skipped = 0 }
	local seen = false
	for line in text:gmatch("[^\n]+") do
		local p, f = line:match("^%s*(%d+) passed, (%d+) failed")
		local s, bf, be, pend = line:match("^(%d+) success%a* / (%d+) failures? / (%d+) errors? / (%d+) pending")
		if p then -- the last one counts: a suite of suites ends with its sum
			n = { passed = tonumber(p), failed = tonumber(f), skipped = tonumber(line:match("(%d+) skipped")) or 0 }
			seen = true
		elseif s then
			n = { passed = tonumber(s), failed = bf + be, skipped = tonumber(pend) }
			seen = true
		end
		local why = line:match("^SKIP (.+)")
		if why then skips[#skips + 1] = why end
	end
	return n, seen
end

local function tail(text, lines)
	local all = {}
	for line in text:gmatch("[^\n]*\n?") do all[#all + 1] = line end
	return table.concat(all, "", math.max(1, #all - lines))
end

-- The lines of a failed suite that name a failure, at most 4 (a suite of suites: 16), cut to a screen's width.
local telling = { ": failed: ", "^lua[%d.]*: ", "Sanitizer: ", "^make", "^%(the suite", "error: " }
local function culprits(name, text)
	local own, handed, known = {}, {}, {}
	-- busted says where, which test and what on three lines
	text = text:gsub("(%f[^\n%z]%u%l+ %-> [^\n]+)\n([^\n]*)\n([^\n]*)", "%1 error: %2: %3")
	for line in text:gmatch("[^\n]+") do
		local inner = line:match("^FAILED (.+)")
		if inner then handed[#handed + 1] = inner end
		for _, pattern in ipairs(telling) do
			if #own < 4 and not known[line] and line:find(pattern) then
				own[#own + 1] = line
				known[line] = true -- busted tells it twice
			end
		end
	end
	if #own == 0 then own[1] = text:match("([^\n]+)%s*$") or "(printed nothing)" end
	for i, line in ipairs(#handed > 0 and handed or own) do
		if i <= 16 then failures[#failures + 1] = name .. ": " .. line:sub(1, 240) end
	end
end

for _, suite in ipairs(list) do
	if not only or suite.name:find(only, 1, true) then
		local log = logs .. "/" .. suite.name:gsub("[^%w]+", "-") .. ".log"
		local began = os.time()
		local ok, _, code = os.execute(("timeout -k 10 %d sh -c '%s' >%s 2>&1 </dev/null"):format(
			suite.seconds or 300, suite.run:gsub("'", "'\\''"), log))
		local f <close> = assert(io.open(log))
		local text = f:read("a")
		local n, seen = count(text)
		if code == 124 or code == 137 then
			n.failed = n.failed + 1
			text = text .. "\n(the suite did not end within " .. (suite.seconds or 300) .. " s)\n"
		elseif (not ok or not seen or n.passed + n.failed + n.skipped == 0) and n.failed == 0 then
			n.failed = n.failed + 1
			text = text .. ("\n(the suite ended with status %s%s)\n"):format(tostring(code), seen and "" or " and counted nothing")
		end
		for k in pairs(total) do total[k] = total[k] + n[k] end
		print(("%-34s %5d passed %3d failed %3d skipped  %4d s"):format(suite.name, n.passed, n.failed, n.skipped, os.time() - began))
		if n.failed > 0 then
			io.write("--- ", log, " ends with:\n", tail(text, 60), "\n---\n")
			culprits(suite.name, text)
		end
		io.stdout:flush()
	end
end

for _, why in ipairs(skips) do print("skipped: " .. why) end
for _, failure in ipairs(failures) do print("FAILED " .. failure) end
print(("%d passed, %d failed, %d skipped"):format(total.passed, total.failed, total.skipped))
os.exit(total.failed == 0 and total.passed > 0, true)
