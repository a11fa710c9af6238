-- Tables with l1: values kept decoded in this Lua state, never older than what the provider has, never anybody else's.
local zbz = require("zbz")
local core = require("zbz.core")
local proc = require("spec.services.proc")
local testkit = require("zbz.testkit")
local support = require("spec.lua.l1_support")
local open, warm, PROVIDERS = support.open, support.warm, support.PROVIDERS

local function fails(code, v, err)
	assert.is_nil(v)
	assert.are.equal(code, err and err.code)
	return err
end

for name, spec in pairs(PROVIDERS) do
	describe("l1 on " .. name, function()
		local cache, t
		before_each(function()
			cache = open(spec)
			t = assert(cache:table("t", { l1 = 100 }))
		end)
		after_each(function() cache:close() end)

		local function l1_hits() return t:stats().l1_hits end

		it("answers from here, and counts as ever", function()
			t:set("k", { n = 1 })
			for _ = 1, 5 do assert.are.same({ n = 1 }, t:get("k")) end
			assert.are.equal(4, l1_hits())
			assert.is_nil(t:get("none"))
			local s = t:stats()
			assert.are.equal(5, s.hits)
			assert.are.equal(1, s.misses)
			assert.is_true(s.last_access >= s.created_at)
			assert.are.equal(4, cache:stats().l1_hits)
			assert.are.equal(5, cache:stats().hits)
			assert.are.equal(100, t:info().l1)
		end)

		it("gives every kind of value back as it went in", function()
			local deep = { 1 }
			for i = 1, 12 do deep = { inner = deep, list = { i } } end
			local wide = {}
			for i = 1, 200 do wide["field " .. i] = { i } end
			local long = {}
			for i = 1, 500 do long[i] = i end
			local values = { "text", "", "ünï\0x", 0, -7, 1.5, 2 ^ 40, true, false, { 1, 2, 3 }, { a = { b = { c = { 1, { d = 2 } } } } },
				{ ["odd \"key\"\n"] = 1, [""] = 2, ["end"] = 3 }, deep, wide, long, { list = { { id = 1 }, { id = 2 } } } }
			for i, v in ipairs(values) do
				assert(t:set("k" .. i, v))
				for _ = 1, 4 do assert.are.same(v, t:get("k" .. i)) end
			end
			t:set("empty", zbz.array{})
			t:set("null", { a = zbz.null })
			for _ = 1, 4 do
				assert.are.equal(core.array_mt, getmetatable(t:get("empty")))
				assert.are.equal(zbz.null, t:get("null").a)
			end
			assert.is_true(l1_hits() >= #values * 3)
		end)

		it("never hands out a table twice", function()
			local wide = {}
			for i = 1, 200 do wide["f" .. i] = { i } end
			for _, v in ipairs({ { a = 1, list = { 1, 2, { x = 1 } } }, wide }) do
				t:set("k", v)
				local seen = {}
				for _ = 1, 6 do
					local mine = t:get("k")
					assert.are.same(v, mine)
					assert.is_nil(seen[mine])
					seen[mine] = true
					for field, x in pairs(mine) do
						if type(x) == "table" then
							assert.is_nil(seen[x])
							seen[x] = true
							x[1], x.more = "changed", true
						end
						mine[field] = type(x) == "table" and x or nil
					end
					mine.new = 1
					local fetched = t:fetch("k", error)
					assert.are.same(v, fetched)
					fetched.a, fetched.f1 = nil, nil
				end
			end
		end)

		it("sees its own writes, and those of others on the provider", function()
			local other = cache:table("t2", { ttl = "1h" })
			assert.is_nil(other:get("k"))
			local direct = assert(zbz.cache.contract("direct", cache.provider, { prefix = t:prefix() }))
			for _, writer in ipairs({ t, direct }) do
				local function check(wanted) for _ = 1, 3 do assert.are.equal(wanted, t:get("k")) end end
				writer:set("k", 1) check(1)
				writer:set("k", 2) check(2)
				writer:set("k", ("long"):rep(100)) check(("long"):rep(100))
				writer:delete("k") check(nil)
				writer:set("k", 5) check(5)
				writer:incr("k", 2) check(7)
				writer:set_multi{ k = 9, j = 1 } check(9)
				writer:invalidate("k") check(nil)
				writer:add("k", 10) check(10)
				writer:delete_multi{ "k", "j" } check(nil)
				writer:set_raw("k", "11") check(11)
				writer:clear() check(nil)
			end
		end)

		it("forgets at the millisecond", function()
			local clock = testkit.clock()
			local timed = { clock = clock }
			for k, v in pairs(spec) do timed[k] = v end
			local c = open(timed)
			local short = assert(c:table("short", { l1 = 10, ttl = 0.1 }))
			short:set("k", { 1 })
			warm(short, "k")
			clock:advance(99)
			assert.are.same({ 1 }, short:get("k"))
			assert.are.equal(2, short:stats().l1_hits)
			clock:advance(1)
			assert.is_nil(short:get("k"))
			short:set("k", 1)
			warm(short, "k")
			assert.is_true(short:expire("k", 0.05))
			assert.are.equal(1, warm(short, "k"))
			clock:advance(50)
			assert.is_nil(short:get("k"))
			c:close()
		end)

		it("keeps no more than it may, and rather what is used", function()
			local small = assert(cache:table("small", { l1 = 10 }))
			for i = 1, 200 do
				small:set("k" .. i, i)
				assert.are.equal(i, small:get("k" .. i))
				if i > 1 then assert.are.equal(1, small:get("k1")) end
			end
			local kept = 0
			for _ in pairs(small.index) do kept = kept + 1 end
			assert.is_true(kept <= 10, kept .. " kept")
			assert.is_true(#small.key_at <= 10)
			local before = small:stats().l1_hits
			assert.are.equal(1, small:get("k1"))
			assert.are.equal(before + 1, small:stats().l1_hits)
			for i = 1, 200 do assert.are.equal(i, small:get("k" .. i)) end
		end)

		it("serves fetch without the loader", function()
			local loads = 0
			local function load(k)
				loads = loads + 1
				return { key = k }
			end
			local v, err, how = t:fetch("k", load)
			assert.are.same({ { key = "k" }, nil, "loaded" }, { v, err, how })
			for _ = 1, 5 do assert.are.same({ { key = "k" }, "hit" }, { (function() local a, _, b = t:fetch("k", load) return a, b end)() }) end
			assert.are.equal("hit", select(3, t:fetch("k", nil, load)))
			assert.are.equal("hit", select(3, t:fetch("k", { ttl = 5 }, load)))
			assert.are.equal("hit", select(3, t:fetch("k", load, "argument")))
			assert.are.equal("loaded", select(3, t:fetch("k", { fresh = true }, load)))
			assert.are.equal("hit", select(3, t:fetch("k", load)))
			assert.are.equal(2, loads)
			assert.is_true(l1_hits() >= 5)
			assert.has_error(function() t:fetch("k", 5) end)
			assert.has_error(function() t:fetch(5, load) end)
		end)

		it("leaves fetch its refreshes, stale values and absences", function()
			local clock = testkit.clock()
			local timed = { clock = clock }
			for k, v in pairs(spec) do timed[k] = v end
			local c = open(timed)
			local f = assert(c:table("f", { l1 = 10, ttl = 10, stale_ttl = 100, neg_ttl = 5, refresh_at = 0.5 }))
			local n, broken = 0, false
			local function load()
				if broken then return nil, "broken" end
				n = n + 1
				return { n }
			end
			assert.are.same({ 1 }, f:fetch("k", load))
			for _ = 1, 3 do assert.are.same({ 1 }, f:fetch("k", load)) end
			clock:advance(6000)
			assert.are.same({ 1 }, f:fetch("k", load)) -- kept here, and old enough for a refresh
			zbz.poll(0)
			assert.are.equal(2, n)
			assert.are.same({ 2 }, f:fetch("k", load))
			broken = true
			clock:advance(11000)
			local v, _, how = f:fetch("k", load)
			assert.are.same({ { 2 }, "stale" }, { v, how })
			assert.is_nil(f:get("k"))
			local function none() return nil end
			assert.is_nil(f:fetch("absent", none))
			assert.are.equal("negative", select(3, f:fetch("absent", load)))
			f:invalidate("k")
			assert.are.equal("stale", select(3, f:fetch("k", load)))
			c:close()
		end)

		it("works with schemas, and with serializers of every kind", function()
			local s = assert(cache:table("s", { l1 = 10, schema = { id = "integer", tags = { "string" } } }))
			s:set("1", { id = 1, tags = { "a" } })
			for _ = 1, 3 do assert.are.same({ id = 1, tags = { "a" } }, s:get("1")) end
			s:set_raw("bad", "{\"id\":\"x\"}")
			for _ = 1, 3 do
				local err = fails("type_mismatch", s:get("bad"))
				assert.are.equal("get", err.op)
			end
			for _, serializer in ipairs({ "msgpack", "auto", "cjson", "json" }) do
				local x = assert(cache:table("x" .. serializer, { l1 = 10, serializer = serializer }))
				x:set("k", { a = { 1, 2 } })
				for _ = 1, 3 do assert.are.same({ a = { 1, 2 } }, x:get("k")) end
				assert.are.equal(2, x:stats().l1_hits)
			end
			local b = assert(cache:table("b", { l1 = 10, serializer = "bytes" }))
			b:set("k", "\0\255")
			for _ = 1, 3 do assert.are.equal("\0\255", b:get("k")) end
			local mt = { __index = { double = function(self) return self.n * 2 end } }
			local objects = assert(cache:table("o", { l1 = 10, serializer = {
				encode = function(v) return tostring(v.n) end,
				decode = function(text) local o = setmetatable({ n = tonumber(text) }, mt) o.self = o return o end,
			} }))
			objects:set("k", { n = 4 })
			local first = objects:get("k")
			for _ = 1, 3 do
				local o = objects:get("k")
				assert.are.equal(8, o:double())
				assert.are.equal(o, o.self)
				assert.are_not.equal(first, o)
			end
			assert.are.equal(3, objects:stats().l1_hits)
		end)

		it("fails as any table does", function()
			t:set("k", 1)
			warm(t, "k")
			assert.has_error(function() t:get() end)
			assert.has_error(function() t:get(5) end)
			assert.has_error(function() t:get("k", { tll = 1 }) end)
			assert.are.equal(1, t:get("k", { deadline = 1 }))
			fails("invalid_key", t:get(""))
			t:set_raw("broken", "{")
			local err = fails("decode", t:get("broken"))
			assert.are.same({ "get", "t", "broken" }, { err.op, err.table, err.key })
			assert.are.equal(1, (t:fetch("broken", function() return 1 end)))
			cache:close()
			err = fails("closed", t:get("k"))
			assert.are.same({ "get", "t", "k" }, { err.op, err.table, err.key })
			fails("closed", t:fetch("k", error))
		end)

		it("lets go of the provider that was swapped", function()
			t:set("k", 1)
			warm(t, "k")
			assert(cache:swap_provider(name == "memory" and "ristretto" or "memory"))
			assert.is_nil(t:get("k"))
			t:set("k", 2)
			assert.are.equal(2, warm(t, "k"))
			local folder = proc.folder()
			assert(cache:swap_provider{ provider = "filesystem", base_dir = folder }) -- promises nothing: nothing is kept
			t:set("k", 3)
			local before = t:stats().l1_hits
			for _ = 1, 3 do assert.are.equal(3, t:get("k")) end
			assert.are.equal(before, t:stats().l1_hits)
			proc.remove(folder)
		end)

		it("is the table's own option", function()
			assert.are.equal(t, cache:table("t", { l1 = 100 }))
			assert.has_error(function() cache:table("t", { l1 = 5 }) end)
			for _, wrong in ipairs({ -1, 1.5, "many", 1e9, true }) do
				local err = fails("invalid_config", cache:table("wrong", { l1 = wrong }))
				assert.are.equal("l1", err.option)
			end
			local off = assert(cache:table("off", { l1 = 0 }))
			off:set("k", 1)
			warm(off, "k")
			assert.is_nil(off:stats().l1_hits)
			local c = assert(zbz.cache.contract("c-" .. name, cache.provider, { l1 = 5, key_prefix = "c:" }))
			c:set("k", 1)
			warm(c, "k")
			assert.are.equal(1, c:stats().l1_hits)
		end)
	end)
end

describe("l1 over a layer", function()
	it("keeps what the near tier can promise", function()
		local c = open{ provider = "multitier", l1 = { provider = "memory" }, l1_ttl = "1m",
			l2 = { provider = "shared", size = "1MB", zone = "far" } }
		local t = assert(c:table("t", { l1 = 10, ttl = "1h", refresh_at = 0.5 }))
		t:set("k", { 1 })
		for _ = 1, 3 do assert.are.same({ 1 }, t:get("k")) end
		local hits = t:stats().l1_hits
		assert.is_true(hits > 0)
		assert.are.same({ 1 }, (t:fetch("k", error)))
		assert.are.equal(hits + 1, t:stats().l1_hits)
		assert.are.equal(hits + 1, c:stats().l1_hits)
		assert.is_true(c:stats().tier1_hits < hits) -- the layer's own
		t:set("k", { 2 })
		for _ = 1, 3 do assert.are.same({ 2 }, t:get("k")) end
		t:delete("k")
		assert.is_nil(t:get("k"))
		c:close()
	end)

	it("does not take the end of a copy for that of the value: what is young is not refreshed", function()
		local far = assert(zbz.cache.provider("shared", { size = "1MB", zone = "far-refresh" }))
		local c = open{ provider = "multitier", l1 = { provider = "memory" }, l1_ttl = "5s", l2 = far }
		local t = assert(c:table("t", { l1 = 10, ttl = "1h", refresh_at = 0.5 }))
		local loads = 0
		local function load()
			loads = loads + 1
			return { loads }
		end
		for _ = 1, 5 do
			t:fetch("k", load)
			zbz.poll(0)
		end
		assert.are.equal(1, loads)
		t:expire("k", 1000) -- less than half of its life
		for _ = 1, 10 do
			if loads < 2 then t:fetch("k", load) end
			zbz.poll(0)
		end
		assert.are.equal(2, loads)
		c:close()
		far:close()
	end)
end)

describe("l1 is refused", function()
	it("where the provider cannot tell", function()
		for _, spec in ipairs({ { provider = "redis" }, { provider = "memcached" }, { provider = "fault", inner = { provider = "memory" } } }) do
			local c = open(spec)
			local err = fails("unsupported", c:table("t", { l1 = 10 }))
			assert.are.equal("l1", err.option)
			assert.are.same({ "table", "t" }, { err.op, err.table })
			assert.truthy(err.message:find(spec.provider, 1, true), err.message)
			assert(c:table("t"))
			c:close()
		end
	end)
	it("by a provider written in Lua, and idles when one is swapped in", function()
		zbz.cache.register_provider("l1-lua", function()
			local data = {}
			return { get = function(_, k) return data[k] end, set = function(_, k, v) data[k] = v return true end,
				delete = function(_, k) data[k] = nil return true end }
		end)
		local c = open{ provider = "l1-lua" }
		local err = fails("unsupported", c:table("t", { l1 = 10 }))
		assert.are.equal("l1", err.option)
		c:close()
		c = open{ provider = "memory" }
		local t = assert(c:table("t", { l1 = 10 }))
		t:set("k", 1)
		warm(t, "k")
		assert(c:swap_provider("l1-lua"))
		assert.is_nil(t:get("k"))
		t:set("k", { 2 })
		for _ = 1, 3 do assert.are.same({ 2 }, (t:fetch("k", error))) end
		assert(c:swap_provider("memory"))
		assert.is_nil(t:get("k"))
		t:set("k", 3)
		for _ = 1, 3 do assert.are.equal(3, t:get("k")) end
		c:close()
	end)
end)
