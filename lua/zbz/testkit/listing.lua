--- Conformance: keys and clear.
local cases = {}
local function case(name, run, needs) cases[#cases + 1] = { name = name, run = run, needs = needs } end

local function list(check, t, pattern)
	local out, n = {}, 0
	local iterate, err = t:keys(pattern)
	check.truthy(iterate, "keys", err)
	for k in iterate do
		check.truthy(not out[k], "each key once")
		out[k], n = true, n + 1
	end
	return out, n
end

case("keys lists without the prefix, by pattern", function(ctx, check)
	local t = ctx:table()
	for _, k in ipairs({ "user:1", "user:2", "user:20", "item:1", "a*b", "axb", "c\0d" }) do t:set(k, "v") end
	local _, n = list(check, t)
	check.eq(n, 7)
	check.eq(select(2, list(check, t, "*")), 7)
	check.eq(list(check, t, "user:*"), { ["user:1"] = true, ["user:2"] = true, ["user:20"] = true })
	check.eq(list(check, t, "user:?"), { ["user:1"] = true, ["user:2"] = true })
	check.eq(list(check, t, "user:[2-9]"), { ["user:2"] = true })
	check.eq(list(check, t, "a\\*b"), { ["a*b"] = true })
	check.eq(list(check, t, "a?b"), { ["a*b"] = true, axb = true })
	check.eq(list(check, t, "c?d"), { ["c\0d"] = true })
	check.eq(list(check, t, "nothing*"), {})
end, { "keys" })

case("keys pages through many", function(ctx, check)
	local t = ctx:table()
	local map = {}
	for i = 1, 2500 do map["k" .. i] = "v" end
	check.eq(t:set_multi(map), true)
	local _, n = list(check, t)
	check.eq(n, 2500)
end, { "keys" })

case("tables do not see each other's keys", function(ctx, check)
	local c = ctx:cache()
	local a, b, ab = c:table("a", { ttl = 0 }), c:table("b", { ttl = 0 }), c:table("a*", { ttl = 0 })
	a:set("k", 1)
	b:set("k", 2)
	ab:set("z", 3)
	check.eq(a:get("k"), 1)
	check.eq(b:get("k"), 2)
	if ctx.caps.keys then
		check.eq(list(check, a), { k = true })
		check.eq(list(check, ab), { z = true })
	end
end)

case("clear removes this table's keys and no other", function(ctx, check)
	local c = ctx:cache()
	local a, b = c:table("a", { ttl = 0 }), c:table("ab", { ttl = 0 })
	local foreign = ctx.prefix .. "foreign"
	ctx.provider:set(foreign, "stays", 0)
	a:set_multi({ x = 1, y = 2, ["*"] = 3 })
	b:set("x", 4)
	check.eq(a:clear(), true)
	check.eq(a:get_multi({ "x", "y", "*" }), {})
	check.eq(b:get("x"), 4)
	check.eq(c:clear(), true)
	check.miss(b:get("x"))
	check.eq(ctx.provider:get(foreign), "stays")
	ctx.provider:delete(foreign)
end, { "clear" })

case("clear of many keys", function(ctx, check)
	local t = ctx:table()
	local map = {}
	for i = 1, 3000 do map["k" .. i] = "v" end
	t:set_multi(map)
	check.eq(t:clear(), true)
	check.eq(t:get_multi({ "k1", "k1500", "k3000" }), {})
	if ctx.caps.keys then check.eq(select(2, list(check, t)), 0) end
end, { "clear" })

return cases
