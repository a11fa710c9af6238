-- The copas host over a real Redis, with whichever copas there is: Debian's (1.1.7) or one whose threads sleep.
local assert = require("luassert")
local core = require("zbz.core")
local zbz = require("zbz")
local services = require("spec.services.redis")

package.path = package.path .. ";/usr/share/lua/5.1/?.lua" -- Debian packages copas for 5.1 and 5.2; its text is Lua for all
package.loaded["socket.http"] = nil -- older ones want to be loaded first
local have, copas = pcall(require, "copas")
local have_socket, socket = pcall(require, "socket")
if not (have and have_socket) then
	print("SKIP host_copas: copas is not installed")
	describe("host copas", function() it("needs copas", function() pending("copas is not installed") end) end)
	return
end

describe("host copas", function()
	local server, cache, t, mem

	-- Runs copas while wanted(); seconds, and the longest time that copas was not asked.
	local function steps(wanted)
		local began = socket.gettime()
		local before, longest = began, 0
		while wanted() do
			copas.step(0.01)
			local now = socket.gettime()
			longest, before = math.max(longest, now - before), now
			if now - began > 20 then error("the threads did not end", 3) end
		end
		return socket.gettime() - began, longest
	end

	local function idle(seconds)
		local till = socket.gettime() + seconds
		return steps(function() return socket.gettime() < till end)
	end

	-- Runs fn(i) in n threads of copas until all have ended. Errors come out.
	local function go(n, fn)
		local left, errors = n, {}
		for i = 1, n do
			copas.addthread(function()
				local ok, err = xpcall(function() fn(i) end, debug.traceback)
				if not ok then errors[#errors + 1] = err end
				left = left - 1
			end)
		end
		local seconds, longest = steps(function() return left > 0 end)
		if errors[1] then error(errors[1], 0) end
		return seconds, longest
	end

	-- A wait that every copas has.
	local waits = 0
	local function rest(seconds)
		waits = waits + 1
		assert.is_nil((cache:native("redis"):command("BLPOP", "nobody:" .. waits, tostring(seconds))))
	end

	local function fails(code, v, err)
		assert.is_nil(v)
		assert.are.equal(code, err and err.code, tostring(err))
		return err
	end

	setup(function()
		server = services.start()
		assert(zbz.use("copas", copas))
		cache = assert(zbz.cache.new{ provider = "redis", url = server.url, pool_size = 20 })
		t = assert(cache:table("t", { stale_ttl = "1m" }))
		mem = assert(zbz.cache.new{ provider = "memory" }):table("m")
	end)
	teardown(function()
		assert(zbz.use("plain"))
		cache:close()
		server.stop()
	end)

	it("sets, gets and lists", function()
		go(1, function()
			assert.is_true(t:set("k", { 1, 2 }))
			assert.are.same({ 1, 2 }, t:get("k"))
			assert.are.same({ k = { 1, 2 } }, t:get_multi{ "k", "none" })
			local n = 0
			for _ in t:keys() do n = n + 1 end
			assert.are.equal(1, n)
			assert.is_true(cache:ping())
		end)
	end)

	it("waits for slow commands at once, and the loop goes on", function()
		local seconds, longest = go(16, function() rest(0.2) end)
		assert.is_true(seconds < 1.6, seconds .. " s")
		assert.is_true(longest < 0.15, longest .. " s")
	end)

	it("ends by the deadline while the server is paused", function()
		server.pause()
		local seconds, longest = go(40, function(i) fails("timeout", t:get("k" .. i, { deadline = "300ms" })) end)
		server.resume()
		assert.is_true(seconds < 1.5, seconds .. " s")
		assert.is_true(longest < 0.15, longest .. " s")
		go(1, function() assert.is_true(t:set("after", 1)) end)
	end)

	it("runs one loader for all, and it may yield", function()
		local loads, hows = 0, {}
		go(20, function()
			local v, err, how = t:fetch("once", function()
				loads = loads + 1
				rest(0.05)
				return { n = loads }
			end)
			assert.are.same({ n = 1 }, v, tostring(err))
			hows[how] = (hows[how] or 0) + 1
		end)
		assert.are.equal(1, loads)
		assert.are.same({ loaded = 1, waited = 19 }, hows)
	end)

	it("tells everybody who waits that the loader threw, and gives up waiting at the deadline", function()
		go(5, function()
			fails("loader", t:fetch("bad", function()
				rest(0.02)
				error("boom")
			end))
		end)
		go(10, function(i)
			if i == 1 then
				assert.are.equal(1, (t:fetch("slow", function()
					rest(0.4)
					return 1
				end)))
			else
				rest(0.05)
				local began = socket.gettime()
				local deadline = 60 + 10 * i
				fails("timeout", t:fetch("slow", { deadline = deadline .. "ms" }, function() return 2 end))
				local took = (socket.gettime() - began) * 1000
				assert.is_true(took >= deadline - 5 and took < 330, took .. " ms")
			end
		end)
	end)

	it("refreshes in the background", function()
		local quick = cache:table("quick", { ttl = "400ms", refresh_at = 0.1 })
		local loads = 0
		local function load()
			loads = loads + 1
			return loads
		end
		go(1, function()
			assert.are.equal(1, quick:fetch("k", load))
			rest(0.08)
			assert.are.equal(1, quick:fetch("k", load))
			rest(0.08)
			assert.are.equal(2, quick:get("k"))
		end)
	end)

	it("answers clients, and copas closes them as ever", function()
		local listener = assert(socket.bind("127.0.0.1", 0))
		local _, port = listener:getsockname()
		local failed
		copas.addserver(listener, function(client)
			local key = copas.receive(client)
			assert(t:set(key, "value of " .. key))
			copas.send(client, t:get(key) .. "\n")
			if key == "bad" then
				copas.setErrorHandler(function(err) failed = err end)
				cache:ping()
				error("thrown by the handler")
			end
			cache:ping()
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

	it("delivers messages while zbz.run runs, and is stopped from within", function()
		local got, sub = {}, nil
		copas.addthread(function()
			sub = assert(cache:native("redis"):subscribe("news", function(_, payload)
				got[#got + 1] = payload
				assert(t:set("seen", payload))
				if #got == 10 then zbz.stop() end
			end))
			for i = 1, 10 do cache:native("redis"):publish("news", "m" .. i) end
		end)
		assert.is_true(zbz.run(5))
		assert.are.equal("m1", got[1])
		assert.are.equal("m10", got[10])
		local before = os.clock()
		assert.is_false(zbz.run("400ms")) -- an open subscription, and nothing to do
		assert.is_true(os.clock() - before < 0.1, "busy while idle: " .. os.clock() - before .. " s of 0.4")
		copas.addthread(function() cache:native("redis"):publish("news", "m11") end)
		repeat local n = zbz.poll(5) until n == 0 or #got == 11
		assert.are.equal("m11", got[11])
		sub:close()
		while zbz.poll("20ms") > 0 do end -- the answer to the last publish
		local began = socket.gettime()
		assert.are.equal(0, zbz.poll("50ms"))
		assert.is_true(socket.gettime() - began >= 0.045)
		assert.are.equal(0, zbz.poll())
	end)

	it("leaves nothing behind when a thread is removed while it waits", function()
		local threads = {}
		local ended = 0
		for i = 1, 10 do
			threads[i] = copas.addthread(function()
				rest(0.1)
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
		go(1, function() assert.is_true(t:set("k", 1)) end)
	end)

	it("lets a waiter go when the leader's thread is gone", function()
		local co = coroutine.create(function() t:fetch("lost", function() coroutine.yield("never resumed") end) end)
		copas.addthread(function()
			local ok, what
			repeat -- what a thread of copas yields goes on to copas
				local q
				ok, what, q = coroutine.resume(co)
				if q then coroutine.yield(what, q) end
			until not ok or what == "never resumed"
			co = nil -- luacheck: ignore 311
		end)
		idle(0.1)
		collectgarbage()
		collectgarbage()
		go(1, function() assert.are.equal("mine", (t:fetch("lost", { deadline = "5s" }, function() return "mine" end))) end)
	end)

	it("lets the loop of copas end where it ends by itself", function()
		if not copas.finished then return end
		go(1, function() assert.is_true(t:set("k", 1)) end)
		local done
		copas.addthread(function() done = t:get("k") end)
		copas.loop()
		assert.are.equal(1, done)
	end)

	it("says why when it cannot wait; memory answers everywhere", function()
		local err = fails("unsupported", t:get("k"))
		assert.truthy(tostring(err):find("copas.addthread", 1, true))
		fails("unsupported", t:keys())
		assert.is_true(mem:set("k", 1))
		assert.are.equal(1, mem:get("k"))
	end)

	it("leaves nothing under way, and gives way to plain calls", function()
		collectgarbage()
		assert.are.equal(0, (core.under_way()))
		assert(zbz.use("plain"))
		assert.is_true(t:set("k", 2))
		assert.are.equal(2, t:get("k"))
		assert(zbz.use("copas", copas))
		assert.has_error(function() zbz.use("copas", 5) end)
		assert.has_error(function() zbz.use("copas", {}) end)
		go(1, function() assert.are.equal(2, t:get("k")) end)
	end)
end)
