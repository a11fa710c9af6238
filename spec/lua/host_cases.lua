-- What holds in every loop, over a real Redis: calls of many coroutines overlap, and the loop never stands still.
local assert = require("luassert")
local busted = require("busted")
local core = require("zbz.core")
local loops = require("spec.lua.host_loops")
local proc = require("spec.services.proc")
local services = require("spec.services.redis")
local zbz = require("zbz")

local before_each, it, setup, teardown = busted.before_each, busted.it, busted.setup, busted.teardown

local function fails(code, v, err)
	assert.is_nil(v)
	assert.are.equal(code, err and err.code, tostring(err))
	return err
end

--- The cases, inside a describe; own(env) adds those of one loop: env.cache, t, mem, server, go, rest, idle, fails.
return function(loop, name, own)
	local env = { go = loops.go(loop), idle = loops.idle(loop), fails = fails }
	local go, idle = env.go, env.idle
	local server, cache, t, mem, rest

	setup(function()
		server = services.start()
		assert(zbz.use(name, loop.object))
		cache = assert(zbz.cache.new{ provider = "redis", url = server.url, pool_size = 20 })
		t = assert(cache:table("t", { neg_ttl = "1m", stale_ttl = "1m" }))
		mem = assert(zbz.cache.new{ provider = "memory" }):table("m")
		rest = loops.rest(loop, cache)
		env.server, env.cache, env.t, env.mem, env.rest = server, cache, t, mem, rest
	end)
	teardown(function()
		assert(zbz.use("plain"))
		cache:close()
		server.stop()
	end)
	before_each(function() server.cli("FLUSHALL") end)

	it("answers every method as a script does", function()
		local plain = cache:table("plain")
		go(1, function()
			assert.is_true(plain:set("a", { 1, 2 }))
			assert.are.same({ 1, 2 }, plain:get("a"))
			assert.is_nil((plain:get("none")))
			assert.is_false(plain:add("a", 1))
			assert.is_true(plain:exists("a"))
			assert.is_true(plain:expire("a", 60))
			assert.is_true(plain:ttl("a") > 50)
			assert.are.equal(5, plain:incr("n", 5))
			assert.are.equal(3, plain:decr("n", 2))
			local v, info = plain:get_with("a")
			assert.are.same({ 1, 2 }, v)
			assert.is_true(info.ttl > 50)
			assert.is_true(plain:set("a", 9, { only = "present", ttl = 5 }))
			assert.is_true(plain:set_multi{ x = 1, y = "two", z = zbz.item(3, { ttl = 9 }) })
			assert.are.same({ x = 1, y = "two", z = 3 }, plain:get_multi{ "x", "y", "z", "none" })
			assert.are.same({}, plain:get_multi{})
			assert.is_true(plain:delete_multi{ "x", "y" })
			assert.is_true(plain:delete("a"))
			assert.is_true(plain:set_raw("raw", "bytes"))
			assert.are.equal("bytes", plain:get_raw("raw"))
			assert.is_true(plain:invalidate("raw"))
			assert.is_true(cache:ping())
			assert.is_string(cache:version())
			assert.is_number(plain:stats().hits)
			assert.are.equal("PONG", cache:native("redis"):command("PING"))
			fails("invalid_key", plain:get(""))
			assert.has_error(function() plain:get(5) end)
			assert.has_error(function() plain:set("k", 1, { tll = 1 }) end)
			local ok, removed = plain:clear()
			assert.is_true(ok)
			assert.are.equal(2, removed)
		end)
	end)

	it("lists keys over many pages", function()
		go(1, function()
			local map = {}
			for i = 1, 1700 do map["k" .. i] = i end
			assert.is_true(t:set_multi(map))
			local n = 0
			for k in t:keys("k*") do
				assert.is_not_nil(map[k])
				map[k], n = nil, n + 1
			end
			assert.are.equal(1700, n)
		end)
	end)

	it("waits for sixteen slow commands at once, and the loop goes on", function()
		local r = cache:native("redis")
		local seconds, longest, turns = go(16, function(i) assert.is_nil((r:command("BLPOP", "nobody" .. i, "0.2"))) end)
		assert.is_true(seconds < 1.6, "they came one after another: " .. seconds .. " s")
		assert.is_true(longest < 0.15, "the loop stood still: " .. longest .. " s")
		assert.is_true(turns >= 8, "the loop stood still: " .. turns .. " turns")
	end)

	it("ends by the deadline while the server is paused, and the loop goes on", function()
		server.pause()
		local seconds, longest, turns = go(40, function(i) fails("timeout", t:get("k" .. i, { deadline = "300ms" })) end)
		server.resume()
		assert.is_true(seconds < 1.5, seconds .. " s")
		assert.is_true(longest < 0.15, "the loop stood still: " .. longest .. " s")
		assert.is_true(turns >= 10, "the loop stood still: " .. turns .. " turns")
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
			assert.is_nil(err)
			assert.are.same({ n = 1 }, v)
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
				local began = core.mono()
				local deadline = 60 + 10 * i
				fails("timeout", t:fetch("slow", { deadline = deadline .. "ms" }, function() return 2 end))
				local took = core.mono() - began
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

	it("lets a waiter go when the leader's coroutine is gone", function()
		local co = coroutine.create(function() t:fetch("lost", function() coroutine.yield("never resumed") end) end)
		loop.lend(co, "never resumed")
		co = nil -- luacheck: ignore 311
		idle(0.1) -- the lookup before the loader runs in the pool
		collectgarbage()
		collectgarbage()
		go(1, function() assert.are.equal("mine", (t:fetch("lost", { deadline = "5s" }, function() return "mine" end))) end)
	end)

	it("delivers messages in a coroutine of their own, in order, where calls may wait", function()
		local got, sub = {}, nil
		loops.go(loops.hearing(loop))(1, function()
			sub = assert(cache:native("redis"):subscribe("news", function(_, payload)
				assert(t:set("seen", payload))
				got[#got + 1] = payload
			end))
			for i = 1, 20 do cache:native("redis"):publish("news", "m" .. i) end
			for _ = 1, 200 do
				if #got == 20 then break end
				rest(0.01)
			end
			assert.are.equal("m20", t:get("seen"))
		end)
		sub:close()
		assert.are.equal(20, #got)
		assert.are.equal("m1", got[1])
	end)

	it("delivers messages while zbz.run runs, and is stopped from within", function()
		local got, sub = {}, nil
		loop.spawn(function()
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
		loop.spawn(function() cache:native("redis"):publish("news", "m11") end)
		repeat local n = zbz.poll(5) until n == 0 or #got == 11
		assert.are.equal("m11", got[11])
		sub:close()
		while zbz.poll("20ms") > 0 do end -- the answer to the last publish
		local began = core.mono()
		assert.are.equal(0, zbz.poll("50ms"))
		assert.is_true(core.mono() - began >= 45)
		assert.are.equal(0, zbz.poll())
	end)

	it("runs until it is stopped, by a call, a signal or the clock", function()
		loop.spawn(function()
			rest(0.02)
			zbz.stop()
		end)
		assert.is_true(zbz.run(5))
		assert.is_false(zbz.run("30ms"))
		if not loop.signals then return end
		loop.spawn(function()
			rest(0.02)
			proc.output("kill -TERM $PPID")
		end)
		local stopped, signal = zbz.run(5)
		assert.is_true(stopped)
		assert.are.equal("SIGTERM", signal)
	end)

	it("leaves nothing behind when its coroutine is dropped while it waits", function()
		server.pause()
		for i = 1, 10 do loop.spawn(function() t:get("k" .. i, { deadline = "200ms" }) end) end
		idle(0.03)
		assert.is_true(core.under_way() >= 10)
		idle(0.4)
		server.resume()
		go(1, function() assert.is_true(t:set("k", 1)) end)
		collectgarbage()
		local flying, undrained = core.under_way()
		assert.are.equal(0, flying)
		assert.are.equal(0, undrained)
	end)

	if own then own(env) end

	it("says why when it cannot wait; memory answers everywhere", function()
		local err = fails("unsupported", t:get("k"))
		assert.truthy(tostring(err):find(loop.blame, 1, true), tostring(err))
		fails("unsupported", t:set("k", 1))
		fails("unsupported", t:keys())
		fails("unsupported", cache:ping())
		assert.is_true(mem:set("k", 1))
		assert.are.equal(1, mem:get("k"))
		assert.are.equal("v", (mem:fetch("f", function() return "v" end)))
	end)

	it("leaves nothing under way, and gives way to plain calls", function()
		go(1, function() assert.is_true(t:set("k", 1)) end)
		collectgarbage()
		assert.are.equal(0, (core.under_way()))
		assert(zbz.use("plain"))
		assert.is_true(t:set("k", 2))
		assert.are.equal(2, t:get("k"))
		assert(zbz.use(name, loop.object))
		fails("unsupported", zbz.use("tokio"))
		assert.has_error(function() zbz.use(name, 5) end)
		assert.has_error(function() zbz.use(name, {}) end)
		go(1, function() assert.are.equal(2, t:get("k")) end)
	end)
end
