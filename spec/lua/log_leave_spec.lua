-- A configuration that drops outputs which hang: how long it takes, and what becomes of the records.
local zbz = require("zbz")
local core = require("zbz.core")

local dir, rings = os.tmpname(), os.tmpname()

local function hanging(name, linger)
	return { type = "unix", name = name, address = ("%s/%s.sock"):format(dir, name), ring = rings, linger = linger, max_retry_delay = "20ms" }
end

local function took(fn)
	local began = core.mono()
	fn()
	return core.mono() - began
end

describe("outputs that hang", function()
	setup(function() for _, d in ipairs{ dir, rings } do assert(os.remove(d)); assert(os.execute("mkdir " .. d)) end end)
	teardown(function()
		zbz.log.close()
		os.execute(("rm -rf '%s' '%s'"):format(dir, rings))
	end)

	it("linger together when they are dropped", function()
		local list = {}
		for i = 1, 4 do list[i] = hanging("four" .. i, "400ms") end
		assert(zbz.log.configure{ outputs = list })
		zbz.log.info("waits")
		local ms = took(function() assert(zbz.log.configure{ outputs = { { type = "null" } } }) end)
		assert.is_true(ms >= 400, ms .. " ms")
		assert.is_true(ms < 1500, ms .. " ms") -- one after the other: 1600
		for i = 1, 4 do
			assert.is_nil(zbz.log.recover(hanging("four" .. i, "400ms"), 0.2)) -- what was left is still there, and has nowhere to go
		end
	end)

	it("are not waited for by an event loop", function()
		local spec = hanging("loop", "3s")
		spec.name = nil
		local out = assert(core.log_output(spec))
		out:never_wait(true)
		assert.is_true(core.log_append(out, "info", "app", "waits\n"))
		local ms = took(function() out:close() end)
		assert.is_true(ms < 1500, ms .. " ms")
	end)
end)
