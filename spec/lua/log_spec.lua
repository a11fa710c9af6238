-- Loggers: names, levels, inheritance, bound fields, events, limits; and that a log call never raises.
local zbz = require("zbz")
local core = require("zbz.core")
local doors = require("zbz.ffi.log")
local proc = require("spec.services.proc")
local log = zbz.log

local function one(name)
	local lines = assert(log.drain(name))
	assert.are.equal(1, #lines, table.concat(lines, "\n"))
	return assert(core.json_decode(lines[1])), lines[1]
end
local function count(name) return #assert(log.drain(name)) end

describe("the log", function()
	before_each(function() assert(log.configure{ level = "info", outputs = { { type = "memory", name = "m" } } }) end)
	after_each(function() log.close() end)

	it("takes typed fields", function()
		log.info("user action", { action = "login", n = 42, f = 0.1, yes = true, none = zbz.null })
		local r = one("m")
		assert.are.equal("user action", r.message)
		assert.are.equal("info", r.level)
		assert.is_truthy(r.time:match("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%d%d%d%d%d%d%dZ$"))
		assert.are.equal("login", r.action)
		assert.are.equal(42, r.n)
		assert.are.equal(0.1, r.f)
		assert.is_true(r.yes)
		assert.are.equal(zbz.null, r.none)
		assert.is_nil(r.logger)
	end)

	it("knows loggers by name, the same one each time", function()
		local l = assert(log.logger("user-events"))
		assert.are.equal(l, log.logger("user-events"))
		assert.are.equal("user-events", l:name())
		assert.are.equal("zbz.Logger: user-events", tostring(l))
		l:info("User login", { user_id = "123" })
		local r, text = one("m")
		assert.are.equal("user-events", r.logger)
		assert.is_truthy(text:find('"user_id":"123"', 1, true))
	end)

	it("has levels per logger, changed at run time, inherited by dots and by parent", function()
		local a, ab = assert(log.logger("a", { level = "debug" })), assert(log.logger("a.b.c"))
		local other = assert(log.logger("other", { parent = "a" }))
		local quiet = assert(log.logger("quiet"))
		for _, l in ipairs{ a, ab, other, quiet } do
			l:trace("no")
			l:debug("x")
		end
		assert.are.equal(3, count("m"))
		assert.are.equal("debug", ab:level())
		assert.is_true(ab:enabled("debug"))
		assert.is_false(quiet:enabled("debug"))
		assert(a:set_level("WARNING"))
		assert.are.equal("warn", other:level())
		a:info("no"); ab:info("no"); other:info("no"); quiet:info("yes")
		assert.are.equal(1, count("m"))
		assert(log.set_level("off"))
		quiet:fatal("no"); log.fatal("no"); a:error("yes")
		assert.are.equal(1, count("m"))
		assert.are.equal("off", log.level())
		local ok, err = a:set_level("loud")
		assert.is_nil(ok)
		assert.are.equal("invalid_config", err.code)
		assert.is_truthy(err.message:find("loud", 1, true))
		a:error("as before")
		assert.are.equal(1, count("m"))
	end)

	it("costs a Lua function that does nothing when a level is off", function()
		local l = log.logger("l")
		local nothing = l.trace
		assert.are_not.equal("C", debug.getinfo(nothing, "S").what)
		assert.are.equal(nothing, l.debug)
		assert.are.equal(nothing, log.debug)
		assert.are_not.equal(nothing, l.info)
		assert.are.equal(doors.installed and "Lua" or "C", debug.getinfo(l.info, "S").what)
		assert(l:set_level("debug"))
		assert.are_not.equal(nothing, l.debug)
		assert.are.equal(doors.installed and "Lua" or "C", debug.getinfo(l.debug, "S").what)
		assert.are.equal(nothing, log.debug)
		l:debug("d"); log.debug("no"); l:trace("no")
		assert.are.equal("d", one("m").message)
	end)

	it("bounds the number of names", function()
		local lua = rawget(_G, "jit") and "luajit" or "lua5.4"
		local out = proc.output(lua .. [[ -e 'local log = require("zbz").log; log.configure{ outputs = {} }
			local n, err = 0; repeat n = n + 1; local l, e = log.logger("n" .. n); err = e until not l; print(n, err.code)' ]])
		assert.is_truthy(out:find("^10000%s+too_large$"), out)
	end)

	it("carries bound fields", function()
		local req = log.logger("web"):with{ request_id = "r1", user = "u" }
		req:info("a", { user = "other" })
		local r, text = one("m")
		assert.are.equal("r1", r.request_id)
		assert.are.equal("other", r.user)
		assert.is_nil(text:find('"u"', 1, true))
		req:with{ step = 2 }:info("b")
		r = one("m")
		assert.are.same({ "r1", "u", 2 }, { r.request_id, r.user, r.step })
		assert(log.logger("web"):set_level("error"))
		req:info("no")
		assert.are.equal(0, count("m"))
	end)

	it("takes trace and span from a traceparent", function()
		log.with{ traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" }:info("x")
		local r = one("m")
		assert.are.equal("0af7651916cd43dd8448eb211c80319c", r.trace_id)
		assert.are.equal("b7ad6b7169203331", r.span_id)
		log.with{ traceparent = "nonsense" }:info("x")
		assert.are.equal("nonsense", one("m").traceparent)
	end)

	it("compiles events", function()
		local l = log.logger("ev")
		local ev = l:event("user action", "user_id", "action")
		ev("u1", "login")
		local _, text = one("m")
		assert.is_truthy(text:find('"logger":"ev","message":"user action","user_id":"u1","action":"login"}', 1, true))
		ev("u1") -- fewer values: null
		assert.are.equal(zbz.null, one("m").action)
		ev({ a = { 1 } }, setmetatable({}, { __tostring = function() return "obj" end }))
		local r = one("m")
		assert.are.same({ a = { 1 } }, r.user_id)
		assert.are.equal("obj", r.action)
		local warn = l:event{ level = "warn", "disk is filling", "free" }
		warn(12)
		assert.are.equal("warn", one("m").level)
		assert(l:set_level("error"))
		ev(1, 2); warn(1)
		assert.are.equal(0, count("m"))
		assert(l:set_level("info"))
		ev(1, 2)
		assert.are.equal(1, count("m"))
		local bound = l:with{ request_id = "r" }:event("x", "y")
		bound(1)
		assert.are.equal("r", one("m").request_id)
		log:event("global", "k")("v")
		log.event("global", "k")("v")
		assert.are.equal(2, count("m"))
		assert.has_error(function() l:event(nil) end)
		assert.has_error(function() l:event{ lvl = "warn", "x" } end)
	end)

	it("never raises", function()
		local l = log.logger("odd")
		local cycle = { name = "c" }
		cycle.me = cycle
		local bad = setmetatable({}, { __tostring = function() error("boom") end, __index = function() error("boom") end,
			__pairs = function() error("boom") end, __len = function() error("boom") end })
		local deep = {}
		for _ = 1, 200 do deep = { deep } end
		local wide = {}
		for i = 1, 500 do wide["k" .. i] = i end
		local values = { cycle, bad, deep, wide, print, coroutine.create(print), io.stdout, 0 / 0, 1 / 0, -1 / 0, ("x"):rep(1e6), "\255\0\27[31m",
			"", setmetatable({}, { __metatable = "hidden" }), core.null, zbz.secret(cycle), zbz.secret(bad), log.bytes("\0\1"), math.huge, -0.0 }
		for _, v in ipairs(values) do
			l:info("value", { v = v })
			l:info(v)
			l:info("alone", v)
			l:with{ v = v }:info("bound")
			l:event("event", "v")(v)
		end
		l:info(); l:info(nil, nil); l:info("x", false); l:info("x", 12); l:info({}, {})
		l:info("keys", { [1] = 1, [2.5] = 2, [true] = 3, [print] = 4, [""] = 5, ["a b=\"\n"] = 6, [cycle] = 7 })
		l.info("a dot instead of a colon")
		log.info(); log:info("colon")
		local lines = log.drain("m")
		assert.is_true(#lines >= 5 * #values + 8)
		for _, line in ipairs(lines) do assert(core.json_decode(line), line) end
		assert.is_true(log.stats().failed_tostring > 0)
	end)

	it("survives a __tostring that logs, configures and yields", function()
		local l = log.logger("re")
		local function odd(fn) return setmetatable({}, { __tostring = fn }) end
		local nested = odd(function() l:info("inner"); return "outer" end)
		l:info("a", { x = nested, t = { 1, 2 } })
		assert.are.equal(2, count("m"))
		local again = odd(function() assert(log.set_level("debug")); return "set" end)
		l:info("b", { x = again, y = "kept" })
		local r = one("m")
		assert.are.same({ "set", "kept" }, { r.x, r.y })
		local yields = odd(function() coroutine.yield(1); return "never" end)
		local co = coroutine.wrap(function() l:info("c", { x = yields }); return "done" end)
		assert.are.equal("done", co())
		assert.is_truthy(one("m").x:find("failed", 1, true))
	end)

	it("says who called and how it came there", function()
		local l = log.logger("where", { caller = true, traceback = "error" })
		l:info("x"); local here = debug.getinfo(1, "l").currentline
		local r = one("m")
		assert.is_truthy(r.caller:find("log_spec.lua:" .. here, 1, true), r.caller)
		assert.is_nil(r.traceback)
		l:error("x")
		assert.is_truthy(one("m").traceback:find("log_spec.lua", 1, true))
		l:event("e", "k")(1); here = debug.getinfo(1, "l").currentline
		assert.is_truthy(one("m").caller:find("log_spec.lua:" .. here, 1, true))
		log.logger("where.child"):info("inherited")
		assert.is_truthy(one("m").caller)
		log.info("not here")
		assert.is_nil(one("m").caller)
	end)

	it("samples, limits and folds repeats", function()
		local s = log.logger("s", { sampling = { initial = 100, thereafter = 10 } })
		local second = os.time()
		repeat until os.time() ~= second -- luacheck: ignore 542 (from the beginning of a second)
		for i = 1, 10000 do s:info("m", { i = i }) end
		assert.are.equal(100 + 990, count("m"))
		local r = log.logger("r", { rate_limit = { rate = 1, burst = 5 } })
		for _ = 1, 50 do r:info("m") end
		assert.are.equal(5, count("m") - (log.stats().limited == 45 and 1 or 0)) -- settled: one record tells of the others
		local d = log.logger("d", { dedup = "10s" })
		for _ = 1, 20 do d:warn("same", { a = 1 }) end
		local lines = log.drain("m")
		assert.are.equal(2, #lines)
		assert.is_truthy(lines[2]:find('"message":"same","repeated":19', 1, true), lines[2])
		local st = log.stats()
		assert.are.equal(8910, st.sampled)
		assert.are.equal(19, st.repeated)
		assert.is_nil((log.logger("x", { sampling = { initial = 0 } })))
		assert.is_nil((log.logger("x", { rate_limit = "many" })))
	end)

	it("counts", function()
		local before = log.stats().records
		log.info("a"); log.warn("b"); log.warn("c"); log.debug("no")
		local st = log.stats()
		assert.are.equal(1, st.records.info - before.info)
		assert.are.equal(2, st.records.warn - before.warn)
		assert.are.equal(0, st.records.debug - before.debug)
		assert.are.equal(3, st.outputs.m.records)
		assert.are.equal("memory", st.outputs.m.type)
	end)

	it("refuses what it cannot be configured with, and stays as it was", function()
		local cases = {
			{ { level = "loud" }, "level" }, { { format = "xml" }, "format" }, { { outputs = { { type = "fiel" } } }, "fiel" },
			{ { outputs = { { type = "file" } } }, "path" }, { { outputs = { { type = "file", path = "/no/such/dir/x.log" } } }, "dir" },
			{ { outputs = { {} } }, "type" }, { { outputs = { { type = "memory", name = "a" }, { type = "null", name = "a" } } }, "'a'" },
			{ { routes = { { to = "nope" } } }, "nope" }, { { routes = { { logger = "x" } } }, "to" },
			{ { routes = { { to = "console", level = "~error" } } }, "level" }, { { max_record = "many" }, "max_record" },
			{ { duration_format = "s" }, "duration_format" }, { { redact = { hash = { "x" } } }, "key" },
			{ { redact = { secret = "encrypt" } }, "encryption" }, { { loggers = { x = { outputs = "nope" } } }, "nope" },
		}
		for _, case in ipairs(cases) do
			local ok, err = log.configure(case[1])
			assert.is_nil(ok)
			assert.is_true(zbz.is_error(err), tostring(err))
			assert.is_truthy(tostring(err):find(case[2], 1, true), tostring(err))
		end
		assert.has_error(function() log.configure{ levle = "info" } end)
		assert.has_error(function() log.configure("x") end)
		assert.has_error(function() log.logger(1) end)
		assert.has_error(function() log.logger("x", { colour = 1 }) end)
		log.info("still here")
		assert.are.equal(1, count("m"))
	end)

	it("reads the environment", function()
		local run = 'env LD_PRELOAD=$ASAN_PRELOAD %s lua%s -e ' ..
			'\'require("zbz").log.debug("d") require("zbz").log.info("i", {a=1})\' 2>/dev/null'
		local lua = rawget(_G, "jit") and "jit" or "5.4"
		assert.are.equal("{", proc.output(run:format("LOG_LEVEL=info LOG_FORMAT=json", lua)):sub(1, 1))
		local text = proc.output(run:format("LOG_LEVEL=debug LOG_FORMAT=console", lua))
		assert.is_truthy(text:find("DEBUG d\n.*INFO  i a=1"))
		assert.is_nil(text:find("\27"))
		assert.is_truthy(proc.output(run:format("LOG_LEVEL=loud", lua)):find("INFO", 1, true))
		local command = run:gsub("2>/dev/null", ""):format("LOG_FORMAT=console TERM=xterm", lua):gsub("'", "'\\''")
		local tty = proc.output(("LD_PRELOAD= script -qec '%s' /dev/null"):format(command))
		assert.is_truthy(tty:find("\27[", 1, true), tty)
	end)

	it("has presets", function()
		assert(log.development{ outputs = { { type = "memory", name = "m" } } })
		log.debug("x")
		assert.is_truthy(log.drain("m")[1]:find("DEBUG x caller=", 1, true))
		assert(log.production{ outputs = { { type = "memory", name = "m" } } })
		log.debug("x")
		log.info("x", { password = "hunter2", db_password = "hunter2" })
		local r, text = one("m")
		assert.are.equal("***", r.password)
		assert.is_nil(text:find("hunter2", 1, true))
		assert(log.redact(false))
	end)
end)
