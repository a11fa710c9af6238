--- Conformance: tables behave alike, whatever carries their values: a codec in C, Lua functions, a schema.
local cases = {}
local function case(name, run, needs) cases[#cases + 1] = { name = name, run = run, needs = needs } end

--- A serializer written in Lua, for flat records of text.
local lines = {
	encode = function(v)
		local out = {}
		for k, x in pairs(v) do out[#out + 1] = k .. "=" .. x end
		table.sort(out)
		return table.concat(out, "\n")
	end,
	decode = function(s)
		local out = {}
		for k, x in s:gmatch("([^=\n]+)=([^\n]*)") do out[k] = x end
		return out
	end,
	content_type = "text/x-lines",
}

local KINDS = {
	{ "json", { serializer = "json" } }, { "msgpack", { serializer = "msgpack" } }, { "auto", { serializer = "auto" } },
	{ "cjson", { serializer = "cjson" } }, { "a Lua serializer", { serializer = lines } },
	{ "a schema", { schema = { name = "string", city = "string?", x = "string?" } } },
	{ "a schema and msgpack", { serializer = "msgpack", schema = { name = "string", city = "string?", x = "string?" } } },
	{ "an envelope", { serializer = "json", stale_ttl = 600 } },
	{ "an envelope and a schema", { neg_ttl = 5, schema = { ["*"] = "string" } } },
}

local function options(kind, more)
	local o = { ttl = 0 }
	for k, v in pairs(kind[2]) do o[k] = v end
	for k, v in pairs(more or {}) do o[k] = v end
	return o
end

for _, kind in ipairs(KINDS) do
	case("one behaviour with " .. kind[1], function(ctx, check)
		local c = ctx:cache()
		local t = c:table("t", options(kind))
		local ann, bob = { name = "Ann", city = "Bonn" }, { name = "Bob" }
		check.miss(t:get("1"))
		check.eq(t:set("1", ann), true)
		check.eq(t:get("1"), ann)
		check.eq(t:exists("1"), true)
		check.eq(t:set_multi({ ["2"] = bob, ["3"] = ctx.zbz.item(ann, { ttl = 100 }) }), true)
		check.eq(t:get_multi({ "1", "2", "3", "4" }), { ["1"] = ann, ["2"] = bob, ["3"] = ann })
		if ctx.caps.ttl then
			check.eq(t:ttl("2"), math.huge)
			check.between(t:ttl("3"), 95, 100 + ctx.slack)
		end
		if ctx.caps.add then
			check.eq(t:add("1", bob), false)
			check.eq(t:add("5", bob), true)
			check.eq(t:get("5"), bob)
		end
		if ctx.caps.expire then
			check.eq(t:expire("1", 100), true)
			check.miss(t:expire("nothing", 100))
		end
		local v, info = t:get_with("1")
		check.eq(v, ann)
		check.eq(info.stale, false)
		check.miss(t:get_with("nothing"))
		check.eq(t:delete("1"), true)
		check.miss(t:get("1"))
		check.eq(t:delete_multi({ "2", "3", "5" }), true)
		check.eq(t:get_multi({ "2", "3", "5" }), {})
		check.eq(t:name(), "t")
		check.eq(t:prefix(), c:key_prefix() .. "t:")
		check.eq(t:info().name, "t")
		check.eq(t:stats().errors, 0)
	end)

	case("fetch with " .. kind[1], function(ctx, check)
		local t = ctx:cache():table("t", options(kind))
		local runs = 0
		local function load(k)
			runs = runs + 1
			return { name = k, x = tostring(runs) }
		end
		local v, err, how = t:fetch("k", load)
		local _
		check.eq(v, { name = "k", x = "1" })
		check.eq(err, nil)
		check.eq(how, "loaded")
		v.name = "changed"
		v, _, how = t:fetch("k", load)
		check.eq(v, { name = "k", x = "1" })
		check.eq(how, "hit")
		v.name = "changed again"
		check.eq(t:get("k"), { name = "k", x = "1" })
		v, _, how = t:fetch("k", { fresh = true }, load)
		check.eq(v, { name = "k", x = "2" })
		check.eq(how, "loaded")
		check.eq(t:get("k"), { name = "k", x = "2" })
		check.eq(runs, 2)
		check.eq(t:fetch_multi({ "k", "l", "m" }, function(missing)
			check.eq(missing, { "l", "m" })
			return { l = { name = "L" } }
		end), { k = { name = "k", x = "2" }, l = { name = "L" } })
		check.eq(t:get("l"), { name = "L" })
		check.miss(t:get("m"))
		local s = t:stats()
		check.eq(s.load_failures, 0)
	end)

	case("warm and clear with " .. kind[1], function(ctx, check)
		local t = ctx:cache():table("t", options(kind))
		local i = 0
		check.eq(t:warm(function()
			i = i + 1
			if i <= 250 then return "k" .. i, { name = "n" .. i } end
		end), 250)
		check.eq(t:get("k250"), { name = "n250" })
		check.eq(t:warm({ a = { name = "A" } }), 1)
		check.eq(t:get("a"), { name = "A" })
		if ctx.caps.clear then
			check.eq(t:clear(), true)
			check.eq(t:get_multi({ "a", "k1", "k250" }), {})
		end
	end)
end

case("values come back as they went in", function(ctx, check)
	local zbz, c = ctx.zbz, ctx:cache()
	local values = { true, false, 0, -1, 1.5, 2 ^ 53, -2 ^ 53, "text", "", "\226\130\172", { 1, 2, 3 }, { a = { b = { c = false } } },
		{ { id = 1 }, { id = 2 } }, 1e300, -0.25 }
	for _, name in ipairs({ "json", "msgpack", "auto" }) do
		local t = c:table(name, { serializer = name, ttl = 0 })
		for i, v in ipairs(values) do
			check.eq(t:set("k", v), true, name .. " set " .. i)
			check.eq(t:get("k"), v, name .. " " .. i)
		end
		check.eq(t:set("k", { list = zbz.array({}), map = {}, null = zbz.null }), true)
		local back = t:get("k")
		check.eq(back.null, zbz.null)
		check.eq(#back.list, 0)
		t:set("k", back)
		check.eq(t:get("k").null, zbz.null)
		if math.type then
			check.eq(t:set("k", { max = math.maxinteger, min = math.mininteger, odd = 9007199254740993, one = 1.0 }), true)
			back = t:get("k")
			check.eq(back.max, math.maxinteger)
			check.eq(back.min, math.mininteger)
			check.eq(back.odd, 9007199254740993)
			check.eq(math.type(back.one), "float")
		end
	end
	local t = c:table("bin", { serializer = "msgpack", ttl = 0 })
	t:set("k", { b = "\0\255\1" })
	check.eq(t:get("k"), { b = "\0\255\1" })
end)

case("a value that cannot be stored changes nothing", function(ctx, check)
	local c = ctx:cache()
	local cycle = {}
	cycle.me = cycle
	for _, name in ipairs({ "json", "msgpack", "auto" }) do
		local t = c:table(name, { serializer = name, ttl = 0 })
		t:set("k", "before")
		for _, v in ipairs({ print, { a = { print } }, cycle, coroutine.create(print) }) do
			local err = check.fails("encode", t:set("k", v))
			check.eq(err.key, "k")
		end
		check.eq(t:get("k"), "before")
	end
	local t = c:table("j", { serializer = "json", ttl = 0 })
	check.fails("encode", t:set("k", { 0 / 0 }))
	local err = check.fails("encode", t:set("k", { a = { 1, { b = print } } }))
	check.truthy(err.field and err.field:find("b", 1, true), "the path of the value")
	check.raises("nil", t.set, t, "k", nil)
end)

case("a serializer that throws or returns the wrong type", function(ctx, check)
	local c = ctx:cache()
	local mode = "fine"
	local t = c:table("t", { ttl = 0, serializer = {
		marshal = function(v)
			if mode == "throw" then error("no way") end
			if mode == "number" then return 5 end
			if mode == "error" then return nil, "will not" end
			return tostring(v)
		end,
		unmarshal = function(s)
			if mode == "throw" then error({ code = 7 }) end
			return s
		end,
	} })
	check.eq(t:set("k", "before"), true)
	for _, m in ipairs({ "throw", "number", "error" }) do
		mode = m
		check.fails("encode", t:set("k", "after"))
	end
	mode = "throw"
	local err = check.fails("decode", t:get("k"))
	check.eq(err.cause.code, 7)
	mode = "fine"
	check.eq(t:get("k"), "before")
end)

case("a schema is checked before anything is written", function(ctx, check)
	local t = ctx:cache():table("users", { ttl = 0,
		schema = { id = "integer", name = "string", tags = { "string" }, home = { street = "string?" } } })
	local good = { id = 1, name = "Ann", tags = { "a" }, home = {} }
	check.eq(t:set("1", good), true)
	local function wrong(v, field)
		local err = check.fails("type_mismatch", t:set("1", v))
		check.eq(err.field, field)
		check.truthy(err.message:find(field, 1, true), "the path in the text")
	end
	wrong({ id = "x", name = "Ann", tags = {}, home = {} }, "id")
	wrong({ id = 1, tags = {}, home = {} }, "name")
	wrong({ id = 1, name = "Ann", tags = { "a", 7 }, home = {} }, "tags[2]")
	wrong({ id = 1, name = "Ann", tags = {}, home = { street = 5 } }, "home.street")
	wrong({ id = 1, name = "Ann", tags = {}, home = {}, more = 1 }, "more")
	check.eq(t:get("1"), good)
	local err = check.fails("type_mismatch", t:set_multi({ ["2"] = good, ["3"] = { id = "x" } }))
	check.eq(err.key, "3")
	check.miss(t:get("2"))
	t:set_raw("4", '{"id":"not a number"}')
	check.fails("type_mismatch", t:get("4"))
end)

return cases
