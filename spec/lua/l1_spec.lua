-- Tables with l1: values kept decoded in this Lua state, never older than what the provider has, never anybody else's.
local zbz = require("zbz")
local core = require("zbz.core")
local proc = require("spec.services.proc")
local testkit = require("zbz.testkit")
local unpack = table.unpack or unpack -- luacheck: ignore 113

local LUA = rawget(_G, "jit") and "luajit" or "lua5.4"
local serial = 0

local function open(spec)
	serial = serial + 1
	local opts = { key_prefix = ("l1.%d:"):format(serial) }
	for k, v in pairs(spec) do opts[k] = v end
	return assert(zbz.cache.new(opts))
end

local function fails(code, v, err)
	assert.is_nil(v)
	assert.are.equal(code, err and err.code)
	return err
end

--- Twice: from the provider, then from here.
local function warm(t, k)
	t:get(k)
	return t:get(k)
end

local PROVIDERS = {
	memory = { provider = "memory" }, ristretto = { provider = "ristretto", max_cost = "1MB" },
	shared = { provider = "shared", size = "4MB", zone = "l1-spec" },
}

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
			assert.is_true(#small.keys <= 10)
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
			local c = assert(zbz.cache.contract("c" .. serial, cache.provider, { l1 = 5, key_prefix = "c:" }))
			c:set("k", 1)
			warm(c, "k")
			assert.are.equal(1, c:stats().l1_hits)
		end)
	end)
end

describe("l1 and a hook in the middle of a hit", function()
	local inside = require("zbz.ffi.doors").l1_hit -- where no finalizer can come, see there, and below

	--- Does fn, with what(t, c) at its n-th instruction: as a finalizer may come.
	local function interrupted(n, what, fn, ...)
		local left = n
		debug.sethook(function()
			left = left - 1
			if left > 0 or inside and debug.getinfo(2, "f").func == inside then return end
			debug.sethook()
			what()
			collectgarbage()
		end, "", 1)
		local fine, v, err = pcall(fn, ...)
		debug.sethook()
		return fine, v, err
	end

	local jit = rawget(_G, "jit") -- what is compiled calls no hooks
	before_each(function() if jit then jit.off() jit.flush() end end)
	after_each(function() if jit then jit.on() end end)

	for name, spec in pairs(PROVIDERS) do
		it("that closes it on " .. name .. " gives the value, nothing, or says that it is closed", function()
			for n = 1, 250 do -- busted has a pcall of its own, which is long
				local c = open(spec)
				local t = assert(c:table("t", { l1 = 10 }))
				t:set("k", "v")
				warm(t, "k")
				local fine, v, err = interrupted(n, function() t:close() c:close() end, t.get, t, "k")
				if not fine then
					assert.matches("closed", v)
				elseif v == nil then
					assert.is_true(err == nil or err.code == "closed")
				else
					assert.are.equal("v", v)
				end
				pcall(c.close, c)
			end
		end)
	end

	if not jit then return end

	it("cannot be a finalizer while the words are looked at: interpreted, too, nothing is made there", function()
		local c = open(PROVIDERS.shared)
		local t = assert(c:table("t", { l1 = 10, ttl = 0 }))
		t:set("k", "v")
		warm(t, "k")
		local place, hits = t.index.k, t:stats().l1_hits
		assert.is_true(inside(t, place))
		collectgarbage()
		collectgarbage("stop")
		local before = collectgarbage("count")
		for _ = 1, 1000 do inside(t, place) end
		local after = collectgarbage("count")
		collectgarbage("restart")
		assert.are.equal(before, after)
		assert.are.equal(hits + 1001, t:stats().l1_hits)
		assert.is_true(t.slots[4 * place + 2] ~= 0)
		c:close()
	end)
end)

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

-- ---- other processes ---------------------------------------------------------------------------------------------------------------

--- Lua text for another process: `c` is a cache on the segment, `t` its table "t".
local function program(segment, text)
	return { LUA, "-e", ([[local zbz = require("zbz")
		local c = assert(zbz.cache.new{ provider = "shared", name = %q, size = "1MB", key_prefix = "x:" })
		local t = c:table("t")
		%s]]):format(segment, text) }
end

local function quote(argv)
	local words = {}
	for i, w in ipairs(argv) do words[i] = "'" .. w:gsub("'", "'\\''") .. "'" end
	return table.concat(words, " ")
end

describe("l1 and other processes", function()
	local segment, cache, t, folder
	before_each(function()
		folder = proc.folder()
		segment = "l1-" .. folder:match("%w+$")
		cache = assert(zbz.cache.new{ provider = "shared", name = segment, size = "1MB", key_prefix = "x:" })
		t = assert(cache:table("t", { l1 = 1000 }))
	end)
	after_each(function()
		cache:close()
		os.execute("rm -f /dev/shm/zbz-" .. segment .. ".*")
		proc.remove(folder)
	end)

	it("sees what each of them does, at once", function()
		for _, step in ipairs({ { "t:set('k', { 2 })", { 2 } }, { "t:delete('k')", nil }, { "t:set('k', 4)", 4 }, { "t:clear()", nil },
			{ "t:set('k', 'five')", "five" }, { "c:clear()", nil } }) do
			t:set("k", { 1 })
			assert.are.same({ 1 }, warm(t, "k"))
			assert.are.same({ 1 }, t:get("k"))
			local out, ok = proc.output(quote(program(segment, "assert(" .. step[1] .. ")")) .. " 2>&1")
			assert.is_true(ok, out)
			assert.are.same(step[2], t:get("k"))
		end
	end)

	it("never steps back while another writes", function()
		local log = folder .. "/log"
		local pid = proc.spawn(program(segment, [[local i, till = 0, os.time() + 90 -- should nobody be there any more
			repeat
				i = i + 1
				t:set("n", i)
			until i % 16 == 0 and (t:get("enough") or os.time() > till)
			repeat until t:set("done", i) or os.time() > till]]), log)
		local last, hits, seen, ends, done = 0, 0, 0, os.time() + 60
		repeat
			assert.is_true(os.time() < ends, "the writer does not come to its end: " .. proc.output("cat " .. log))
			local before = t:stats().l1_hits
			for _, read in ipairs({ "get", "get_raw", "get" }) do
				local n = tonumber((t[read](t, "n"))) -- nil: the writer was stopped in the middle; counted as lost_reads
				assert.is_true(n == nil or n >= last, ("%s: %s after %d"):format(read, tostring(n), last))
				if n and n > last then seen, last = seen + 1, n end
			end
			hits = hits + t:stats().l1_hits - before
			if seen >= 50 and hits > 0 then t:set("enough", true) end
			done = t:get("done")
		until done
		assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(pid), 5))
		assert.are.equal(done, t:get("n"))
	end)

	it("holds nothing of a shard whose writer was killed", function()
		for i = 1, 300 do t:set("k" .. i, { i }) end
		for round = 1, 15 do
			for i = 1, 300 do
				if t:get("k" .. i) == nil then t:set("k" .. i, { i }) end
				warm(t, "k" .. i)
			end
			local mark = folder .. "/go" .. round
			local pid = proc.spawn(program(segment, ([[t:set("alive%d", 1) local f = io.open(%q, "w") f:close()
				while true do for i = 1, 300 do t:set("k" .. i, { i + 1000 * %d }) end end]]):format(round, mark, round)), folder .. "/log")
			assert.is_true(proc.wait_until("test -e " .. mark, 10), proc.output("cat " .. folder .. "/log"))
			assert.is_true(proc.kill(pid))
			local there = 0
			for i = 1, 300 do
				local kept = t:get("k" .. i)
				local raw = t:get_raw("k" .. i)
				assert.are.equal(raw, kept and ("[%d]"):format(kept[1]))
				assert.are.same(kept, t:get("k" .. i))
				there = there + (kept and 1 or 0)
			end
			assert.is_true(there > 0)
		end
	end)
end)

describe("copies", function()
	local copy = require("zbz.copy")
	it("are equal and apart, whatever the shape", function()
		local mt = { __name = "some" }
		for _, v in ipairs({ {}, { {} }, { 1, nil, 3 }, { [2] = "sparse" }, { [1.5] = 1 }, { [true] = { 1 } }, setmetatable({ a = 1 }, mt),
			{ a = setmetatable({}, core.array_mt) }, { unpack((function() local t = {} for i = 1, 64 do t[i] = i end return t end)()) } }) do
			local mould = copy.mould(v)
			for _ = 1, 2 do
				local c = mould[1](mould)
				assert.are.same(v, c)
				assert.are_not.equal(v, c)
				assert.are.equal(getmetatable(v), getmetatable(c))
				if type(v.a) == "table" then
					assert.are_not.equal(v.a, c.a)
					assert.are.equal(core.array_mt, getmetatable(c.a))
				end
			end
		end
	end)
	it("of one shape share their function, and there is an end to shapes", function()
		local function maker(v) return copy.mould(v)[1] end
		assert.are.equal(maker{ b = 1, a = { 1, 2 } }, maker{ a = { 3, 4 }, b = 2 })
		assert.are_not.equal(maker{ b = 1 }, maker{ b = { 1 } })
		for i = 1, 400 do
			local v = { ["field" .. i] = { i } }
			assert.are.same(v, maker(v)(copy.mould(v)))
		end
		assert.are_not.equal(maker{ last = 1, of = 1, many = 1 }, maker{ b = 1, a = { 1, 2 } })
		assert.are.equal(maker{ last = 1, of = 1, many = 1 }, maker{ last = 1, of = 1, many = { 2 } }) -- that for any tree
	end)
end)
