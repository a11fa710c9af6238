-- configure_from_env.
local zbz = require("zbz")

local function fails(code, v, err)
	assert.is_nil(v)
	assert.are.equal(code, err.code)
	return err
end

describe("the environment", function()
	after_each(function() zbz.cache.close() end)

	it("unset gives memory with the defaults", function()
		local c = assert(zbz.cache.configure_from_env({}))
		assert.are.equal("memory", c:provider_name())
		assert.are.equal(3600, c:default_ttl())
		assert.are.equal("", c:key_prefix())
		local config = c:config()
		assert.are.equal("json", config.serializer)
		assert.are.equal("2m", config.cleanup_interval)
		assert.are.equal(c, zbz.cache.default())
	end)
	it("gives the cache its settings, under both names", function()
		local c = assert(zbz.cache.configure_from_env({ CACHE_PROVIDER = "memory", CACHE_DEFAULT_TTL = "30m", CACHE_KEY_PREFIX = "env:",
			CACHE_SERIALIZATION = "msgpack", MEMORY_CACHE_MAX_SIZE = "10MB", MEMORY_CACHE_CLEANUP_INTERVAL = "30s" }))
		assert.are.equal(1800, c:default_ttl())
		assert.are.equal("env:", c:key_prefix())
		assert.are.equal("msgpack", c:config().serializer)
		assert.are.equal("10MB", c:config().max_size)
		assert.are.equal("30s", c:config().cleanup_interval)
		c = assert(zbz.cache.configure_from_env({ CACHE_TTL = "90", CACHE_PREFIX = "p:" }))
		assert.are.equal(90, c:default_ttl())
		assert.are.equal("p:", c:key_prefix())
		c = assert(zbz.cache.configure_from_env({ CACHE_TTL = "90", CACHE_DEFAULT_TTL = "80", CACHE_PREFIX = "" }))
		assert.are.equal(80, c:default_ttl())
	end)
	it("gives Redis its settings, and an address without scheme", function()
		local c = assert(zbz.cache.configure_from_env({ CACHE_PROVIDER = "redis", REDIS_URL = "localhost:6390", REDIS_POOL_SIZE = "7",
			REDIS_MAX_RETRIES = "1", REDIS_READ_TIMEOUT = "4s", REDIS_WRITE_TIMEOUT = "250ms", REDIS_ENABLE_PIPELINING = "no",
			MEMORY_CACHE_MAX_SIZE = "1MB" }))
		local config = c:config()
		assert.are.equal("redis", config.provider)
		assert.are.equal("7", config.pool_size)
		assert.are.equal("1", config.max_retries)
		assert.are.equal("4s", config.read_timeout)
		assert.are.equal("250ms", config.write_timeout)
		assert.are.equal("false", config.enable_pipelining)
		for _, yes in ipairs({ "true", "1", "yes" }) do
			c = assert(zbz.cache.configure_from_env({ CACHE_PROVIDER = "redis", REDIS_ENABLE_PIPELINING = yes }))
			assert.are.equal("true", c:config().enable_pipelining)
		end
		c = assert(zbz.cache.configure_from_env({ CACHE_PROVIDER = "redis" }))
		config = c:config()
		assert.are.equal("10", config.pool_size)
		assert.are.equal("3", config.max_retries)
		assert.are.equal("5s", config.read_timeout)
		assert.are.equal("3s", config.write_timeout)
		assert.are.equal("true", config.enable_pipelining)
	end)
	it("gives memcached and the file system theirs", function()
		local c = assert(zbz.cache.configure_from_env({ CACHE_PROVIDER = "memcached", MEMCACHED_SERVERS = "127.0.0.1:11999,127.0.0.1:11998" }))
		assert.is_truthy(c:config().servers:find("11999", 1, true))
		local proc = require("spec.services.proc")
		local dir = proc.folder()
		c = assert(zbz.cache.configure_from_env({ CACHE_PROVIDER = "filesystem", FILESYSTEM_CACHE_DIR = dir,
			FILESYSTEM_CACHE_PERMISSIONS = "0600" }))
		c:set("k", "v")
		local modes = proc.output("find " .. dir .. " -type f -printf '%m\\n'")
		for mode in modes:gmatch("%d+") do assert.are.equal("600", mode) end
		assert.is_truthy(modes:find("600"))
		zbz.cache.close()
		proc.remove(dir)
	end)
	it("that is wrong is an error naming the variable", function()
		assert(zbz.cache.configure{ provider = "memory" })
		zbz.cache.set("k", "v")
		local err = fails("unknown_provider", zbz.cache.configure_from_env({ CACHE_PROVIDER = "bogus" }))
		assert.is_truthy(err.message:find("CACHE_PROVIDER", 1, true) and err.message:find("memory", 1, true))
		local wrong = { { { CACHE_TTL = "soon" }, "CACHE_TTL" }, { { CACHE_SERIALIZATION = "yaml" }, "CACHE_SERIALIZATION" },
			{ { CACHE_PROVIDER = "redis", REDIS_POOL_SIZE = "ten" }, "REDIS_POOL_SIZE" },
			{ { CACHE_PROVIDER = "redis", REDIS_URL = "redis://[x" }, "REDIS_URL" },
			{ { MEMORY_CACHE_MAX_SIZE = "big" }, "MEMORY_CACHE_MAX_SIZE" } }
		for _, case in ipairs(wrong) do
			err = fails("invalid_config", zbz.cache.configure_from_env(case[1]))
			assert.is_truthy(err.message:find(case[2], 1, true), err.message)
		end
		assert.are.equal("v", zbz.cache.get("k"))
	end)
	it("is read from the process", function()
		local lua = rawget(_G, "jit") and "luajit" or "lua5.4"
		local f = assert(io.popen("CACHE_PREFIX=proc: CACHE_TTL=5m " .. lua
			.. " -e 'local zbz = require(\"zbz\"); local c = assert(zbz.cache.configure_from_env()); print(c:key_prefix(), c:default_ttl())' 2>&1"))
		local out = f:read("*a")
		f:close()
		assert.is_truthy(out:match("^proc:%s+300"), out)
	end)
	it("takes a function instead of the process", function()
		local c = assert(zbz.cache.configure_from_env(function(name) return name == "CACHE_PREFIX" and "fn:" or nil end))
		assert.are.equal("fn:", c:key_prefix())
	end)
end)
