-- Predicates that are Lua functions, of routes and of outputs: what they see, what their answers do, and what becomes of their errors.
local zbz = require("zbz")
local core = require("zbz.core")
local log = zbz.log

local function records(name)
	local list = {}
	for i, line in ipairs(assert(log.drain(name))) do list[i] = assert(core.json_decode(line)) end
	return list
end
local function messages(name)
	local list = {}
	for i, r in ipairs(records(name)) do list[i] = r.message end
	return table.concat(list, " ")
end

--- Routes what fn holds for to "special", the rest to "m".
local function configure(fn, more)
	local opts = { level = "info", outputs = { { type = "memory", name = "m" }, special = { type = "memory" } },
		routes = { { where = fn, to = "special" } } }
	for k, v in pairs(more or {}) do opts[k] = v end
	assert(log.configure(opts))
end

describe("predicates that are functions", function()
	after_each(function() log.on_event(nil); log.redact(false); log.close() end)

	it("decide where a record goes", function()
		configure(function(fields) return (fields.status or 0) >= 500 and fields.path ~= "/health" end)
		local l = log.logger("web")
		l:info("a", { status = 200 }); l:info("b", { status = 503 }); l:error("c", { status = 503, path = "/health" }); l:info("d")
		log.info("e", { status = 500 })
		local ev = l:event("f", "status", "path")
		ev(500, "/"); ev(200, "/")
		assert.are.equal("b e f", messages("special"))
		assert.are.equal("a c d f", messages("m"))
	end)

	it("see the level, the logger's name, bound fields under those of the call, and one value as a field", function()
		local seen = {}
		configure(function(...)
			assert.are.equal(3, select("#", ...))
			seen[#seen + 1] = { ... }
		end)
		local req = log.logger("web.api"):with{ id = "r1", n = 1.5, deep = { a = { 1 } }, yes = true, own = zbz.secret("s3cret"),
			took = log.ms(20) }
		req:warn("m", { id = "r2", other = 42, t = { 1 } })
		req:info("m", zbz.secret("s3cret"))
		log.info("m", (select(2, zbz.cache.new("no such provider"))))
		log.info("m")
		assert.are.same({ { id = "r2", n = 1.5, deep = { a = { 1 } }, yes = true, own = "***", took = 0.02, other = 42, t = { 1 } },
			"warn", "web.api" }, seen[1])
		assert.are.equal("***", tostring(seen[2][1].value))
		assert.is_true(zbz.is_error(seen[3][1].error))
		assert.are.same({ {}, "info", "" }, seen[4])
	end)

	it("get a copy: the record stays as it is", function()
		configure(function(fields) fields.a, fields.b = "changed", 1; return true end)
		local fields = { a = "original" }
		log.info("m", fields)
		log.logger("l"):with{ a = "bound" }:info("m")
		local r = records("special")
		assert.are.same({ "original", "bound" }, { r[1].a, r[2].a })
		assert.is_nil(r[1].b)
		assert.are.same({ a = "original" }, fields)
	end)

	it("stand beside others, on routes and on outputs; only those are asked that matter", function()
		local asked = {}
		local function ask(name, answer) return function() asked[#asked + 1] = name; return answer end end
		assert(log.configure{ outputs = { { type = "memory", name = "m", filter = ask("m", true) },
			x = { type = "memory", filter = ask("x", false) }, y = { type = "memory", where = { n = 1 } } }, routes = {
			{ logger = "a", where = ask("r1", true), to = "x+y" },
			{ logger = "a", level = ">=error", where = ask("r2", false), to = "m" },
			{ logger = "b*", where = { n = 1 }, to = "y" } } })
		log.logger("a"):info("one", { n = 1 })
		table.sort(asked)
		assert.are.same({ "m", "r1", "x" }, asked)
		log.logger("a"):error("two", { n = 2 })
		log.logger("b"):info("three", { n = 1 })
		log.logger("c"):info("four", { n = 1 })
		assert.are.equal("", messages("x"))
		assert.are.equal("one three", messages("y"))
		assert.are.equal("four", messages("m"))
	end)

	it("that fail keep the record, are counted and reported, and raise nothing", function()
		local boom = setmetatable({}, { __tostring = function() error("again") end })
		configure(function(fields) error(fields.how) end)
		local before = log.stats().functions.errors
		log.info("a", { how = "no reason" })
		log.info("b", { how = boom })
		log.info("c", { how = false })
		local r = records("special")
		assert.are.equal(4, #r) -- the report, which no predicate judges, and the three
		assert.are.same({ "a predicate of the log failed", "a", "b", "c" }, { r[1].message, r[2].message, r[3].message, r[4].message })
		assert.are.equal("routes[1].where", r[1].predicate)
		assert.is_truthy(r[1].error:find("no reason", 1, true))
		assert.are.equal(before + 3, log.stats().functions.errors)
		assert.are.equal("", messages("m"))
		for _ = 4, 1001 do log.info("x", { how = "more" }) end
		local _, reports = messages("special"):gsub("a predicate of the log failed", "")
		assert.are.equal(1, reports) -- one in a thousand
	end)

	it("may log, yield, and configure, without an end or a crash", function()
		configure(function(fields)
			if fields.log then log.info("from inside", { log = true }) end
			if fields.yield then coroutine.yield() end
			if fields.configure then assert(log.routes{}) end
			if fields.close then log.close() end
			return false
		end)
		log.info("a", { log = true })
		assert.are.equal("from inside", messages("special"))
		assert.are.equal("a", messages("m"))
		coroutine.wrap(function() log.info("b", { yield = true }) end)()
		assert.is_truthy(messages("special"):find("b", 1, true))
		log.info("c", { configure = true })
		log.info("d", { log = true })
		assert.are.equal("c d", messages("m"))
		configure(function() log.close() return true end)
		log.info("e")
	end)

	it("see what processors have left, and judge for functions, too", function()
		local heard = {}
		configure(function(fields) return fields.n == 84 end, { outputs = { { type = "memory", name = "m" },
			special = { type = "function", fn = function(_, r) heard[#heard + 1] = r.fields.n end } } })
		assert(log.processor("number", function(n) return n * 2 end))
		log.info("x", { n = 42 }); log.info("y", { n = 1 })
		assert(log.processor("number", nil))
		assert.are.same({ 84 }, heard)
		assert.are.equal("y", messages("m"))
	end)

	it("are bounded in number, and must be functions or tables", function()
		local routes = {}
		for i = 1, 48 do routes[i] = { where = function() return i == 48 end, to = "m" } end
		assert(log.configure{ outputs = { { type = "memory", name = "m" } }, routes = routes })
		local before = log.stats().functions.calls
		log.info("m")
		assert.are.equal(before + 48, log.stats().functions.calls)
		routes[49] = { where = function() end, to = "m" }
		local ok, err = log.routes(routes)
		assert.is_nil(ok)
		assert.are.equal("invalid_config", err.code)
		assert.is_truthy(err.message:find("48", 1, true))
		ok, err = log.routes{ { where = 5, to = "m" } }
		assert.is_nil(ok)
		assert.is_truthy(err.message:find("routes[1].where", 1, true))
	end)
end)
