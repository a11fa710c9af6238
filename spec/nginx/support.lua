-- What the nginx specs share.
local assert = require("luassert")
local nginx = require("spec.services.nginx")
local proc = require("spec.services.proc")

local M = {}

--- True, and noted as skipped, where there is no nginx with Lua. b: { describe, it, pending } of busted.
function M.missing(name, b)
	local have, why = nginx.available()
	if have then return false end
	print("SKIP " .. name .. ": " .. why)
	b[1](name, function() b[2]("needs nginx", function() b[3](why) end) end)
	return true
end

function M.body(web, path, seconds)
	local _, text = web.get(path, seconds)
	return text
end

--- Asks again until the answer is `wanted`.
function M.eventually(wanted, fn, tries)
	local got
	for _ = 1, tries or 100 do
		got = fn()
		if got == wanted then return end
		proc.output("sleep 0.02")
	end
	assert.are.equal(wanted, got)
end

--- A GET in the background, of an answer that is not empty: running(), finished(seconds) -> ended in time?, answer(), abort().
function M.background(web, path, name)
	local file = ("%s/bg-%s"):format(web.dir, name)
	local pid = proc.spawn({ "curl", "-s", "-m", "20", web.url .. path }, file)
	local self = {}
	function self.answer() return (proc.output("cat " .. file)) end
	function self.running() return self.answer() == "" end
	function self.finished(seconds) return proc.wait_until("test -s " .. file, seconds or 10) end
	function self.abort() return proc.kill(pid) end
	return self
end

--- The slowest of n answers of a path, in seconds; each must be 200.
function M.slowest(web, path, n)
	local out = proc.output(("for i in $(seq %d); do curl -s -m 5 -o /dev/null -w '%%{http_code} %%{time_total}\\n' %s%s; done")
		:format(n, web.url, path))
	local worst, seen = 0, 0
	for code, seconds in out:gmatch("(%d+) ([%d.]+)") do
		assert.are.equal("200", code)
		worst, seen = math.max(worst, tonumber(seconds)), seen + 1
	end
	assert.are.equal(n, seen)
	return worst
end

--- Monotonic enough: seconds since the epoch, with fractions.
function M.now() return tonumber((proc.output("date +%s.%N"))) end

return M
