-- Two tiers over a real Redis: what others change there is seen through the local tier, and when it cannot be heard of, the local tier
-- is not used.
local zbz = require("zbz")
local eventually = require("zbz.testkit").eventually
local peer = require("spec.lua.multitier_peer")
local proc = require("spec.services.proc")
local services = require("spec.services.redis")

local LUA = rawget(_G, "jit") and "luajit" or "lua5.4"
local server

local function open(opts)
	local all = { provider = "multitier", key_prefix = "app:", serializer = "string", default_ttl = 0 }
	for k, v in pairs(opts or {}) do all[k] = v end
	all.l1 = all.l1 or { provider = "memory", max_size = "10MB" }
	all.l2 = all.l2 or { provider = "redis", url = server.url, read_timeout = "300ms", timeout = "1s", max_retries = 0 }
	return assert(zbz.cache.new(all))
end

local function tier(cache, key)
	local _, info = cache:get_with(key)
	return info and info.tier
end

-- The value is in the local tier, and is served from there.
local function warm(cache, key, value)
	assert.is_true(eventually(function() return cache:get(key) == value and tier(cache, key) == "l1" end, 10))
end

local function becomes(cache, key, value)
	local ok = eventually(function() return cache:get(key) == value end, 10)
	assert.is_true(ok, ("%s stayed %s"):format(key, tostring(cache:get(key))))
end

local read = proc.read

describe("multitier", function()
	setup(function() server = services.start() end)
	teardown(function() server.stop() end)
	before_each(function() server.cli("FLUSHALL") end)

	it("answers from the nearest tier that has it", function()
		local cache = open()
		local t = cache:table("t", { ttl = "1h", serializer = "json" })
		assert.is_nil(t:get("k"))
		assert.is_true(t:set("k", { id = 1 }))
		assert.are.equal('{"id":1}', server.cli("GET app:t:k"))
		assert.is_true(eventually(function()
			local _, info = t:get_with("k")
			return info.tier == "l1"
		end))
		local v, info = t:get_with("k")
		assert.are.equal(1, v.id)
		assert.is_true(info.ttl > 3590 and info.ttl <= 3600)
		assert.is_true(t:set("k", { id = 2 }, { if_version = info.version }))
		local ok, err = t:set("k", { id = 3 }, { if_version = info.version })
		assert.is_nil(ok)
		assert.are.equal("conflict", err.code)
		assert.are.equal(2, t:get("k").id)
		t:delete("k")
		assert.is_nil(t:get("k"))
		assert.are.equal("0", server.cli("EXISTS app:t:k"))
		local s = cache:stats()
		assert.is_true(s.tier1_hits > 0 and s.tier2_hits > 0 and s.promotions > 0)
		assert.are.equal("tracking", s.channel)
		assert.are.equal("redis", cache:provider_name())
		assert.are.equal("PONG", cache:native("redis"):command("PING"))
		cache:close()
	end)

	it("is made of provider objects, names and URLs, and by the older call", function()
		local l1, l2 = zbz.cache.provider("memory"), zbz.cache.provider("redis", { url = server.url })
		local a = assert(zbz.cache.new{ provider = "multitier", l1 = l1, l2 = l2 })
		local b = assert(zbz.cache.new{ provider = "multitier", l1 = "memory:", l2 = server.url })
		local p = assert(zbz.cache.provider("multitier", { l1 = { provider = "memory" }, l2 = { provider = "redis", url = server.url } }))
		assert.is_true(a:set("k", "v"))
		assert.are.equal("v", b:get("k"))
		assert.are.equal('"v"', p:get("k"))
		assert.is_true(p:delete("k"))
		becomes(a, "k", nil)
		becomes(b, "k", nil)
		for _, x in ipairs{ a, b, p, l1, l2 } do x:close() end
		local none, err = zbz.cache.new{ provider = "multitier", l1 = "memory:", l2 = { provider = "memcached", servers = "127.0.0.1:1" } }
		assert.is_nil(none)
		assert.are.equal("invalid_config", err.code)
		assert.truthy(tostring(err):find("l1_ttl", 1, true))
		none, err = zbz.cache.new{ provider = "multitier", l1 = server.url, l2 = server.url }
		assert.is_nil(none)
		assert.truthy(tostring(err):find("memory, ristretto or shared", 1, true), tostring(err))
		assert.has_error(function() zbz.cache.new{ provider = "multitier", l1 = "memory:", l2 = server.url, l3 = "memory:" } end)
	end)

	describe("sees", function()
		local cache, other

		before_each(function() cache, other = open(), open() end)
		after_each(function()
			cache:close()
			other:close()
		end)

		it("what another cache and another program write and delete", function()
			cache:set("k", "1")
			warm(cache, "k", "1")
			warm(other, "k", "1")
			assert.is_true(cache:set("k", "2"))
			becomes(other, "k", "2")
			warm(other, "k", "2")
			server.cli("SET app:k 3")
			becomes(other, "k", "3")
			becomes(cache, "k", "3")
			warm(cache, "k", "3")
			server.cli("DEL app:k")
			becomes(cache, "k", nil)
			cache:set("n", "5")
			warm(other, "n", "5")
			assert.are.equal(6, cache:incr("n"))
			becomes(other, "n", "6")
			warm(other, "n", "6")
			proc.output(("%s -e 'assert(require(\"zbz\").cache.new(%q)):set(\"app:n\", 7)'"):format(LUA, server.url))
			becomes(other, "n", "7")
		end)

		it("FLUSHALL, an end of life set elsewhere, and eviction", function()
			cache:set("k", "1")
			warm(other, "k", "1")
			server.cli("FLUSHALL")
			becomes(other, "k", nil)
			cache:set("k", "2")
			warm(other, "k", "2")
			server.cli("PEXPIRE app:k 300")
			becomes(other, "k", nil)
			cache:set("first", "out")
			warm(other, "first", "out")
			server.cli("CONFIG SET maxmemory-policy allkeys-lru")
			server.cli("CONFIG SET maxmemory 4mb")
			for _ = 1, 40 do
				server.cli([[EVAL "for i=1,500 do redis.call('SET', 'filler:'..math.random(), string.rep('x', 1000)) end" 0]])
				if server.cli("EXISTS app:first") == "0" then break end
			end
			assert.are.equal("0", server.cli("EXISTS app:first"))
			becomes(other, "first", nil)
			server.cli("CONFIG SET maxmemory 0")
		end)

		it("what a table keeps decoded, too", function()
			local t = other:table("t", { l1 = 10, serializer = "json" })
			assert.is_true(cache:table("t", { serializer = "json" }):set("k", { n = 1 }))
			assert.is_true(eventually(function() return t:get("k") ~= nil and t:stats().l1_hits > 0 end))
			local before = other:stats().tier1_hits
			for _ = 1, 5 do assert.are.equal(1, t:get("k").n) end
			assert.are.equal(before, other:stats().tier1_hits) -- nobody below was asked
			server.cli([[SET app:t:k '{"n":2}']])
			assert.is_true(eventually(function() return t:get("k").n == 2 end))
			assert.is_true(eventually(function()
				before = t:stats().l1_hits
				return t:get("k").n == 2 and t:stats().l1_hits > before
			end))
			server.cli("CLIENT KILL TYPE pubsub")
			server.cli([[SET app:t:k '{"n":3}']])
			assert.is_true(eventually(function() return t:get("k").n == 3 end))
		end)

		it("only what happens below its prefix", function()
			cache:set("k", "1")
			cache:set("last", "1")
			warm(cache, "k", "1")
			warm(cache, "last", "1")
			server.cli("SET app:last 2")
			becomes(cache, "last", "2") -- messages come in order: what the writes before have caused is behind us
			local before = cache:stats().invalidations
			server.cli("SET elsewhere:k 1")
			server.cli("SET app:k 2")
			becomes(cache, "k", "2")
			assert.are.equal(before + 1, cache:stats().invalidations)
		end)
	end)

	it("drops the local tier while the channel is lost, and uses it again afterwards", function()
		local cache = open()
		cache:set("k", "1")
		warm(cache, "k", "1")
		server.cli("CLIENT KILL TYPE pubsub")
		assert.is_true(eventually(function() return cache:stats().channel_losses == 1 end))
		warm(cache, "k", "1")
		server.cli("SET app:k 2")
		becomes(cache, "k", "2")
		server.restart()
		assert.is_true(eventually(function() return cache:stats().channel_losses == 2 end))
		becomes(cache, "k", nil) -- the data is gone with the server
		assert.is_true(eventually(function() return cache:set("k", "3") end))
		warm(cache, "k", "3")
		server.cli("SET app:k 4")
		becomes(cache, "k", "4")
		cache:close()
	end)

	it("notices within the read timeout that nobody speaks", function()
		local cache = open()
		cache:set("k", "1")
		warm(cache, "k", "1")
		server.pause()
		assert.are.equal("1", cache:get("k")) -- not noticed yet: served
		local began = require("zbz.core").mono()
		local ok, err = eventually(function() return select(2, cache:get("k")) ~= nil end, 10)
		assert.is_true(ok, err)
		assert.is_true(require("zbz.core").mono() - began < 300 + 2500) -- read_timeout, and the one of the read that found out
		assert.are.equal("timeout", select(2, cache:get("k")).code)
		server.resume()
		assert.is_true(eventually(function() return cache:get("k") == "1" end))
		warm(cache, "k", "1")
		server.cli("CLIENT PAUSE 800 ALL")
		assert.is_true(eventually(function() return cache:stats().channel_losses == 2 end))
		becomes(cache, "k", "1")
		warm(cache, "k", "1")
		cache:close()
	end)

	it("is told by the other caches where the server does not tell", function()
		server.cli("ACL SETUSER plain on '>pw' '~*' '&*' '+@all' '-client|tracking'")
		local l2 = { provider = "redis", url = ("redis://plain:pw@127.0.0.1:%d"):format(server.port) }
		local cache, other = open{ l2 = l2, l1_ttl = "300ms" }, open{ l2 = l2, l1_ttl = "1h" }
		cache:set("k", "1")
		other:get("k")
		assert.are.equal("pubsub", cache:stats().channel)
		warm(cache, "k", "1")
		warm(other, "k", "1")
		for _, how in ipairs{ function() return cache:set("k", "2") end, function() return cache:set_multi{ k = "2" } end } do
			assert.is_true(how())
			becomes(other, "k", "2")
			warm(other, "k", "2")
		end
		assert.is_true(cache:delete("k"))
		becomes(other, "k", nil)
		cache:set("k", "3")
		warm(other, "k", "3")
		assert.is_true((cache:clear()))
		becomes(other, "k", nil)
		cache:set("k", "4")
		warm(other, "k", "4")
		warm(cache, "k", "4")
		server.cli("SET app:k 5") -- nobody tells of this one: age is the bound
		becomes(cache, "k", "5")
		server.cli("CLIENT KILL TYPE pubsub")
		becomes(other, "k", "5")
		cache:close()
		other:close()
		server.cli("ACL SETUSER mute on '>pw' '~*' resetchannels '+@all' '-client|tracking'")
		cache = open{ l2 = { provider = "redis", url = ("redis://mute:pw@127.0.0.1:%d"):format(server.port) } }
		assert.is_true(cache:set("k", "6"))
		for _ = 1, 3 do assert.are.equal("6", cache:get("k")) end
		assert.are.equal("l2", tier(cache, "k"))
		assert.are.equal("refused", cache:stats().channel)
		cache:close()
	end)

	for _, l1 in ipairs{ "memory:", "shared" } do
		it("agrees with Redis in two processes after 10 000 writes, l1 = " .. l1, function()
			local dir = proc.folder()
			local spec = l1 == "shared" and "shared:?name=zbz-race-" .. server.port or l1
			local pid = proc.spawn({ LUA, "spec/lua/multitier_peer.lua", server.url, dir, "peer", "5000", spec }, dir .. "/log")
			local cache = peer.open(server.url, spec)
			local function has(name) return eventually(function() return io.open(dir .. "/" .. name) ~= nil end, 60) end
			assert.is_true(has("peer.ready"), read(dir .. "/log"))
			cache:get("mark")
			proc.output("touch " .. dir .. "/go")
			peer.work(cache, "me", 5000)
			assert.is_true(peer.read_until(cache, function() return io.open(dir .. "/peer.done") ~= nil end), read(dir .. "/log"))
			cache:get("mark")
			server.cli("SET race:mark settled")
			assert.is_true(peer.settle(cache, "settled"))
			proc.output("touch " .. dir .. "/look")
			local mine, local_ones = peer.view(cache)
			assert.is_true(has("peer.view"), read(dir .. "/log"))
			local theirs, their_local_ones = read(dir .. "/peer.view"):match("^(.*)\n(%d+)$")
			local want = {}
			local replies = assert(cache:native("redis")):command("MGET", (table.unpack or unpack)((function() -- luacheck: ignore 113
				local keys = {}
				for i = 0, peer.KEYS - 1 do keys[#keys + 1] = "race:k" .. i end
				return keys
			end)()))
			for i = 1, peer.KEYS do want[i] = replies[i] == zbz.null and "nil" or tostring(replies[i] or nil) end
			want = table.concat(want, " ")
			assert.are.equal(want, mine)
			assert.are.equal(want, theirs)
			assert.is_true(local_ones > 0 and tonumber(their_local_ones) > 0, local_ones .. " and " .. their_local_ones .. " from l1")
			cache:close()
			proc.stop(pid)
			proc.remove(dir)
			if l1 == "shared" then os.execute("rm -f /dev/shm/zbz-zbz-race-" .. server.port .. ".*") end
		end)
	end

	it("fetches: hits come from the local tier, and loaders of other caches are fenced", function()
		local cache, other = open(), open()
		local t = cache:table("t", { ttl = "1m", neg_ttl = "1m", stale_ttl = "1m" })
		local v, _, how = t:fetch("k", function() return "loaded" end)
		assert.are.equal("loaded loaded", v .. " " .. how)
		local before = cache:stats().tier1_hits
		assert.is_true(eventually(function()
			v, _, how = t:fetch("k", error)
			return cache:stats().tier1_hits > before
		end))
		assert.are.equal("loaded hit", v .. " " .. how)
		v = t:fetch("fenced", function()
			assert(other:table("t", { stale_ttl = "1m" }):set("fenced", "newer"))
			return "older"
		end)
		assert.are.equal("older", v)
		becomes(t, "fenced", "newer")
		assert.is_nil((t:fetch("none", function() return nil end)))
		assert.are.equal("negative", select(3, t:fetch("none", error)))
		cache:close()
		other:close()
	end)
end)
