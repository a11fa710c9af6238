-- Redis over loopback TCP: zbz against a bare C loop on hiredis and, on LuaJIT, lua-redis (one blocking connection each), and
-- batches against single calls.
local zbz = require("zbz")
local bench = require("spec.bench.bench")
local floor = require("floor")
local core = require("zbz.core")

local url = assert(os.getenv("REDIS_URL"), "REDIS_URL: run through spec/services/with.lua redis")
floor.connect(tonumber(url:match(":(%d+)")))
local cache = assert(zbz.cache.new { provider = "redis", url = url, key_prefix = "b:" })
local t = cache:table("t", { serializer = "bytes", ttl = "1h" })
local function wall() return core.mono() / 1000 end

local v = ("v"):rep(100)
local keys, full, map = {}, {}, {}
for i = 1, 100 do
	keys[i] = "key:" .. i
	full[i] = "b:t:" .. keys[i]
	map[keys[i]] = v
end
assert(t:set_multi(map))

local has_peer, peer = pcall(require, "redis") -- lua-redis: Debian has it for Lua 5.1 only
peer = has_peer and peer.connect("127.0.0.1", tonumber(url:match(":(%d+)")))
local function versus(title, contestants, run, n, opts)
	if peer then contestants[#contestants + 1] = { name = "lua-redis", n = n, run = run } end
	bench.compare(title, contestants, opts)
end

versus("redis get, 100 bytes", {
	{ name = "bare hiredis loop", n = 20000, run = function(n) floor.redis_get(full[1], n) end },
	{ name = "zbz table get", n = 20000, run = function(n) for _ = 1, n do t:get(keys[1]) end end },
}, function(n) for _ = 1, n do peer:get(full[1]) end end, 20000, { rounds = 11, clock = wall })
versus("redis set, 100 bytes, ttl", {
	{ name = "bare hiredis loop", n = 20000, run = function(n) floor.redis_set(full[1], v, n) end },
	{ name = "zbz table set", n = 20000, run = function(n) for _ = 1, n do t:set(keys[1], v) end end },
}, function(n) for _ = 1, n do peer:setex(full[1], 3600, v) end end, 20000, { rounds = 11, clock = wall })
versus("redis, 100 keys, time per batch", {
	{ name = "bare hiredis MGET loop", n = 2000, run = function(n) floor.redis_mget(full, n) end },
	{ name = "zbz get_multi", n = 2000, run = function(n) for _ = 1, n do t:get_multi(keys) end end },
	{ name = "zbz set_multi", n = 1000, run = function(n) for _ = 1, n do t:set_multi(map) end end },
	{ name = "100 single gets", n = 100, run = function(n)
		for _ = 1, n do for i = 1, 100 do t:get(keys[i]) end end
	end },
}, function(n) for _ = 1, n do peer:mget(full) end end, 1000, { rounds = 7, clock = wall })
