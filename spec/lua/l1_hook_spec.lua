-- Tables with l1, closed in the middle of a hit: as a finalizer may do at any instruction.
local support = require("spec.lua.l1_support")
local open, warm, PROVIDERS = support.open, support.warm, support.PROVIDERS

describe("l1 and a hook in the middle of a hit", function()
	local inside = require("zbz.ffi.doors").l1_hit -- where no finalizer can come, see there, and below

	--- Does fn, with what(t, c) at its n-th instruction: as a finalizer may come.
	local function interrupted(n, what, fn, ...)
		local left = n
		debug.sethook(function()
			left = left - 1
			if left > 0 or inside and debug.getinfo(2, "f").func == inside then return end
			debug.sethook()
			what()
			collectgarbage()
		end, "", 1)
		local fine, v, err = pcall(fn, ...)
		debug.sethook()
		return fine, v, err
	end

	local jit = rawget(_G, "jit") -- what is compiled calls no hooks
	before_each(function() if jit then jit.off() jit.flush() end end)
	after_each(function() if jit then jit.on() end end)

	for name, spec in pairs(PROVIDERS) do
		it("that closes it on " .. name .. " gives the value, nothing, or says that it is closed", function()
			for n = 1, 250 do -- busted has a pcall of its own, which is long
				local c = open(spec)
				local t = assert(c:table("t", { l1 = 10 }))
				t:set("k", "v")
				warm(t, "k")
				local fine, v, err = interrupted(n, function() t:close() c:close() end, t.get, t, "k")
				if not fine then
					assert.matches("closed", v)
				elseif v == nil then
					assert.is_true(err == nil or err.code == "closed")
				else
					assert.are.equal("v", v)
				end
				pcall(c.close, c)
			end
		end)
	end

	if not jit then return end

	it("cannot be a finalizer while the words are looked at: interpreted, too, nothing is made there", function()
		local c = open(PROVIDERS.shared)
		local t = assert(c:table("t", { l1 = 10, ttl = 0 }))
		t:set("k", "v")
		warm(t, "k")
		local place, hits = t.index.k, t:stats().l1_hits
		assert.is_true(inside(t, place))
		collectgarbage()
		collectgarbage("stop")
		local before = collectgarbage("count")
		for _ = 1, 1000 do inside(t, place) end
		local after = collectgarbage("count")
		collectgarbage("restart")
		assert.are.equal(before, after)
		assert.are.equal(hits + 1001, t:stats().l1_hits)
		assert.is_true(t.slots[4 * place + 2] ~= 0)
		c:close()
	end)
end)
