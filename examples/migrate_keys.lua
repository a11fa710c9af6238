-- Moving keys: list them, copy them to another cache with what is left of their lives, purge the old ones.
local zbz = require("zbz")

local old = assert(zbz.cache.new{ provider = "memory", key_prefix = "v1:" })
local dir = os.tmpname()
local new = assert(zbz.cache.new{ provider = "filesystem", base_dir = dir .. ".cache", key_prefix = "v2:" })

local from = old:table("users", { ttl = "1h" })
for i = 1, 250 do from:set("user" .. i, { id = i }, i % 2 == 0 and "10m" or 0) end
from:set("temp:1", { id = -1 })

--- Copies the bytes as they are: no decoding, so any serializer will do.
local function copy(a, b, pattern)
	local n = 0
	for key in a:keys(pattern) do
		local bytes, left = a:get_raw(key), a:ttl(key)
		if bytes and left then
			assert(b:set_raw(key, bytes, left == math.huge and 0 or left))
			n = n + 1
		end
	end
	return n
end

local function purge(t, pattern)
	local keys = {}
	for key in t:keys(pattern) do keys[#keys + 1] = key end
	assert(t:delete_multi(keys))
	return #keys
end

local to = new:table("users", { ttl = "1h" })
print("copied", copy(from, to, "user*"))
print("arrived", to:get("user7").id, to:ttl("user7"), math.ceil(to:ttl("user8") / 60) .. " min")
print("purged", purge(from, "user*"))
print("left behind", from:get("user7"), from:get("temp:1").id)

old:close()
new:clear()
new:close()
os.remove(dir)
os.execute(("rm -rf '%s.cache'"):format(dir))
