-- The cqueues host over a real Redis.
local assert = require("luassert")
local core = require("zbz.core")
local zbz = require("zbz")
local services = require("spec.services.redis")

local have, cqueues = pcall(require, "cqueues")
if not have then
	print("SKIP host_cqueues: cqueues is not installed")
	describe("host cqueues", function() it("needs cqueues", function() pending("cqueues is not installed") end) end)
	return
end

describe("host cqueues", function()
	local server, cache, t, cq

	-- Runs fn(i) in n threads of the controller until all have ended; seconds, ticks of a thread that sleeps 10 ms.
	local function go(n, fn)
		local left, ticks, began = n, 0, cqueues.monotime()
		for i = 1, n do
			cq:wrap(function()
				fn(i)
				left = left - 1
			end)
		end
		cq:wrap(function()
			while left > 0 do
				cqueues.sleep(0.01)
				ticks = ticks + 1
			end
		end)
		for err in cq:errors() do error(err, 0) end
		return cqueues.monotime() - began, ticks
	end

	setup(function()
		server = services.start()
		cq = cqueues.new()
		assert(zbz.use("cqueues", cq))
		cache = assert(zbz.cache.new{ provider = "redis", url = server.url, pool_size = 20 })
		t = assert(cache:table("t", { stale_ttl = "1m" }))
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
		local r = cache:native("redis")
		local seconds, ticks = go(16, function(i) assert.is_nil((r:command("BLPOP", "nobody" .. i, "0.2"))) end)
		assert.is_true(seconds < 1.6)
		assert.is_true(ticks >= 8, ticks .. " ticks")
	end)

	it("ends by the deadline while the server is paused", function()
		server.pause()
		local seconds, ticks = go(16, function(i)
			local v, err = t:get("k" .. i, { deadline = "300ms" })
			assert.is_nil(v)
			assert.are.equal("timeout", err.code)
		end)
		server.resume()
		assert.is_true(seconds < 1.5)
		assert.is_true(ticks >= 10, ticks .. " ticks")
	end)

	it("runs one loader for all, and it may yield", function()
		local loads = 0
		go(20, function()
			local v, err, how = t:fetch("once", function()
				loads = loads + 1
				cqueues.sleep(0.05)
				return loads
			end)
			assert.are.equal(1, v, tostring(err))
			assert.is_string(how)
		end)
		assert.are.equal(1, loads)
	end)

	it("delivers messages while zbz.run runs, and is stopped from within", function()
		local got = {}
		local sub
		cq:wrap(function()
			sub = assert(cache:native("redis"):subscribe("news", function(_, payload)
				got[#got + 1] = payload
				assert(t:set("seen", payload))
				if #got == 10 then zbz.stop() end
			end))
			for i = 1, 10 do cache:native("redis"):publish("news", "m" .. i) end
		end)
		assert.is_true(zbz.run(5))
		sub:close()
		assert.are.equal("m10", got[10])
		assert.is_false(zbz.run("20ms"))
	end)

	it("leaves nothing under way, and says why when it cannot wait", function()
		go(1, function() assert.is_true(t:set("k", 1)) end)
		collectgarbage()
		assert.are.equal(0, (core.under_way()))
		local v, err = t:get("k")
		assert.is_nil(v)
		assert.are.equal("unsupported", err.code)
		assert.has_error(function() zbz.use("cqueues", 5) end)
	end)
end)
