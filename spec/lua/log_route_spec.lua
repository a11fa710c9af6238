-- Routes: outside the code, by name, level and fields, replaced while everything runs.
local zbz = require("zbz")
local core = require("zbz.core")
local proc = require("spec.services.proc")
local log = zbz.log

local function count(name) return #assert(log.drain(name)) end
local function messages(path)
	local t = {}
	for line in io.lines(path) do t[#t + 1] = line:match('"message":"([^"]*)"') or line end
	return t
end

describe("routes", function()
	local dir
	setup(function() dir = proc.folder() end)
	teardown(function() proc.remove(dir) end)
	after_each(function() log.close() end)

	local function memory(routes)
		return log.configure{ level = "debug", routes = routes, outputs = { { type = "memory", name = "rest" },
			audit = { type = "memory" }, monitoring = { type = "memory" } } }
	end

	it("send user events to the audit log, alerts to monitoring and debug to a local file", function()
		assert(log.configure{ outputs = { { type = "memory", name = "rest" }, audit = { type = "file", path = dir .. "/audit.log" },
			monitoring = { type = "file", path = dir .. "/monitoring.log" } } })
		assert(log.routes{ ["user-events"] = "audit", ["system-alerts"] = "monitoring", debug = "file:" .. dir .. "/debug.log" })
		local users, alerts, debugging = log.logger("user-events"), log.logger("system-alerts"), log.logger("debug", { level = "debug" })
		users:info("User login", { user_id = "123" })
		alerts:error("Database connection failed", { error = select(2, zbz.cache.get("x")) })
		debugging:debug("Query executed", { latency = zbz.ms(42) })
		log.info("something else")
		assert(log.flush())
		assert.are.same({ "User login" }, messages(dir .. "/audit.log"))
		assert.are.same({ "Database connection failed" }, messages(dir .. "/monitoring.log"))
		assert.are.same({ "Query executed" }, messages(dir .. "/debug.log"))
		assert.are.equal(1, count("rest"))
	end)

	it("go by pattern, level and fields, to one output or several", function()
		assert(memory{
			{ logger = "user-events", to = "audit" },
			{ logger = "system-*", level = ">=error", to = { "monitoring", "audit" } },
			{ level = "<=debug", where = { module = "db" }, to = "monitoring" },
			{ where = { status = ">=500" }, to = "monitoring" },
			{ where = { tenant = "acme*", vip = true }, to = "audit" },
			{ where = { region = { "eu", "us" }, ms = { min = 10, max = 20 } }, to = "audit" },
			{ where = { probe = { exists = true } }, to = "audit+monitoring" },
			{ where = { kind = "!=x", mark = 1 }, to = "audit" },
		})
		local function where(l, level, fields)
			l[level](l, "m", fields)
			return count("audit") .. count("monitoring") .. count("rest")
		end
		local users, system, other = log.logger("user-events"), log.logger("system-disk"), log.logger("other")
		assert.are.equal("100", where(users, "info"))
		assert.are.equal("001", where(system, "warn"))
		assert.are.equal("110", where(system, "fatal"))
		assert.are.equal("010", where(other, "debug", { module = "db" }))
		assert.are.equal("001", where(other, "info", { module = "db" }))
		assert.are.equal("010", where(other, "info", { status = 500 }))
		assert.are.equal("001", where(other, "info", { status = 499 }))
		assert.are.equal("001", where(other, "info", { status = "500" }))
		assert.are.equal("100", where(other, "info", { tenant = "acme-1", vip = true }))
		assert.are.equal("001", where(other, "info", { tenant = "acme-1", vip = false }))
		assert.are.equal("100", where(other, "info", { region = "us", ms = 20 }))
		assert.are.equal("001", where(other, "info", { region = "us", ms = 20.5 }))
		assert.are.equal("001", where(other, "info", { region = "asia", ms = 15 }))
		assert.are.equal("110", where(other, "info", { probe = false }))
		assert.are.equal("100", where(other, "info", { mark = 1 }))
		assert.are.equal("001", where(other, "info", { mark = 1, kind = "x" }))
		assert.are.equal("110", where(users, "info", { status = 503 }))
		local bound = other:with{ status = 503 }
		assert.are.equal("010", where(bound, "info", {}))
		assert.are.equal("001", where(bound, "info", { status = 200 }))
		other:event("m", "status")(500)
		assert.are.equal(1, count("monitoring"))
	end)

	it("to an output that does not exist are an error that names it and its nearest", function()
		assert(memory{ { logger = "a", to = "audit" } })
		for _, bad in ipairs{ { { logger = "b", to = "audti" } }, { b = "audti" }, { { to = { "audit", "audti" } } } } do
			local ok, err = log.routes(bad)
			assert.is_nil(ok)
			assert.are.equal("invalid_config", err.code)
			assert.is_truthy(tostring(err):find("'audti'", 1, true) and tostring(err):find("did you mean 'audit'", 1, true), tostring(err))
		end
		log.logger("a"):info("as before")
		assert.are.equal(1, count("audit"))
		local ok, err = log.outputs{ audit = false }
		assert.is_nil(ok)
		assert.is_truthy(err.message:find("'audit'", 1, true))
		for _, bad in ipairs{ { { to = "audit", level = "loud" } }, { { to = "audit", where = { a = print } } },
			{ { to = "audit", where = { a = ">x" } } },
			{ { to = "audit", where = { a = { mni = 1 } } } }, { { to = "audit", where = 1 } }, { { to = "audit", logger = 1 } }, { 1 } } do
			local fine, why = log.routes(bad)
			assert.is_nil(fine)
			assert.are.equal("invalid_config", why.code)
		end
		assert.has_error(function() log.routes{ { to = "audit", lvl = "info" } } end)
	end)

	it("a disabled level stays off, and one that no output takes costs nothing", function()
		assert(log.configure{ level = "info", outputs = { { type = "memory", name = "m", level = "error" }, loud = { type = "memory" } } })
		local l = log.logger("l")
		assert.are_not.equal("C", debug.getinfo(l.info, "S").what)
		assert.are.equal(l.debug, l.info)
		assert(log.routes{ { logger = "l", where = { x = 1 }, to = "loud" } })
		assert.are_not.equal(l.debug, l.info)
		l:info("y", { x = 1 }); l:info("n", { x = 2 }); l:debug("n", { x = 1 })
		assert.are.equal(1, count("loud"))
		assert.are.equal(1, log.stats().nowhere - 0)
	end)

	it("are replaced 1000 times while a flood of records goes on, none lost, none twice", function()
		assert(log.configure{ level = "info", outputs = { a = { type = "file", path = dir .. "/a.log" },
			b = { type = "file", path = dir .. "/b.log" } } })
		local l, n = log.logger("flood"), 0
		local req, ev = l:with{ r = 1 }, l:event("e", "n")
		for i = 1, 1000 do
			assert(log.routes{ { logger = i % 2 == 0 and "fl*" or "*", to = i % 3 == 0 and "a" or "b" } })
			for _ = 1, 3 do n = n + 1; l:info("t", { n = n }) end
			n = n + 1; ev(n)
			n = n + 1; req:info("r", { n = n })
		end
		assert(log.flush(30))
		local seen, total = {}, 0
		for _, name in ipairs{ "a", "b" } do
			local last = 0
			for line in io.lines(dir .. "/" .. name .. ".log") do
				local i = assert(core.json_decode(line)).n
				assert.is_nil(seen[i])
				assert.is_true(i > last)
				seen[i], last, total = true, i, total + 1
			end
		end
		assert.are.equal(n, total)
	end)

	it("leave a listener everything", function()
		local heard = {}
		assert(memory{ { logger = "a", to = "audit" } })
		assert(log.on_event(function(r) heard[#heard + 1] = r; assert(r.message ~= "throw") end))
		log.logger("a"):info("x", { k = "v", s = zbz.secret("hidden") })
		log.info("throw")
		log.debug("d")
		assert.are.equal(3, #heard)
		assert.are.same({ k = "v", s = "***" }, heard[1].fields)
		assert.are.same({ "info", "a", "x" }, { heard[1].level, heard[1].logger, heard[1].message })
		assert.are.equal(1, count("audit"))
		assert.are.equal(2, count("rest"))
		assert(log.on_event(nil))
		log.info("nobody")
		assert.are.equal(3, #heard)
	end)
end)
