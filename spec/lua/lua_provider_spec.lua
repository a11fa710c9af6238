-- Providers written in Lua: registration, loading, what happens when they misbehave.
local zbz = require("zbz")

local function fails(code, v, err)
	assert.is_nil(v)
	assert.are.equal(code, err.code)
	return err
end

local function plain(data)
	return {
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
end

describe("register_provider", function()
	it("makes a name like any other", function()
		local seen
		assert.is_true(zbz.cache.register_provider("mine", function(opts)
			seen = opts
			return plain({})
		end, { "size", "path" }))
		local p = assert(zbz.cache.provider("mine", { size = 5 }))
		assert.are.equal(5, seen.size)
		assert.are.equal("mine", p:name())
		assert.are.equal("mine", p:stats().provider)
		assert.is_true(p:set("k", "v"))
		assert.are.equal("v", p:get("k"))
		assert.are.same({ provider = "mine", size = "5" }, p:config())
		assert.are.equal("healthy", p:health().status)
		p:close()
		local found
		for _, name in ipairs(zbz.cache.providers()) do found = found or name == "mine" end
		assert.is_true(found)
		local c = assert(zbz.cache.new("mine:"))
		assert.are.equal("mine", c:provider_name())
		c:close()
		local ok, err = pcall(zbz.cache.provider, "mine", { sise = 5 })
		assert.is_false(ok)
		assert.is_truthy(err:find("did you mean 'size'", 1, true))
	end)
	it("refuses nonsense", function()
		fails("invalid_config", zbz.cache.register_provider("memory", print))
		assert.has_error(function() zbz.cache.register_provider("", print) end)
		assert.has_error(function() zbz.cache.register_provider("x", 5) end)
		assert.has_error(function() zbz.cache.register_provider("a b", print) end)
		zbz.cache.register_provider("empty", function() return {} end)
		local err = fails("invalid_config", zbz.cache.provider("empty"))
		assert.is_truthy(err.message:find("get", 1, true))
		zbz.cache.register_provider("notable", function() return 5 end)
		fails("invalid_config", zbz.cache.provider("notable"))
		zbz.cache.register_provider("thrower", function() error("not like this") end)
		err = fails("invalid_config", zbz.cache.provider("thrower"))
		assert.is_truthy(err.message:find("not like this", 1, true))
		zbz.cache.register_provider("sayer", function() return nil, "no room" end)
		err = fails("invalid_config", zbz.cache.provider("sayer"))
		assert.is_truthy(err.message:find("no room", 1, true))
		fails("unknown_provider", zbz.cache.provider("nope"))
		local near = fails("unknown_provider", zbz.cache.provider("memry"))
		assert.is_truthy(near.message:find("did you mean 'memory'", 1, true))
	end)
end)

describe("load_provider", function()
	it("finds modules of that name, in Lua or C", function()
		local proc = require("spec.services.proc")
		local dir = proc.folder()
		os.execute("mkdir -p " .. dir .. "/zbz/providers")
		local function write(name, text)
			local f = assert(io.open(dir .. "/zbz/providers/" .. name .. ".lua", "w"))
			f:write(text)
			f:close()
		end
		local body = [[local data = {}
return { get = function(_, k) return data[k] end, set = function(_, k, v) data[k] = v return true end,
	delete = function(_, k) data[k] = nil return true end }]]
		write("loaded_factory", "return function(opts) " .. body .. " end")
		write("loaded_table", body)
		write("loaded_self", "require('zbz').cache.register_provider('loaded_self', function() " .. body .. " end) return true")
		write("loaded_broken", "error('a mistake in it')")
		write("loaded_nothing", "return 5")
		local before = package.path
		package.path = dir .. "/?.lua;" .. package.path
		for _, name in ipairs({ "loaded_factory", "loaded_table", "loaded_self" }) do
			assert.is_true(zbz.cache.load_provider(name))
			assert.is_true(zbz.cache.load_provider(name))
			local p = assert(zbz.cache.provider(name))
			assert.is_true(p:set("k", "v"))
			assert.are.equal("v", p:get("k"))
			p:close()
		end
		local err = fails("unavailable", zbz.cache.load_provider("loaded_broken"))
		assert.is_truthy(err.message:find("a mistake in it", 1, true))
		fails("unknown_provider", zbz.cache.load_provider("loaded_nothing"))
		fails("unknown_provider", zbz.cache.load_provider("loaded_never"))
		package.path = before
		proc.remove(dir)
	end)
	it("knows those in C already", function()
		assert.is_true(zbz.cache.load_provider("memory"))
		assert.is_true(require("zbz.providers.memory"))
		assert.is_true(require("zbz.providers.redis"))
		assert.has_error(function() zbz.cache.load_provider("../x") end)
	end)
end)

describe("a provider with the least", function()
	local c, data
	before_each(function()
		data = {}
		zbz.cache.register_provider("least", function() return plain(data) end)
		c = assert(zbz.cache.new{ provider = "least", key_prefix = "p:" })
	end)
	after_each(function() c:close() end)

	it("gets full keys", function()
		c:table("t", { serializer = "bytes" }):set("k", "v")
		assert.are.same({ ["p:t:k"] = "v" }, data)
	end)
	it("answers unsupported for what it lacks, and the rest works", function()
		local t = c:table("t")
		t:set("k", 1)
		fails("unsupported", t:ttl("k"))
		fails("unsupported", t:expire("k", 5))
		fails("unsupported", t:incr("k"))
		fails("unsupported", t:add("x", 1))
		fails("unsupported", t:keys("*"))
		fails("unsupported", t:clear())
		fails("unsupported", c:native())
		assert.is_false(c:supports("incr"))
		assert.is_true(t:exists("k"))
		assert.are.same({ k = 1 }, t:get_multi{ "k", "l" })
		assert.is_true(t:set_multi{ a = 1, b = 2 })
		assert.is_true(t:delete_multi{ "a", "b" })
		assert.is_true(c:ping())
		assert.are.equal("loaded", select(3, t:fetch("f", function() return 1 end)))
	end)
	it("is shared by reference count", function()
		local closed = 0
		zbz.cache.register_provider("counted", function()
			local p = plain({})
			p.close = function() closed = closed + 1 end
			return p
		end)
		local p = assert(zbz.cache.provider("counted"))
		local a, b = assert(zbz.cache.new{ provider = p }), assert(zbz.cache.new{ provider = p })
		p:get("x")
		p:close()
		a:close()
		assert.are.equal(0, closed)
		assert.is_true(b:set("k", 1))
		b:close()
		b:close()
		assert.are.equal(1, closed)
	end)
end)

describe("a provider that misbehaves", function()
	local mode
	local c, t
	before_each(function()
		mode = "fine"
		local data = {}
		zbz.cache.register_provider("moody", function()
			local p = plain(data)
			for name, fn in pairs(p) do
				p[name] = function(...)
					if mode == "throw" then error("out of order") end
					if mode == "table" then error({ code = 5 }) end
					if mode == "error" then return nil, "says no" end
					if mode == "coded" then return nil, { code = "denied", message = "not you" } end
					if mode == "type" then return 5 end
					if mode == "false" then return false end
					return fn(...)
				end
			end
			p.keys = function()
				local n = 0
				return function()
					n = n + 1
					if n == 2 then error("half way") end
					return "t:k" .. n
				end
			end
			return p
		end)
		c = assert(zbz.cache.new{ provider = "moody" })
		t = c:table("t")
	end)
	after_each(function()
		mode = "fine"
		c:close()
	end)

	it("gives errors, never crashes", function()
		t:set("k", 1)
		for how, code in pairs({ throw = "unavailable", table = "unavailable", error = "unavailable", coded = "denied" }) do
			mode = how
			local err = fails(code, t:get("k"))
			assert.are.equal("moody", err.provider)
			assert.are.equal("k", err.key)
			assert.are.equal("t", err.table)
			fails(code, t:set("k", 2))
			fails(code, t:delete("k"))
			fails(code, t:exists("k"))
		end
		mode = "type"
		fails("corrupt", t:get("k"))
		mode = "false"
		fails("unavailable", t:set("k", 2))
		mode = "fine"
		assert.are.equal(1, t:get("k"))
		assert.is_true(t:stats().errors > 0)
	end)
	it("in the middle of a listing ends it with an error", function()
		local iterate = t:keys("*")
		assert.are.equal("k1", iterate())
		fails("unavailable", iterate())
		assert.is_nil(iterate())
	end)
	it("in a batch is reported for each key", function()
		t:set("k", 1)
		mode = "error"
		local map, err, errs = t:get_multi{ "k", "l" }
		assert.is_nil(map)
		assert.are.equal("unavailable", err.code)
		assert.are.equal("unavailable", errs.l.code)
	end)
end)
