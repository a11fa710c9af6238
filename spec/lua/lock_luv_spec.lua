-- Locks among processes under an event loop: waiting parks the coroutine, and one connection tells them all.
local assert = require("luassert")
local zbz = require("zbz")
local proc = require("spec.services.proc")
local services = require("spec.services.redis")
local stage = require("spec.lua.lock_stage")

local have, uv = pcall(require, "luv")
if not have then
	print("SKIP lock_luv: luv is not installed")
	describe("locks under luv", function() it("need luv", function() pending("luv is not installed") end) end)
	return
end

local function spawn(fn)
	coroutine.wrap(function()
		local ok, err = xpcall(fn, debug.traceback)
		if not ok then io.stderr:write(err, "\n") end
	end)()
end

describe("locks under luv", function()
	local server, s
	setup(function() server = services.start() end)
	teardown(function() server.stop() end)
	after_each(function()
		zbz.use("plain")
		s:close()
	end)

	for _, lock in ipairs({ "host", "cluster" }) do
		it(("park who waits: %q"):format(lock), function()
			local keys, got, ticks, waited = { "k", "l", "m", "n", "o" }, {}, 0, 0
			s = stage({ provider = "redis", url = server.url }, lock)
			s:start("a", { value = "v", keys = keys })
			s:await_load()
			assert(zbz.use("luv", uv))
			local timer = uv.new_timer()
			local left = #keys * 2
			for _ = 1, 2 do
				for _, k in ipairs(keys) do
					spawn(function()
						local v, _, how = s.t:fetch(k, function() error("must not run") end)
						got[#got + 1], left = v .. how, left - 1
						if left == 0 then timer:close() end
					end)
				end
			end
			local stats
			timer:start(10, 10, function() -- the loop goes on
				ticks = ticks + 1
				stats = stats or s.t:counters()
				if ticks < 20 or s.pids.go then return end
				waited = s.t:counters().lock_waits
				stats.pubsub = lock == "cluster" and server.cli("CLIENT LIST TYPE pubsub | grep -c id=")
				s:go()
			end)
			uv.run()
			table.sort(got)
			assert.are.same({ "vkwaited", "vkwaited", "vlwaited", "vlwaited", "vmwaited", "vmwaited", "vnwaited", "vnwaited", "vowaited",
				"vowaited" }, got)
			assert.are.equal(#keys, waited) -- one of two waits among processes, the other for it
			assert.are.equal(lock == "cluster" and "1" or false, stats.pubsub)
			assert.are.equal(1, #s:loads())
		end)
	end

	it("are given back when their coroutine is dropped", function()
		s = stage({ provider = "redis", url = server.url }, "cluster")
		assert(zbz.use("luv", uv))
		local timer = uv.new_timer()
		timer:start(300, 0, function() timer:close() end)
		spawn(function() s.t:fetch("k", function() coroutine.yield("never resumed") end) end)
		uv.run()
		assert.are.equal("1", server.cli("--raw KEYS '*zbz:lock:*' | grep -c lock"))
		collectgarbage()
		collectgarbage()
		assert.is_true(proc.wait_until(("test $(redis-cli -p %d --raw KEYS '*zbz:lock:*' | grep -c lock) -eq 0"):format(server.port), 5))
	end)
end)
