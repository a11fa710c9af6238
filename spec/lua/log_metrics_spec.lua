-- zbz.log.metrics(): valid, exact per level, without the text of any record or error, and never less than before.
local zbz = require("zbz")
local core = require("zbz.core")
local exposition = require("spec.tools.exposition")
local proc = require("spec.services.proc")
local log = zbz.log

local LEVELS = { "trace", "debug", "info", "warn", "error", "fatal" }

local function metrics()
	local text = log.metrics()
	return exposition.read(text), text
end
local function per_level(by)
	local t = {}
	for _, level in ipairs(LEVELS) do t[level] = by[('zbz_log_lines_total{level="%s"}'):format(level)] end
	return t
end
local function grown(before, after)
	local t = {}
	for k, v in pairs(after) do t[k] = v - before[k] end
	return t
end

describe("metrics of the log", function()
	local dir
	before_each(function() dir = proc.folder() end)
	after_each(function()
		log.close()
		proc.remove(dir)
	end)
	local function file(name) return { type = "file", path = dir .. "/" .. name, ring = dir } end

	local function wc(name)
		local t, all = {}, 0
		for _, level in ipairs(LEVELS) do t[level] = 0 end
		for line in io.lines(dir .. "/" .. name) do
			local r = assert(core.json_decode(line))
			t[r.level], all = t[r.level] + 1, all + 1
		end
		return t, all
	end

	it("has as many lines per level as the file, whichever way they were logged", function()
		assert(log.configure{ level = "debug", outputs = { file("a.log") } })
		local before = per_level(metrics())
		local l = log.logger("shop", { rate_limit = false })
		local bound = l:with{ request_id = "r" }
		local low, high = l:event{ level = "debug", "low", "k" }, l:event{ level = "error", "high", "k" }
		for i = 1, 300 do
			log.info("plain", { n = i })
			l:warn("method", { n = i, t = { i } })
			bound:error("bound")
			low(i)
			if i % 3 == 0 then high(i) end
			if i % 100 == 0 then log.fatal("end", { n = i }) end
			log.trace("off")
		end
		assert(log.flush(5))
		local lines, all = wc("a.log")
		assert.are.same({ trace = 0, debug = 300, info = 300, warn = 300, error = 400, fatal = 3 }, lines)
		local by = metrics()
		assert.are.same(lines, grown(before, per_level(by)))
		for _, level in ipairs(LEVELS) do
			assert.are.equal(lines[level], by[('zbz_log_output_records_total{output="file",level="%s"}'):format(level)])
		end
		assert.are.equal(all, by['zbz_log_output_written_total{output="file"}'])
		assert.are.equal(tonumber((proc.output("cat " .. dir .. "/a.log | wc -c"))), by['zbz_log_output_written_bytes_total{output="file"}'])
	end)

	it("counts a record of two outputs once, and one of a function as well", function()
		local heard = 0
		assert(log.configure{ outputs = { file("a.log"), file("b.log"), function() heard = heard + 1 end } })
		local before = per_level(metrics())
		for i = 1, 10 do log.info("x", { n = i }) end
		assert(log.flush(5))
		assert.are.equal(10, grown(before, per_level(metrics())).info)
		assert.are.equal(10, heard)
		assert.are.equal(10, select(2, wc("b.log")))
	end)

	it("tells of what was held back and lost", function()
		assert(log.configure{ outputs = { { type = "memory", name = "m", ring_size = "64KB" } }, sampling = { initial = 5 } })
		local before = metrics()
		local big = ("x"):rep(40000)
		for i = 1, 5 do log.info(big, { n = i }) end
		log.configure{ outputs = { { type = "memory", name = "m", ring_size = "64KB" } }, sampling = { initial = 5 } }
		for i = 1, 20 do log.warn("w", { n = i }) end
		assert(log.configure{ level = "info", outputs = {}, loggers = { d = { dedup = "60s", outputs = { file("d.log") } } } })
		for _ = 1, 4 do log.logger("d"):error("again") end
		local after = metrics()
		local function more(name) return (after[name] or 0) - (before[name] or 0) end
		assert.are.equal(3, more('zbz_log_held_back_total{reason="repeated"}'))
		assert.is_true(more('zbz_log_held_back_total{reason="sampled"}') >= 10)
		assert.are.equal(5, more("zbz_log_lost_total"))
	end)

	it("is text that Prometheus reads, whatever the names", function()
		local odd = 'we"ird\\\n\255 é{},='
		assert(log.configure{ outputs = { [odd] = { type = "null" }, file("a.log"), b = { type = "null" } } })
		assert(log.routes{ { logger = "odd", to = odd } })
		log.logger("odd"):info("x")
		local text = log.metrics()
		local _, list = exposition.read(text)
		local names, order = {}, {}
		for _, s in ipairs(list) do
			if s.name == "zbz_log_output_bytes_total" then
				names[s.labels.output], order[#order + 1] = s.value, s.labels.output
			end
		end
		assert.are.same({ "b", "file" }, { order[1], order[2] })
		assert.is_true(names[(odd:gsub("[\128-\255]", function(c) return ("\\x%02x"):format(c:byte()) end))] > 0)
		local said = exposition.promtool(text)
		if said then assert.are.equal("", said) end
		-- the same order each time
		assert.are.equal((text:gsub(" [%d.]+\n", "\n")), (log.metrics():gsub(" [%d.]+\n", "\n")))
	end)

	it("has no text of a record or an error in it", function()
		assert(log.configure{ outputs = { { type = "tcp", address = "127.0.0.1:1", ring = dir, linger = 0, max_retry_delay = "20ms" } } })
		log.info("what was said", { field = "hunter2" })
		log.flush(0.2)
		local by, text = metrics()
		local trouble = assert(log.stats().outputs.tcp.last_error)
		assert.is_true(by['zbz_log_output_failures{output="tcp"}'] > 0)
		assert.is_true(by['zbz_log_output_lag_bytes{output="tcp"}'] > 0)
		assert.is_nil(text:find("what was said", 1, true))
		assert.is_nil(text:find("hunter2", 1, true))
		assert.is_nil(text:find(trouble, 1, true))
		assert.is_nil(text:find("127.0.0.1", 1, true))
	end)

	it("never goes down: outputs that go, come back, and write to something else", function()
		local last = {}
		local function look(name, records)
			local by = metrics()
			for k, v in pairs(by) do
				if k:find("_total", 1, true) then
					assert.is_true(v >= (last[k] or 0), k)
					last[k] = v
				end
			end
			local written = by[('zbz_log_output_written_total{output="%s"}'):format(name)]
			assert.are.equal(records, written)
		end
		local function use(name, to, n)
			assert(log.configure{ outputs = { [name] = to }, routes = { { logger = "*", to = name } } })
			for _ = 1, n do log.info("x") end
			assert(log.flush(5))
		end
		use("out", file("a.log"), 3)
		look("out", 3)
		use("other", { type = "null" }, 2) -- `out` goes
		look("other", 2)
		use("out", file("a.log"), 1)
		look("out", 4)
		use("out", file("b.log"), 5)
		look("out", 9)
		use("out", { type = "null" }, 1)
		look("out", 10)
		use("out", file("a.log"), 1)
		look("out", 11)
		use("out", { type = "file", path = dir .. "/a.log", ring = dir, policy = "drop_newest" }, 1) -- other options, the same file
		look("out", 12)
		log.close()
		use("out", file("a.log"), 1)
		look("out", 13)
		for i = 1, 1100 do -- more names than are remembered
			assert(log.outputs{ ["n" .. i] = { type = "null" } })
			assert(log.outputs{ ["n" .. i] = false })
		end
		use("out", file("a.log"), 1)
		look("out", 14)
	end)

	it("opens nothing by itself", function()
		log.close()
		local by = metrics()
		assert.is_truthy(by['zbz_log_lines_total{level="info"}'])
		for k in pairs(by) do assert.is_nil(k:find("output=", 1, true), k) end
	end)
end)
