-- Tables: names, options, conflicts; the parts of the contract that conformance does not cover.
local zbz = require("zbz")

local function fails(code, v, err)
	assert.is_nil(v)
	assert.are.equal(code, err.code)
	return err
end

describe("a table", function()
	local c
	before_each(function() c = assert(zbz.cache.new{ provider = "memory", key_prefix = "myapp:" }) end)
	after_each(function() c:close() end)

	it("stores under prefix, name and key", function()
		local users = c:table("users")
		users:set("123", { id = 123 })
		assert.are.equal('{"id":123}', c:get_raw("users:123"))
		assert.are.equal("myapp:users:", users:prefix())
		assert.are.equal("users", users:name())
	end)
	it("is the same for the same name", function()
		local t = c:table("t", { ttl = "5m", serializer = "msgpack" })
		assert.are.equal(t, c:table("t"))
		assert.are.equal(t, c:table("t", { ttl = 300 }))
		assert.has_error(function() c:table("t", { ttl = "6m" }) end)
		assert.has_error(function() c:table("t", { serializer = "json" }) end)
		assert.has_error(function() c:table("t", { schema = { a = "string" } }) end)
		assert.has_error(function() c:table("t", { stale_ttl = 5 }) end)
		local s = c:table("s", { schema = { a = "string" } })
		assert.are.equal(s, c:table("s", { schema = { a = "string" } }))
		assert.has_error(function() c:table("s", { schema = { a = "integer" } }) end)
	end)
	it("has a name without colon", function()
		for _, bad in ipairs({ "a:b", "", ":" }) do assert.has_error(function() c:table(bad) end) end
		assert.has_error(function() c:table(nil) end)
		assert.has_error(function() c:table(5) end)
		assert.is_truthy(c:table("any other name *?[x]"))
	end)
	it("refuses unknown options, naming the nearest", function()
		local ok, err = pcall(c.table, c, "t", { serialiser = "json" })
		assert.is_false(ok)
		assert.is_truthy(err:find("did you mean 'serializer'", 1, true))
		ok, err = pcall(c.table, c, "t", { tll = 5 })
		assert.is_false(ok)
		assert.is_truthy(err:find("did you mean 'ttl'", 1, true))
		assert.is_truthy(err:find("known:", 1, true))
	end)
	it("refuses wrong values, naming the option", function()
		local cases = { { { ttl = "soon" }, "ttl" }, { { ttl = true }, "ttl" }, { { jitter = 2 }, "jitter" },
			{ { refresh_at = "x" }, "refresh_at" },
			{ { serializer = "yaml" }, "serializer" }, { { serializer = {} }, "serializer" }, { { serializer = 5 }, "serializer" },
			{ { neg_ttl = {} }, "neg_ttl" }, { { lock = "galaxy" }, "lock" }, { { strict_utf8 = true }, "strict_utf8" } }
		for _, case in ipairs(cases) do
			local err = fails("invalid_config", c:table("t", case[1]))
			assert.are.equal(case[2], err.option)
		end
		assert.has_error(function() c:table("t", { ttl = -1 }) end)
		assert.has_error(function() c:table("t", { stale_ttl = "-5s" }) end)
		assert.are.equal(1, c:table("t", { lock = "cluster" }):fetch("k", function() return 1 end)) -- memory: this process
	end)
	it("blames the caller's line", function()
		local _, err = pcall(function() c:table("t", { nope = 1 }) end)
		assert.is_truthy(err:find("table_spec.lua", 1, true))
		local s = c:table("s", { schema = { a = "string" } })
		_, err = pcall(function() s:get(5) end)
		assert.is_truthy(err:find("table_spec.lua", 1, true))
		_, err = pcall(function() s:set("k", { a = "b" }, { nope = 1 }) end)
		assert.is_truthy(err:find("table_spec.lua", 1, true))
		_, err = pcall(function() s:fetch("k", { nope = 1 }, print) end)
		assert.is_truthy(err:find("table_spec.lua", 1, true))
	end)
	it("keeps string bytes apart from text when asked", function()
		local t = c:table("u", { serializer = "string", strict_utf8 = true })
		assert.is_true(t:set("k", "gr\195\188n"))
		fails("encode", t:set("k", "\255"))
		fails("encode", t:set("k", "\237\160\128"))
		fails("encode", t:set("k", "\192\128"))
		assert.are.equal("gr\195\188n", t:get("k"))
	end)
	it("takes raw as a name for bytes", function()
		local t = c:table("b", { serializer = "raw" })
		local u = c:table("b2", { serializer = zbz.bytes })
		t:set("k", "\0\255")
		u:set("k", "\0")
		assert.are.equal("\0\255", t:get("k"))
		assert.are.equal("\0\255", t:get_raw("k"))
	end)
	it("uses the serializer registered under its schema's name", function()
		assert(zbz.cache.register_serializer("Point", {
			marshal = function(p) return p.x .. ";" .. p.y end,
			unmarshal = function(s)
				local x, y = s:match("^(.-);(.*)$")
				return { x = tonumber(x), y = tonumber(y) }
			end,
		}))
		local t = c:table("points", { schema = zbz.schema("Point", { x = "number", y = "number" }) })
		t:set("a", { x = 1, y = 2 })
		assert.are.equal("1;2", t:get_raw("a"))
		assert.are.same({ x = 1, y = 2 }, t:get("a"))
		assert.are.equal("Point", t:info().serializer)
		fails("invalid_config", zbz.cache.register_serializer("json", { encode = print, decode = print }))
		fails("invalid_config", zbz.cache.register_serializer("Point", { encode = print, decode = print }))
		assert.has_error(function() zbz.cache.register_serializer(5, {}) end)
		fails("invalid_config", zbz.cache.register_serializer("half", { encode = print }))
	end)
	it("has the older names", function()
		local Session = zbz.schema("Session", { token = "string" })
		local User = zbz.schema("User", { id = "integer" })
		local t = c:table("users", { schema = User })
		assert.is_true(t:set_struct("1", { id = 1 }))
		assert.is_true(t:set_struct("2", { id = 2 }, "5m"))
		assert.are.same({ id = 1 }, t:get_struct("1"))
		assert.are.same({ id = 1 }, t:get_struct("1", { schema = User }))
		assert.are.same({ ["1"] = { id = 1 }, ["2"] = { id = 2 } }, t:get_struct_multi{ "1", "2", "3" })
		assert.is_true(t:set_struct_multi({ ["3"] = { id = 3 } }, 60))
		local err = fails("type_mismatch", t:get_struct("1", { schema = Session }))
		assert.is_truthy(err.message:find("User", 1, true) and err.message:find("Session", 1, true))
		local plain = c:table("plain")
		assert.is_true(plain:set_struct("1", { id = 1 }))
		fails("type_mismatch", plain:get_struct("1", { schema = Session }))
	end)
	it("counts by schema and serializer", function()
		local n = c:table("n", { schema = "integer" })
		assert.are.equal(1, n:incr("k"))
		assert.are.equal(1, n:get("k"))
		local m = c:table("m", { serializer = "msgpack" })
		fails("unsupported", m:incr("k"))
		local s = c:table("s", { schema = { a = "string" } })
		fails("type_mismatch", s:incr("k"))
		local l = c:table("l", { serializer = { encode = tostring, decode = tonumber } })
		fails("unsupported", l:incr("k"))
	end)
	it("is warmed from iterators and maps", function()
		local t = c:table("w")
		assert.are.equal(3, t:warm({ a = 1, b = 2, c = 3 }))
		assert.are.equal(2, t:warm(pairs({ d = 4, e = 5 })))
		local list, i = { { "f", 6, "5s" }, { "g", 7 } }, 0
		assert.are.equal(2, t:warm(function()
			i = i + 1
			if list[i] then return list[i][1], list[i][2], list[i][3] end
		end))
		assert.is_true(t:ttl("f") <= 5)
		assert.is_true(t:ttl("g") > 5)
		fails("encode", t:warm({ x = print }))
		assert.has_error(function() t:warm(5) end)
		assert.has_error(function() t:warm({ 1, 2 }) end)
	end)
	it("may be closed by itself", function()
		local t = c:table("gone", { schema = { a = "string" } })
		t:close()
		assert.has_error(function() t:get("k") end)
		t:close()
	end)
end)

describe("serializers", function()
	it("survive errors and yields inside them", function()
		local c = assert(zbz.cache.new{ provider = "memory" })
		local n = 0
		local t = c:table("t", { serializer = {
			encode = function(v)
				n = n + 1
				if n % 3 == 0 then error("no") end
				if n % 5 == 0 then coroutine.yield("in encode") end
				return tostring(v)
			end,
			decode = function(s)
				n = n + 1
				if n % 7 == 0 then coroutine.yield("in decode") end
				return s
			end,
		} })
		local work = coroutine.wrap(function()
			for i = 1, 50000 do
				t:set("k" .. i % 10, i)
				t:get("k" .. i % 10)
			end
			return "done"
		end)
		local last
		repeat last = work() until last == "done"
		n = 0
		assert.is_true(t:set("k", "fine"))
		n = 0
		assert.are.equal("fine", t:get("k"))
		c:close()
	end)
end)
