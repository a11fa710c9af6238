-- fetch beyond conformance: deadlines, unreachable providers, waiting in coroutines, the fence against other processes.
local zbz = require("zbz")
local core = require("zbz.core")
local testkit = require("zbz.testkit")

local function fails(code, v, err)
	assert.is_nil(v)
	assert.are.equal(code, err.code)
	return err
end

describe("fetch", function()
	local c, clock
	before_each(function()
		clock = testkit.clock()
		c = assert(zbz.cache.new{ provider = "memory", clock = clock })
	end)
	after_each(function() c:close() end)

	it("takes the older order of arguments", function()
		local t = c:table("t")
		assert.are.equal(1, t:fetch("k", function() return 1 end, { ttl = "10m" }))
		assert.is_true(t:ttl("k") <= 600)
		local arg = { id = 1 }
		assert.are.equal(arg, t:fetch("l", function(x) return x, { store = false } end, arg))
	end)
	it("takes defaults from the cache and the table", function()
		local d = assert(zbz.cache.new{ provider = "memory", clock = clock, neg_ttl = 30 })
		local t, runs = d:table("t"), 0
		local function none()
			runs = runs + 1
		end
		t:fetch("k", none)
		t:fetch("k", none)
		assert.are.equal(1, runs)
		assert.are.equal(30, t:info().neg_ttl)
		d:close()
	end)
	it("backs off longer each time, and forgets after a success", function()
		local t = c:table("t", { ttl = 10, stale_ttl = 3600 })
		local runs, fail = 0, false
		local function load()
			runs = runs + 1
			if fail then error("away") end
			return runs
		end
		t:fetch("k", load)
		fail = true
		clock:advance(11000)
		local at = {}
		for s = 0, 70 do
			local before = runs
			local _, _, how, why = t:fetch("k", load)
			assert.are.equal("stale", how)
			assert.are.equal("loader", why.code)
			if runs > before then at[#at + 1] = s end
			clock:advance(1000)
		end
		assert.are.same({ 0, 1, 3, 7, 15, 31, 61 }, at)
		fail = false
		clock:advance(60000)
		assert.are.equal("loaded", select(3, t:fetch("k", load)))
	end)
	it("serves no value older than stale_ttl", function()
		local t = c:table("t", { ttl = 10, stale_ttl = 20 })
		t:set("k", "old")
		clock:advance(29000)
		assert.are.equal("old", (t:fetch("k", function() return nil, "away" end)))
		clock:advance(32000)
		fails("loader", t:fetch("k", function() return nil, "away" end))
	end)
	it("serves stale values instead of waiting for what never ends", function()
		local t = c:table("t", { stale_ttl = 3600 })
		t:set("k", "old")
		t:invalidate("k")
		local co = coroutine.create(function() t:fetch("k", function() coroutine.yield() return "new" end) end)
		coroutine.resume(co)
		local v, _, how = t:fetch("k", error)
		assert.are.equal("old", v)
		assert.are.equal("stale", how)
		coroutine.resume(co)
		assert.are.equal("new", t:get("k"))
	end)
	it("waits in a coroutine no longer than the deadline", function()
		local t = c:table("t")
		local leader = coroutine.create(function() t:fetch("k", function() coroutine.yield() return 1 end) end)
		coroutine.resume(leader)
		local result
		local waiter = coroutine.create(function() result = { t:fetch("k", { deadline = 5 }, error) } end)
		coroutine.resume(waiter)
		clock:advance(4000)
		coroutine.resume(waiter)
		assert.is_nil(result)
		clock:advance(1001)
		coroutine.resume(waiter)
		assert.are.equal("timeout", result[2].code)
		coroutine.resume(leader)
		assert.are.equal(1, t:get("k"))
	end)
	it("gives waiters the leader's failure", function()
		local t = c:table("t")
		local results = {}
		local cos = {}
		for i = 1, 3 do
			cos[i] = coroutine.create(function()
				results[i] = { t:fetch("k", function()
					coroutine.yield()
					return nil, "the source is away"
				end) }
			end)
			coroutine.resume(cos[i])
		end
		for i = 1, 3 do coroutine.resume(cos[i]) end
		for i = 1, 3 do
			assert.are.equal("loader", results[i][2].code)
			assert.is_truthy(results[i][2].message:find("the source is away", 1, true))
		end
		assert.are.equal(1, t:stats().loads)
	end)
	it("lets waiters look again when the load was overtaken", function()
		local t = c:table("t")
		local second
		local a = coroutine.create(function() t:fetch("k", function() coroutine.yield() return "old" end) end)
		coroutine.resume(a)
		t:set("k", "new")
		local b = coroutine.create(function() second = { t:fetch("k", function() return "loaded again" end) } end)
		coroutine.resume(b)
		coroutine.resume(a)
		if coroutine.status(b) == "suspended" then coroutine.resume(b) end
		assert.are.equal("new", second[1])
		assert.are.equal("new", t:get("k"))
	end)
	it("fresh does not share a load that began before", function()
		local t = c:table("t")
		local got
		local a = coroutine.create(function() t:fetch("k", function() coroutine.yield() return "began before" end) end)
		coroutine.resume(a)
		local b = coroutine.create(function() got = t:fetch("k", { fresh = true }, function() return "newer" end) end)
		coroutine.resume(b)
		coroutine.resume(a)
		coroutine.resume(b)
		assert.are.equal("newer", got)
		assert.are.equal("newer", t:get("k"))
	end)
	it("sees that two loads wait for each other", function()
		local t = c:table("t")
		local results = {}
		local function load_both(name, mine, other)
			return coroutine.create(function()
				results[name] = { t:fetch(mine, function()
					coroutine.yield()
					local v, err = t:fetch(other, function() return "never" end)
					return v or nil, err
				end) }
			end)
		end
		local a, b = load_both("a", "one", "two"), load_both("b", "two", "one")
		coroutine.resume(a)
		coroutine.resume(b)
		coroutine.resume(a)
		coroutine.resume(b)
		assert.are.equal("loader", results.b[2].code)
		assert.are.equal("locked", results.b[2].cause.code)
		coroutine.resume(a)
		assert.are.equal("loader", results.a[2].code)
	end)
	it("sees its own loader through another handle", function()
		local users = assert(zbz.cache.contract("users", "memory"))
		local other = assert(users:cache())
		local inner
		local co = coroutine.create(function()
			users:fetch("k", function()
				inner = { other:fetch("k", function() return 2 end) }
				return 1
			end)
		end)
		assert.is_true(coroutine.resume(co))
		assert.are.equal("dead", coroutine.status(co))
		assert.are.equal("locked", inner[2].code)
		users:close()
		other:close()
	end)
	it("refuses wrong options of a loader's result as its failure", function()
		local t = c:table("t")
		local err = fails("loader", t:fetch("k", function() return 1, { tll = 5 } end))
		assert.is_truthy(err.message:find("ttl", 1, true))
		assert.are.equal("v", t:fetch("k", function() return ("v"):gsub("x", "y") end))
	end)
	it("bounds the queue of background refreshes", function()
		local host = require("zbz.host.plain")
		local before, queued = host.refused, 0
		for _ = 1, 1100 do
			if host.defer(function() end) then queued = queued + 1 end
		end
		assert.are.equal(1024, queued)
		assert.are.equal(before + 76, host.refused)
		while zbz.poll(0) > 0 do end -- luacheck: ignore
	end)
	it("says encode when the loaded value cannot be stored", function()
		local t = c:table("t")
		fails("encode", t:fetch("k", function() return print end))
		local s = c:table("s", { schema = { a = "string" } })
		fails("type_mismatch", s:fetch("k", function() return { a = 1 } end))
		assert.are.equal(1, t:fetch("k", function() return 1 end))
	end)
end)

describe("fetch over an unreachable provider", function()
	local port = require("spec.services.proc").free_port()
	local providers = { redis = { provider = "redis", url = "redis://127.0.0.1:" .. port, max_retries = 0 },
		memcached = { provider = "memcached", servers = "127.0.0.1:" .. port } }
	for name, opts in pairs(providers) do
		it("returns the loader's value: " .. name, function()
			local c = assert(zbz.cache.new(opts))
			local t, runs = c:table("t", { deadline = "2s", neg_ttl = 5 }), 0
			local began = core.mono()
			local v, err, how = t:fetch("k", function()
				runs = runs + 1
				return { n = runs }
			end)
			assert.is_true(core.mono() - began < 2500)
			assert.are.same({ n = 1 }, v)
			assert.is_nil(err)
			assert.are.equal("loaded", how)
			assert.is_true(t:stats().lost_writes >= 1)
			fails("loader", t:fetch("k", function() return nil, "no" end))
			assert.are.same({ a = 1 }, t:fetch_multi({ "a", "b" }, function() return { a = 1 } end))
			fails("unavailable", t:get("k"))
			c:close()
		end)
	end
	it("a Lua provider that fails, too", function()
		zbz.cache.register_provider("failing", function()
			return { get = function() return nil, "down" end, set = function() error("down") end, delete = function() return true end }
		end)
		local c = assert(zbz.cache.new{ provider = "failing" })
		local t = c:table("t")
		assert.are.equal(1, t:fetch("k", function() return 1 end))
		assert.are.equal(1, t:stats().lost_writes)
		fails("unavailable", t:get("k"))
		c:close()
	end)
end)

describe("a hanging server", function()
	it("costs at most the deadline", function()
		local server = require("spec.services.redis").start()
		local c = assert(zbz.cache.new{ provider = "redis", url = server.url })
		local t = c:table("t", { deadline = "700ms" })
		assert.is_true(t:set("k", "v"))
		server.pause()
		local began = core.mono()
		local v, _, how = t:fetch("k", function() return "from the loader" end)
		local took = core.mono() - began
		fails("timeout", t:get("k", { deadline = 0.2 }))
		server.resume()
		assert.are.equal("from the loader", v)
		assert.are.equal("loaded", how)
		assert.is_true(took < 1200, took)
		c:close()
		server.stop()
	end)
end)

describe("the fence between processes", function()
	local lua = (package.loaded.jit or rawget(_G, "jit")) and "luajit" or "lua5.4"
	local function other_process(code)
		local f = assert(io.popen((lua .. " - 2>&1 <<'END'\n%s\nEND"):format(code)))
		local out = f:read("*a")
		f:close()
		return out
	end
	for _, name in ipairs({ "redis", "memcached" }) do
		it("holds over " .. name, function()
			local server = require("spec.services." .. name).start()
			local opts = name == "redis" and { provider = "redis", url = server.url }
				or { provider = "memcached", servers = server.env.MEMCACHED_SERVERS, timeout = "5s" }
			opts.key_prefix = "f:"
			local c = assert(zbz.cache.new(opts))
			local t = c:table("t")
			local program = ([[local zbz = require("zbz")
local c = assert(zbz.cache.new{ provider = "%s", %s = "%s", key_prefix = "f:" })
local t = c:table("t")
%%s
print("done")]]):format(name, name == "redis" and "url" or "servers", opts.url or opts.servers)
			local function during(action)
				return function()
					assert.are.equal("done\n", other_process(program:format(action)))
					return "old"
				end
			end
			assert.are.equal("old", t:fetch("a", during('assert(t:delete("a"))')))
			assert.is_nil((t:get("a")))
			assert.are.equal("old", t:fetch("b", during('assert(t:set("b", "new"))')))
			assert.are.equal("new", t:get("b"))
			t:set("c", "before")
			t:fetch("c", { fresh = true }, during('assert(t:set("c", "new"))'))
			assert.are.equal("new", t:get("c"))
			assert.are.equal(3, t:stats().fenced)
			assert.are.equal("old", t:fetch("d", during("")))
			assert.are.equal("old", t:get("d"))
			c:close()
			server.stop()
		end)
	end
end)
