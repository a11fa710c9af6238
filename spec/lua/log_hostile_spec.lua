-- Functions of the program that mean no good: formatters that return too much or command a terminal, errors that cannot be shown.
local zbz = require("zbz")
local core = require("zbz.core")
local log = zbz.log

describe("a hostile", function()
	after_each(function() log.close() end)

	local function formatted(fn, opts)
		opts = opts or {}
		opts.outputs = { { type = "memory", name = "m", size = "4MB", format = fn } }
		assert(log.configure(opts))
		log.info("said", { a = 1 })
		local lines = assert(log.drain("m"))
		assert.are.equal(1, #lines)
		return lines[1]
	end

	it("formatter commands no terminal, begins no line and writes UTF-8", function()
		for given, shown in pairs{
			["a\nb\r\27[31m\0\127"] = "a\\nb\\r\\u001b[31m\\u0000\\u007f", ["\15531m"] = "\239\191\18931m", ["\194\15531m"] = "\\u009b31m",
			["\255\254"] = "\239\191\189\239\191\189", ["\226\128\174evil"] = "\\u202eevil",
			["é \"q\" \\"] = "é \"q\" \\", ["one\n"] = "one", [""] = "",
		} do
			assert.are.equal(shown, formatted(function() return given end))
		end
	end)

	it("formatter loses no record by returning more than one may have", function()
		local r = assert(core.json_decode(formatted(function() return ("x"):rep(3000000) end)))
		assert.are.same({ "said", 1 }, { r.message, r.a })
		assert.is_truthy(log.stats().functions.last_error:find("3000000 bytes, more than max_record", 1, true))
		assert.are.equal(4000, #formatted(function() return ("x"):rep(4000) end, { max_record = "4KB" }))
		assert.is_truthy(formatted(function() return ("x"):rep(5000) end, { max_record = "4KB" }):find('"said"', 1, true))
	end)

	it("error of a function does not break stats()", function()
		assert(log.configure{ outputs = { { fn = function()
			error(setmetatable({}, { __tostring = function() error("not even this") end }))
		end } } })
		log.info("x")
		assert.are.equal("(an error that cannot be shown)", log.stats().functions.last_error)
		assert(log.configure{ outputs = { { fn = function() error(nil) end } } })
		log.info("x")
		assert.is_true(log.stats().functions.errors >= 2)
	end)
end)
