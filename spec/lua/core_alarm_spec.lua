-- The alarm of zbz.core: a descriptor that is readable from a moment on.
local assert = require("luassert")
local core = require("zbz.core")
local socket = require("socket")
local raises = require("spec.lua.core_support").raises

-- Seconds until it is readable; nil when that takes longer than `limit`.
local function rings(alarm, limit)
	local began = socket.gettime()
	local s = { getfd = function() return alarm:fd() end, dirty = function() return false end }
	if #socket.select({ s }, nil, limit) == 0 then return nil end
	return socket.gettime() - began
end

describe("an alarm", function()
	it("rings at its moment and until it is set anew", function()
		local a = assert(core.alarm())
		assert.is_nil(rings(a, 0.02))
		assert.is_true(a:set(60))
		local took = rings(a, 5)
		assert.is_true(took > 0.05 and took < 1, tostring(took))
		assert.is_true(rings(a, 5) < 0.05)
		a:set(86400000)
		assert.is_nil(rings(a, 0.02))
		a:set(0)
		assert.is_true(rings(a, 5) < 0.05)
		a:set(3000)
		a:set(20)
		assert.is_true(rings(a, 5) < 1)
		a:close()
	end)

	it("is one of many, and gone when it is closed or forgotten", function()
		local first = core.alarm()
		local fd = first:fd()
		first:close()
		first:close()
		raises("closed", first.set, first, 1)
		raises("closed", first.fd, first)
		for _ = 1, 3000 do core.alarm():set(1) end
		collectgarbage()
		collectgarbage()
		local last = core.alarm()
		assert.is_true(last:fd() <= fd + 10, "descriptors were left open: " .. last:fd())
		last:close()
	end)

	it("refuses what is no time", function()
		local a = core.alarm()
		raises("negative", a.set, a, -1)
		raises("ms", a.set, a, "soon")
		raises("zbz.Alarm expected", a.set, 5, 1)
		a:close()
	end)
end)
