-- Redis over loopback TCP: zbz against a bare C loop on hiredis (one blocking connection each), and batches against single calls.
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

bench.compare("redis get, 100 bytes", {
	{ name = "bare hiredis loop", n = 20000, run = function(n) floor.redis_get(full[1], n) end },
	{ name = "zbz table get", n = 20000, run = function(n) for _ = 1, n do t:get(keys[1]) end end },
}, { rounds = 11, clock = wall })
bench.compare("redis set, 100 bytes, ttl", {
	{ name = "bare hiredis loop", n = 20000, run = function(n) floor.redis_set(full[1], v, n) end },
	{ name = "zbz table set", n = 20000, run = function(n) for _ = 1, n do t:set(keys[1], v) end end },
}, { rounds = 11, clock = wall })
bench.compare("redis, 100 keys, time per batch", {
	{ name = "bare hiredis MGET loop", n = 2000, run = function(n) floor.redis_mget(full, n) end },
	{ name = "zbz get_multi", n = 2000, run = function(n) for _ = 1, n do t:get_multi(keys) end end },
	{ name = "zbz set_multi", n = 1000, run = function(n) for _ = 1, n do t:set_multi(map) end end },
	{ name = "100 single gets", n = 100, run = function(n)
		for _ = 1, n do for i = 1, 100 do t:get(keys[i]) end end
	end },
}, { rounds = 7, clock = wall })
