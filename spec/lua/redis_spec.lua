-- Redis as a program sees it: ways in, what stands in the server (asked with redis-cli), native commands, pub/sub, faults.
local zbz = require("zbz")
local services = require("spec.services.redis")

local server

local function fails(code, v, err)
	assert.is_nil(v)
	assert.are.equal(code, err and err.code, tostring(err))
	return err
end

local function open(opts)
	opts = opts or {}
	opts.provider = "redis"
	opts.url = opts.url or (not (opts.host or opts.path) and server.url) or nil
	return assert(zbz.cache.new(opts))
end

-- What MONITOR shows of the commands sent while fn runs, one line each.
local function monitored(fn)
	local marker = "end-of-monitor-" .. os.time()
	local log = server.dir .. "/monitor"
	local proc = require("spec.services.proc")
	local pid = proc.spawn({ "redis-cli", "-p", tostring(server.port), "monitor" }, log)
	assert.is_true(proc.wait_until("grep -q OK " .. log, 5))
	fn()
	server.cli("ECHO " .. marker)
	assert.is_true(proc.wait_until("grep -q " .. marker .. " " .. log, 5))
	proc.signal(pid, "TERM")
	local lines = {}
	for line in io.lines(log) do
		if line:match("^%d+%.%d+ ") and not line:find(marker, 1, true) then lines[#lines + 1] = line:match('"(%u+)"') end
	end
	return lines
end

local function holds(v, secret)
	if type(v) ~= "table" then return tostring(v):find(secret, 1, true) ~= nil end
	for k, x in pairs(v) do
		if holds(k, secret) or holds(x, secret) then return true end
	end
	return false
end

local function clients() return select(2, server.cli("CLIENT LIST"):gsub("\n?id=", "")) - 1 end

describe("redis", function()
	setup(function() server = services.start() end)
	teardown(function() server.stop() end)
	before_each(function() server.cli("FLUSHALL") end)

	describe("stores", function()
		it("under prefix, table name and key, as plain serializer bytes, with a TTL", function()
			local cache = open{ key_prefix = "myapp:", default_ttl = "1h", serializer = "json" }
			local users = cache:table("users", { ttl = "30m" })
			assert.is_true(users:set("123", { id = 123 }))
			assert.is_true(cache:table("other"):set("1", "x"))
			assert.are.equal('{"id":123}', server.cli("GET myapp:users:123"))
			local left = tonumber(server.cli("TTL myapp:users:123"))
			assert.is_true(left > 1790 and left <= 1800)
			left = tonumber(server.cli("TTL myapp:other:1"))
			assert.is_true(left > 3590 and left <= 3600)
			assert.is_true(users:set("123", "x", "200ms"))
			local ms = tonumber(server.cli("PTTL myapp:users:123"))
			assert.is_true(ms > 0 and ms <= 200)
			assert.is_true(users:set("123", "x", 0))
			assert.are.equal("-1", server.cli("TTL myapp:users:123"))
			assert.are.equal(math.huge, users:ttl("123"))
			assert.is_true(users:expire("123", 100))
			assert.is_true(math.abs(users:ttl("123") - tonumber(server.cli("PTTL myapp:users:123")) / 1000) < 0.1)
			cache:close()
		end)

		it("integers exactly, and binary keys and values", function()
			local cache = open()
			local t = cache:table("t", { serializer = "json" })
			assert.is_true(t:set("n", { id = 9007199254740993 }))
			assert.are.equal('{"id":' .. ("%d"):format(9007199254740993) .. "}", server.cli("GET t:n"))
			assert.are.equal(9007199254740993, t:get("n").id)
			local bytes = cache:table("b", { serializer = "bytes" })
			local all = {}
			for i = 0, 255 do all[#all + 1] = string.char(i) end
			all = table.concat(all)
			assert.is_true(bytes:set(all, all))
			assert.are.equal(all, bytes:get(all))
			cache:close()
		end)

		it("one batch in one command, and lists with SCAN, never KEYS", function()
			local cache = open{ key_prefix = "p:" }
			local t = cache:table("t")
			local keys, map = {}, {}
			for i = 1, 100 do
				keys[i] = "k" .. i
				map[keys[i]] = i
			end
			local sent = monitored(function()
				assert.is_true(t:set_multi(map))
				assert.are.equal(100, t:get_multi(keys).k100)
				local n = 0
				for _ in t:keys("k[1-3]*") do n = n + 1 end
				assert.are.equal(34, n)
				assert.is_true(t:delete_multi(keys))
			end)
			local count = {}
			for _, name in ipairs(sent) do count[name] = (count[name] or 0) + 1 end
			assert.are.equal(1, count.MGET)
			assert.are.equal(100, count.SET)
			assert.is_nil(count.KEYS)
			assert.is_nil(count.GET)
			assert.is_true(count.SCAN >= 1)
			cache:close()
		end)

		it("and clears its own keys only", function()
			local mine, other = open{ key_prefix = "a*:" }, open{ key_prefix = "ab:" }
			for i = 1, 1500 do assert(mine:table("t"):set("k" .. i, i)) end
			assert.is_true(other:table("t"):set("k", 1))
			server.cli("SET foreign 1")
			assert.is_true(mine:clear())
			assert.are.equal(1, other:table("t"):get("k"))
			assert.are.equal("2", server.cli("DBSIZE"))
			mine:close()
			other:close()
		end)
	end)

	describe("is reached", function()
		local function works(opts)
			local cache = open(opts)
			local ok, err = cache:ping()
			assert.is_true(ok, tostring(err))
			assert.is_true(cache:table("t"):set("k", "v"))
			assert.are.equal("v", cache:table("t"):get("k"))
			cache:close()
		end

		it("by host:port, host and port, URL with database, and unix socket", function()
			works{ url = "127.0.0.1:" .. server.port }
			works{ host = "127.0.0.1", port = server.port }
			works{ url = server.url .. "/1" }
			assert.are.equal('"v"', server.cli("-n 1 GET t:k"))
			works{ path = server.socket }
			works{ url = "redis+unix://" .. server.socket .. "?db=2" }
			assert.are.equal('"v"', server.cli("-n 2 GET t:k"))
		end)

		it("over TLS, with the certificate checked", function()
			local url = "rediss://localhost:" .. server.tls_port
			works{ url = url, tls_ca = server.ca }
			works{ url = url, tls_verify = false }
			works{ host = "127.0.0.1", port = server.tls_port, enable_ssl = true, tls_ca = server.ca }
			local cache = open{ url = url }
			fails("denied", cache:ping())
			cache:close()
			cache = open{ url = url, tls_ca = server.ca, tls_server_name = "elsewhere.example" }
			fails("denied", cache:ping())
			cache:close()
		end)

		it("as an ACL user, and with a password full of signs", function()
			works{ url = "127.0.0.1:" .. server.port, username = services.user, password = services.user_password }
			local cache = open{ url = "127.0.0.1:" .. server.port, username = services.user, password = services.user_password }
			local _, err = cache:native("redis"):command("FLUSHALL")
			assert.is_truthy(err.message:find("NOPERM", 1, true))
			assert.is_nil(tostring(cache):find(services.user_password, 1, true))
			assert.is_false(holds(cache:config(), services.user_password))
			cache:close()
			cache = open{ url = "127.0.0.1:" .. server.port, username = services.user, password = "wrong-" .. services.user_password }
			err = fails("denied", cache:ping())
			assert.is_nil(tostring(err):find(services.user_password, 1, true))
			assert.is_false(err.retryable)
			cache:close()
		end)

		it("only where the options make sense", function()
			for _, url in ipairs{ "redis//x", "redis://host/one", "redis://host:port", "redis://:s3cret@h:0/1", "redis://h?x=s3cret" } do
				local err = fails("invalid_config", zbz.cache.new{ provider = "redis", url = url })
				assert.are.equal("url", err.option)
				assert.is_nil(tostring(err):find("s3cret", 1, true))
			end
			assert.are.equal("pool_size", fails("invalid_config", zbz.cache.new{ provider = "redis", pool_size = 0 }).option)
			assert.are.equal("tls_ca", fails("invalid_config", zbz.cache.new{ provider = "redis", enable_ssl = true, tls_ca = "/none" }).option)
		end)
	end)

	describe("connections", function()
		it("are shared by all that use one provider object, and outlive one of them", function()
			local before = clients()
			local p = assert(zbz.cache.provider("redis", { url = server.url }))
			local a, b = zbz.cache.contract("a", p), zbz.cache.contract("b", p)
			for i = 1, 20 do
				assert.is_true(a:set("k" .. i, i))
				assert.is_true(b:set("k" .. i, i))
			end
			assert.are.equal(before + 1, clients())
			a:close()
			assert.are.equal(1, b:get("k1"))
			b:close()
			p:close()
		end)

		it("survive CLIENT KILL, and swaps between databases", function()
			local cache = open()
			local t = cache:table("t")
			assert.is_true(t:set("k", 1))
			server.cli("CLIENT KILL TYPE normal SKIPME yes")
			assert.are.equal(1, t:get("k"))
			local other = assert(zbz.cache.provider("redis", { url = server.url .. "/1" }))
			for i = 1, 500 do
				if i == 250 then assert.is_true(cache:swap_provider(other)) end
				assert.is_true(t:set("n" .. i, i))
			end
			assert.are.equal("250", server.cli("DBSIZE")) -- k and n1 to n249
			assert.are.equal("251", server.cli("-n 1 DBSIZE"))
			other:close()
			cache:close()
		end)

		it("tell the server's own version and numbers", function()
			local cache = open()
			assert.are.equal(server.cli("INFO server"):match("redis_version:(%S+)"), cache:version())
			assert.is_true(cache:table("t"):set("k", 1))
			local stats = cache:provider_stats()
			assert.are.equal(1, stats.keys)
			assert.are.equal(1, stats.connections)
			assert.is_true(stats.memory > 100000)
			cache:close()
		end)
	end)

	describe("native", function()
		it("sends any command, alone and in a pipeline", function()
			local cache = open()
			local r = assert(cache:native("redis"))
			assert.are.equal(2, r:command("HSET", "user:123:profile", "login_count", 42, "last_ip", "192.168.1.1"))
			assert.are.equal("login_count\n42\nlast_ip\n192.168.1.1", server.cli("HGETALL user:123:profile"))
			assert.are.same({ "42", "192.168.1.1" }, r:hmget("user:123:profile", "login_count", "last_ip"))
			assert.is_nil(r:get("none"))
			local replies = r:pipeline({ "SET", "a", "1" }, { "GET", "none" }, { "LPUSH", "a", "x" }, { "INCRBY", "a", 41 })
			assert.are.equal("OK", replies[1])
			assert.are.equal(zbz.null, replies[2])
			assert.is_truthy(replies[3].message:find("WRONGTYPE", 1, true))
			assert.are.equal(42, replies[4])
			assert.are.equal(3, r:list_push("l", "a", "b", "c"))
			assert.are.same({ "a", "b", "c" }, r:list_range("l", 0, -1))
			assert.are.equal("a\nb\nc", server.cli("LRANGE l 0 -1"))
			fails("unsupported", r:command("SUBSCRIBE", "x"))
			r:command("SELECT", 5)
			assert.are.equal("42", r:get("a")) -- another connection: a database is not changed for the others
			fails("provider_mismatch", cache:native("memory"))
			cache:close()
		end)

		it("delivers what is published, through poll", function()
			local cache = open()
			local r = assert(cache:native("redis"))
			local got = {}
			local sub = assert(r:subscribe("news", function(channel, payload) got[#got + 1] = channel .. "=" .. tostring(payload) end))
			assert.are.equal("1", server.cli("PUBLISH news hello"))
			zbz.poll(5)
			assert.are.same({ "news=hello" }, got)
			server.cli("CLIENT KILL TYPE pubsub")
			zbz.poll(5)
			assert.are.equal("news=nil", got[2]) -- back again; something may have been missed
			assert.are.equal(1, r:publish("news", "more"))
			zbz.poll(5)
			assert.are.equal("news=more", got[3])
			sub:close()
			assert.are.equal("0", server.cli("PUBLISH news nobody"))
			cache:close()
		end)
	end)

	describe("failing", function()
		it("answers timeout when the server hangs, and recovers", function()
			local cache = open{ read_timeout = "200ms", max_retries = 0 }
			local t = cache:table("t")
			assert.is_true(t:set("k", 1))
			server.pause()
			local err = fails("timeout", t:get("k"))
			assert.is_true(err.retryable)
			assert.are.equal("redis", err.provider)
			fails("timeout", t:get("k", { deadline = "50ms" }))
			server.resume()
			assert.are.equal(1, t:get("k"))
			cache:close()
		end)

		it("answers unavailable while the server is away, and goes on after a restart", function()
			local cache = open{ max_retries = 1 }
			local t = cache:table("t")
			assert.is_true(t:set("k", 1))
			server.kill()
			local err = fails("unavailable", t:get("k"))
			assert.is_true(err.retryable)
			fails("unavailable", t:set("k", 2))
			server.restart()
			assert.is_nil(t:get("k"))
			assert.is_true(t:set("k", 3))
			assert.are.equal(3, t:get("k"))
			cache:close()
		end)

		it("keeps to a lost version race and to types", function()
			local cache = open()
			local t = cache:table("t", { serializer = "json" })
			assert.is_true(t:set("k", "one"))
			local _, info = t:get_with("k")
			assert.is_true(t:set("k", "two", { if_version = info.version }))
			fails("conflict", t:set("k", "three", { if_version = info.version }))
			server.cli("RPUSH t:list x")
			fails("type_mismatch", t:get("list"))
			assert.is_true(t:set("n", "text"))
			fails("type_mismatch", t:incr("n"))
			cache:close()
		end)
	end)
end)
