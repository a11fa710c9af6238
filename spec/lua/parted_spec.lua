-- Tables that are closed by themselves, the cache going on: those with l1, a schema, or a serializer written in Lua.
local redis = require("spec.services.redis")
local zbz = require("zbz")

local KINDS = { l1 = { l1 = 10 }, schema = { schema = { v = "integer" } } }

for kind, opts in pairs(KINDS) do
	describe("a table that was closed, " .. kind, function()
		local c, t
		before_each(function()
			c = assert(zbz.cache.new("memory"))
			t = assert(c:table("t", opts))
			for i = 1, 3 do assert(t:set("k", { v = i })) end
			assert(t:get("k"))
			t:close()
		end)
		after_each(function() c:close() end)

		it("leaves its cache in order, its counters in the sums", function()
			local s = assert(c:stats())
			assert.are.same({ 3, 1, 0 }, { s.sets, s.hits, s.tables })
			t:close()
			assert.are.equal(3, c:stats().sets)
			assert.is_true(c:health().status ~= nil)
			assert(c:swap_provider("memory"))
			assert.are.equal(3, c:stats().sets)
		end)

		it("leaves its name to the next one, which may have other options", function()
			local next_one = assert(c:table("t", { ttl = "5s" }))
			assert.are_not.equal(t, next_one)
			assert.are.same({ v = 3 }, next_one:get("k"))
			assert.are.equal(next_one, c:table("t"))
			t:close() -- twice is fine, and is not the next one's end
			assert.are.equal(next_one, c:table("t"))
			assert.are.same({ v = 3 }, next_one:get("k"))
			assert.are.equal(3, c:stats().sets)
			assert.are.equal(1, c:stats().tables)
		end)
	end)
end

describe("a table that was closed, on a server of others", function()
	it("is among those that clear empties", function()
		local server = redis.start()
		local c = assert(zbz.cache.new{ provider = "redis", url = server.url })
		local t = assert(c:table("t", KINDS.schema))
		assert(t:set("k", { v = 1 }))
		assert(c:table("u"):set("k", 1))
		server.cli("SET other 1")
		t:close()
		local ok, n = c:clear()
		assert.are.same({ true, 2 }, { ok, n })
		assert.are.equal("1", (server.cli("DBSIZE"):match("%d+")))
		c:close()
		server.stop()
	end)
end)
