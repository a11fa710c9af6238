--- Conformance: get, set, delete, exists, and the provider as a whole.
local cases = {}
local function case(name, run, needs) cases[#cases + 1] = { name = name, run = run, needs = needs } end

local all_bytes = {}
for i = 0, 255 do all_bytes[#all_bytes + 1] = string.char(i) end
all_bytes = table.concat(all_bytes)

case("a value comes back as it went in", function(ctx, check)
	local t = ctx:table()
	local big = ("0123456789abcdef"):rep(math.floor(math.min(ctx.caps.max_value or 2 ^ 20, 2 ^ 20) / 16) - 64)
	for _, v in ipairs({ "plain", "", "\0", "a\0b\r\nc", all_bytes, big }) do
		check.eq(t:set("k", v), true, "set")
		check.eq(t:get("k"), v, "get")
	end
end)

case("an absent key is a miss", function(ctx, check)
	local t = ctx:table()
	check.miss(t:get("nothing"))
	check.eq(t:exists("nothing"), false, "exists")
end)

case("set replaces", function(ctx, check)
	local t = ctx:table()
	check.eq(t:set("k", "one"), true)
	check.eq(t:set("k", "two, longer than before"), true)
	check.eq(t:get("k"), "two, longer than before")
	check.eq(t:set("k", "3"), true)
	check.eq(t:get("k"), "3")
end)

case("delete removes, and an absent key is no error", function(ctx, check)
	local t = ctx:table()
	t:set("k", "v")
	t:set("other", "w")
	check.eq(t:delete("k"), true)
	check.miss(t:get("k"))
	check.eq(t:exists("k"), false)
	check.eq(t:delete("k"), true)
	check.eq(t:delete("never there"), true)
	check.eq(t:get("other"), "w")
end)

case("exists tells true and false", function(ctx, check)
	local t = ctx:table()
	t:set("k", "")
	check.eq(t:exists("k"), true)
	check.eq(t:exists("kk"), false)
end)

case("keys are any bytes", function(ctx, check)
	local t = ctx:table()
	local keys = { "a b", "a\nb", "a\r\nb", "\0", "a\0b", "\255\254", "../../etc/passwd", "*?[a]", "{tag}", "ключ", "a:b", "A", "a" }
	keys[#keys + 1] = all_bytes:sub(1, (ctx.caps.max_key or 512) - #t:prefix())
	for i, k in ipairs(keys) do check.eq(t:set(k, "v" .. i), true, "set") end
	for i, k in ipairs(keys) do check.eq(t:get(k), "v" .. i, ("key %q"):format(k)) end
	for _, k in ipairs(keys) do
		check.eq(t:delete(k), true)
		check.miss(t:get(k))
	end
end)

case("long keys stay apart", function(ctx, check)
	local t = ctx:table()
	local n = math.min(ctx.caps.max_key or 1024, 1024) - #t:prefix()
	local a, b = ("k"):rep(n - 1) .. "a", ("k"):rep(n - 1) .. "b"
	check.eq(t:set(a, "1"), true)
	check.miss(t:get(b))
	check.eq(t:set(b, "2"), true)
	check.eq(t:get(a), "1")
	check.eq(t:get(b), "2")
end)

case("the empty key is refused", function(ctx, check)
	local t = ctx:table()
	check.fails("invalid_key", t:get(""))
	check.fails("invalid_key", t:set("", "v"))
	check.fails("invalid_key", t:delete(""))
	check.fails("invalid_key", t:exists(""))
end)

case("misuse raises", function(ctx, check)
	local t = ctx:table()
	check.raises("must be a string", t.get, t, nil)
	check.raises("must be a string", t.set, t, 5, "v")
	check.raises("ttl", t.set, t, "k", "v", -1)
	check.raises("nope", t.set, t, "k", "v", { nope = 1 })
	check.raises("did you mean 'ttl'", t.set, t, "k", "v", { tttl = 1 })
	check.raises("absent", t.set, t, "k", "v", { only = "sometimes" })
	check.miss(t:get("k"))
end)

case("bytes as they are: get_raw and set_raw", function(ctx, check)
	local c = ctx:cache()
	local t = c:table("raw", { serializer = "json", ttl = 0 })
	check.eq(t:set_raw("k", '{"a": 1}'), true)
	check.eq(t:get("k"), { a = 1 })
	t:set("k", { b = 2 })
	check.eq(t:get_raw("k"), '{"b":2}')
	check.miss(t:get_raw("nothing"))
end)

case("raw operations of the provider object", function(ctx, check)
	local p, k = ctx.provider, ctx.prefix .. "raw"
	check.miss(p:get(k))
	check.eq(p:set(k, "v\0", 0), true)
	check.eq(p:get(k), "v\0")
	check.eq(p:exists(k), true)
	check.eq(p:get_multi({ k, k .. "x" }), { [k] = "v\0" })
	check.eq(p:delete(k), true)
	check.miss(p:get(k))
end)

case("it tells its name, version, health and configuration", function(ctx, check)
	local p = ctx.provider
	check.truthy(type(p:name()) == "string" and #p:name() > 0, "name")
	check.eq(p:stats().provider, p:name())
	check.truthy(p:ping(), "ping")
	local version, err = p:version()
	check.truthy(type(version) == "string" or (err and err.code == "unsupported"), "version", err)
	check.eq(p:health().status, "healthy")
	check.eq(p:config().provider, p:name())
end)

case("counters are exact", function(ctx, check)
	local t = ctx:table()
	t:set("a", "1")
	t:set("b", "2")
	for _ = 1, 3 do t:get("a") end
	for _ = 1, 2 do t:get("nothing") end
	t:delete("b")
	local s = t:stats()
	check.eq(s.hits, 3, "hits")
	check.eq(s.misses, 2, "misses")
	check.eq(s.sets, 2, "sets")
	check.eq(s.deletes, 1, "deletes")
	check.eq(s.errors, 0, "errors")
	check.between(s.uptime, 0, 86400, "uptime")
	check.truthy(s.last_access and s.created_at and s.last_access >= s.created_at, "last_access")
end)

case("the provider counts its keys, bytes and connections", function(ctx, check)
	local t = ctx:table()
	t:set_multi({ a = "1", b = "2", c = "3" })
	local told = ctx.provider:stats()
	if told.keys then check.between(told.keys, 3, 2 ^ 40, "keys") end
	if told.memory then check.between(told.memory, 3, 2 ^ 50, "memory") end
	if told.connections then check.between(told.connections, 0, 10000, "connections") end
end)

case("a closed cache answers closed, the provider lives on", function(ctx, check)
	local c = ctx:cache()
	local t = c:table("t", { serializer = "bytes" })
	t:set("k", "v")
	local other = ctx:table()
	other:set("k", "w")
	check.eq(c:close(), true)
	check.eq(c:close(), true)
	check.fails("closed", t:get("k"))
	check.fails("closed", t:set("k", "x"))
	check.fails("closed", c:table("t"))
	check.fails("closed", c:ping())
	check.eq(other:get("k"), "w")
end)

return cases
