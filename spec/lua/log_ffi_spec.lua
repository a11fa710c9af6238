-- The log's doors for LuaJIT: the same records as through C whatever is logged, loops that compile without an abort, nothing allocated, and
-- finalizers that log in the middle of a call. All other specs of the log run the other way, too, here.
local zbz = require("zbz")
local core = require("zbz.core")
local doors = require("zbz.ffi.log")
local log = zbz.log

if not rawget(_G, "jit") or not jit.status() then
	describe("the log's doors for LuaJIT", function()
		it("are not there", function()
			assert.is_false(doors.installed)
			assert.is_false(doors.install())
		end)
	end)
	return
end

local ffi = require("ffi")
local traces = require("spec.lua.jit_traces")

local function configure(more)
	local opts = { level = "info", outputs = { { type = "memory", name = "m", size = "64MB" } } }
	for k, v in pairs(more or {}) do opts[k] = v end
	assert(log.configure(opts))
end
--- The lines without their times.
local function lines()
	local list = assert(log.drain("m"))
	for i, line in ipairs(list) do list[i] = line:gsub('"time":"[^"]*",', "", 1):gsub("^time=%S* ", "", 1) end
	return list
end

-- ---- what the compiler makes of it ---------------------------------------------------------------------------------------------------

--- A function that was hot before the loop around it is no failure either, at first.
local AT_FIRST = { ["loop unroll limit reached"] = true }
for text in pairs(traces.RETRIED) do AT_FIRST[text] = true end

local function compiles(fn)
	jit.off()
	fn() -- the first records of every shape go through C, to be learnt
	jit.on()
	traces.compile(fn, AT_FIRST)
	local links, aborts = traces.of(fn, {}) -- from then on nothing is tried in vain
	assert.are.same({}, aborts)
	assert.is_nil(links.stitch)
	assert.is_true(#lines() > 0)
end

local N = 4000

describe("the log's doors", function()
	local l, ev
	before_each(function()
		configure()
		l = log.logger("web")
		ev = l:event("user action", "user", "action", "status", "ms", "ok")
	end)
	after_each(function() doors.install(); log.close() end)

	it("compile in a loop, without an abort or a way through the C API", function()
		compiles(function() for i = 1, N do ev("u", "login", i, i / 7, i % 2 == 0) end end)
		compiles(function()
			for i = 1, N do l:info("user action", { user = "u", action = "login", status = i, ms = i / 7, ok = i % 2 == 0 }) end
		end)
		compiles(function() for i = 1, N do log.warn("user action", { user = "u", status = i }) end end)
		compiles(function() for _ = 1, N do l:info("only a message") end end)
		local req = l:with{ id = "r1" }
		compiles(function() for i = 1, N do req:error("failed", { n = i, reason = zbz.null }) end end)
		compiles(function()
			for i = 1, N do
				l:info("first", { n = i })
				l:warn("second", { a = "x", b = i })
				ev("u", "login", i, i / 7, true)
			end
		end)
		l:set_level("error")
		local links, aborts = traces.anew(function()
			for i = 1, N do l:info("off", { a = i }); ev("u", "login", i, 1, true) end
		end, AT_FIRST)
		assert.are.same({}, aborts)
		assert.is_true(links.loop >= 1)
		l:set_level("info")
	end)

	it("are what the C API is not", function()
		doors.remove()
		configure()
		local links = traces.anew(function() for i = 1, N do l:info("through C", { n = i }) end end, AT_FIRST)
		assert.is_nil(links.loop) -- or the test before could not fail
	end)

	it("allocate nothing for an event", function()
		local function flood() for i = 1, N do ev("u", "login", i, i / 7, true) end end
		flood(); flood()
		collectgarbage(); collectgarbage()
		collectgarbage("stop")
		local before = collectgarbage("count")
		flood()
		local more = collectgarbage("count") - before
		collectgarbage("restart")
		assert.is_true(more < 4, more)
		lines()
	end)

	it("keep apart what finalizers log in the middle of a call", function()
		local ran, made = 0, 0
		local inner = l:event("inner", "a", "b", "c", "d", "e")
		local function again()
			local p = newproxy(true) -- luacheck: ignore 113
			getmetatable(p).__gc = function()
				ran = ran + 1
				inner("i", "i", "i", "i", "i")
				l:info("inner", { a = "i", b = "i", c = "i", d = "i", e = "i" })
				if ran < 1000 then again() end
			end
		end
		for _ = 1, 50 do again() end
		collectgarbage("setpause", 10)
		collectgarbage("setstepmul", 1000)
		for _, mode in ipairs{ "on", "off" } do
			jit[mode]()
			for i = 1, 5000 do
				local text = "o" .. i
				l:info("outer", { a = text, b = text, c = text, d = text, e = text })
				l:event("outer", "a", "b", "c", "d", "e")(text, text, text, text, text)
				made = made + 2
			end
		end
		jit.on()
		collectgarbage("setpause", 200)
		collectgarbage("setstepmul", 200)
		assert.is_true(ran >= 50)
		local outer, inners = 0, 0
		for _, line in ipairs(lines()) do
			local r = core.json_decode(line)
			local want = r.message == "inner" and "i" or r.a
			assert.is_true(r.message == "inner" or r.a:find("^o%d+$") ~= nil)
			for _, name in ipairs{ "a", "b", "c", "d", "e" } do
				if r[name] ~= want then assert.are.equal(want, r[name], line) end
			end
			if r.message == "inner" then inners = inners + 1 else outer = outer + 1 end
		end
		assert.are.equal(made, outer)
		assert.are.equal(2 * ran, inners)
	end)

	it("keep apart what a hook logs in the middle of a call", function()
		local inner, n = l:event("inner", "a", "b"), 0
		jit.off()
		debug.sethook(function()
			debug.sethook()
			n = n + 1
			inner("i", "i")
		end, "", 7)
		for i = 1, 50 do
			debug.sethook(function() n = n + 1; inner("i", "i") end, "", i)
			ev("u" .. i, "x", "y", "z", "w")
			debug.sethook()
		end
		jit.on()
		assert.is_true(n > 0)
		local outer = 0
		for _, line in ipairs(lines()) do
			local r = core.json_decode(line)
			if r.message == "inner" then
				assert.are.same({ "i", "i" }, { r.a, r.b })
			else
				outer = outer + 1
				assert.are.same({ "u" .. outer, "x", "y", "z", "w" }, { r.user, r.action, r.status, r.ms, r.ok })
			end
		end
		assert.are.equal(50, outer)
	end)

	it("are bounded where messages are made up for each call", function()
		collectgarbage(); collectgarbage()
		local before = collectgarbage("count")
		for i = 1, 30000 do
			l:info("made up " .. i, { n = i })
			if i % 10000 == 0 then assert.are.equal(10000, #lines()) end
		end
		collectgarbage(); collectgarbage()
		assert.is_true(collectgarbage("count") - before < 1000)
	end)
end)

-- ---- the other specs, through C ------------------------------------------------------------------------------------------------------

for _, name in ipairs{ "log", "log_format", "log_redact", "log_route", "log_predicate", "log_encrypt" } do
	describe("through C, " .. name .. "_spec:", function()
		setup(function() doors.remove() end)
		teardown(function() doors.install() end)
		local chunk = assert(loadfile("spec/lua/" .. name .. "_spec.lua"))
		setfenv(chunk, getfenv(1))()
	end)
end

-- ---- the same records ------------------------------------------------------------------------------------------------------------

local function many(n)
	local t = {}
	for i = 1, n do t["name" .. i] = i end
	return t
end
local function indexed(t)
	return setmetatable(t, { __index = { hidden = "from __index", a = "hidden" }, __pairs = function() return next, {} end })
end
local function throwing() return setmetatable({}, { __tostring = function() error("boom") end }) end
local big = ffi.new("int64_t", 42)
local cyclic = { a = 1 }
cyclic.self = cyclic

local FIELDS = {
	{ user = "u1", n = 1, f = 0.1, yes = true, no = false }, { a = "" }, { a = 0 }, { a = -0.0 }, { a = 0 / 0, b = 1 / 0, c = -1 / 0 },
	{ a = 2 ^ 53, b = -2 ^ 53, c = 2 ^ 53 + 2, d = 1e300, e = 5e-324, f = 123456789012 }, { a = zbz.null }, {}, { a = "q\"\\\n\0\27\255é" },
	{ ["odd \"name\""] = 1, ["]]"] = 2, ["\0"] = 3, ["\r\n"] = 4, [""] = 5, ["\255"] = 6, ["and"] = 7, ["%s\\"] = 8, ["$i"] = 9 },
	{ time = 1, level = 2, logger = 3, message = 4, msg = 5, truncated = 6, aa = 7, zz = 8 }, { latency = 0.5, lat = 1, took = 2 },
	{ duration = 1, duration_x = 2, duration_ = 3 }, { [("n"):rep(200)] = 1, [("é"):rep(100)] = 2 }, { a = ("x"):rep(100000) },
	{ 1, 2, 3 }, { [1.5] = 1, [true] = 2 }, { a = 1, [1] = "mixed" }, many(40), many(41), many(64), many(65),
	{ a = { b = { 1, 2 } } }, { a = print }, { a = coroutine.create(print) }, { a = io.stdout }, { a = throwing() }, { a = cyclic },
	{ a = big, b = ffi.new("uint64_t", 42), c = ffi.new("int64_t", -1) }, { a = ffi.new("int[2]") },
	{ a = zbz.secret("s"), b = zbz.pii("p"), c = log.ms(5) },
	{ password = "hunter2", user = "bob@example.com", card = 4111111111111111 }, indexed{ a = 1 }, indexed{}, throwing(),
	zbz.secret("x"), log.ms(5), "text", 42, true, false, print, zbz.null, big, cyclic,
	(select(2, zbz.cache.new("no such provider"))),
}
local MESSAGES = { "m", "", "q\"\n", ("m"):rep(3000), 42, 1.5, true, false, {}, print, throwing(), big, zbz.null }

--- Every call several times, for functions are written for those that come again.
local function play(say)
	for _ = 1, 4 do
		for i = 1, #FIELDS do say("fields " .. i, FIELDS[i]) end
	end
	for i, msg in pairs(MESSAGES) do
		for _ = 1, 4 do say(msg, FIELDS[1]); say(msg); say(msg, { only = i }) end
	end
	for _ = 1, 4 do -- one message, with names and types that change
		for i = 1, #FIELDS do say("the same", FIELDS[i]) end
	end
	say(); say(nil, FIELDS[1])
end

local function everything()
	local l = log.logger("web")
	local b = l:with{ user = "bound", id = "r1" }
	play(function(...) l:info(...) end)
	play(function(...) b:warn(...) end)
	play(function(...) log.error(...) end)
	for _ = 1, 4 do
		l.info("no colon"); l.info(nil, "x"); l.info({}, "x"); l.info(io.stdout, "x"); l.info(l, "with self", { a = 1 }, "more"); l.info()
		log.logger("other").info(l, "of another"); log:info("on the module", { a = 1 }); log.info("three", { a = 1 }, 3)
	end
	for n = 0, 6 do
		local names = { "latency", "b", "a", "msg", "b", "password" }
		local ev = l:event("event " .. n, unpack(names, 1, n))
		for _ = 1, 3 do
			for i = 1, #FIELDS do ev(FIELDS[i], i, "text", true, i / 2, nil, "too many") end
			for i, v in ipairs(MESSAGES) do ev(v, v, i) end
			ev(); ev(nil, nil, nil); ev(zbz.null, 1); ev(0 / 0, -0.0, 2 ^ 53, "x", 1e300, false)
		end
	end
	local wide = {}
	for i = 1, 64 do wide[i] = "n" .. i end
	local ev = l:event{ level = "error", "wide", unpack(wide) }
	ev(unpack(wide)); ev(1, 2, unpack(wide, 3))
	return lines()
end

local CONFIGURATIONS = {
	plain = {},
	caller = { caller = true, format = "json" },
	traceback = { traceback = "error" },
	redaction = { redact = { "password", scan = { "card", "email" }, pii = "hash", key = ("k"):rep(16) } },
	patterns = { redact = { "password", pattern = "hunt%d*" } },
	repeats = { dedup = "1m" },
	routes = { routes = { { where = { user = "u1" }, to = "m" }, { where = function(f) return f.n == 1 end, to = "m" } } },
	logfmt = { format = "logfmt", duration_format = "ms" },
}

describe("through the log's doors and through C", function()
	after_each(function() doors.install(); log.redact(false); log.close() end)
	for name, opts in pairs(CONFIGURATIONS) do
		it("records are the same: " .. name, function()
			local got = {}
			for way = 1, 2 do
				if way == 2 then doors.remove() end
				opts.outputs = { { type = "memory", name = "m", size = "64MB" } }
				configure(opts)
				local before = log.stats()
				got[way] = everything()
				local after = log.stats()
				got[way].counts = {}
				for _, k in ipairs{ "sampled", "limited", "repeated", "lost", "truncated", "nowhere", "failed_tostring" } do
					got[way].counts[k] = after[k] - before[k]
				end
			end
			assert.is_true(#got[1] > 1500)
			for i = 1, #got[2] do
				local want, have = got[2][i]:gsub("0x%x+", "0x"), (got[1][i] or "nothing"):gsub("0x%x+", "0x")
				if want ~= have then assert.are.equal(want, have, "record " .. i) end
			end
			assert.are.equal(#got[2], #got[1])
			assert.are.same(got[2].counts, got[1].counts)
		end)
	end

	it("a logger that is gone says nothing, an event of it neither", function()
		for way = 1, 2 do
			if way == 2 then doors.remove() end
			configure()
			local l = log.logger("gone"):with{ a = 1 }
			local ev = l:event("e", "a")
			for _ = 1, 5 do l:info("m", { a = 2 }); ev(1) end
			assert.are.equal(10, #lines())
			debug.getmetatable(l).__gc(l)
			ev(1)
			assert.are.equal(0, #lines())
			l:info("m", { a = 2 }) -- told as a call without a logger
			assert.are.equal(1, #lines())
		end
	end)
end)
