-- Configuration: what new, configure and provider take and refuse.
local zbz = require("zbz")

local function fails(code, v, err)
	assert.is_nil(v)
	assert.are.equal(code, err.code)
	return err
end

describe("options", function()
	it("that are unknown raise, with the nearest and the known ones", function()
		local cases = {
			{ { provider = "memory", key_prefx = "x" }, "key_prefix" }, { { provider = "memory", max_sise = 1 }, "max_size" },
			{ { provider = "redis", pol_size = 1 }, "pool_size" }, { { provider = "memory", defualt_ttl = 1 }, "default_ttl" },
			{ { provider = "filesystem", basedir = "x" }, "base_dir" }, { { provider = "memory", serialiser = "json" }, "serializer" },
		}
		for _, case in ipairs(cases) do
			local ok, err = pcall(zbz.cache.new, case[1])
			assert.is_false(ok)
			assert.is_truthy(err:find(("did you mean '%s'"):format(case[2]), 1, true), err)
			assert.is_truthy(err:find("known:", 1, true), err)
		end
		local p = assert(zbz.cache.provider("memory"))
		assert.has_error(function() zbz.cache.new{ provider = p, max_size = "1MB" } end)
		p:close()
	end)
	it("of what stands inside a layer are blamed with the way there", function()
		local function inside(inner)
			return { provider = "multitier", l1 = { provider = "memory" }, l2 = { provider = "fault", inner = inner } }
		end
		local line = debug.getinfo(1, "l").currentline
		local ok, err = pcall(function()
			return (zbz.cache.new{ provider = "multitier", l1 = { provider = "memory", max_sise = 1 }, l2 = "memory:" })
		end)
		assert.is_false(ok)
		assert.is_truthy(err:find("multitier: l1: provider 'memory' 'max_sise', did you mean 'max_size'?", 1, true), err)
		assert.is_truthy(err:find(("config_spec.lua:%d: "):format(line + 2), 1, true), err)
		ok, err = pcall(function() return (zbz.cache.new(inside({ provider = "memory", deadline = 1 }))) end)
		assert.is_false(ok)
		assert.is_truthy(err:find("multitier: l2: fault: inner: provider 'memory' 'deadline'", 1, true), err)
		assert.is_truthy(err:find(("config_spec.lua:%d: "):format(line + 7), 1, true), err)
		err = fails("invalid_config", zbz.cache.new(inside({ provider = "memory", max_size = "big" })))
		assert.are.equal("max_size", err.option)
		assert.are.equal("memory", err.provider)
		assert.are.equal("l2: inner: max_size: ", err.message:match("^l2: inner: max_size: "), err.message)
		err = fails("unknown_provider", zbz.cache.new(inside("memroy")))
		assert.are.equal("l2: inner: unknown provider 'memroy'", err.message:match("^l2: inner: unknown provider 'memroy'"), err.message)
	end)
	it("that are wrong are named", function()
		local cases = {
			{ { provider = "memory", max_size = "big" }, "max_size" }, { { provider = "memory", max_size = -1 }, "max_size" },
			{ { provider = "memory", cleanup_interval = "soon" }, "cleanup_interval" }, { { provider = "memory", eviction = "random" }, "eviction" },
			{ { provider = "redis", pool_size = "ten" }, "pool_size" }, { { provider = "redis", pool_size = 0 }, "pool_size" },
			{ { provider = "redis", read_timeout = "-5s" }, "read_timeout" }, { { provider = "redis", url = "redis//x" }, "url" },
			{ { provider = "redis", url = "redis://h:p:q" }, "url" }, { { provider = "memory", default_ttl = "soon" }, "default_ttl" },
			{ { provider = "memory", ttl = {} }, "ttl" }, { { provider = "memory", key_prefix = 5 }, "key_prefix" },
			{ { provider = "memory", serializer = "yaml" }, "serializer" }, { { provider = "memory", serialization = "yaml" }, "serializer" },
			{ { provider = "memory", deadline = "x" }, "deadline" }, { { provider = "memory", jitter = -1 }, "jitter" },
			{ {}, "provider" }, { { provider = 5 }, "provider" }, { { provider = "filesystem", permissions = "rw" }, "permissions" },
		}
		for _, case in ipairs(cases) do
			local err = fails("invalid_config", zbz.cache.new(case[1]))
			assert.are.equal(case[2], err.option)
			assert.is_truthy(tostring(err):find(case[2], 1, true))
		end
		fails("unknown_provider", zbz.cache.new{ provider = "nope" })
		fails("unknown_provider", zbz.cache.new("nope://x"))
		fails("unknown_provider", zbz.cache.new{ provider = "" })
	end)
	it("are echoed with their defaults", function()
		local p = assert(zbz.cache.provider("redis", { url = "redis://u:pw@localhost:7000/3", pool_size = 4, read_timeout = 2.5 }))
		local config = p:config()
		assert.are.equal("redis", config.provider)
		assert.are.equal("4", config.pool_size)
		assert.are.equal("2500ms", (config.read_timeout:gsub("^2s500ms$", "2500ms"):gsub("^2%.5s$", "2500ms")))
		assert.are.equal("3s", config.write_timeout)
		assert.are.equal("3", config.max_retries)
		assert.are.equal("true", config.enable_pipelining)
		p:close()
		local m = assert(zbz.cache.provider("memory", { eviction_policy = "lru" }))
		assert.are.equal("lru", m:config().eviction)
		assert.are.equal("100MB", m:config().max_size)
		assert.are.equal("1m", m:config().cleanup_interval)
		m:close()
	end)
	it("have both names of eviction", function()
		for _, name in ipairs({ "eviction", "eviction_policy" }) do
			for _, policy in ipairs({ "s3fifo", "lru", "lfu", "ttl", "tinylfu", "sieve" }) do
				local p = assert(zbz.cache.provider("memory", { [name] = policy }))
				assert.are.equal(policy, p:config().eviction)
				p:close()
			end
		end
	end)
	it("stand in URLs and nested layers", function()
		local c = assert(zbz.cache.new{ provider = { provider = "fault", inner = { provider = "memory", max_size = "1MB" } } })
		assert.are.equal("memory", c:provider_name())
		assert.is_true(c:set("k", 1))
		c:close()
		c = assert(zbz.cache.new{ provider = "fault", inner = "memory:" })
		assert.is_true(c:set("k", 1))
		c:close()
		local p = assert(zbz.cache.provider("memory"))
		c = assert(zbz.cache.new{ provider = "fault", inner = p })
		assert.is_true(c:set("k", 1))
		assert.are.equal("1", p:get("k"))
		c:close()
		p:close()
		fails("invalid_config", zbz.cache.new{ provider = "fault" })
		fails("unknown_provider", zbz.cache.new{ provider = "fault", inner = { provider = "nope" } })
	end)
	it("leave nothing behind when they fail", function()
		for _ = 1, 200 do
			zbz.cache.new{ provider = "memory", max_size = "big" }
			zbz.cache.new{ provider = "memory", default_ttl = "soon" }
		end
		collectgarbage()
	end)
end)

describe("durations and sizes", function()
	it("of forty kinds", function()
		local cases = {
			{ 5, 5 }, { 0, 0 }, { 0.25, 0.25 }, { "5", 5 }, { "0.25", 0.25 }, { "100ms", 0.1 }, { "5s", 5 }, { "30m", 1800 }, { "1h", 3600 },
			{ "1h30m", 5400 }, { "7d", 604800 }, { "1w", 604800 }, { "1d12h", 129600 }, { "1.5h", 5400 }, { "2m30s", 150 }, { "90s", 90 },
			{ "1h0m5s", 3605 }, { "500ms", 0.5 }, { "1s500ms", 1.5 }, { 0.001, 0.001 }, { "0", 0 }, { "0s", 0 }, { 86400, 86400 },
			{ "", nil }, { "-1", nil }, { -1, nil }, { "5x", nil }, { "h", nil }, { "1h30", nil }, { "abc", nil }, { "1 h x", nil }, { 0 / 0, nil },
			{ "--5s", nil }, { "5s-", nil }, { "1e99h", nil }, { ".", nil }, { "99999999999999999999d", nil }, { "\0005s", nil }, { "5\0s", nil },
			{ "m5", nil },
		}
		assert.are.equal(40, #cases)
		for i, case in ipairs(cases) do
			local ok, v = pcall(zbz.duration, case[1])
			assert.is_true(ok)
			assert.are.equal(case[2], v, "case " .. i .. ": " .. tostring(case[1]))
		end
	end)
	it("of sizes", function()
		local cases = { { "4096", 4096 }, { "50MB", 52428800 }, { "1.5GB", 1610612736 }, { "1kb", 1024 }, { 5, 5 },
			{ "x", nil }, { "-1", nil }, { "", nil }, { "5XB", nil } }
		for i, case in ipairs(cases) do
			local _, v = pcall(zbz.size, case[1])
			if case[2] == nil then assert.is_not_number(v) else assert.are.equal(case[2], v, "case " .. i) end
		end
	end)
end)

describe("Redis settings", function()
	local server
	setup(function() server = require("spec.services.redis").start({ password = "p@ss:word/%" }) end)
	teardown(function() server.stop() end)

	it("build the address from parts, whatever the password holds", function()
		local c = assert(zbz.cache.new{ provider = "redis", host = server.host, port = server.port, password = "p@ss:word/%",
			database = 2, timeout = "5s" })
		assert.is_true(c:set("k", "v"))
		assert.are.equal('"v"', server.cli("-n 2 get k"))
		c:close()
	end)
	it("take them from the URL", function()
		local c = assert(zbz.cache.new(server.url .. "/1"))
		assert.is_true(c:set("k", "v", 0))
		assert.are.equal('"v"', server.cli("-n 1 get k"))
		assert.is_truthy(c:version():match("^%d+%.%d+"))
		c:close()
	end)
	it("know ACL users", function()
		local redis = require("spec.services.redis")
		local c = assert(zbz.cache.new{ provider = "redis", host = server.host, port = server.port, username = redis.user,
			password = redis.user_password })
		assert.is_true(c:set("k", 1))
		fails("denied", c:native("redis"):command("FLUSHALL"))
		c:close()
		local d = assert(zbz.cache.new{ provider = "redis", host = server.host, port = server.port, password = "wrong", max_retries = 0 })
		fails("denied", d:get("k"))
		d:close()
	end)
	it("speak TLS", function()
		local c = assert(zbz.cache.new{ provider = "redis", host = server.host, port = server.tls_port, password = "p@ss:word/%",
			enable_ssl = true, tls_ca = server.ca })
		assert.is_true(c:ping())
		assert.is_true(c:set("k", "over tls"))
		assert.are.equal("over tls", c:get("k"))
		c:close()
	end)
	it("are told by stats: keys and connections", function()
		local p = assert(zbz.cache.provider("redis", { url = server.url .. "/7", pool_size = 3 }))
		p:set_multi({ a = "1", b = "2", c = "3" }, 0)
		local s = p:stats()
		assert.are.equal("redis", s.provider)
		assert.are.equal("3", server.cli("-n 7 dbsize"))
		assert.are.equal(3, s.keys)
		local open = 0
		for line in server.cli("client list"):gmatch("[^\n]+") do
			if line:find(" db=7 ", 1, true) then open = open + 1 end
		end
		assert.are.equal(open, s.connections)
		assert.is_true(s.memory > 100000)
		p:close()
	end)
	it("keep contracts apart: three lives, three encodings, three prefixes", function()
		local p = assert(zbz.cache.provider("redis", { url = server.url .. "/5" }))
		local made = {
			zbz.cache.contract("a", p, { ttl = "1h", serializer = "json", prefix = "a:" }),
			zbz.cache.contract("b", p, { ttl = "2h", serializer = "msgpack", prefix = "b:" }),
			zbz.cache.contract("c", p, { ttl = 0, serializer = "string", prefix = "c:" }),
		}
		made[1]:set("k", { x = 1 })
		made[2]:set("k", { x = 1 })
		made[3]:set("k", "x")
		assert.is_true(p:ping())
		assert.are.equal('{"x":1}', server.cli("-n 5 get a:k"))
		assert.are.equal("x", server.cli("-n 5 get c:k"))
		assert.are.equal("4", server.cli("-n 5 strlen b:k"))
		assert.is_true(tonumber(server.cli("-n 5 ttl b:k")) > 7190)
		assert.are.equal("-1", server.cli("-n 5 ttl c:k"))
		assert.is_true(tonumber(p:stats().connections) <= 3)
		for _, c in ipairs(made) do c:close() end
		p:close()
	end)
end)
