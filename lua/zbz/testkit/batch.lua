--- Conformance: many keys in one call.
local cases = {}
local function case(name, run, needs) cases[#cases + 1] = { name = name, run = run, needs = needs } end

case("get_multi returns the map of what is there", function(ctx, check)
	local t = ctx:table()
	t:set("a", "1")
	t:set("b", "")
	t:set("c\0", "3")
	check.eq(t:get_multi({ "a", "b", "c\0", "nothing", "more" }), { a = "1", b = "", ["c\0"] = "3" })
	check.eq(t:get_multi({ "a", "a" }), { a = "1" })
	check.eq(t:get_multi({}), {})
	check.eq(t:get_multi({ "nothing" }), {})
	local s = t:stats()
	check.eq(s.hits, 5, "hits")
	check.eq(s.misses, 3, "misses")
end)

case("set_multi stores all, items with their own TTL", function(ctx, check)
	local t = ctx:table()
	check.eq(t:set_multi({ a = "1", b = ctx.zbz.item("2", { ttl = 9 }), c = ctx.zbz.item("3") }, 60), true)
	check.eq(t:get_multi({ "a", "b", "c" }), { a = "1", b = "2", c = "3" })
	if ctx.caps.ttl then
		check.between(t:ttl("a"), 55, 60 + ctx.slack, "a")
		check.between(t:ttl("b"), 5, 9 + ctx.slack, "b")
		check.between(t:ttl("c"), 55, 60 + ctx.slack, "c")
	end
	check.eq(t:set_multi({}), true)
end)

case("a thousand keys at once", function(ctx, check)
	local t = ctx:table()
	local map, keys = {}, {}
	for i = 1, 1000 do
		keys[i] = "key" .. i
		map[keys[i]] = "value " .. i
	end
	check.eq(t:set_multi(map), true)
	check.eq(t:get_multi(keys), map)
	check.eq(t:delete_multi(keys), true)
	check.eq(t:get_multi(keys), {})
	check.eq(t:delete_multi(keys), true)
	check.eq(t:delete_multi({}), true)
end)

case("one bad value and nothing of a batch is written", function(ctx, check)
	local t = ctx:table({ serializer = "json" })
	local err = check.fails("encode", t:set_multi({ a = 1, bad = print, c = 3 }))
	check.eq(err.key, "bad", "the error's key")
	check.eq(t:get_multi({ "a", "bad", "c" }), {})
end)

case("an unreadable entry is reported, the others come", function(ctx, check)
	local t = ctx:table({ serializer = "json" })
	t:set("good", { 1 })
	t:set_raw("bad", "{ this is no JSON")
	local map, err, errs = t:get_multi({ "good", "bad", "nothing" })
	check.eq(map, { good = { 1 } })
	check.eq(err, nil)
	check.eq(errs.bad.code, "decode")
	check.eq(errs.good, nil)
end)

case("misuse of batches raises", function(ctx, check)
	local t = ctx:table()
	check.raises("", t.get_multi, t, "key")
	check.raises("string", t.get_multi, t, { 1 })
	check.raises("string", t.set_multi, t, { "v" })
	check.raises("", t.delete_multi, t, nil)
end)

return cases
