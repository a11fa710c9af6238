-- memcached through the public API, against real servers: what the conformance suite cannot know, and faults.
local zbz = require("zbz")
local service = require("spec.services.memcached")

local server

local function open(opts)
	opts = opts or {}
	if opts.servers == nil and opts.url == nil then opts.servers = server.address end
	opts.provider, opts.timeout = "memcached", opts.timeout or "2s"
	return assert(zbz.cache.new(opts))
end

local function sorted(iterator)
	local t = {}
	for k in iterator do t[#t + 1] = k end
	table.sort(t)
	return t
end

local function fails(code, v, err)
	assert.is_nil(v)
	assert.is_table(err)
	assert.equal(code, err.code, tostring(err))
	return err
end

describe("memcached", function()
	setup(function() server = service.start() end)
	teardown(function() server.stop() end)

	it("says what it can", function()
		local cache = open()
		local caps = cache:capabilities()
		assert.is_true(caps.unsigned_incr)
		assert.is_true(cache:supports("incr") and cache:supports("keys") and cache:supports("ttl") and cache:supports("version"))
		assert.is_true(cache:ping())
		cache:close()
	end)

	it("takes a url or a list of servers, and refuses what is neither", function()
		local cache = open { url = "memcached://" .. server.address }
		local t = cache:table("t")
		assert.is_true(t:set("k", { 1, 2 }))
		assert.same({ 1, 2 }, t:get("k"))
		cache:close()
		cache = open { servers = { server.address } }
		assert.same({ 1, 2 }, cache:table("t"):get("k"))
		cache:close()
		for _, bad in ipairs { { servers = "host:0" }, { servers = "a b" }, { url = "memcached://user:secret@host" }, { timeout = "-1s" } } do
			bad.provider = "memcached"
			local err = fails("invalid_config", zbz.cache.new(bad))
			assert.is_nil(tostring(err):find("secret", 1, true))
		end
		assert.has_error(function() zbz.cache.new { provider = "memcached", server = "x" } end)
	end)

	it("opens without a server and says which one is missing", function()
		local port = require("spec.services.proc").free_port()
		local cache = open { servers = "127.0.0.1:" .. port }
		local t = cache:table("t")
		local err = fails("unavailable", t:get("k"))
		assert.is_true(err.retryable)
		assert.truthy(tostring(err):find(tostring(port), 1, true))
		fails("unavailable", t:set("k", 1))
		fails("unavailable", t:incr("k", 1))
		cache:close()
	end)

	it("keeps a TTL of more than thirty days", function()
		local cache = open()
		local t = cache:table("month")
		assert.is_true(t:set("k", "v", "31d"))
		local left = t:ttl("k")
		assert.is_true(left > 30 * 86400 and left <= 31 * 86400 + 2, tostring(left))
		assert.is_true(t:expire("k", "400d"))
		assert.is_true(t:ttl("k") > 399 * 86400)
		assert.is_true(t:expire("k", 0))
		assert.equal(math.huge, t:ttl("k"))
		assert.equal("v", t:get("k"))
		cache:close()
	end)

	it("keeps any key apart and lists it as it was", function()
		local cache = open { key_prefix = "odd:" }
		local t = cache:table("keys", { serializer = "bytes" })
		local keys = { "plain", "with space", "line\r\nbreak", "nul\0byte", "\255\254", "zbz%", "zbz#", "%41", ("l"):rep(260), ("l"):rep(5000),
			("l"):rep(4999) .. "m", "a\r\nflush_all\r\n" }
		for _, k in ipairs(keys) do assert.is_true(t:set(k, k)) end
		for _, k in ipairs(keys) do assert.equal(k, t:get(k)) end
		table.sort(keys)
		assert.same(keys, sorted(t:keys("*")))
		assert.same({ "with space" }, sorted(t:keys("with*")))
		assert.is_true(t:clear())
		assert.same({}, sorted(t:keys("*")))
		cache:close()
	end)

	it("lets no key reach another command", function()
		local cache, canary = open(), open { key_prefix = "canary:" }
		local bird = canary:table("bird", { serializer = "string" })
		assert.is_true(bird:set("k", "alive"))
		local t = cache:table("evil", { serializer = "string" })
		for _, k in ipairs { "x\r\nflush_all\r\n", "x\nflush_all\n", "x 0 0 1\r\n1\r\nflush_all\r\n", ("x"):rep(300) .. "\r\nflush_all\r\n" } do
			t:set(k, "1")
			t:get(k)
			t:incr(k, 1)
			t:get_multi { k, "other" }
			t:delete(k)
		end
		assert.equal("alive", bird:get("k"))
		local mc = assert(cache:native("memcached"))
		assert.has_error(function() mc:command("mg", "k\r\nflush_all") end)
		assert.equal("alive", bird:get("k"))
		cache:close()
		canary:close()
	end)

	it("counts without sign", function()
		local cache = open()
		local n = cache:table("n", { serializer = "string" })
		assert.equal(5, n:incr("a", 5))
		assert.equal(2, n:decr("a", 3))
		assert.equal("2", n:get("a"))
		assert.equal(0, n:decr("a", 100))
		assert.is_true(n:set("pad", "10"))
		assert.equal(9, n:decr("pad", 1))
		assert.equal("9", n:get("pad"))
		assert.is_true(n:set("text", "abc"))
		fails("type_mismatch", n:incr("text", 1))
		assert.equal("abc", n:get("text"))
		cache:close()
	end)

	it("speaks its own commands", function()
		local cache = open()
		local mc = assert(cache:native("memcached"))
		assert.truthy(mc:command("version"):match("^VERSION "))
		assert.is_true(cache:table("raw", { serializer = "string" }):set("k", "v"))
		assert.same({ "VA 1", "v" }, mc:command("mg", "raw:k", "v"))
		assert.equal("EN", mc:command("mg", "none", "v"))
		local replies = assert(mc:pipeline({ "mn" }, { "get", "none" }, { "incr", "raw:k", 1 }))
		assert.equal("MN", replies[1])
		assert.same({}, replies[2])
		assert.is_table(replies[3]) -- an error: not a number
		fails("provider_mismatch", cache:native("redis"))
		cache:close()
	end)

	it("refuses what the server would refuse", function()
		local cache = open()
		local t = cache:table("big", { serializer = "bytes" })
		fails("too_large", t:set("k", ("x"):rep(2 * 1048576)))
		assert.is_true(t:set("k", ("x"):rep(1000000)))
		assert.equal(1000000, #t:get("k"))
		cache:close()
	end)

	it("ends a call at its timeout while the server hangs, and works again after", function()
		local calm, cache = open(), open { timeout = "100ms" }
		assert.is_true(calm:table("hang"):set("k", 1))
		local t = cache:table("hang")
		server.pause()
		local first, err = t:get("k")
		local second, why = t:get("k", { deadline = "20ms" })
		server.resume()
		assert.is_true(fails("timeout", first, err).retryable)
		fails("timeout", second, why)
		cache:close()
		assert.equal(1, calm:table("hang"):get("k"))
		calm:close()
	end)

	it("goes on after a restart", function()
		local cache = open()
		local t = cache:table("again")
		assert.is_true(t:set("k", 1))
		server.restart()
		assert.equal(1, t:incr("n", 1))
		local v, err = t:get("k")
		assert.is_nil(v)
		assert.is_nil(err)
		cache:close()
	end)

	it("with one of three servers down, loses only that one's keys, and says so", function()
		local three = { service.start(), service.start(), service.start() }
		local cache = open { servers = { three[1].address, three[2].address, three[3].address } }
		local t = cache:table("t")
		local map, keys = {}, {}
		for i = 1, 60 do
			keys[i] = "key" .. i
			map[keys[i]] = i
		end
		assert.is_true(t:set_multi(map))
		three[2].kill()
		local lost = 0
		for i, k in ipairs(keys) do
			local v, err = t:get(k)
			if v == nil then
				lost = lost + 1
				assert.equal("unavailable", err.code)
			else
				assert.equal(i, v)
			end
		end
		assert.is_true(lost > 0 and lost < 60)
		local found, _, errs = t:get_multi(keys)
		local n, failed = 0, 0
		for _ in pairs(found) do n = n + 1 end
		for _ in pairs(errs) do failed = failed + 1 end
		assert.equal(60 - lost, n)
		assert.equal(lost, failed)
		fails("unavailable", cache:ping())
		fails("unavailable", t:clear())
		cache:close()
		for _, s in ipairs(three) do s.stop() end
	end)
end)
