-- The conformance suite over two tiers: in front of Redis, which tells of changes or has the caches tell each other, and in front of
-- memcached, where age is the only bound.
local memcached = require("spec.services.memcached")
local redis = require("spec.services.redis")
local targets = require("spec.conformance.targets")

local function over_redis(l1, invalidation)
	return function()
		local server = redis.start()
		return { provider = "multitier", l1 = l1, l2 = { provider = "redis", url = server.url }, invalidation = invalidation }, server.stop
	end
end

targets.run("multitier", over_redis{ provider = "memory", max_size = "50MB" })
targets.bare("multitier shared", over_redis{ provider = "shared", zone = "conformance", size = "50MB" })
targets.bare("multitier pubsub", over_redis({ provider = "memory", max_size = "50MB" }, "pubsub"))
targets.bare("multitier three", function()
	local server = redis.start()
	local middle = { provider = "shared", zone = "middle", size = "50MB" }
	return { provider = "multitier", l1 = "memory:",
		l2 = { provider = "multitier", l1 = middle, l2 = { provider = "redis", url = server.url } } }, server.stop
end)
targets.bare("multitier memcached", function()
	local server = memcached.start()
	return { provider = "multitier", l1 = "memory:", l1_ttl = "1m",
		l2 = { provider = "memcached", servers = "127.0.0.1:" .. server.port, timeout = "5s" } }, server.stop
end)
