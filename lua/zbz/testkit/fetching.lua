--- Conformance: the guarantees of fetch.
local cases = {}
local function case(name, run, needs) cases[#cases + 1] = { name = name, run = run, needs = needs } end

local function table_of(ctx, opts)
	local all = { serializer = "json", ttl = 1000 }
	for k, v in pairs(opts or {}) do all[k] = v end
	return ctx:cache():table("t", all)
end

case("the loader's arguments, and its own TTL", function(ctx, check)
	local t = table_of(ctx)
	check.eq(t:fetch("k", function(...) return { ... } end), { "k" })
	check.eq(t:fetch("l", function(...) return { ... } end, 1, "two"), { 1, "two" })
	check.eq(t:fetch("m", { ttl = 50 }, function(...) return { ... } end, 3), { 3 })
	t:fetch("n", function() return 1, { ttl = "200s" } end)
	t:fetch("o", function() return false end)
	check.eq(t:get("o"), false)
	if ctx.caps.ttl then
		check.between(t:ttl("k"), 990, 1000 + ctx.slack)
		check.between(t:ttl("m"), 45, 50 + ctx.slack)
		check.between(t:ttl("n"), 190, 200 + ctx.slack)
	end
	check.eq(t:fetch("p", function() return 5, { store = false } end), 5)
	check.miss(t:get("p"))
end)

case("a remembered absence", function(ctx, check)
	local t, runs = table_of(ctx, { neg_ttl = ctx.short }), 0
	local function none()
		runs = runs + 1
		return nil
	end
	local v, err, how = t:fetch("k", none)
	local _
	check.eq(v, nil)
	check.eq(err, nil)
	check.eq(how, "loaded")
	v, err, how = t:fetch("k", none)
	check.miss(v, err)
	check.eq(how, "negative")
	check.eq(runs, 1)
	check.miss(t:get("k"))
	check.eq(t:exists("k"), false)
	check.eq(t:get_multi({ "k" }), {})
	ctx:until_true(function()
		t:fetch("k", none)
		return runs > 1
	end, ctx.short + ctx.slack)
	t:set("k", "there now")
	v, _, how = t:fetch("k", none)
	check.eq(v, "there now")
	check.eq(how, "hit")
end)

case("a loader that fails", function(ctx, check)
	local t = table_of(ctx)
	local v, err = t:fetch("k", function() return nil, "the database is away" end)
	check.eq(v, nil)
	check.eq(err.code, "loader")
	check.eq(err.cause, "the database is away")
	check.eq(err.key, "k")
	v, err = t:fetch("k", function() error("boom") end)
	check.eq(v, nil)
	check.eq(err.code, "loader")
	check.truthy(err.message:find("boom", 1, true), "message")
	check.truthy(tostring(err.cause):find("traceback", 1, true), "traceback in the cause")
	local mine = ctx.zbz.cache.provider("no such provider") or select(2, ctx.zbz.cache.provider("no such provider"))
	v, err = t:fetch("k", function() error(mine) end)
	check.eq(v, nil)
	check.eq(err.code, "loader")
	check.eq(err.cause.code, "unknown_provider")
	check.miss(t:get("k"))
	check.eq(t:stats().load_failures, 3)
end)

case("a stale value after a failure, then the loader rests", function(ctx, check)
	local t = table_of(ctx, { ttl = ctx.short, stale_ttl = 600 })
	local runs, fail = 0, false
	local function load()
		runs = runs + 1
		if fail then return nil, "away" end
		return "value " .. runs
	end
	check.eq(t:fetch("k", load), "value 1")
	fail = true
	ctx:until_true(function() return t:get("k") == nil end, ctx.short + ctx.slack)
	local v, err, how = t:fetch("k", load)
	local _
	check.eq(v, "value 1")
	check.eq(err, nil)
	check.eq(how, "stale")
	check.eq(runs, 2)
	v, _, how = t:fetch("k", load)
	check.eq(v, "value 1")
	check.eq(how, "stale")
	check.eq(runs, 2, "the loader rests")
	check.miss(t:get("k"))
	fail = false
	ctx:until_true(function()
		v, _, how = t:fetch("k", load)
		return how == "loaded"
	end, 1.2)
	check.eq(v, "value 3")
	check.eq(t:stats().stale_served >= 2, true)
end)

case("invalidate keeps the value as the fallback", function(ctx, check)
	local t = table_of(ctx, { stale_ttl = 600 })
	t:set("k", "old")
	check.eq(t:invalidate("k"), true)
	check.miss(t:get("k"))
	local v, err, how = t:fetch("k", function() return nil, "away" end)
	check.eq(v, "old")
	check.eq(err, nil)
	check.eq(how, "stale")
	local u = table_of(ctx)
	u:set("k", "old")
	check.eq(u:invalidate("k"), true)
	check.miss(u:get("k"))
	check.eq(u:invalidate("never there"), true)
end)

case("what the loader denies does not come back as a fallback", function(ctx, check)
	local t = table_of(ctx, { stale_ttl = 600 })
	t:set("k", "old")
	t:invalidate("k")
	check.miss(t:fetch("k", function() return nil end))
	ctx:pass(ctx.caps.ttl_resolution_ms / 1000 * 2)
	local v, err = t:fetch("k", function() return nil, "away" end)
	check.eq(v, nil)
	check.eq(err and err.code, "loader")
end)

case("the fence: a newer write is never overwritten", function(ctx, check)
	local t = table_of(ctx)
	check.eq(t:fetch("k", function()
		t:delete("k")
		return "old"
	end), "old")
	check.miss(t:get("k"))
	t:fetch("k", function()
		t:set("k", "new")
		return "old"
	end)
	check.eq(t:get("k"), "new")
	t:fetch("l", function()
		t:invalidate("l")
		return "old"
	end)
	check.miss(t:get("l"))
	if ctx.caps.clear then
		t:fetch("m", function()
			t:clear()
			return "old"
		end)
		check.miss(t:get("m"))
	end
	t:fetch("n", function()
		t:set_multi({ n = "new" })
		return "old"
	end)
	check.eq(t:get("n"), "new")
	check.truthy(t:stats().fenced >= 4, "fenced is counted")
end)

case("the fence between two caches over one provider", function(ctx, check)
	local c = ctx:cache()
	local other = assert(ctx.zbz.cache.new({ provider = ctx.provider, clock = ctx.clock, key_prefix = c:key_prefix() }))
	local a, b = c:table("t", { ttl = 1000 }), other:table("t", { ttl = 1000 })
	a:fetch("k", function()
		b:delete("k")
		return "old"
	end)
	check.miss(a:get("k"))
	a:fetch("k", function()
		b:set("k", "new")
		return "old"
	end)
	check.eq(a:get("k"), "new")
	other:close()
end)

case("one run for a hundred coroutines", function(ctx, check)
	local t, runs = table_of(ctx), 0
	local got, how = {}, {}
	local all = {}
	for i = 1, 100 do
		all[i] = coroutine.create(function()
			local v, err, h = t:fetch("k", function()
				runs = runs + 1
				coroutine.yield("loading")
				return { n = runs }
			end)
			assert(err == nil, err)
			got[i], how[h] = v, (how[h] or 0) + 1
		end)
	end
	local first = { coroutine.resume(all[1]) }
	check.eq(first[2], "loading")
	for i = 2, 100 do
		local ok, sentinel = coroutine.resume(all[i])
		check.eq(ok, true)
		check.eq(sentinel, ctx.zbz.waiting)
	end
	for i = 1, 100 do
		local ok, err = coroutine.resume(all[i])
		check.truthy(ok, "resume", err)
	end
	check.eq(runs, 1)
	for i = 1, 100 do check.eq(got[i], { n = 1 }) end
	check.eq(how, { loaded = 1, waited = 99 })
	got[1].n, got[2].n = 7, 8
	check.eq(got[3].n, 1)
end)

case("waiting that would never end is locked", function(ctx, check)
	local t = table_of(ctx)
	local inner
	t:fetch("k", function()
		inner = { t:fetch("k", function() return 2 end) }
		return 1
	end)
	check.eq(inner[2] and inner[2].code, "locked")
	check.eq(inner[2].key, "k")
	local co = coroutine.create(function()
		t:fetch("l", function()
			coroutine.yield()
			return 1
		end)
	end)
	coroutine.resume(co)
	local err = check.fails("locked", t:fetch("l", function() return 2 end))
	check.truthy(err.retryable, "retryable")
	check.truthy(tostring(err):find("l", 1, true), "the key is named")
	coroutine.resume(co)
	check.eq(t:fetch("l", function() return 3 end), 1)
end)

case("a loader that never comes back", function(ctx, check)
	local t = table_of(ctx)
	local co = coroutine.create(function()
		t:fetch("k", function()
			coroutine.yield()
		end)
	end)
	coroutine.resume(co)
	co = nil -- luacheck: ignore
	collectgarbage()
	collectgarbage()
	check.eq(t:fetch("k", function() return "another" end), "another")
end)

case("refresh in the background", function(ctx, check)
	local t, runs = table_of(ctx, { ttl = 100, neg_ttl = 1, refresh_at = 0.5 }), 0
	local function load()
		runs = runs + 1
		return runs
	end
	check.eq(t:fetch("k", load), 1)
	check.eq(t:fetch("k", load), 1)
	ctx.zbz.poll(0)
	check.eq(runs, 1, "too early")
	if not ctx.clock then return end
	ctx:pass(60)
	local v, _, how = t:fetch("k", load)
	check.eq(v, 1)
	check.eq(how, "hit")
	check.eq(t:fetch("k", load), 1)
	check.eq(runs, 1, "answered at once")
	ctx.zbz.poll(0)
	check.eq(runs, 2, "one refresh")
	check.eq(t:fetch("k", load), 2)
end)

case("jitter shortens the TTL by at most its fraction", function(ctx, check)
	local t, seen = table_of(ctx, { jitter = 0.5 }), {}
	for i = 1, 30 do
		t:fetch("k" .. i, function() return i end)
		local ttl = check.between(t:ttl("k" .. i), 500 - ctx.slack - 1, 1000 + ctx.slack)
		seen[math.floor(ttl / 10)] = true
	end
	local n = 0
	for _ in pairs(seen) do n = n + 1 end
	check.truthy(n > 5, "spread")
end, { "ttl" })

case("fetch_multi: negatives, failures, items", function(ctx, check)
	local t = table_of(ctx, { neg_ttl = 100, stale_ttl = 600 })
	local calls = 0
	local function load(missing)
		calls = calls + 1
		local out = {}
		for _, k in ipairs(missing) do
			if k ~= "none" then out[k] = ctx.zbz.item("v" .. k, { ttl = 50 }) end
		end
		return out
	end
	check.eq(t:fetch_multi({ "a", "none", "b", "a" }, load), { a = "va", b = "vb" })
	check.eq(calls, 1)
	check.eq(t:fetch_multi({ "a", "none", "b" }, load), { a = "va", b = "vb" })
	check.eq(calls, 1, "the absence is remembered")
	if ctx.caps.ttl then check.between(t:ttl("a"), 40, 50 + ctx.slack) end
	local map, err, errs = t:fetch_multi({ "a", "c" }, function() return nil, "away" end)
	check.eq(map, { a = "va" })
	check.eq(err, nil)
	check.eq(errs.c.code, "loader")
	check.fails("loader", t:fetch_multi({ "d", "e" }, function() error("boom") end))
	t:invalidate("a")
	map = t:fetch_multi({ "a" }, function() return nil, "away" end)
	check.eq(map, { a = "va" })
	check.eq(t:fetch_multi({}, load), {})
	check.eq(t:fetch_multi({ "f" }, function(missing)
		t:set("f", "newer")
		return { [missing[1]] = "older" }
	end), { f = "older" })
	check.eq(t:get("f"), "newer")
end)

case("options of fetch", function(ctx, check)
	local t = table_of(ctx)
	local function one() return 1 end
	check.raises("did you mean 'neg_ttl'", t.fetch, t, "k", { neg_tl = 1 }, one)
	check.raises("function", t.fetch, t, "k")
	check.raises("function", t.fetch, t, "k", { ttl = 1 }, "no function")
	check.raises("negative", t.fetch, t, "k", { ttl = -1 }, one)
	check.raises("must be a string", t.fetch, t, nil, one)
	check.fails("invalid_config", t:fetch("k", { lock = "galaxy" }, one))
	check.fails("unsupported", t:fetch("k", { tags = { "a" } }, one))
	check.eq(t:fetch("k", { lock = "process", deadline = "1s" }, one), 1)
end)

return cases
