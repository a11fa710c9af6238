-- One default cache for the program, and as many independent ones beside it as needed.
local zbz = require("zbz")

print("before configure", select(2, zbz.cache.get("k")).code)
assert(zbz.cache.configure{ provider = "memory", key_prefix = "app:", default_ttl = "1h" })
zbz.cache.set("k", "on the default cache")
print("singleton", zbz.cache.get("k"))
print("the same object", zbz.cache.default() == require("zbz").cache.default())

local fast = assert(zbz.cache.new{ provider = "memory", max_size = "10MB", eviction = "lru", default_ttl = "1m" })
local slow = assert(zbz.cache.new{ provider = "memory", default_ttl = "1d", serializer = "msgpack" })
fast:set("k", "fast")
slow:set("k", "slow")
print("instances", fast:get("k"), slow:get("k"), zbz.cache.get("k"))

-- One provider object under several contracts: one pool of connections, separate keys.
local shared = assert(zbz.cache.provider("memory"))
local users = zbz.cache.contract("users", shared):with_key_prefix("user:"):with_default_ttl("2h"):with_serializer("msgpack")
local sessions = zbz.cache.contract("sessions", shared, { key_prefix = "sess:", ttl = "24h" })
users:register("primary-cache")
sessions:register("session-cache")
users:set("1", { name = "Ann" })
sessions:set("1", { user = 1 })
print("contracts", zbz.cache.lookup("primary-cache"):get("1").name, zbz.cache.lookup("session-cache"):get("1").user)
users:close()
print("closing one keeps the other", sessions:get("1").user, select(2, users:get("1")).code)

-- Another provider under a cache in use.
local before = assert(zbz.cache.provider("memory"))
assert(zbz.cache.swap_provider(before))
print("after the swap", zbz.cache.get("k"))
zbz.cache.set("k", "on the new provider")
print("and then", zbz.cache.get("k"), before:stats().keys)

fast:close()
print("fast is closed", select(2, fast:get("k")).code, "slow lives", slow:get("k"))
zbz.cache.close()
print("default", zbz.cache.default())
