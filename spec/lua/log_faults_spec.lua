-- What no log should be given, and is: values of any size and kind; outputs that fail, as a program sees them.
local zbz = require("zbz")
local core = require("zbz.core")
local proc = require("spec.services.proc")
local log = zbz.log
local jit = rawget(_G, "jit")

local HUGE = ("0123456789abcdef"):rep(100 * 1024 * 1024 / 16)
local LIMIT = 64 * 1024

local function lines_of(path)
	local n, list = 0, {}
	for line in assert(io.open(path)):lines() do
		n = n + 1
		list[n] = line
	end
	return list
end

describe("a value of 100 MB", function()
	after_each(function() log.close() end)

	local function whole(lines, n)
		assert.are.equal(n, #lines)
		for _, line in ipairs(lines) do
			assert.is_true(#line <= LIMIT, #line .. " bytes")
			local r = assert(core.json_decode(line))
			assert.is_true(r.truncated, line:sub(1, 100))
		end
	end

	it("is cut at the record's limit, wherever it stands", function()
		assert(log.configure{ outputs = { { type = "memory", name = "m", size = "4MB" } } })
		local l = assert(log.logger("huge"))
		l:info("field", { v = HUGE, z = "end" })
		l:info(HUGE)
		l:info("nested", { v = { { HUGE } } })
		l:info("bytes", { v = log.bytes(HUGE) })
		l:with{ v = HUGE }:info("bound")
		l:event("event", "v")(HUGE)
		l:info("many", { a = HUGE, b = HUGE, c = { HUGE, HUGE } })
		whole(assert(log.drain("m")), 7)
		assert.is_true(log.stats().truncated >= 7)
	end)

	it("is not shown by a name or a guard", function()
		assert(log.configure{ redact = { "password", partial = { "phone" }, hash = { "user" }, key = ("k"):rep(16) },
			outputs = { { type = "memory", name = "m" } } })
		log.info("x", { v = log.secret(HUGE), p = log.pii(HUGE), password = HUGE, phone = HUGE, user = HUGE })
		local lines = assert(log.drain("m"))
		assert.are.equal(1, #lines)
		assert.is_true(#lines[1] < 1000, lines[1]:sub(1, 300))
		log.info("a name", { [HUGE] = 1, short = 2 })
		lines = assert(log.drain("m"))
		assert.are.equal(1, #lines)
		assert.is_true(#lines[1] <= LIMIT)
		assert.are.equal(2, core.json_decode(lines[1]).short)
	end)

	it("passes scans, patterns, processors, functions and formatters", function()
		local got = {}
		assert(log.configure{ redact = { scan = { "ssn", "card", "email" }, pattern = "sk%-%w+", mask_ip = true }, outputs = {
			{ type = "memory", name = "m" }, function(line, record) got[#got + 1] = { #line, record.message } end,
			{ type = "memory", name = "f", format = function(r) return r.message .. " " .. (r.fields.v or "-") end } } })
		assert(log.processor("string", function(v) return v end))
		log.info("x", { v = HUGE })
		log.info("x", { v = "a@b.example " .. HUGE })
		assert.are.equal(2, #got)
		assert.is_true(got[1][1] <= LIMIT and got[1][2] == "x")
		local lines = assert(log.drain("m"))
		whole(lines, 2)
		assert.is_nil(lines[2]:find("a@b.example", 1, true))
		for _, line in ipairs(assert(log.drain("f"))) do assert.is_true(#line <= 2 * LIMIT) end
		assert.are.equal(0, log.stats().functions.errors)
	end)
end)

describe("values of LuaJIT's own", function()
	if not jit then return end
	it("are text or numbers", function()
		local ffi = require("ffi")
		local function I(n) return ffi.cast("int64_t", n) end
		ffi.cdef("void *malloc(size_t); struct zbz_spec_point { int x, y; }; struct zbz_spec_odd { int x; };")
		assert(log.configure{ outputs = { { type = "memory", name = "m" } } })
		local odd = ffi.metatype("struct zbz_spec_odd", { __tostring = function() error("boom") end })
		log.info("x", {
			i = ffi.cast("int64_t", 9007199254740992) + 1, u = ffi.cast("uint64_t", I(-1)),
			neg = ffi.cast("int64_t", -2^63),
			p = ffi.new("struct zbz_spec_point"),
			ptr = ffi.cast("void *", 0x1234),
			null = ffi.cast("void *", 0), c = ffi.new("complex", 1, 2), t = ffi.typeof("int"),
			bad = odd(), fn = ffi.C.malloc,
			arr = ffi.new("char[10]"), deep = { I(5), { ffi.new("int[2]") } }, secret = log.secret(I(7)) })
		local lines = assert(log.drain("m"))
		assert.are.equal(1, #lines)
		local line = lines[1]
		for _, part in ipairs{ '"i":9007199254740993,', '"u":18446744073709551615', '"neg":-9223372036854775808',
			'"bad":"(its __tostring failed)"',
			'"secret":"***"' } do
			assert.is_truthy(line:find(part, 1, true), part .. " in " .. line)
		end
		log.event("event", "a", "b")(I(5), ffi.new("struct zbz_spec_point"))
		log.info(I(5))
		log.info("bare", ffi.cast("uint64_t", 6))
		log.with{ n = I(7) }:info("bound")
		lines = assert(log.drain("m"))
		assert.are.equal(4, #lines)
		assert.is_truthy(lines[1]:find('"a":5,', 1, true), lines[1])
		assert.is_truthy(lines[4]:find('"n":7', 1, true), lines[4])
		log.close()
	end)
end)

describe("a failing output", function()
	local dir
	setup(function() dir = proc.folder() end)
	teardown(function() proc.remove(dir) end)
	after_each(function() log.close(1) end)

	it("says why, keeps its records, holds up no other one and no call", function()
		local path = dir .. "/in/the/way.log"
		proc.output("mkdir -p " .. dir .. "/in/the")
		assert(log.configure{ outputs = { { type = "file", name = "bad", path = path, max_retry_delay = "20ms", linger = 0 },
			{ type = "file", name = "good", path = dir .. "/good.log" } } })
		proc.output("rm -r " .. dir .. "/in/the; echo x > " .. dir .. "/in/the")
		local began = core.mono()
		for i = 1, 5000 do log.info("n", { i = i }) end
		local good, err = log.flush(0.2)
		assert.is_nil(good)
		assert.are.equal("timeout", err.code)
		assert.are.equal("bad", err.output)
		assert.is_true(core.mono() - began < 5000)
		local st = log.stats().outputs
		assert.is_true(st.bad.failures > 0)
		assert.is_truthy(st.bad.last_error:find(path, 1, true), st.bad.last_error)
		assert.is_true(st.bad.retries > 0 and st.bad.lag > 0 and st.bad.written == 0)
		assert.are.equal(0, st.good.failures)
		assert.is_nil(st.good.last_error)
		assert.are.equal(5000, #lines_of(dir .. "/good.log"))
		proc.output("rm " .. dir .. "/in/the; mkdir -p " .. dir .. "/in/the")
		assert(log.flush(10))
		assert.are.equal(5000, #lines_of(path))
		st = log.stats().outputs
		assert.are.same({ 0, 0, 5000 }, { st.bad.failures, st.bad.lag, st.bad.written })
	end)

	it("tells of a ring that cannot be made, and drops with a count", function()
		proc.output("mkdir " .. dir .. "/rings")
		assert(log.configure{ outputs = { { type = "file", name = "f", path = dir .. "/r.log", ring = dir .. "/rings" } } })
		proc.output("rm -r " .. dir .. "/rings; echo x > " .. dir .. "/rings")
		for _ = 1, 10 do log.info("x") end
		local st = log.stats().outputs.f
		assert.are.equal(10, st.dropped_closed)
		assert.is_truthy(st.last_error:find("/rings", 1, true), st.last_error)
	end)

	it("waits no longer than its policy says", function()
		for policy, most in pairs{ block = 100, drop_newest = 0, drop_oldest = 0 } do
			local path = dir .. "/fifo." .. policy
			proc.output("mkfifo " .. path)
			assert(log.configure{ outputs = { { type = "file", name = "p", path = path, policy = policy, block_for = "100ms", ring_size = "64KB",
				max_retry_delay = "20ms", linger = 0, ring = dir } } })
			local text, worst, n, over = ("x"):rep(1000), 0, 0, 0
			repeat
				local began = core.mono()
				n = n + 1
				log.info(text, { i = n })
				worst = math.max(worst, core.mono() - began)
				if log.stats().outputs.p.dropped_full > 0 then over = over + 1 end
			until over == 5 or n == 5000
			assert.are.equal(5, over)
			assert.is_true(n > 50, n .. " " .. policy) -- what the ring holds
			assert.is_true(worst >= most and worst <= most + 250, policy .. " waited " .. worst .. " ms") -- 250: the machine's share
			log.close(0.1)
		end
	end)
end)

describe("counts", function()
	it("by level are what stands in the file", function()
		local dir = proc.folder()
		assert(log.configure{ level = "trace", outputs = { { type = "file", path = dir .. "/l.log" } } })
		local before, said = log.stats().records, { trace = 3, debug = 5, info = 7, warn = 11, error = 13, fatal = 17 }
		for level, n in pairs(said) do
			for _ = 1, n do log[level]("x", { "list" }) end
		end
		assert(log.flush())
		local after, found = log.stats().records, {}
		for _, line in ipairs(lines_of(dir .. "/l.log")) do
			local level = core.json_decode(line).level
			found[level] = (found[level] or 0) + 1
		end
		assert.are.same(said, found)
		for level, n in pairs(said) do assert.are.equal(n, after[level] - before[level]) end
		log.close()
		proc.remove(dir)
	end)
end)
