--- Conformance: conditional writes, versions, counters; and that what is missing says so.
local cases = {}
local function case(name, run, needs) cases[#cases + 1] = { name = name, run = run, needs = needs } end

case("add stores only where nothing is", function(ctx, check)
	local t = ctx:table()
	check.eq(t:add("k", "one", 100), true)
	check.eq(t:add("k", "two", 100), false)
	check.eq(t:get("k"), "one")
	check.eq(t:set("k", "three", { only = "absent" }), false)
	t:delete("k")
	check.eq(t:set("k", "four", { only = "absent", ttl = 50 }), true)
	check.eq(t:get("k"), "four")
	if ctx.caps.ttl then check.between(t:ttl("k"), 45, 50 + ctx.slack, "ttl") end
end, { "add" })

case("only = present replaces, never makes", function(ctx, check)
	local t = ctx:table()
	check.eq(t:set("k", "one", { only = "present" }), false)
	check.miss(t:get("k"))
	t:set("k", "two")
	check.eq(t:set("k", "three", { only = "present" }), true)
	check.eq(t:get("k"), "three")
end, { "present" })

case("if_version stores only over the version that was read", function(ctx, check)
	local t = ctx:table()
	t:set("k", "one", 100)
	local v, info = t:get_with("k")
	check.eq(v, "one")
	check.truthy(type(info.version) == "string" and #info.version > 0, "version")
	check.eq(t:set("k", "two", { if_version = info.version }), true)
	check.eq(t:get("k"), "two")
	local err = check.fails("conflict", t:set("k", "three", { if_version = info.version }))
	check.eq(err.key, "k")
	check.eq(t:get("k"), "two")
	local _, now = t:get_with("k")
	check.truthy(now.version ~= info.version, "another version")
	t:delete("k")
	check.fails("conflict", t:set("k", "four", { if_version = now.version }))
	check.miss(t:get("k"))
end, { "version" })

case("get_with tells TTL and staleness", function(ctx, check)
	local t = ctx:table()
	t:set("k", "v", 100)
	local v, info = t:get_with("k")
	check.eq(v, "v")
	check.eq(info.stale, false)
	if info.ttl then check.between(info.ttl, 95, 100 + ctx.slack, "ttl") end
	check.miss(t:get_with("nothing"))
end)

case("incr and decr count", function(ctx, check)
	local t = ctx:table()
	check.eq(t:incr("n"), 1)
	check.eq(t:incr("n", 5), 6)
	check.eq(t:decr("n", 2), 4)
	check.eq(t:get("n"), "4")
	t:set("m", "41")
	check.eq(t:incr("m"), 42)
	check.eq(t:incr("i", 5, { initial = 100 }), 100)
	check.eq(t:incr("i", 5, { initial = 100 }), 105)
	check.raises("whole number", t.incr, t, "n", 1.5)
end, { "incr" })

case("counters below zero", function(ctx, check)
	local t = ctx:table()
	if ctx.caps.unsigned_incr then
		t:set("n", "3")
		check.eq(t:decr("n", 10), 0, "stops at zero")
		return
	end
	check.eq(t:decr("n", 3), -3)
	check.eq(t:incr("n", 1), -2)
end, { "incr" })

case("a counter's TTL is for the key it makes", function(ctx, check)
	local t = ctx:table()
	t:incr("n", 1, { ttl = 100 })
	if ctx.caps.ttl then check.between(t:ttl("n"), 95, 100 + ctx.slack, "ttl") end
	t:incr("n", 1, { ttl = 5000 })
	if ctx.caps.ttl then check.between(t:ttl("n"), 90, 100 + ctx.slack, "ttl") end
end, { "incr" })

case("text is no counter, and stays", function(ctx, check)
	local t = ctx:table()
	t:set("k", "not a number")
	check.fails("type_mismatch", t:incr("k"))
	check.eq(t:get("k"), "not a number")
end, { "incr" })

-- What capabilities() denies must answer unsupported; what it claims is tried by the cases above.
local DENIED = {
	ttl = function(t) return t:ttl("k") end, expire = function(t) return t:expire("k", 10) end,
	add = function(t) return t:add("new", "v") end, incr = function(t) return t:incr("n") end, keys = function(t) return t:keys("*") end,
	present = function(t) return t:set("k", "w", { only = "present" }) end,
	version = function(t) return t:set("k", "w", { if_version = "12345678" }) end, clear = function(t) return t:clear() end,
}
case("what the capabilities deny answers unsupported", function(ctx, check)
	local t = ctx:table()
	t:set("k", "v")
	for name, call in pairs(DENIED) do
		if not ctx.caps[name] then
			local v, err = call(t)
			if type(v) == "function" then v, err = v() end
			check.fails("unsupported", v, err)
		end
	end
	check.eq(t:get("k"), "v")
	local c = ctx:cache()
	for name in pairs(DENIED) do check.eq(c:supports(name), ctx.caps[name] and true or false, name) end
	if ctx.caps.native then
		check.truthy(c:native(), "native")
	else
		check.fails("unsupported", c:native())
	end
end)

return cases
