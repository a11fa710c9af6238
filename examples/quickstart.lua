-- zbz in one minute: a cache in memory. Run it: lua5.4 examples/quickstart.lua
local zbz = require("zbz")

print("zbz " .. zbz.VERSION .. ": a cache in the memory of this process\n")
assert(zbz.cache.configure{ provider = "memory", key_prefix = "myapp:", default_ttl = "1h" })

print("1. A table holds records; the schema is checked before anything is stored.")
local users = assert(zbz.table("users", { ttl = "30m", schema = { id = "integer", name = "string", email = "string?" } }))
assert(users:set("123", { id = 123, name = "Alice" }))
local user = users:get("123")
print(("   users:get(\"123\")       -> id %d, name %s"):format(user.id, user.name))
print(("   it will live for       -> %.0f minutes"):format(users:ttl("123") / 60))
print(("   an absent key          -> %s"):format(tostring(users:get("999"))))
local _, err = users:set("124", { id = "not a number", name = "Bob" })
print("   a wrong record         -> " .. tostring(err))

print("\n2. fetch: get it, or compute it once and keep it.")
local function load_user(id)
	print("   (loading user " .. id .. " from the slow database)")
	return { id = tonumber(id), name = "Carol" }
end
for _ = 1, 2 do
	local found, _, how = users:fetch("456", load_user)
	print(("   users:fetch(\"456\")     -> %s, %s"):format(found.name, how))
end

print("\n3. Many at once, counters, listings.")
users:set_multi({ ["1"] = { id = 1, name = "Dave" }, ["2"] = { id = 2, name = "Eve" } }, "2h")
local some, n = users:get_multi({ "1", "2", "nobody" }), 0
for _ in pairs(some) do n = n + 1 end
print(("   get_multi of three     -> %d found"):format(n))
local views = assert(zbz.table("views", { serializer = "string" }))
views:incr("home", 41)
print(("   views:incr(\"home\")     -> %d"):format(views:incr("home")))
local keys = {}
for key in users:keys("*") do keys[#keys + 1] = key end
table.sort(keys)
print("   users:keys(\"*\")        -> " .. table.concat(keys, " "))

local stats = users:stats()
print(("\nSo far: %d hits, %d misses. The same program runs on Redis, memcached or files: change one line,\n"
	.. "provider = \"redis\", url = \"redis://127.0.0.1:6379/0\"."):format(stats.hits, stats.misses))
zbz.cache.close()
