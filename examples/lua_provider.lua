-- A provider written in Lua: a table of methods over keys and bytes. get, set and delete are needed, the rest is optional.
local zbz = require("zbz")

local Sorted = {} -- keeps its keys in order
Sorted.__index = Sorted

function Sorted:get(key) return self.data[key] end
function Sorted:set(key, bytes)
	if self.data[key] == nil then
		table.insert(self.order, key)
		table.sort(self.order)
	end
	self.data[key] = bytes
	return true
end
function Sorted:delete(key)
	self.data[key] = nil
	for i, k in ipairs(self.order) do
		if k == key then table.remove(self.order, i) break end
	end
	return true
end
function Sorted:keys(prefix)
	local out = {}
	for _, k in ipairs(self.order) do
		if k:sub(1, #prefix) == prefix then out[#out + 1] = k end
	end
	return out
end

assert(zbz.cache.register_provider("sorted", function(opts)
	-- no_expiry: it knows no time, so zbz keeps the end of life inside the values
	return setmetatable({ data = {}, order = {}, no_expiry = true, max_value = opts.max_value }, Sorted)
end, { "max_value" }))

local cache = assert(zbz.cache.new{ provider = "sorted", max_value = 2 ^ 20, key_prefix = "demo:" })
local fruit = cache:table("fruit", { ttl = "1h" })
for _, name in ipairs({ "pear", "apple", "fig" }) do fruit:set(name, { name = name }) end
for key in fruit:keys("*") do io.write(key, " ") end
print()
print("ttl", math.ceil(fruit:ttl("fig") / 60) .. " min")
print("fetch", select(3, fruit:fetch("plum", function() return { name = "plum" } end)))
print("supports incr", cache:supports("incr"), select(2, fruit:incr("n")).code)
cache:close()

-- The suite that zbz runs over its own providers, over this one (its clock is moved by hand):
local testkit = require("zbz.testkit")
local result = testkit.cache(function() return { provider = "sorted" } end, { name = "sorted", clock = testkit.clock() })
assert(result.failed == 0)
