--- Conformance: what is too large or broken is refused and loses nothing.
local cases = {}
local function case(name, run, needs) cases[#cases + 1] = { name = name, run = run, needs = needs } end

case("a key over the limit is refused", function(ctx, check)
	local max = ctx.caps.max_key
	if not max or max > 2 ^ 20 then return end
	local t = ctx:table()
	local long = ("k"):rep(max + 1 - #t:prefix())
	check.fails("invalid_key", t:set(long, "v"))
	check.fails("invalid_key", t:get(long))
	local fits = ("k"):rep(max - #t:prefix())
	check.eq(t:set(fits, "v"), true)
	check.eq(t:get(fits), "v")
end)

case("a value over the limit is refused", function(ctx, check)
	local max = ctx.caps.max_value
	if not max or max > 2 ^ 26 then return end
	local t = ctx:table()
	t:set("k", "before")
	check.fails("too_large", t:set("k", ("x"):rep(max + 1)))
	check.eq(t:get("k"), "before")
end)

case("stored bytes that are no value are an error, not a crash", function(ctx, check)
	local c = ctx:cache()
	local broken = { "", "{", "[1,", '"\\uD800"', "nul", "\193zbz\1", "\193zbz\1\0", "\193zbz\255" .. ("x"):rep(40), ("["):rep(100000),
		"\220\255\255\255" }
	for _, name in ipairs({ "json", "msgpack", "cjson" }) do
		local t = c:table(name, { serializer = name, ttl = 0 })
		for i, bytes in ipairs(broken) do
			check.eq(t:set_raw("k", bytes), true)
			local v, err = t:get("k")
			if v == nil then
				check.truthy(err and (err.code == "decode" or err.code == "corrupt" or err.code == "too_large"), ("%s %d"):format(name, i), err)
				check.eq(err.key, "k")
				check.eq(err.table, name)
			end
		end
		check.eq(t:set("k", { 1 }), true)
		check.eq(t:get("k"), { 1 })
	end
end)

case("bytes that look like an envelope are kept as they are", function(ctx, check)
	local t = ctx:table()
	for _, v in ipairs({ "\193zbz", "\193zbz\1\0" .. ("\0"):rep(16) .. "payload", "\193" }) do
		t:set("k", v)
		check.eq(t:get("k"), v)
	end
end)

return cases
