-- Two tables on the default cache, a batch, Redis' own commands. REDIS_URL says where the server is.
local zbz = require("zbz")

local url = os.getenv("REDIS_URL")
if not url then
	print("REDIS_URL is not set: this example wants a Redis server, for example REDIS_URL=redis://localhost:6379")
	return
end
assert(zbz.cache.configure{ provider = "redis", url = url, default_ttl = "1h", key_prefix = "myapp:" })

local users, sessions = zbz.table("users"), zbz.table("sessions")
assert(users:set("123", { id = 123, name = "Alice" }, "30m"))
assert(sessions:set("abc", { user_id = 123 }, "30m"))
print("user", users:get("123").name, "session of", sessions:get("abc").user_id)

assert(users:set_multi({ user1 = { name = "Alice" }, user2 = { name = "Bob" }, user3 = { name = "Carol" } }, "2h"))
local batch = users:get_multi({ "user1", "user2", "user3" })
print("batch", batch.user1.name, batch.user2.name, batch.user3.name, "for at most 2 h:", users:ttl("user1") <= 7200)

local redis = assert(zbz.cache.native("redis"))
redis:sadd("myapp:active_users", "123", "456", "789")
print("active users", #redis:smembers("myapp:active_users"))

local keys = {}
for key in users:keys("*") do keys[#keys + 1] = key end
table.sort(keys)
print("keys", table.concat(keys, " "))
print("cleared", (zbz.cache.clear()), "left", users:get("123"))
zbz.cache.close()
