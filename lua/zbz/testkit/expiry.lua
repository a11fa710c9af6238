--- Conformance: time to live.
local cases = {}
local function case(name, run, needs) cases[#cases + 1] = { name = name, run = run, needs = needs } end

case("an entry with a TTL goes away", function(ctx, check)
	local t = ctx:table()
	t:set("short", "v", ctx.short)
	t:set("long", "w", 600)
	t:set("ever", "x", 0)
	check.eq(t:get("short"), "v")
	check.eq(t:exists("short"), true)
	ctx:until_true(function() return t:get("short") == nil end, ctx.short + ctx.slack)
	check.eq(t:exists("short"), false)
	check.eq(t:get("long"), "w")
	check.eq(t:get("ever"), "x")
end)

case("ttl tells the rest: seconds, no end, absent", function(ctx, check)
	local t = ctx:table()
	t:set("a", "v", 100)
	t:set("b", "v", "1h30m")
	t:set("c", "v", 0)
	check.between(t:ttl("a"), 100 - ctx.slack - 1, 100 + ctx.slack, "ttl")
	check.between(t:ttl("b"), 5400 - ctx.slack - 1, 5400 + ctx.slack, "ttl")
	check.eq(t:ttl("c"), math.huge)
	check.miss(t:ttl("nothing"))
end, { "ttl" })

case("a TTL beyond thirty days is kept", function(ctx, check)
	local t = ctx:table()
	t:set("k", "v", "40d")
	check.eq(t:get("k"), "v")
	if ctx.caps.ttl then check.between(t:ttl("k"), 40 * 86400 - 5, 40 * 86400 + 5, "ttl") end
end)

case("expire changes the end of life", function(ctx, check)
	local t = ctx:table()
	t:set("k", "v", 1000)
	check.eq(t:expire("k", 50), true)
	if ctx.caps.ttl then check.between(t:ttl("k"), 50 - ctx.slack - 1, 50 + ctx.slack, "ttl") end
	check.eq(t:expire("k", 0), true)
	if ctx.caps.ttl then check.eq(t:ttl("k"), math.huge) end
	check.eq(t:get("k"), "v")
	check.miss(t:expire("nothing", 50))
	check.eq(t:exists("nothing"), false)
	t:set("gone", "v", 1000)
	check.eq(t:expire("gone", ctx.short), true)
	ctx:until_true(function() return t:get("gone") == nil end, ctx.short + ctx.slack)
end, { "expire" })

case("set takes the old TTL away", function(ctx, check)
	local t = ctx:table()
	t:set("k", "v", 50)
	t:set("k", "w", 0)
	check.eq(t:ttl("k"), math.huge)
end, { "ttl" })

case("TTL precedence: call, table, cache", function(ctx, check)
	local c = ctx:cache({ default_ttl = 1000 })
	local by_cache, by_table = c:table("a"), c:table("b", { ttl = 500 })
	by_cache:set("k", 1)
	by_table:set("k", 1)
	check.between(by_cache:ttl("k"), 990, 1000 + ctx.slack, "the cache's")
	check.between(by_table:ttl("k"), 490, 500 + ctx.slack, "the table's")
	by_table:set("k", 1, "100s")
	check.between(by_table:ttl("k"), 95, 100 + ctx.slack, "the call's")
	by_table:set("k", 1, { ttl = 0 })
	check.eq(by_table:ttl("k"), math.huge)
end, { "ttl" })

case("an expired key is absent for every operation", function(ctx, check)
	local t = ctx:table()
	t:set("k", "v", ctx.short)
	ctx:until_true(function() return t:exists("k") == false end, ctx.short + ctx.slack)
	check.miss(t:get("k"))
	check.eq(t:get_multi({ "k" }), {})
	if ctx.caps.ttl then check.miss(t:ttl("k")) end
	if ctx.caps.expire then check.miss(t:expire("k", 10)) end
	if ctx.caps.add then check.eq(t:add("k", "w", 100), true, "add") end
end)

return cases
