-- Nothing in a configuration of the log is passed over in silence: a list of names written as a set would hide nothing, an output behind a
-- hole would get nothing, a pattern that raises at some text would cost the record.
local zbz = require("zbz")
local log = zbz.log

local function refused(opts, named)
	opts.outputs = opts.outputs or { { type = "null" } }
	local ok, err = log.configure(opts)
	assert.is_nil(ok)
	assert.is_truthy(tostring(err):find(named, 1, true), tostring(err))
end

describe("a configuration of the log that would be overlooked", function()
	before_each(function() assert(log.configure{ outputs = { { type = "memory", name = "m" } }, redact = false }) end)
	after_each(function() log.close() end)

	it("is refused in redaction", function()
		refused({ redact = { keys = { password = true } } }, "redact: keys: expects a list without holes, and 'password'")
		refused({ redact = { nil, "password" } }, "redact: keys: the list: expects a list without holes, and '2'")
		refused({ redact = { hash = { user = "x" }, key = ("k"):rep(16) } }, "'user'")
		refused({ redact = { scan = { card = true } } }, "redact: scan: expects a list without holes, and 'card'")
		refused({ redact = { pattern = { a = "x" } } }, "redact: pattern: expects a list")
		refused({ redact = { pattern = 5 } }, "redact: pattern: no Lua pattern: 5")
	end)

	it("is refused in patterns that fail at some texts only", function()
		for _, p in ipairs{ "(", "a(", "a)", "(a))", "x%", "[a", "x[^]", "x[]", "[a%", "x%f", "x%fa", "x%b", "x%b(", "%1", "(a%1)", "x%0",
			("()"):rep(33) } do
			refused({ redact = { pattern = p } }, "redact: pattern: no Lua pattern: " .. p)
		end
		for _, p in ipairs{ "", "a", "()", "(a)%1", "[]]", "[^]]", "[%]]", "[a-]", "[[]", "x%b()", "x%f[%w]", "%%", "%(",
			"[%w_]+", "^a$", ".-", "((a)b)%2",
			"]", ("()"):rep(32) } do
			assert(log.redact{ pattern = p })
			log.info("x", { a = "xab()" })
			assert.are.equal(1, #log.drain("m"))
		end
	end)

	it("is refused in outputs, routes and predicates", function()
		refused({ outputs = { nil, { type = "null" } } }, "outputs: expects a list without holes, and '2'")
		refused({ outputs = { [true] = { type = "null" } } }, "outputs: expects a list")
		refused({ outputs = { [1.5] = { type = "null" } } }, "outputs: expects a list")
		refused({ loggers = { a = { outputs = { b = { type = "null" } } } } }, "logger 'a': outputs: expects a list without holes, and 'b'")
		refused({ outputs = { { type = "null", metadata = { a = "trace_id" } } } }, "metadata: expects a list")
		refused({ routes = { nil, { to = "null" } } }, "routes: expects a list without holes, and '2'")
		refused({ routes = { { to = { a = "null" } } } }, "routes[1].to: expects a list")
		refused({ durations = { latency = true } }, "durations: expects a list")
		local function where(w, named) refused({ routes = { { where = { a = w }, to = "null" } } }, named) end
		where({}, "routes[1].where: a: is an empty table")
		where({ "x", min = 1 }, "routes[1].where: a: expects a list without holes, and 'min'")
		where({ exists = "no" }, "a: exists must be true or false")
		where({ min = 0 / 0 }, "a: min must be a number")
		where(0 / 0, "a: nothing equals NaN")
	end)

	it("is not an output named fn", function()
		local heard = 0
		assert(log.configure{ outputs = { { type = "memory", name = "m" }, fn = { fn = function() heard = heard + 1 end } },
			routes = { { logger = "a", to = { "fn", "m" } } } })
		log.logger("a"):info("x")
		assert.are.same({ 1, 1 }, { heard, #log.drain("m") })
	end)

	it("is refused in limits", function()
		for _, v in ipairs{ 0 / 0, 1 / 0, 1.5, 1e300 } do
			refused({ sampling = { initial = v } }, "sampling: initial and thereafter are whole numbers")
			refused({ sampling = { thereafter = v } }, "sampling: initial and thereafter are whole numbers")
			refused({ rate_limit = v }, "rate_limit: expects whole records a second")
			refused({ rate_limit = { rate = 1, burst = v } }, "rate_limit: expects whole records a second")
		end
		assert.has_error(function() log.configure{ rate_limit = { rate = 1, brst = 1 } } end)
		assert.has_error(function() log.configure{ name = "x" } end)
		assert(log.configure{ rate_limit = { rate = 1 }, sampling = { initial = 1, thereafter = 0 } })
		assert(log.configure{ outputs = { { type = "memory", name = "m" } }, sampling = false, rate_limit = false })
	end)

	it("is not the root's outputs, when only its level is given", function()
		assert(log.logger("", { level = "debug" }))
		log.debug("seen")
		assert.are.equal(1, #log.drain("m"))
		assert(log.logger("", { outputs = {} }))
		log.debug("unseen")
		assert.are.equal(0, #(log.drain("m") or {}))
	end)
end)
