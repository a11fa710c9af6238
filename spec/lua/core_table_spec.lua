-- Tables of zbz.core: single keys, batches, listings; misuse and errors inside.
local core = require("zbz.core")
local S = require("spec.lua.core_support")
local cache_of, table_of, raises, fails, EXACT = S.cache_of, S.table_of, S.raises, S.fails, S.exact

describe("tables", function()
	it("check their options", function()
		local c = cache_of()
		raises("codec", core.new_table, c, { name = "x" })
		raises("codec", core.new_table, c, { name = "x", codec = "xml" })
		raises("did you mean 'codec'", core.new_table, c, { codek = "json" })
		raises("stale_ttl", core.new_table, c, { codec = "json", stale_ttl = -1 })
		raises("options", core.new_table, c)
		local ok, err = pcall(core.new_table, c, { name = "a:b", codec = "json" })
		assert.is_true(not ok or err == nil)
		local env = { mine = true }
		local t = assert(core.new_table(c, { name = "x", codec = "json", env = env }))
		assert.equal(env, core.env(t))
		assert.equal("app:x:", t:prefix())
		assert.equal("q", assert(core.new_table(c, { prefix = "q", codec = "json" })):prefix())
		assert.is_nil((core.env(table_of())))
	end)

	it("keep values of every codec", function()
		local values = {
			bytes = { "", "x", "\0\255" }, string = { "", "text" },
			json = { true, false, 5, 1.5, "s", { a = { 1, 2 } } }, msgpack = { true, false, 5, 1.5, "\0\255", { a = { 1, 2 } } },
			auto = { true, false, 5, -7, 1.5, "12", "\0\255", "", { a = { 1, 2 } } },
		}
		for codec, list in pairs(values) do
			local t = table_of(codec)
			for i, v in ipairs(list) do
				local k = "k" .. i
				assert.is_true(t:set(k, v))
				assert.same(v, t:get(k), codec)
				assert.same(v, t:decode(assert(t:encode(v))))
				if EXACT then assert.equal(math.type(v), math.type(t:get(k))) end
			end
		end
		fails("encode", table_of("bytes"):set("k", 5))
		local err = fails("encode", table_of("json"):set("k", { a = print }))
		assert.equal("a", err.field)
		assert.equal("k", err.key)
		assert.equal("t", err.table)
		assert.equal("set", err.op)
		local t = table_of("json")
		t:set_raw("k", "{")
		err = fails("decode", t:get("k"))
		assert.equal("k", err.key)
		fails("decode", t:get_with("k"))
		if EXACT then
			t:set("big", math.maxinteger)
			assert.equal(math.maxinteger, t:get("big"))
		end
	end)

	it("read and write", function()
		local t = table_of()
		assert.is_nil((t:get("k")))
		assert.equal(1, select("#", t:get("k")))
		assert.is_false(t:exists("k"))
		assert.is_true(t:set("k", "v"))
		assert.is_true(t:exists("k"))
		assert.is_true(t:delete("k"))
		assert.is_true(t:delete("k"))
		assert.is_false(t:set("k", "v", { only = "present" }))
		assert.is_true(t:set("k", "v", { only = "absent" }))
		assert.is_false(t:add("k", "w"))
		assert.is_true(t:add("l", "w", 5))
		assert.equal("v", t:get_raw("k"))
		assert.is_nil((t:get_raw("none")))
		assert.is_true(t:set_raw("k", "raw", { ttl = 3 }))
		assert.equal("raw", t:get("k"))
		assert.is_true(t:invalidate("k"))
		assert.is_nil((t:get("k")))
		local odd = "a\0b\n\255"
		assert.is_true(t:set(odd, odd, { deadline = "1s" }))
		assert.equal(odd, t:get(odd, { deadline = 1 }))
		fails("invalid_key", t:get(""))
		fails("invalid_key", t:set("", "v"))
	end)

	it("expire", function()
		local clock = core.fake_clock(1000000)
		local t = table_of("bytes", { clock = clock, ttl = 60000 })
		t:set("default", "v")
		assert.equal(60, t:ttl("default"))
		t:set("never", "v", 0)
		assert.equal(math.huge, t:ttl("never"))
		t:set("inf", "v", math.huge)
		assert.equal(math.huge, t:ttl("inf"))
		t:set("k", "v", "1500ms")
		assert.equal(1.5, t:ttl("k"))
		t:set("o", "v", { ttl = 2 })
		assert.equal(2, t:ttl("o"))
		clock:advance(1499)
		assert.equal("v", t:get("k"))
		clock:advance(1)
		assert.is_nil((t:get("k")))
		assert.is_nil((t:ttl("k")))
		assert.is_nil((t:expire("k", 5)))
		assert.is_true(t:expire("o", 10))
		assert.equal(10, t:ttl("o"))
		assert.is_true(t:expire("o", 0))
		assert.equal(math.huge, t:ttl("o"))
	end)

	it("count", function()
		for _, codec in ipairs { "json", "auto", "bytes" } do
			local t = table_of(codec)
			assert.equal(1, t:incr("n"))
			assert.equal(11, t:incr("n", 10))
			assert.equal(9, t:decr("n", 2))
			assert.equal(100, t:incr("m", 5, { initial = 100, ttl = 9 }))
			assert.is_true(t:ttl("m") <= 9)
			assert.equal(105, t:incr("m", 5, { initial = 100 }))
			if codec ~= "bytes" then assert.equal(9, t:get("n")) end
		end
		local t = table_of("json")
		t:set("s", "text")
		fails("type_mismatch", t:incr("s"))
		raises("options must be a table", t.incr, t, "n", 1, 5)
		raises("whole number", t.incr, t, "n", 1.5)
		raises("initial", t.incr, t, "n", 1, { initial = "x" })
		raises("unknown option", t.incr, t, "n", 1, { only = "absent" })
		fails("unsupported", table_of("msgpack"):incr("n"))
		if EXACT then
			assert.equal(math.maxinteger, t:incr("max", 1, { initial = math.maxinteger }))
			raises("too small", t.decr, t, "n", math.mininteger)
		else
			t:set_raw("big", "9007199254740993")
			fails("too_large", t:incr("big"))
		end
	end)

	it("know versions", function()
		local t = table_of("json", { ttl = 60000 })
		t:set("k", { 1 })
		local v, info = t:get_with("k")
		assert.same({ 1 }, v)
		assert.is_string(info.version)
		assert.is_true(info.ttl > 50 and info.ttl <= 60)
		assert.is_false(info.stale)
		assert.is_true(t:set("k", { 2 }, { if_version = info.version }))
		fails("conflict", t:set("k", { 3 }, { if_version = info.version }))
		assert.same({ 2 }, t:get("k"))
		t:set("never", 1, 0)
		local _, endless = t:get_with("never")
		assert.equal(math.huge, endless.ttl)
		assert.equal(1, select("#", t:get_with("none")))
		raises("if_version", t.set, t, "k", 1, { if_version = "" })
		raises("if_version", t.set, t, "k", 1, { if_version = ("x"):rep(99) })
		raises("exclude", t.set, t, "k", 1, { if_version = info.version, only = "absent" })
	end)

	it("raise on misuse", function()
		local t = table_of()
		for _, op in ipairs { "get", "exists", "ttl", "delete", "get_with", "invalidate", "get_raw", "incr" } do
			raises("the key must be a string, got number", t[op], t, 5)
			raises("the key must be a string, got no value", t[op], t)
			raises("zbz.Table expected", t[op], "k")
			raises("zbz.Table expected", t[op], io.stdout, "k")
		end
		raises("value is nil", t.set, t, "k", nil)
		raises("value is nil", t.add, t, "k")
		raises("item", t.set, t, "k", core.item("x", 5))
		raises("must be a string", t.set_raw, t, "k", 5)
		for _, bad in ipairs { -1, 0 / 0, "soon", true } do
			raises("", t.set, t, "k", "v", bad)
			if bad ~= true then
				raises("ttl", t.set, t, "k", "v", bad)
				raises("ttl", t.set, t, "k", "v", { ttl = bad })
				raises("deadline", t.get, t, "k", { deadline = bad })
				raises("ttl", t.expire, t, "k", bad)
			end
		end
		raises("unknown option 'tags'", t.set, t, "k", "v", { tags = {} })
		raises("known: ttl, only, if_version, deadline", t.set, t, "k", "v", { tll = 5 })
		raises("did you mean 'ttl'", t.set, t, "k", "v", { tll = 5 })
		raises("unknown option 'only'", t.add, t, "k", "v", { only = "absent" })
		raises("only", t.set, t, "k", "v", { only = "sometimes" })
		raises("option names", t.set, t, "k", "v", { 5 })
		raises("options must be a table", t.get, t, "k", 5)
		local _, err = pcall(function() t:get(5) end)
		assert.truthy(err:find("core_table_spec.lua:%d+: zbz: get"), err)
	end)

	it("count what they did", function()
		local t = table_of("json")
		t:set("a", 1)
		t:get("a")
		t:get("b")
		t:delete("a")
		for _, which in ipairs { "loads", "load_failures", "waits", "stale_served", "fenced" } do t:count(which) end
		local n = t:counters()
		assert.same({ 1, 1, 1, 1, 0, 0 }, { n.hits, n.misses, n.sets, n.deletes, n.errors, n.lost_writes })
		assert.same({ 1, 1, 1, 1, 1 }, { n.loads, n.load_failures, n.waits, n.stale_served, n.fenced })
		assert.is_true(n.created_at > 1600000000 and n.last_access >= n.created_at)
		raises("unknown counter", t.count, t, "hits")
	end)
end)

describe("batches", function()
	it("get, set and delete", function()
		local t = table_of("json", { clock = core.fake_clock(1000) })
		assert.same({}, (t:get_multi {}))
		assert.is_true(t:set_multi {})
		assert.is_true(t:delete_multi {})
		local ok, err, errs = t:set_multi({ a = 1, b = { 2 }, c = core.item(false, { ttl = 9 }), d = core.item("x", "3s"), e = core.item(5) }, 60)
		assert.same({ true }, { ok, err, errs })
		local found, why, bad = t:get_multi { "a", "none", "b", "c", "d", "e", "a" }
		assert.same({ a = 1, b = { 2 }, c = false, d = "x", e = 5 }, found)
		assert.is_nil(why)
		assert.is_nil(bad)
		assert.same({ 60, 9, 3, 60 }, { t:ttl("a"), t:ttl("c"), t:ttl("d"), t:ttl("e") })
		assert.is_true(t:delete_multi { "a", "none" })
		assert.same({ b = { 2 } }, (t:get_multi { "a", "b" }))
	end)

	it("name the keys that failed", function()
		local t = table_of("json")
		t:set("good", 1)
		t:set_raw("bad", "{")
		local found, err, errs = t:get_multi { "good", "bad", "none", "" }
		assert.same({ good = 1 }, found)
		assert.is_nil(err)
		assert.equal("decode", errs.bad.code)
		assert.equal("bad", errs.bad.key)
		assert.equal("invalid_key", errs[""].code)
		local ok, none, wrong = t:set_multi { x = 1, [""] = 2 }
		assert.is_true(ok)
		assert.is_nil(none)
		assert.equal("invalid_key", wrong[""].code)
		assert.equal(1, t:get("x"))
		ok, none, wrong = t:delete_multi { "x", "" }
		assert.is_true(ok)
		assert.is_nil(none)
		assert.equal("invalid_key", wrong[""].code)
		assert.is_false(t:exists("x"))
	end)

	it("write nothing when a value cannot be encoded", function()
		local t = table_of("json")
		local err = fails("encode", t:set_multi { a = 1, b = 2, c = { d = print }, e = 5 })
		assert.equal("c", err.key)
		assert.equal("d", err.field)
		assert.same({}, (t:get_multi { "a", "b", "c", "e" }))
	end)

	it("raise on misuse", function()
		local t = table_of("json")
		raises("list of keys", t.get_multi, t, "a")
		raises("list of keys", t.get_multi, t, { a = 1 })
		raises("keys must be strings", t.get_multi, t, { "a", 5 })
		raises("keys must be strings", t.delete_multi, t, { "a", false })
		raises("key = value", t.set_multi, t, 5)
		raises("keys are strings", t.set_multi, t, { "a" })
		raises("unknown option", t.set_multi, t, { a = 1 }, { only = "absent" })
		raises("unknown option", t.get_multi, t, { "a" }, { ttl = 5 })
		raises("ttl", t.set_multi, t, { a = 1 }, -1)
		raises("value is nil", core.item)
		raises("ttl", core.item, 5, { ttl = -1 })
		raises("item without", t.set_multi, t, { a = setmetatable({}, core.item_mt) })
		raises("item without", t.set_multi, t, { a = setmetatable({ value = 1, ttl_ms = -5 }, core.item_mt) })
		assert.is_true(t:set("still", "works"))
		assert.equal("works", t:get("still"))
	end)

	it("are large", function()
		local t = table_of("msgpack")
		local map, keys = {}, {}
		for i = 1, 5000 do
			keys[i] = "key" .. i
			map[keys[i]] = { i, tostring(i) }
		end
		assert.is_true(t:set_multi(map))
		assert.same(map, (t:get_multi(keys)))
		assert.is_true(t:delete_multi(keys))
		assert.same({}, (t:get_multi(keys)))
	end)
end)

describe("listings", function()
	it("tell the keys", function()
		local c = cache_of()
		local t, other = table_of("bytes", { cache = c }), table_of("bytes", { cache = c, table = { name = "other" } })
		local want = {}
		for i = 1, 1234 do
			want["k" .. i] = true
			t:set("k" .. i, "v")
		end
		other:set("mine", "v")
		local got, n = {}, 0
		for k in t:keys() do
			got[k], n = true, n + 1
		end
		assert.same(want, got)
		assert.equal(1234, n)
		got = {}
		for k in t:keys("k123?") do got[#got + 1] = k end
		table.sort(got)
		assert.same({ "k1230", "k1231", "k1232", "k1233", "k1234" }, got)
		t:keys()
		local ok, removed = t:clear()
		assert.is_true(ok)
		assert.equal(1234, removed)
		assert.is_nil(t:keys()())
		assert.equal("v", other:get("mine"))
		raises("pattern", t.keys, t, 5)
		raises("unknown option", t.keys, t, "*", { ttl = 1 })
	end)

	it("live longer than their table and their cache", function()
		local next_key
		do
			local t = table_of("bytes")
			for i = 1, 1100 do t:set("k" .. i, "v") end
			next_key = t:keys()
			assert.is_string(next_key())
		end
		collectgarbage()
		collectgarbage()
		local n = 1
		while next_key() do n = n + 1 end
		assert.equal(1100, n)
		assert.is_nil(next_key())
	end)

	it("end in one error when the store is gone", function()
		local c = cache_of()
		local t = table_of("bytes", { cache = c })
		for i = 1, 1100 do t:set("k" .. i, "v") end
		local next_key = t:keys()
		assert.is_string(next_key())
		c:close()
		local k, err
		repeat k, err = next_key() until k == nil
		if err then assert.equal("closed", err.code) end
		assert.same({}, { next_key() })
	end)

	it("close with their block", function()
		if not EXACT then return end
		local t = table_of("bytes")
		for i = 1, 2000 do t:set("k" .. i, "v") end
		local f, a, b, closing = t:keys()
		assert.is_string(f(a, b))
		debug.getmetatable(closing).__close(closing)
		debug.getmetatable(closing).__close(closing)
		assert.is_nil(f())
	end)
end)
