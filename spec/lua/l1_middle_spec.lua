-- What befalls a table with l1: a serializer written in Lua, or a finalizer, that changes it while it reads, and a fork.
local redis = require("spec.services.redis")
local zbz = require("zbz")
local doors = require("zbz.ffi.doors")

local PROVIDERS = { memory = { provider = "memory" }, shared = { provider = "shared", size = "1MB" } }

local in_decode, data -- what the next decode does first; what the provider in Lua has

zbz.cache.register_serializer("l1-hooked", {
	encode = function(v) return v end,
	decode = function(s)
		local fn = in_decode
		in_decode = nil
		if fn then fn() end
		return s
	end,
})
zbz.cache.register_provider("l1-middle", function()
	return { get = function(_, k) return data[k] end, set = function(_, k, v) data[k] = v return true end,
		delete = function(_, k) data[k] = nil return true end }
end)

for name, spec in pairs(PROVIDERS) do
	describe("l1 on " .. name .. ", in the middle of decoding", function()
		local c, t

		before_each(function()
			data, in_decode = {}, nil
			local opts = { key_prefix = "m:" }
			for k, v in pairs(spec) do opts[k] = v end
			c = assert(zbz.cache.new(opts))
			t = assert(c:table("t", { l1 = 10, serializer = "l1-hooked" }))
			t:set("k", "old")
		end)
		after_each(function() c:close() end)

		for verb, read in pairs({ get = function() return t:get("k") end, fetch = function() return (t:fetch("k", error)) end }) do
			it("of " .. verb .. ": nothing is kept of a provider that was swapped for one in Lua", function()
				in_decode = function() assert(c:swap_provider("l1-middle")) end
				assert.are.equal("old", read())
				assert.is_nil(next(t.index))
				collectgarbage()
				collectgarbage()
				for _, value in ipairs({ "one", "two" }) do
					data["m:t:k"] = value
					assert.are.equal(value, read())
				end
			end)

			it("of " .. verb .. ": nor of a table that was closed, which says so where it is used", function()
				in_decode = function() t:close() end
				assert.are.equal("old", read())
				assert.is_nil(next(t.index))
				for _, call in ipairs({ function() t:get("k") end, function() t:fetch("k", error) end,
					function() t:fetch_multi({ "k" }, error) end, function() t:stats() end }) do
					local fine, err = pcall(call)
					assert.is_false(fine)
					assert.matches("^%S*l1_middle_spec%.lua:%d+: zbz: [%l_]+: the table is closed$", err)
				end
			end)
		end
	end)
end

-- ---- LuaJIT -----------------------------------------------------------------------------------------------------------------------

-- A place's time is read from the clock, which makes an object, so that a finalizer may come.
if not doors.l1_hit then return end

describe("l1 and a finalizer that reads while the time is asked for", function()
	local jit = rawget(_G, "jit")
	before_each(function() jit.off() jit.flush() end)
	after_each(function() jit.on() end)

	--- The function of doors that reads the clock.
	local function wall()
		for i = 1, 60 do
			local name, fn = debug.getupvalue(doors.l1_hit, i)
			if name == "wall" then return fn end
		end
	end

	it("does not make the value of a place pass for that of the next key there", function()
		local c = assert(zbz.cache.new{ provider = "memory" })
		local t = assert(c:table("t", { l1 = 1, ttl = "1h" }))
		local clock = assert(wall())
		t:set("a", "old")
		t:set("b", "other")
		assert.are.equal("old", t:get("a"))
		assert.are.equal("old", t:get("a"))
		assert(c:set("t:a", "new")) -- past the table: its L1 is told by the word alone
		local came = false
		debug.sethook(function()
			if came or debug.getinfo(2, "f").func ~= clock then return end
			came = true
			debug.sethook()
			assert.are.equal("other", t:get("b")) -- takes the only place
		end, "", 1)
		local got = t:get("a")
		debug.sethook()
		assert.is_true(came)
		assert.are.equal("new", got)
		c:close()
	end)
end)

-- Lua itself cannot fork; see also spec/c/test_l1.c.
local ffi = require("ffi")
ffi.cdef("int fork(void); int waitpid(int pid, int *status, int options); void _exit(int code);")

describe("l1 over a fork", function()
	local server
	setup(function() server = redis.start() end)
	teardown(function() server.stop() end)

	for name, l1 in pairs({ memory = "memory:", shared = { provider = "shared", zone = "l1-fork", size = "1MB" } }) do
		for _, invalidation in ipairs({ "tracking", "pubsub" }) do
			it("a child sees what the parent writes after it, in front of Redis: " .. name .. ", " .. invalidation, function()
				local c = assert(zbz.cache.new{ provider = "multitier", l1 = l1, l2 = { provider = "redis", url = server.url },
					invalidation = invalidation, key_prefix = name .. invalidation, default_ttl = 0 })
				local t = assert(c:table("t", { l1 = 10 }))
				assert(t:set("k", "before"))
				local tries = 0
				repeat
					tries = tries + 1
					assert.are.equal("before", t:get("k"))
				until t:stats().l1_hits > 0 or tries == 100
				assert.is_true(tries < 100)
				io.stdout:flush()
				local pid = ffi.C.fork()
				if pid == 0 then -- begins once the parent has written
					local native = zbz.cache.new{ provider = "redis", url = server.url }
					repeat until native and native:get_raw("go:" .. name .. invalidation)
					for _ = 1, 10 do
						if t:get("k") ~= "after" then ffi.C._exit(1) end
					end
					ffi.C._exit(0)
				end
				assert(t:set("k", "after"))
				server.cli("SET go:" .. name .. invalidation .. " 1")
				local status = ffi.new("int[1]", -1)
				assert.are.equal(pid, ffi.C.waitpid(pid, status, 0))
				assert.are.equal(0, status[0])
				c:close()
			end)
		end
	end
end)

describe("a finalizer that comes after that of the table's handle", function()
	local jit = rawget(_G, "jit")
	before_each(function() jit.off() jit.flush() end)
	after_each(function() jit.on() end)

	--- A table of an object whose finalizer reads it, and what that left.
	local function doomed(c, left)
		local holder, guard = {}, newproxy(true) -- luacheck: ignore 113
		getmetatable(guard).__gc = function()
			local t = holder.t
			left.there = doors.l1_hit(t, t.index.k)
			left.generation = doors.l1_generation(t)
			left.fine, left.err = pcall(t.get, t, "k")
		end
		holder.guard, holder.t = guard, assert(c:table("t", { l1 = 10, ttl = 0 })) -- made later, finalized first
		holder.t:set("k", "v")
		for _ = 1, 3 do assert.are.equal("v", holder.t:get("k")) end
	end

	it("finds it closed, and does not look at what is gone", function()
		local left = {}
		doomed(assert(zbz.cache.new("memory")), left)
		collectgarbage()
		collectgarbage()
		assert.is_false(left.there)
		assert.are.equal(0, left.generation)
		assert.is_false(left.fine)
		assert.matches("the table is closed", left.err)
	end)
end)
