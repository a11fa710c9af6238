-- The doors for LuaJIT: the same answers and counts as the methods in C, loops that compile, hits that allocate nothing but the result.
local zbz = require("zbz")
local core = require("zbz.core")
local doors = require("zbz.ffi.doors")
local testkit = require("zbz.testkit")

local jit = rawget(_G, "jit")
local error = error -- busted looks globals up with a function, which would be in every trace

if not jit then
	describe("the doors for LuaJIT", function()
		it("are not there in PUC Lua", function()
			assert.is_false(doors.install())
			assert.is_nil(core.doors)
			assert.is_nil(doors.l1_hit)
		end)
	end)
	return
end

local traces = require("spec.lua.jit_traces")

local function compiles(fn) traces.compile(fn, traces.RETRIED) end

--- Kilobytes that fn leaves to the collector, once it is warm.
local function garbage(fn)
	fn()
	fn()
	collectgarbage()
	collectgarbage()
	collectgarbage("stop")
	local before = collectgarbage("count")
	fn()
	local more = collectgarbage("count") - before
	collectgarbage("restart")
	return more
end

local function must(v) if not v then error("no value") end end

local N, KEYS = 4000, 100
local keys = {}
for i = 1, KEYS do keys[i] = "key:" .. i end

for _, name in ipairs({ "memory", "shared" }) do
	describe("the doors for LuaJIT on " .. name, function()
		local cache, t, numbers, kept, records
		setup(function()
			assert.is_true(doors.installed)
			cache = assert(zbz.cache.new{ provider = name, key_prefix = "ffi:" })
			t = cache:table("t", { serializer = "bytes" })
			numbers = cache:table("n")
			kept = assert(cache:table("kept", { l1 = 1000 }))
			records = assert(cache:table("records", { l1 = 1000 }))
			for i, k in ipairs(keys) do
				t:set(k, "value " .. i)
				numbers:set(k, i)
				kept:set(k, "value " .. i)
				records:set(k, { id = i, name = "n" .. i, tags = { "a", "b" }, inner = { x = 1.5 } })
			end
			for _ = 1, 3 do
				for _, k in ipairs(keys) do
					kept:get(k)
					records:get(k)
				end
			end
		end)
		teardown(function() cache:close() end)

		it("compile in a loop, without an abort or a way through the C API", function()
			local loader = function() error("not to be called") end
			compiles(function() for i = 1, N do must(t:get(keys[i % KEYS + 1])) end end)
			compiles(function() for i = 1, N do must(t:get_raw(keys[i % KEYS + 1])) end end)
			compiles(function() for i = 1, N do must(numbers:get(keys[i % KEYS + 1])) end end)
			compiles(function() for i = 1, N do must(t:fetch(keys[i % KEYS + 1], loader)) end end)
			compiles(function() for i = 1, N do must(t:get("none" .. i % 3) == nil) end end)
		end)
		it("compile over an L1, copies of tables included", function()
			local loader = function() error("not to be called") end
			compiles(function() for i = 1, N do must(kept:get(keys[i % KEYS + 1])) end end)
			compiles(function() for i = 1, N do must(records:get(keys[i % KEYS + 1]).inner.x == 1.5) end end)
			compiles(function() for i = 1, N do must(records:fetch(keys[i % KEYS + 1], loader).id) end end)
		end)
		it("are what the C API is not", function()
			doors.remove()
			local links = traces.anew(function() for i = 1, N do must(t:get(keys[i % KEYS + 1])) end end, traces.RETRIED)
			doors.install()
			assert.is_nil(links.loop) -- or the two tests before could not fail
		end)
		it("allocate nothing but the result", function()
			local alive = {}
			for i, k in ipairs(keys) do alive[i] = t:get(k) end
			local loader = function() error("not to be called") end
			local few = 4 -- KB of 4000 calls; a string of its own for each would be 100
			assert.is_true(garbage(function() for i = 1, N do must(t:get(keys[i % KEYS + 1])) end end) < few)
			assert.is_true(garbage(function() for i = 1, N do must(t:get_raw(keys[i % KEYS + 1])) end end) < few)
			assert.is_true(garbage(function() for i = 1, N do must(t:fetch(keys[i % KEYS + 1], loader)) end end) < few)
			assert.is_true(garbage(function() for i = 1, N do must(numbers:get(keys[i % KEYS + 1])) end end) < few)
			assert.is_true(garbage(function() for i = 1, N do must(kept:get(keys[i % KEYS + 1])) end end) < few)
			assert.is_true(garbage(function() for i = 1, N do must(kept:fetch(keys[i % KEYS + 1], loader)) end end) < few)
			assert.are.equal(KEYS, #alive)
		end)
	end)
end

--- Results of a call, or what it raised, in a form that compares.
local function outcome(...)
	local out = { n = select("#", ...), ... }
	for i = 1, out.n do
		local v = out[i]
		if zbz.is_error(v) then out[i] = { tostring(v), v.code, v.op, v.provider, v.table, v.key } end
	end
	return out
end
local function call(fn, ...) return outcome(pcall(fn, ...)) end

describe("through the doors and through the C API", function()
	after_each(function() doors.install() end)

	--- Runs `use` on a fresh table both ways; results and counters must agree.
	local function agree(opts, use)
		local got = {}
		for way = 1, 2 do
			if way == 2 then doors.remove() end
			local clock = testkit.clock()
			local cache = assert(zbz.cache.new{ provider = "memory", clock = clock, key_prefix = "same:" })
			local t = assert(cache:table("t", opts))
			local out = { use(t, clock, cache) }
			local s = t:stats()
			if not cache.closed then cache:close() end
			got[way] = { out, { s.hits, s.misses, s.sets, s.errors, s.last_access, s.loads } }
			doors.install()
		end
		for i, out in ipairs(got[2][1][1]) do assert.are.same(out, got[1][1][1][i], "case " .. i) end
		assert.are.same(got[2], got[1])
	end

	local VALUES = { "text", "", "ünï", "12", "-0", "007", "9007199254740993", "line\nbreak", "quote\"s", "back\\slash", ("x"):rep(70000),
		0, -5, 999999999999999, 2 ^ 53, -2 ^ 53, 1.5, 1e300, true, false, zbz.null, { 1, 2 }, { a = { b = 1 } }, zbz.array{} }
	for _, serializer in ipairs({ "json", "msgpack", "auto" }) do
		it("every value is the same with " .. serializer, function()
			agree({ serializer = serializer }, function(t)
				local out = {}
				for i, v in ipairs(VALUES) do
					assert(t:set("k", v))
					out[i] = { call(t.get, t, "k"), call(t.fetch, t, "k", error), call(t.get_raw, t, "k") }
					assert.are.same(v, (t:get("k")))
				end
				return out
			end)
		end)
	end
	it("foreign bytes are judged the same", function()
		for _, serializer in ipairs({ "json", "msgpack", "auto", "string", "bytes" }) do
			agree({ serializer = serializer }, function(t)
				local out = {}
				for i, bytes in ipairs({ "", " 1", "1 ", "01", "-", "--1", "1.0", "123456789012345678901", "nul", "true ", "falsey", "\"", "\"a",
					"\"a\"b\"",
					"\"\1\"", "\"\255\"", "\"ok\"", "\255", "\193", "\193sabc", "\193zbz", "{", "\160", "\161", "\161a", "\161ab", "\217\1a", "\217\2a",
					"\196\1a", "\218\0\1a", "\197\0\2a", "\195", "\194x", "-00", "-012", "null" }) do
					t:set_raw("k", bytes)
					out[i] = { call(t.get, t, "k"), call(t.get_raw, t, "k"), call(t.fetch, t, "k", function() return "loaded" end) }
				end
				return out
			end)
		end
	end)
	it("misses, ends and states are the same", function()
		for _, opts in ipairs({ { ttl = 10 }, { ttl = 10, stale_ttl = 100, neg_ttl = 5 }, { ttl = 10, refresh_at = 0.5 },
			{ ttl = 10, deadline = 1 } }) do
			agree(opts, function(t, clock)
				local n, out, broken = 0, {}, false
				local function load()
					n = n + 1
					if broken then return nil, "broken" end
					return "v" .. n
				end
				local function both()
					out[#out + 1] = { call(t.get, t, "k"), call(t.fetch, t, "k", load), call(t.get_raw, t, "none"), n }
				end
				both() both()
				clock:advance(6000) both() zbz.poll(0) both()
				clock:advance(10000) both()
				broken = true
				clock:advance(20000) both() both()
				t:invalidate("k") both()
				out[#out + 1] = { call(t.fetch, t, "neg", function() n = n + 1 end), call(t.fetch, t, "neg", load), call(t.get, t, "neg"), n }
				return out
			end)
		end
	end)
	it("misuse and failures read the same", function()
		agree(nil, function(t, _, cache)
			t:set("k", 1)
			local out = { call(t.get, t, 5), call(t.get, t, nil), call(t.get, t, "k", { tll = 1 }), call(t.get, t, "k", 5),
				call(t.get, t, "k", { deadline = 1 }), call(t.get, t, ""), call(t.get, t, ("k"):rep(70000)), call(t.get_raw, t, ""),
				call(t.get_raw, t, {}), call(t.fetch, t, "", nil), call(t.fetch, t, "", error), call(t.fetch, t, 5, error), call(t.fetch, t, "k", nil),
				call(t.fetch, t, "k", error, { ttl = 1 }), call(t.fetch, t, "k", error, "argument"), call(t.fetch, t, "k", nil, error),
				call(t.get, {}, "k"), call(t.get, "t", "k"), call(t.get, io.stdout, "k"), call(t.get, cache.core, "k"), call(t.fetch, nil, "k", error) }
			cache:close()
			out[#out + 1] = { call(t.get, t, "k"), call(t.get_raw, t, "k"), call(t.fetch, t, "k", error) }
			return out
		end)
	end)
	it("blame the program's line", function()
		local t = assert(zbz.cache.new("memory")):table("t")
		local function line(fn)
			local ok, err = pcall(fn)
			assert.is_false(ok)
			return tonumber(tostring(err):match("ffi_spec%.lua:(%d+): ")), debug.getinfo(fn, "S").linedefined
		end
		local function same(fn)
			local told, wanted = line(fn)
			assert.are.equal(wanted, told)
		end
		same(function() local _ = t:get(5) end)
		same(function() local _ = t:get("k", { tll = 1 }) end)
		same(function() local _ = t:get_raw(5) end)
		same(function() local _ = t:fetch(5, error) end)
		same(function() local _ = t:fetch("k", 5) end)
	end)
end)

describe("the doors and finalizers", function()
	it("keep their answers apart", function()
		local cache = assert(zbz.cache.new("memory"))
		local t = cache:table("t", { serializer = "bytes" })
		local j = cache:table("j")
		t:set("outer", ("o"):rep(100))
		t:set("inner", ("i"):rep(100))
		j:set("table", { 1, 2, { 3 } })
		local ran, wrong = 0, 0
		local function again()
			local p = newproxy(true) -- luacheck: ignore 113
			getmetatable(p).__gc = function()
				ran = ran + 1
				if t:get("inner") ~= ("i"):rep(100) then wrong = wrong + 1 end
				if ran < 2000 then again() end
			end
		end
		for _ = 1, 50 do again() end
		collectgarbage("setpause", 10)
		collectgarbage("setstepmul", 1000)
		for i = 1, 40000 do
			if t:get("outer") ~= ("o"):rep(100) then wrong = wrong + 1 end
			if i % 4 == 0 and j:get("table")[3][1] ~= 3 then wrong = wrong + 1 end
		end
		collectgarbage("setpause", 200)
		collectgarbage("setstepmul", 200)
		assert.is_true(ran >= 50)
		assert.are.equal(0, wrong)
		cache:close()
	end)
	it("answer nothing after the handle is gone", function()
		local cache = assert(zbz.cache.new("memory"))
		local t = cache:table("t")
		t:set("k", 1)
		getmetatable(t).__gc(t)
		local ok, err = pcall(t.get, t, "k")
		assert.is_false(ok)
		assert.truthy(err:find("the table is closed", 1, true))
		cache:close()
	end)
end)
