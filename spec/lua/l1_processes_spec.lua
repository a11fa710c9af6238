-- Tables with l1 over a segment that other processes write to: never behind them, also where a writer was killed.
local zbz = require("zbz")
local proc = require("spec.services.proc")
local warm = require("spec.lua.l1_support").warm

local LUA = rawget(_G, "jit") and "luajit" or "lua5.4"

--- Lua text for another process: `c` is a cache on the segment, `t` its table "t".
local function program(segment, text)
	return { LUA, "-e", ([[local zbz = require("zbz")
		local c = assert(zbz.cache.new{ provider = "shared", name = %q, size = "1MB", key_prefix = "x:" })
		local t = c:table("t")
		%s]]):format(segment, text) }
end

local function quote(argv)
	local words = {}
	for i, w in ipairs(argv) do words[i] = "'" .. w:gsub("'", "'\\''") .. "'" end
	return table.concat(words, " ")
end

describe("l1 and other processes", function()
	local segment, cache, t, folder
	before_each(function()
		folder = proc.folder()
		segment = "l1-" .. folder:match("%w+$")
		cache = assert(zbz.cache.new{ provider = "shared", name = segment, size = "1MB", key_prefix = "x:" })
		t = assert(cache:table("t", { l1 = 1000 }))
	end)
	after_each(function()
		cache:close()
		os.execute("rm -f /dev/shm/zbz-" .. segment .. ".*")
		proc.remove(folder)
	end)

	it("sees what each of them does, at once", function()
		for _, step in ipairs({ { "t:set('k', { 2 })", { 2 } }, { "t:delete('k')", nil }, { "t:set('k', 4)", 4 }, { "t:clear()", nil },
			{ "t:set('k', 'five')", "five" }, { "c:clear()", nil } }) do
			t:set("k", { 1 })
			assert.are.same({ 1 }, warm(t, "k"))
			assert.are.same({ 1 }, t:get("k"))
			local out, ok = proc.output(quote(program(segment, "assert(" .. step[1] .. ")")) .. " 2>&1")
			assert.is_true(ok, out)
			assert.are.same(step[2], t:get("k"))
		end
	end)

	it("never steps back while another writes", function()
		local log = folder .. "/log"
		local pid = proc.spawn(program(segment, [[local i, till = 0, os.time() + 90 -- should nobody be there any more
			local function enough() -- 200 looks: time for the reader to find the same twice
				local is
				for _ = 1, 200 do is = t:get("enough") or is end
				return is
			end
			repeat
				i = i + 1
				t:set("n", i)
			until i % 16 == 0 and (enough() or os.time() > till)
			repeat until t:set("done", i) or os.time() > till]]), log)
		local last, hits, seen, ends, done = 0, 0, 0, os.time() + 60
		repeat
			assert.is_true(os.time() < ends, "the writer does not come to its end: " .. proc.output("cat " .. log))
			local before = t:stats().l1_hits
			for _, read in ipairs({ "get", "get_raw", "get" }) do
				local n = tonumber((t[read](t, "n"))) -- nil: the writer was stopped in the middle; counted as lost_reads
				assert.is_true(n == nil or n >= last, ("%s: %s after %d"):format(read, tostring(n), last))
				if n and n > last then seen, last = seen + 1, n end
			end
			hits = hits + t:stats().l1_hits - before
			if seen >= 50 and hits > 0 then t:set("enough", true) end
			done = t:get("done")
		until done
		assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(pid), 5))
		assert.are.equal(done, t:get("n"))
	end)

	it("holds nothing of a shard whose writer was killed", function()
		for i = 1, 300 do t:set("k" .. i, { i }) end
		for round = 1, 15 do
			for i = 1, 300 do
				if t:get("k" .. i) == nil then t:set("k" .. i, { i }) end
				warm(t, "k" .. i)
			end
			local mark = folder .. "/go" .. round
			local pid = proc.spawn(program(segment, ([[t:set("alive%d", 1) local f = io.open(%q, "w") f:close()
				while true do for i = 1, 300 do t:set("k" .. i, { i + 1000 * %d }) end end]]):format(round, mark, round)), folder .. "/log")
			assert.is_true(proc.wait_until("test -e " .. mark, 10), proc.output("cat " .. folder .. "/log"))
			assert.is_true(proc.kill(pid))
			local there = 0
			for i = 1, 300 do
				local kept = t:get("k" .. i)
				local raw = t:get_raw("k" .. i)
				assert.are.equal(raw, kept and ("[%d]"):format(kept[1]))
				assert.are.same(kept, t:get("k" .. i))
				there = there + (kept and 1 or 0)
			end
			assert.is_true(there > 0)
		end
	end)
end)
