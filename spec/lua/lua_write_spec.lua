-- Writes on providers written in Lua: conditions, batches, raw bytes, secrets, and answers of the wrong type.
local zbz = require("zbz")
local core = require("zbz.core")
local full = require("spec.conformance.lua_memory")

local function fails(code, v, err)
	assert.is_nil(v)
	assert.are.equal(code, err and err.code)
	return err
end

local function minimal(more)
	local data = {}
	local impl = {
		get = function(_, key) return data[key] end,
		set = function(_, key, bytes)
			data[key] = bytes
			return true
		end,
		delete = function(_, key)
			data[key] = nil
			return true
		end,
	}
	for name, v in pairs(more or {}) do impl[name] = v end
	return impl, data
end

describe("conditions on a provider written in Lua", function()
	local clock, cache
	before_each(function()
		clock = core.fake_clock(1700000000000)
		zbz.cache.register_provider("w-full", function() return full({ clock = clock }) end)
		cache = assert(zbz.cache.new{ provider = "w-full", clock = clock, key_prefix = "w:" })
	end)
	after_each(function() cache:close() end)
	it("take a remembered absence and a stale entry for nothing", function()
		local t = cache:table("t", { stale_ttl = 100, neg_ttl = 100 })
		t:fetch("neg", function() return nil end)
		assert.is_false(t:set("neg", 1, { only = "present" }))
		assert.is_true(t:add("neg", 2))
		assert.are.equal(2, t:get("neg"))
		assert.is_false(t:add("neg", 3))
		t:set("stale", 1)
		t:invalidate("stale")
		assert.is_false(t:set("stale", 1, { only = "present" }))
		assert.is_true(t:add("stale", 2))
		assert.are.equal(2, t:get("stale"))
		assert.is_true(t:set("stale", 3, { only = "present" }))
	end)
	it("name every key that a batch refuses and take the others", function()
		local t = cache:table("b")
		local ok, err, errs = t:set_multi{ a = 1, [""] = 2 }
		assert.is_true(ok)
		assert.is_nil(err)
		assert.are.equal("invalid_key", errs[""].code)
		local map
		map, err, errs = t:get_multi{ "a", "" }
		assert.are.same({ a = 1 }, map)
		assert.is_nil(err)
		assert.are.equal("invalid_key", errs[""].code)
		fails("invalid_key", t:get_multi{ "" })
	end)
end)

describe("a provider without expiry", function()
	it("keeps raw bytes as they are, for their time", function()
		local clock = core.fake_clock(1700000000000)
		zbz.cache.register_provider("w-min", function() return (minimal{ no_expiry = true }) end)
		local t = assert(zbz.cache.new{ provider = "w-min", clock = clock, key_prefix = "w:" }):table("t")
		assert.is_true(t:set("k", { a = 1 }, 60))
		assert.are.equal('{"a":1}', t:get_raw("k"))
		assert.is_true(t:set_raw("r", "\0raw", 60))
		assert.are.equal("\0raw", t:get_raw("r"))
		assert.are.equal(60, t:ttl("r"))
		clock:advance(61000)
		assert.is_nil(t:get_raw("r"))
		assert.is_nil(t:get_raw("k"))
	end)
	it("adds over what has expired", function()
		local clock = core.fake_clock(1700000000000)
		local data
		zbz.cache.register_provider("w-add", function()
			local impl
			impl, data = minimal{ no_expiry = true }
			function impl.add(_, key, bytes)
				if data[key] then return false end
				data[key] = bytes
				return true
			end
			return impl
		end)
		local t = assert(zbz.cache.new{ provider = "w-add", clock = clock, key_prefix = "w:" }):table("t")
		assert.is_true(t:add("k", 1, 10))
		assert.is_false(t:add("k", 2, 10))
		clock:advance(11000)
		assert.is_true(t:add("k", 3, 10))
		assert.are.equal(3, t:get("k"))
	end)
end)

describe("a provider written in Lua", function()
	it("shows no secret of its options", function()
		zbz.cache.register_provider("w-secret", function() return (minimal()) end)
		local c = assert(zbz.cache.new{ provider = "w-secret", url = "http://user:s3cret@host/x", api_key = "s3cret", Authorization = "s3cret",
			passwd = "s3cret", size = 5 })
		local config = c:config()
		for name, v in pairs(config) do assert.is_nil(tostring(v):find("s3cret", 1, true), name) end
		assert.are.equal("http://user:***@host/x", config.url)
		assert.are.equal("5", config.size)
		c:close()
	end)
	it("answers for a cache that outlives the provider object", function()
		zbz.cache.register_provider("w-own", function()
			return (minimal{ version = function() return "7" end, stats = function() return { keys = 3 } end,
				command = function(_, words) return words[1] end, inspect = function() return { size = 1 } end })
		end)
		local p = assert(zbz.cache.provider("w-own"))
		local c = assert(zbz.cache.new{ provider = p })
		p:close()
		assert.are.equal("7", c:version())
		assert.are.equal(3, c:stats().keys)
		assert.are.same({ size = 1 }, c:inspect("k"))
		assert.are.equal("PING", c:native():command("PING"))
		c:close()
	end)
	it("may answer nonsense without raising", function()
		zbz.cache.register_provider("w-odd", function()
			return (minimal{ get = function() return '"v"', nil, 5 end, ttl = function() return "x" end, stats = function() return 5 end,
				keys = function() return function() error("no listing") end end })
		end)
		local c = assert(zbz.cache.new{ provider = "w-odd", key_prefix = "o:" })
		assert.are.equal("v", c:get("k"))
		assert.is_nil(c:ttl("k"))
		fails("unavailable", c:clear())
		assert.is_table(c:stats())
		c:close()
	end)
	it("leaves the caller's list of commands alone", function()
		zbz.cache.register_provider("w-cmd", function() return (minimal{ command = function(_, words) return words[1] end }) end)
		local c = assert(zbz.cache.new("w-cmd:"))
		local first = { "GET", "a" }
		local list = { first }
		assert.are.same({ "GET" }, c:native():pipeline(list))
		assert.are.equal(first, list[1])
		c:close()
	end)
end)
