-- One load among processes: real processes of both Luas on one key, over every provider that they can share.
local assert = require("luassert")
local zbz = require("zbz")
local core = require("zbz.core")
local proc = require("spec.services.proc")
local stage = require("spec.lua.lock_stage")

-- ---- the cases -----------------------------------------------------------------------------------------------------------------

local N = 8

local function all_of(s)
	local values, hows, codes = {}, {}, {}
	for i = 1, N do
		local v, code, how = s:out("p" .. i)
		values[v], hows[how], codes[code] = (values[v] or 0) + 1, (hows[how] or 0) + 1, (codes[code] or 0) + 1
	end
	return values, hows, codes
end

local function together(s, how)
	for i = 1, N do s:start("p" .. i, how) end
	s:await_load()
	s:await_waits(N - 1)
	s:go()
	for i = 1, N do s:await_out("p" .. i) end
end

--- new() gives the options of a cache; `wakes`: waiters are woken; `lasts`: a dead holder's lock holds for its lease.
local function add_cases(name, lock, new, wakes)
	describe(("lock = %q over %s"):format(lock, name), function()
		local s
		local function begin(table_opts) s = stage(new(), lock, table_opts) end
		after_each(function()
			if s then s:close() end
			s = nil
		end)

		it("lets one process load for all", function()
			begin()
			together(s, { value = "v" })
			local values, hows = all_of(s)
			assert.are.equal(1, #s:loads())
			assert.are.same({ v = N }, values)
			assert.are.same({ loaded = 1, waited = N - 1 }, hows)
			assert.are.equal("v", s.t:get("k"))
		end)

		it("makes one failure of a failing loader", function()
			begin()
			together(s, { fails = true })
			local _, _, codes = all_of(s)
			assert.are.equal(1, #s:loads())
			assert.are.same({ loader = N }, codes)
		end)

		it("makes one absence of nothing, kept or not", function()
			begin()
			together(s, {})
			local values, hows = all_of(s)
			assert.are.equal(1, #s:loads())
			assert.are.same({ ["nil"] = N }, values)
			assert.are.same({ loaded = 1, waited = N - 1 }, hows)
		end)

		it("serves the stale value to all when the loader throws, and rests everywhere", function()
			begin{ stale_ttl = 60 }
			assert.is_true(s.t:set("k", "old"))
			assert.is_true(s.t:invalidate("k"))
			together(s, { throws = true, times = 3 })
			assert.are.equal(1, #s:loads())
			for i = 1, N do
				for line = 1, 3 do
					local v, _, how = s:out("p" .. i, line)
					assert.are.equal("old stale", v .. " " .. how)
				end
			end
		end)

		it("goes on after its holder was killed", function()
			begin()
			s:start("a", { value = "a", lease_ms = lock == "cluster" and wakes ~= "host" and 1500 or nil })
			s:await_load()
			s:start("b", { value = "b", quick = true })
			s:await_waits()
			local at = core.mono()
			assert.is_true(proc.kill(s.pids.a))
			s:await_out("b")
			local v, _, how, ended = s:out("b")
			assert.are.equal("b loaded", v .. " " .. how)
			assert.is_true(ended - at < 3000, ended - at .. " ms after the kill")
		end)

		it("is lost by a holder that is slower than its lease, and its late value is fenced off", function()
			begin()
			s:start("a", { value = "a", lease_ms = 400 })
			s:await_load()
			s:start("b", { value = "b", quick = true })
			s:await_out("b")
			assert.are.equal("b nil loaded", table.concat({ s:out("b") }, " ", 1, 3))
			s:go()
			s:await_out("a")
			assert.are.equal("b", s.t:get("k"))
		end)

		it("waits no longer than the deadline, and serves what is stale then", function()
			begin{ stale_ttl = 60 }
			assert.is_true(s.t:set("k", "old"))
			assert.is_true(s.t:invalidate("k"))
			s:start("a", { value = "a" })
			s:await_load()
			local at = core.mono()
			local v, err, how = s.t:fetch("k", { deadline = 0.3 }, function() error("must not run") end)
			assert.are.equal("old nil stale", table.concat({ tostring(v), tostring(err), tostring(how) }, " "))
			local took = core.mono() - at
			assert.is_true(took >= 290 and took < 2000, "took " .. took)
			assert.are.equal(1, s.t:stats().lock_waits)
		end)

		it("waits no longer than the deadline when nothing is stale", function()
			begin()
			s:start("a", { value = "a" })
			s:await_load()
			local v, err = s.t:fetch("k", { deadline = 0.2 }, function() error("must not run") end)
			assert.is_nil(v)
			assert.are.equal("timeout", err.code)
		end)

		it("stores nothing that was loaded before a delete in another process", function()
			begin()
			s:start("a", { value = "a" })
			s:await_load()
			assert.is_true(s.t:delete("k"))
			s:go()
			s:await_out("a")
			assert.is_nil(s.t:get("k"))
			assert.are.equal("a nil loaded", table.concat({ s:out("a") }, " ", 1, 3))
		end)

		it("loads the keys of batches once each, in whatever order they come", function()
			begin()
			s:start("a", { value = "a", keys = { "k", "l", "m" } })
			s:await_load()
			s:start("b", { value = "b", keys = { "m", "x", "k" }, quick = true })
			s:await_load(2) -- x, which is free
			s:await_waits()
			s:go()
			s:await_out("a")
			s:await_out("b")
			assert.are.same({ "a", "b" }, s:loads())
			assert.are.equal("am", (s:out("b")))
			for k, v in pairs({ k = "ak", l = "al", m = "am", x = "bx" }) do assert.are.equal(v, s.t:get(k)) end
		end)

		it("is not in the way of a fetch within the loader, nor of other keys", function()
			begin()
			assert.are.equal(2, s.t:fetch("k", function() return 1 + s.t:fetch("l", function() return 1 end) end))
			assert.are.equal(0, s.t:stats().lock_waits)
			assert.are.equal(0, s.t:stats().unlocked)
		end)

		it("tells a call that would wait for itself", function()
			begin()
			local other = assert(zbz.cache.new(s.opts)):table("t", { lock = lock })
			local inner
			assert.are.equal(1, s.t:fetch("k", function()
				inner = { other:fetch("k", function() return 2 end) }
				return 1
			end))
			assert.is_nil(inner[1])
			assert.are.equal("locked", inner[2].code)
		end)

		it("refreshes in the background once", function()
			begin{ refresh_at = 0.001 }
			assert.is_true(s.t:set("k", "old", 60))
			local other = assert(zbz.cache.new(s.opts)):table("t", { lock = lock, ttl = 60, refresh_at = 0.001 })
			local n = 0
			local function load()
				n = n + 1
				return "new"
			end
			proc.output("sleep 1.1") -- so that a thousandth of a minute has passed, even in whole seconds
			assert.are.equal("old", s.t:fetch("k", load))
			assert.are.equal("old", other:fetch("k", load))
			zbz.poll(0)
			zbz.poll(0)
			assert.are.equal("new", s.t:get("k"))
			assert.are.equal(1, n)
		end)

		if wakes then
			it("wakes who waits, at once", function()
				begin()
				s:start("a", { value = "a" })
				s:await_load()
				s:start("b", { value = "b" })
				s:await_waits()
				s:go()
				s:await_out("b")
				local v, _, how, at = s:out("b")
				assert.are.equal("a waited", v .. " " .. how)
				assert.is_true(at - s:ended("a") < 500, at - s:ended("a") .. " ms after the load")
			end)
		end
	end)
end

local function add_provider(name, new, stop, wakes)
	describe(name, function()
		local made
		setup(function() made = new() end)
		teardown(function() stop(made) end)
		local function opts()
			local o = {}
			for k, v in pairs(made.opts) do o[k] = v end
			return o
		end
		add_cases(name, "host", opts, "host")
		add_cases(name, "cluster", opts, wakes)
	end)
end

local redis = require("spec.services.redis")
local memcached = require("spec.services.memcached")

add_provider("redis", function()
	local server = redis.start()
	return { opts = { provider = "redis", url = server.url }, server = server }
end, function(made) made.server.stop() end, "channel")
add_provider("memcached", function()
	local server = memcached.start()
	return { opts = { provider = "memcached", servers = server.address, timeout = "5s" }, server = server }
end, function(made) made.server.stop() end, nil)
add_provider("filesystem", function()
	local dir = proc.folder()
	return { opts = { provider = "filesystem", base_dir = dir }, dir = dir }
end, function(made) proc.remove(made.dir) end, nil)
add_provider("shared", function()
	local name = "locktest" .. proc.output("echo $$")
	return { opts = { provider = "shared", name = name, size = "4MB" }, name = name }
end, function(made) proc.output("rm -f /dev/shm/zbz-" .. made.name .. ".*") end, "host")
