-- The copas host over a real Redis, with whichever copas there is: Debian's (1.1.7) or one whose threads sleep.
local assert = require("luassert")
local cases = require("spec.lua.host_cases")
local core = require("zbz.core")

local function own(env, copas)
	local socket = require("socket")
	local go, idle = env.go, env.idle

	it("answers clients, and copas closes them as ever", function()
		local listener = assert(socket.bind("127.0.0.1", 0))
		local _, port = listener:getsockname()
		local failed
		copas.addserver(listener, function(client)
			local key = copas.receive(client)
			assert(env.t:set(key, "value of " .. key))
			copas.send(client, env.t:get(key) .. "\n")
			if key == "bad" then
				copas.setErrorHandler(function(err) failed = err end)
				env.cache:ping()
				error("thrown by the handler")
			end
			env.cache:ping()
		end)
		go(3, function(i)
			local key = i == 3 and "bad" or "key" .. i
			local c = socket.tcp()
			assert(copas.connect(c, "127.0.0.1", port))
			assert(copas.send(c, key .. "\n"))
			assert.are.equal("value of " .. key, (copas.receive(c)))
			local more, why = copas.receive(c)
			assert.is_nil(more)
			assert.are.equal("closed", why)
			c:close()
		end)
		if copas.removeserver then copas.removeserver(listener) end
		assert.truthy(tostring(failed):find("thrown by the handler", 1, true))
	end)

	it("leaves nothing behind when a thread is removed while it waits", function()
		local threads = {}
		local ended = 0
		for i = 1, 10 do
			threads[i] = copas.addthread(function()
				env.rest(0.1)
				ended = ended + 1
			end)
		end
		idle(0.03)
		assert.is_true(core.under_way() >= 10)
		local kill = copas.removethread or coroutine.close
		if kill then
			for _, thread in ipairs(threads) do kill(thread) end
		end
		threads = nil -- luacheck: ignore 311
		idle(0.3)
		collectgarbage()
		local flying, undrained = core.under_way()
		assert.are.equal(0, flying)
		assert.are.equal(0, undrained)
		assert.are.equal(kill and 0 or 10, ended)
		go(1, function() assert.is_true(env.t:set("k", 1)) end)
	end)

	it("lets the loop of copas end where it ends by itself", function()
		if not copas.finished then return end
		go(1, function() assert.is_true(env.t:set("k", 1)) end)
		local done
		copas.addthread(function() done = env.t:get("k") end)
		copas.loop()
		assert.are.equal(1, done)
	end)
end

require("spec.lua.host_loops").describe("copas", function(loop, name)
	cases(loop, name, function(env) own(env, loop.object) end)
end)
