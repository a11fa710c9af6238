-- What happens to locks when the backend fails, and what they cost it while all is well.
local assert = require("luassert")
local core = require("zbz.core")
local zbz = require("zbz")
local proc = require("spec.services.proc")
local services = require("spec.services.redis")
local stage = require("spec.lua.lock_stage")

local function one() return 1 end

describe("locks on redis", function()
	local server, s
	setup(function() server = services.start() end)
	teardown(function() server.stop() end)
	after_each(function()
		if s then s:close() end
		s = nil
	end)
	local function begin(opts, lock)
		local o = { provider = "redis", url = server.url }
		for k, v in pairs(opts or {}) do o[k] = v end
		s = stage(o, lock or "cluster")
	end
	local function calls(name) return tonumber(server.cli("INFO commandstats"):match("cmdstat_" .. name .. ":calls=(%d+)")) or 0 end
	local function all_calls()
		local n = 0
		for _, name in ipairs({ "get", "set", "eval", "evalsha", "pttl", "publish" }) do n = n + calls(name) end
		return n
	end

	it("ask for a refused lock twice, however long they wait", function()
		begin()
		s:start("a", { value = "a" })
		s:await_load()
		s:start("b", { value = "b" })
		s:await_waits()
		assert.is_true(proc.wait_until(("test $(redis-cli -p %d CLIENT LIST TYPE pubsub | grep -c id=) -eq 1"):format(server.port), 5))
		local before = all_calls()
		proc.output("sleep 1")
		assert.are.equal(before, all_calls())
		s:go()
		s:await_out("b")
		assert.are.equal("a nil waited", table.concat({ s:out("b") }, " ", 1, 3))
	end)

	it("publish only when somebody waits, and leave nothing behind", function()
		begin()
		server.cli("CONFIG RESETSTAT")
		for i = 1, 5 do assert.are.equal(1, s.t:fetch("k" .. i, one)) end
		assert.are.equal(0, calls("publish"))
		assert.are.equal("5", server.cli("DBSIZE"))
		assert.are.equal("0", server.cli("CLIENT LIST TYPE pubsub | grep -c id="))
	end)

	it("go on when the channel is lost while they wait", function()
		begin()
		s:start("a", { value = "a" })
		s:await_load()
		s:start("b", { value = "b" })
		s:await_waits()
		assert.is_true(proc.wait_until(("test $(redis-cli -p %d CLIENT LIST TYPE pubsub | grep -c id=) -eq 1"):format(server.port), 5))
		assert.are.equal("1", server.cli("CLIENT KILL TYPE pubsub"))
		s:go()
		s:await_out("b")
		local v, _, how, at = s:out("b")
		assert.are.equal("a waited", v .. " " .. how)
		assert.is_true(at - s:ended("a") < 5000)
	end)

	it("go on when the server loses them while they wait", function()
		begin()
		s:start("a", { value = "a" })
		s:await_load()
		s:start("b", { value = "b", quick = true })
		s:await_waits()
		server.restart() -- empty: the lock is gone, nobody can tell of its release
		s:await_out("b")
		assert.are.equal("b nil loaded", table.concat({ s:out("b") }, " ", 1, 3))
	end)

	it("fall back on the process's own flight when the server is away", function()
		local away = services.start()
		local cache = assert(zbz.cache.new{ provider = "redis", url = away.url, max_retries = 0 })
		local t = cache:table("t", { lock = "cluster", deadline = 0.5 })
		away.stop()
		local began = core.mono()
		assert.are.equal(1, t:fetch("k", one))
		assert.is_true(core.mono() - began < 3000)
		assert.are.equal(1, t:stats().unlocked)
		cache:close()
	end)

	it("fall back when only the lock fails", function()
		local cache = assert(zbz.cache.new{ provider = "fault", inner = { provider = "redis", url = server.url }, fail_ops = { "lock" },
			fail_per_mille = 1000, key_prefix = "faulty:" })
		local t = cache:table("t", { lock = "cluster" })
		assert.are.equal(1, t:fetch("k", one))
		assert.are.equal(1, t:stats().unlocked)
		assert.are.equal(2, t:fetch_multi({ "x", "y" }, function() return { x = 1, y = 2 } end).y)
		cache:close()
	end)

	it("fall back for a user who may not run scripts", function()
		server.cli("ACL SETUSER plain on '>pw' '~*' '&*' '+@all' -eval -evalsha")
		begin{ url = server.url:gsub("redis://", "redis://plain:pw@") }
		assert.are.equal(1, s.t:fetch("k", one))
		assert.are.equal(1, s.t:stats().unlocked)
	end)

	it("that could not be given back end with their lease", function()
		local cache = assert(zbz.cache.new{ provider = "fault", inner = { provider = "redis", url = server.url }, fail_ops = { "unlock" },
			fail_per_mille = 1000, key_prefix = "stuck:" })
		local t = cache:table("t", { lock = "cluster" })
		assert.are.equal(1, t:fetch("k", one))
		local lease = tonumber((server.cli("--raw EVAL \"return redis.call('PTTL', redis.call('KEYS', '*zbz:lock:*')[1])\" 0")))
		assert.is_true(lease > 0 and lease <= 30000, tostring(lease))
		assert.are.equal("1", server.cli("--raw KEYS '*zbz:lock:*' | grep -c lock"))
		cache:close()
	end)

	it("are named out of everybody's reach", function()
		begin()
		local root = assert(zbz.cache.new{ provider = "redis", url = server.url })
		local names = {}
		s.t:fetch("k", function()
			for k in root:keys() do names[#names + 1] = k end
			return 1
		end)
		for _, k in ipairs(names) do assert.is_nil(k:find("zbz:", 1, true), k) end
		local ok, err = root:set("\193zbz:lock:x", 1)
		assert.is_nil(ok)
		assert.are.equal("invalid_key", err.code)
		root:close()
	end)
end)

describe("locks", function()
	it("of a provider written in Lua keep other processes of the host out", function()
		local kept = {}
		zbz.cache.register_provider("lockable", function()
			return { shared = true, get = function(_, k) return kept[k] end, set = function(_, k, v) kept[k] = v return true end,
				delete = function(_, k) kept[k] = nil return true end }
		end)
		local cache = assert(zbz.cache.new{ provider = "lockable" })
		local t = assert(cache:table("t", { lock = "host" }))
		local inner
		assert.are.equal(1, t:fetch("k", function()
			local other = assert(zbz.cache.new{ provider = "lockable" }):table("t", { lock = "host" })
			inner = { other:fetch("k", { deadline = 0.1 }, one) }
			return 1
		end))
		assert.are.equal("locked", inner[2].code)
		assert.are.equal("host", cache:capabilities().lock)
		local no, err = cache:table("far", { lock = "cluster" })
		assert.is_nil(no)
		assert.are.equal("unsupported", err.code)
	end)

	it("reach no farther than the entries", function()
		local memory = assert(zbz.cache.new{ provider = "memory" })
		assert.are.equal("process", memory:capabilities().lock)
		for _, lock in ipairs({ "process", "host", "cluster" }) do
			assert.are.equal(lock, memory:table(lock, { lock = lock }):fetch("k", function() return lock end))
		end
		local shared = assert(zbz.cache.new{ provider = "shared", zone = "locks" })
		assert.are.equal("host", shared:capabilities().lock)
		assert.is_true(shared:capabilities().lock_wake)
	end)

	it("are given back when the coroutine of their loader is dropped", function()
		local shared = assert(zbz.cache.new{ provider = "shared", zone = "dropped" })
		local t = shared:table("t", { lock = "host" })
		do
			local co = coroutine.wrap(function() t:fetch("k", function() coroutine.yield() end) end)
			co()
		end
		collectgarbage()
		collectgarbage()
		assert.are.equal(1, t:fetch("k", { deadline = 1 }, one))
		assert.are.equal(0, t:stats().lock_waits)
	end)
end)
