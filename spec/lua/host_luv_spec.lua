-- The luv host over a real Redis: calls of many coroutines overlap, the loop never stands still.
local assert = require("luassert")
local core = require("zbz.core")
local zbz = require("zbz")
local services = require("spec.services.redis")

local have, uv = pcall(require, "luv")
if not have then
	print("SKIP host_luv: luv is not installed")
	describe("host luv", function() it("needs luv", function() pending("luv is not installed") end) end)
	return
end

-- Runs fn in a coroutine, and the loop until everything has ended. Errors come out.
local function go(fn)
	local ok, err
	coroutine.wrap(function() ok, err = xpcall(fn, debug.traceback) end)()
	uv.run()
	if ok == nil then error("the coroutine did not end", 2) end
	if not ok then error(err, 0) end
end

local function sleep(ms)
	local co, timer = coroutine.running(), uv.new_timer()
	timer:start(ms, 0, function()
		timer:close()
		assert(coroutine.resume(co))
	end)
	coroutine.yield()
end

-- Counts the ticks of a 10 ms timer while n coroutines run fn(i); milliseconds, ticks.
local function overlapping(n, fn)
	local ticks, left, errors = 0, n, {}
	local timer = uv.new_timer()
	timer:start(10, 10, function() ticks = ticks + 1 end)
	uv.update_time()
	local began = uv.hrtime()
	for i = 1, n do
		coroutine.wrap(function()
			local ok, err = xpcall(function() fn(i) end, debug.traceback)
			if not ok then errors[#errors + 1] = err end
			left = left - 1
			if left == 0 then timer:close() end
		end)()
	end
	uv.run()
	if errors[1] then error(errors[1], 0) end
	return (uv.hrtime() - began) / 1e6, ticks
end

local function fails(code, v, err)
	assert.is_nil(v)
	assert.are.equal(code, err and err.code, tostring(err))
	return err
end

describe("host luv", function()
	local server, cache, t, mem

	setup(function()
		server = services.start()
		assert(zbz.use("luv", uv))
		cache = assert(zbz.cache.new{ provider = "redis", url = server.url, pool_size = 20 })
		t = assert(cache:table("t", { neg_ttl = "1m", stale_ttl = "1m" }))
		mem = assert(zbz.cache.new{ provider = "memory" }):table("m")
	end)
	teardown(function()
		assert(zbz.use("plain"))
		cache:close()
		server.stop()
	end)
	before_each(function() server.cli("FLUSHALL") end)

	it("answers every method as a script does", function()
		local plain = cache:table("plain")
		go(function()
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
		go(function()
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
		local ms, ticks = overlapping(16, function(i) assert.is_nil((r:command("BLPOP", "nobody" .. i, "0.2"))) end)
		assert.is_true(ms < 1600, "they came one after another: " .. ms .. " ms")
		assert.is_true(ticks >= 8, "the loop stood still: " .. ticks .. " ticks")
	end)

	it("ends by the deadline while the server is paused, and the loop goes on", function()
		server.pause()
		local ms, ticks = overlapping(16, function(i) fails("timeout", t:get("k" .. i, { deadline = "300ms" })) end)
		server.resume()
		assert.is_true(ms < 1500, "took " .. ms .. " ms")
		assert.is_true(ticks >= 10, "the loop stood still: " .. ticks .. " ticks")
		go(function() assert.is_true(t:set("after", 1)) end)
	end)

	it("runs one loader for all, and it may yield", function()
		local loads, hows = 0, {}
		overlapping(20, function()
			local v, err, how = t:fetch("k", function()
				loads = loads + 1
				sleep(50)
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
		overlapping(5, function()
			fails("loader", t:fetch("bad", function()
				sleep(20)
				error("boom")
			end))
		end)
		overlapping(2, function(i)
			if i == 1 then
				t:fetch("slow", function()
					sleep(400)
					return 1
				end)
			else
				sleep(80)
				local began = uv.hrtime()
				fails("timeout", t:fetch("slow", { deadline = "100ms" }, function() return 2 end))
				assert.is_true((uv.hrtime() - began) / 1e6 < 350)
			end
		end)
	end)

	it("lets a waiter go when the leader's coroutine is gone", function()
		local co = coroutine.create(function() t:fetch("lost", function() coroutine.yield("never resumed") end) end)
		coroutine.resume(co)
		local began = 0
		local timer = uv.new_timer()
		timer:start(30, 30, function() -- the lookup before the loader runs in the pool
			began = began + 1
			if began == 3 then
				co = nil -- luacheck: ignore 311
				timer:close()
				collectgarbage()
				collectgarbage()
			end
		end)
		go(function()
			sleep(60)
			local v = t:fetch("lost", { deadline = "5s" }, function() return "mine" end)
			assert.is_true(v == nil or v == "mine")
		end)
	end)

	it("refreshes in the background", function()
		local quick = cache:table("quick", { ttl = "400ms", refresh_at = 0.1 })
		local loads = 0
		local function load()
			loads = loads + 1
			return loads
		end
		go(function()
			assert.are.equal(1, quick:fetch("k", load))
			sleep(80)
			assert.are.equal(1, quick:fetch("k", load))
			sleep(80)
			assert.are.equal(2, quick:get("k"))
		end)
	end)

	it("delivers messages in a coroutine of their own, in order, where calls may wait", function()
		local got, sub = {}, nil
		go(function()
			sub = assert(cache:native("redis"):subscribe("news", function(_, payload)
				assert(t:set("seen", payload))
				got[#got + 1] = payload
			end))
			for i = 1, 20 do cache:native("redis"):publish("news", "m" .. i) end
			for _ = 1, 200 do
				if #got == 20 then break end
				sleep(10)
			end
			assert.are.equal("m20", t:get("seen"))
		end)
		sub:close()
		assert.are.equal(20, #got)
		assert.are.equal("m1", got[1])
	end)

	it("says why when it cannot wait; memory answers everywhere", function()
		local err = fails("unsupported", t:get("k"))
		assert.truthy(tostring(err):find("coroutine", 1, true))
		fails("unsupported", t:set("k", 1))
		fails("unsupported", t:keys())
		fails("unsupported", cache:ping())
		assert.is_true(mem:set("k", 1))
		assert.are.equal(1, mem:get("k"))
		assert.are.equal("v", (mem:fetch("f", function() return "v" end)))
	end)

	it("leaves nothing behind when a coroutine is dropped while it waits", function()
		server.pause()
		for i = 1, 10 do coroutine.wrap(function() t:get("k" .. i, { deadline = "200ms" }) end)() end
		assert.is_true(core.under_way() >= 10)
		uv.run()
		server.resume()
		go(function() assert.is_true(t:set("k", 1)) end)
		collectgarbage()
		local flying, undrained = core.under_way()
		assert.are.equal(0, flying)
		assert.are.equal(0, undrained)
	end)

	it("runs until it is stopped, by a call, a signal or the clock", function()
		local timer = uv.new_timer()
		timer:start(20, 0, function()
			timer:close()
			zbz.stop()
		end)
		assert.is_true(zbz.run(5))
		assert.is_false(zbz.run("30ms"))
		timer = uv.new_timer()
		timer:start(20, 0, function()
			timer:close()
			uv.kill(uv.os_getpid(), "sigterm")
		end)
		local stopped, signal = zbz.run(5)
		assert.is_true(stopped)
		assert.are.equal("SIGTERM", signal)
	end)

	it("gives way to plain calls again", function()
		assert(zbz.use("plain"))
		assert.is_true(t:set("k", 1))
		assert.are.equal(1, t:get("k"))
		assert(zbz.use("luv", uv))
		fails("unsupported", zbz.use("tokio"))
		assert.has_error(function() zbz.use("luv", 5) end)
	end)
end)
