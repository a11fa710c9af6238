-- The conformance suite over providers written in Lua: one with everything, and one with the least that knows no time.
local targets = require("spec.conformance.targets")
local testkit = require("zbz.testkit")
local zbz = require("zbz")

local clock = testkit.clock()
local full = require("spec.conformance.lua_memory")

--- Only get, set, delete and keys, and no idea of time: zbz keeps the end of life inside the values.
local function timeless()
	local data = {}
	return {
		no_expiry = true, exclusive = true,
		get = function(_, key) return data[key] end,
		set = function(_, key, bytes)
			data[key] = bytes
			return true
		end,
		delete = function(_, key)
			data[key] = nil
			return true
		end,
		keys = function()
			local out = {}
			for k in pairs(data) do out[#out + 1] = k end
			return out
		end,
	}
end

assert(zbz.cache.register_provider("lua-full", function() return full({ clock = clock }) end))
assert(zbz.cache.register_provider("lua-timeless", timeless))

testkit.cache(function() return { provider = "lua-full" } end, { name = "lua", clock = clock, record = targets.record })
testkit.cache(function() return { provider = "lua-timeless" } end, { name = "lua timeless", clock = clock, record = targets.record })
