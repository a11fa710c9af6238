-- Two tiers: memory of this process in front of Redis, which tells when somebody else changes a key. REDIS_URL says where it is.
local zbz = require("zbz")

local url = os.getenv("REDIS_URL")
if not url then
	print("REDIS_URL is not set: this example wants a Redis server, for example REDIS_URL=redis://localhost:6379")
	return
end

-- In nginx, l1 = { provider = "shared", size = "64MB" } makes one tier for all workers of the host.
local function open()
	return assert(zbz.cache.new{
		provider = "multitier", key_prefix = "demo:", default_ttl = "1h",
		l1 = { provider = "memory", max_size = "50MB" }, l1_ttl = "1m",
		l2 = { provider = "redis", url = url },
	})
end
local here, elsewhere = open(), open() -- "elsewhere" might be another host

local function await(what, fn)
	for _ = 1, 500 do
		if fn() then return print(what) end
		zbz.poll(0.01)
	end
	error("did not happen: " .. what)
end
local function tier(cache, key) return (select(2, cache:get_with(key)) or {}).tier end

here:set("price", 10)
await("promoted: the second read comes from l1", function() return tier(here, "price") == "l1" end)
await("elsewhere too", function() return tier(elsewhere, "price") == "l1" end)

elsewhere:set("price", 12)
await("a write elsewhere is seen here", function() return here:get("price") == 12 end)

here:native("redis"):command("SET", "demo:price", "15")
await("and one that is not by zbz", function() return here:get("price") == 15 and elsewhere:get("price") == 15 end)

local s = here:stats()
print("channel", s.channel, "l1 hits", s.tier1_hits > 0, "invalidations", s.invalidations > 0)

here:native("redis"):command("CLIENT", "KILL", "TYPE", "pubsub") -- nobody can tell us now: l1 is dropped, l2 answers
await("the lost channel came back", function()
	s = here:stats()
	return s.channel_losses > 0 and s.channel == "tracking" and here:get("price") == 15
end)

here:clear()
here:close()
elsewhere:close()
