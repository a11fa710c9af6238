-- What is raised begins with zbz and the call, and names the option and what it got; tables with l1 say it as others do.
local zbz = require("zbz")

local function raises(text, fn, ...)
	local fine, err = pcall(fn, ...)
	assert.is_false(fine)
	assert.are.equal(text, (tostring(err):gsub("^%S+:%d+: ", "")))
end

describe("the text of what is raised", function()
	local cache = assert(zbz.cache.new("memory"))

	for kind, opts in pairs({ plain = {}, l1 = { l1 = 10 }, schema = { schema = { a = "any" } } }) do
		it("by a table, " .. kind, function()
			local t = assert(cache:table(kind, opts))
			raises([[zbz: get: options must be a table, got number]], t.get, t, "k", 5)
			raises([[zbz: set: ttl: 'abc' is no duration: a number is expected, as in "1h30m"]], t.set, t, "k", 1, "abc")
			raises([[zbz: set: ttl: expects a duration, got NaN]], t.set, t, "k", 1, 0 / 0)
			raises([[zbz: set: only must be "absent" or "present", got "sometimes"]], t.set, t, "k", 1, { only = "sometimes" })
			raises([[zbz: keys: the pattern must be a string, got number]], t.keys, t, 5)
			raises([[zbz: fetch: deadline: 'x' is no duration: a number is expected, as in "1h30m"]], t.fetch, t, "k", { deadline = "x" }, error)
			raises([[zbz: fetch: ttl: a duration cannot be negative (got -1)]], t.fetch, t, "k", { ttl = -1 }, error)
			raises([[zbz: fetch: jitter: expects a number from 0 to 1, got 3]], t.fetch, t, "k", { jitter = 3 }, error)
		end)
	end

	it("by options", function()
		raises([[zbz: unknown option of swap_provider 'dl'; known: deadline]], cache.swap_provider, cache, "memory", { dl = 1 })
		raises([[zbz: table 'x': ttl: a duration cannot be negative (got -1)]], cache.table, cache, "x", { ttl = -1 })
		raises([[zbz: ping: deadline: a duration cannot be negative (got -1)]], cache.ping, cache, -1)
		raises([[zbz: poll: timeout: a duration cannot be negative (got -1)]], zbz.poll, -1)
		raises([[zbz: run: timeout: 'x' is no duration: a number is expected, as in "1h30m"]], zbz.run, "x")
		local fine, err = pcall(zbz.cache.new, { provider = "multitier", l1 = { provider = "memory", max_siz = 5 }, l2 = "memory:" })
		assert.is_false(fine)
		assert.matches("^zbz: unknown option of multitier: l1: provider 'memory' 'max_siz', did you mean 'max_size'%? known: ", err)
		local none, wrong = cache:table("x", { l1 = "100" })
		assert.is_nil(none)
		assert.are.equal([[l1: expects a number of entries from 0 to 10000000, got "100"]], wrong.message)
	end)
end)
