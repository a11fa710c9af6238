-- What fetch is made of; handles in any order of death; a collector at full speed.
local core = require("zbz.core")
local S = require("spec.lua.core_support")
local memory, cache_of, table_of, raises, fails, EXACT = S.memory, S.cache_of, S.table_of, S.raises, S.fails, S.exact

describe("fetch primitives", function()
	it("tell what is there", function()
		local clock = core.fake_clock(1000000)
		local t = table_of("json", { clock = clock, table = { stale_ttl = 60000, ttl = 5000 } })
		assert.same({}, { t:entry("k") })
		t:set("k", { 1 })
		clock:advance(1000)
		local v, state, age, left, version = t:entry("k", 500)
		assert.same({ { 1 }, "hit", 1000, 4000 }, { v, state, age, left })
		assert.is_string(version)
		clock:advance(5000)
		v, state = t:entry("k")
		assert.same({ { 1 }, "stale" }, { v, state })
		assert.is_nil((t:get("k")))
		assert.equal(1, select("#", t:get_with("k")))
		t:set("never", 1, 0)
		assert.equal(math.huge, (select(4, t:entry("never"))))
		t:set_raw("bad", "{")
		local _, none, err = t:entry("bad")
		assert.is_nil(none)
		assert.equal("decode", err.code)
	end)

	it("lead, lease, commit and land", function()
		local t = table_of("json", { table = { envelope = true } })
		local f, seat = t:flight("k")
		assert.equal("leads", seat)
		local w, second = t:flight("k")
		assert.equal("waits_for_self", second)
		assert.is_false(w:landed())
		raises("not landed", w.result, w)
		raises("only the leader", w.land, w, "value", "x")
		raises("only the leader", t.commit, t, w, "k", "1")
		local lease, err = t:lease("k", nil, nil, 1000, 1000)
		assert.is_nil(err)
		assert.is_true(t:commit(f, "k", t:encode { 7 }, { ttl_ms = 5000, stale_ttl_ms = 0, lease = lease }))
		assert.same({ 7 }, t:get("k"))
		assert.is_true(f:land("value", t:encode { 7 }))
		raises("once", f.land, f, "value", "x")
		assert.is_true(w:wait(core.mono() + 1000))
		assert.is_true(w:landed())
		local how, bytes = w:result()
		assert.equal("value", how)
		assert.same({ 7 }, t:decode(bytes))
		f:leave()
		f:leave()
		raises("was left", f.landed, f)
		w:leave()
	end)

	it("hand over negatives, failures and abandonment", function()
		local t = table_of("json", { table = { envelope = true } })
		local f, w = t:flight("k"), t:flight("k")
		assert.is_true(t:commit(f, "k", "", { ttl_ms = 5000, negative = true }))
		f:land("negative")
		assert.same({ "negative" }, { w:result() })
		assert.same({ nil, "negative" }, { (select(1, t:entry("k"))), (select(2, t:entry("k"))) })
		f:leave()
		f, w = t:flight("k"), t:flight("k")
		f:land("failed", "no luck")
		assert.same({ "failed", "no luck" }, { w:result() })
		f:leave()
		f, w = t:flight("k"), t:flight("k")
		f:leave()
		assert.is_true(w:wait(core.mono() + 1000))
		assert.same({ "failed", "abandoned" }, { w:result() })
		f, w = t:flight("k"), t:flight("k")
		assert.truthy(f)
		f = nil -- luacheck: ignore
		collectgarbage()
		collectgarbage()
		assert.is_true(w:landed())
		raises("how must be", w.land, w, "well")
	end)

	it("fence a load off", function()
		local t = table_of("json")
		for _, move in ipairs { "delete", "set", "invalidate", "clear" } do
			local f = t:flight("k")
			assert.is_false(f:moved())
			if move == "set" then t:set("k", "newer") elseif move == "clear" then t:clear() else t[move](t, "k") end
			assert.is_true(f:moved())
			assert.is_false(t:commit(f, "k", '"older"'))
			assert.equal(move == "set" and "newer" or nil, t:get("k"))
			local late = t:flight("k")
			f:land("value", '"older"')
			assert.same({ "again" }, { late:result() })
			f:leave()
		end
		assert.equal(4, t:counters().fenced)
	end)

	it("time out", function()
		local t = table_of("json")
		local f, w = t:flight("k"), t:flight("k")
		fails("timeout", w:wait(core.mono() + 20))
		f:land("negative")
		raises("whole number", w.wait, w, "x")
		raises("zbz.Clock", w.wait, w, 5, {})
		raises("zbz.Flight", t.commit, t, {}, "k", "x")
		raises("unknown option", t.commit, t, f, "k", "x", { tll = 1 })
		raises("lease_ms", t.lease, t, "k", nil, nil, "x")
		raises("unknown state", t.lease, t, "k", "odd", nil, 5)
		raises("the key", t.flight, t, 5)
	end)

	it("serve providers written in Lua", function()
		local fs = core.flights()
		local f, seat = fs:flight("full:key")
		assert.equal("leads", seat)
		fs:touch("other")
		assert.is_false(f:moved())
		fs:touch("full:key")
		assert.is_true(f:moved())
		local g = fs:flight("full:other")
		fs:touch_prefix("full:")
		assert.is_true(g:moved())
		fs:close()
		fs:close()
		raises("closed", fs.touch, fs, "x")
		assert.is_true(f:land("negative"))
	end)
end)

describe("memory", function()
	local function churn(rounds)
		local c = cache_of()
		local tables = {}
		for _, codec in ipairs { "bytes", "json", "msgpack", "auto" } do
			tables[#tables + 1] = table_of(codec, { cache = c, table = { name = codec } })
		end
		for i = 1, rounds do
			local t, k = tables[i % 4 + 1], "k" .. i % 97
			local v = i % 4 == 0 and tostring(i) or { i, { x = tostring(i) } }
			assert(t:set(k, v))
			assert.same(v, t:get(k))
			if i % 7 == 0 then assert(t:get_multi { k, "none", "k1" }) end
			if i % 11 == 0 then assert(t:set_multi { [k] = core.item(v, 5), z = v }) end
			if i % 13 == 0 then t:flight(k) end
			if i % 101 == 0 then t:keys("k1*")() end
			if i % 211 == 0 then table_of("json", { cache = c }):set("x", { i }) end
		end
	end

	it("stands a collector at full speed", function()
		collectgarbage("setpause", 0)
		collectgarbage("setstepmul", 100000)
		churn(EXACT and 3000 or 300) -- LuaJIT collects everything at every step then
		collectgarbage("setpause", 200)
		collectgarbage("setstepmul", 200)
		if EXACT then
			collectgarbage("generational")
			churn(20000)
			collectgarbage("incremental")
		end
		local c = table_of("bytes")
		c:set("k", ("x"):rep(100))
		for i = 1, 2000000 do
			if c:get("k") == nil then error(i) end
		end
	end)

	it("does not grow", function()
		churn(2000)
		collectgarbage()
		collectgarbage()
		local before = collectgarbage("count")
		churn(6000)
		collectgarbage()
		collectgarbage()
		assert.is_true(collectgarbage("count") < before + 200)
	end)

	it("frees handles in any order", function()
		for order = 1, 6 do
			local clock = core.fake_clock(1000)
			local s = memory(nil, clock)
			local c = core.new_cache(s, { clock = clock, default_ttl = 5 })
			local t = core.new_table(c, { codec = "bytes" })
			t:set("k", "v")
			local gc = { clock, s, c, t, (t:flight("k")) }
			for i = 1, 5 do
				local h = gc[(i * order) % 7 % 5 + 1]
				debug.getmetatable(h).__gc(h)
				debug.getmetatable(h).__gc(h)
			end
			for _, h in ipairs(gc) do debug.getmetatable(h).__gc(h) end
			raises("closed", t.get, t, "k")
			raises("closed", clock.wall, clock)
		end
		debug.getmetatable(memory()).__gc(io.stdout)
		debug.getmetatable(memory()).__gc(nil)
	end)

	it("keeps the clock of a store alive", function()
		local t
		do
			local clock = core.fake_clock(1000)
			t = table_of("bytes", { store = memory(nil, clock) })
		end
		collectgarbage()
		collectgarbage()
		t:set("k", "v", 5)
		assert.equal("v", t:get("k"))
	end)

	it("keeps the cache of a table alive", function()
		local t = table_of("bytes")
		collectgarbage()
		collectgarbage()
		assert.is_true(t:set("k", "v"))
		assert.equal("v", t:get("k"))
	end)

	it("lets finalizers use the module", function()
		local t = table_of("json")
		t:set("k", { 1, 2, { 3 } })
		local ran = 0
		local function trash()
			local function finalize()
				ran = ran + 1
				assert(t:get("k")[3][1] == 3)
				t:set("f", { ran })
				t:get_multi { "k", "f" }
			end
			if EXACT then
				setmetatable({}, { __gc = finalize })
			else
				getmetatable(newproxy(true)).__gc = finalize -- luacheck: globals newproxy
			end
		end
		for i = 1, 20000 do
			trash()
			local v = t:get("k")
			if v[1] ~= 1 or v[3][1] ~= 3 then error("clobbered at " .. i) end
		end
		collectgarbage()
		assert.is_true(ran > 0)
	end)
end)
