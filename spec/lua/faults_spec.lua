-- What goes wrong around a cache, over every provider: damaged bytes, odd keys, too much for the memory, servers that refuse, talk
-- nonsense or die in the middle of a pipeline, forks. Each case names what is lost: nothing, but what was being written.
local zbz = require("zbz")
local core = require("zbz.core")
local proc = require("spec.services.proc")

local redis, memcached, folder

local function fails(code, v, err)
	assert.is_nil(v)
	assert.equal(code, type(err) == "table" and err.code or err)
	return err
end

-- name and options of every provider; the servers are there when it is called
local PROVIDERS = {
	memory = function() return { provider = "memory" } end,
	filesystem = function() return { provider = "filesystem", base_dir = folder } end,
	redis = function() return { provider = "redis", url = redis.url } end,
	memcached = function() return { provider = "memcached", servers = memcached.address, timeout = "1s" } end,
}
local NAMES = { "memory", "filesystem", "redis", "memcached" }

local serial = 0
local function open(name, more)
	serial = serial + 1
	local opts = PROVIDERS[name]()
	opts.key_prefix = ("faults%d:"):format(serial)
	for k, v in pairs(more or {}) do opts[k] = v end
	return assert(zbz.cache.new(opts))
end

setup(function()
	redis = require("spec.services.redis").start{ password = "right" }
	memcached = require("spec.services.memcached").start()
	folder = proc.folder()
end)

teardown(function()
	redis.stop()
	memcached.stop()
	proc.remove(folder)
end)

-- ---- damaged bytes ------------------------------------------------------------------------------------------------------------

-- Nothing that any program has stored: each is an error to each of these serializers.
local HOSTILE = {
	json = { "", "{", "[1,", '{"a":', '"\\uD800"', "nul", "1e", ("["):rep(100000), '{"a":1}}', "\1" },
	msgpack = { "", "\129", "\220\255\255\255", "\221\255\255\255\255", "\219\255\255\255\255x", "\193", "\146\1", ("\145"):rep(100000),
		"\203\0\0", "\1\1" },
	auto = { "\193", "\193x1", "\193m", "\193m\193", "\193m\1\1" },
}
local NUL16 = ("\0"):rep(16)
local ENVELOPES = { "\193zbz", "\193zbz\1", "\193zbz\1\0" .. NUL16:sub(2), "\193zbz\2\0" .. NUL16, "\193zbz\1\255" .. NUL16,
	"\193zbz\1\1" .. NUL16 .. "x", "\193zbz\1\4" .. NUL16 .. "short" }

local function refuses(t, bytes, what)
	assert.is_true(t:set("good", { "kept" }))
	assert.is_true(t:set_raw("bad", bytes))
	for _, read in ipairs({ "get", "get_with" }) do
		local v, err = t[read](t, "bad")
		assert.is_nil(v, what)
		assert.truthy(err and (err.code == "decode" or err.code == "corrupt"), what .. ": " .. read .. ": " .. tostring(err))
		assert.equal("bad", err.key)
	end
	local found, _, errs = t:get_multi{ "good", "bad" }
	assert.same({ good = { "kept" } }, found)
	assert.truthy(errs.bad.code == "decode" or errs.bad.code == "corrupt", what)
	assert.equal(bytes, (t:get_raw("bad")), what) -- still there, for whoever wants to look
end

describe("damaged bytes are an error and stay where they are", function()
	for _, name in ipairs(NAMES) do
		it("over " .. name, function()
			local cache = open(name)
			for serializer, list in pairs(HOSTILE) do
				local t = cache:table(serializer, { serializer = serializer, ttl = 0 })
				for i, bytes in ipairs(list) do refuses(t, bytes, ("%s %d"):format(serializer, i)) end
				for i, bytes in ipairs(ENVELOPES) do refuses(t, bytes, ("%s, envelope %d"):format(serializer, i)) end
				assert.is_true(t:set("bad", { "mended" }))
				assert.same({ "mended" }, (t:get("bad")))
			end
			cache:close()
		end)
	end
end)

-- ---- odd keys -----------------------------------------------------------------------------------------------------------------

describe("odd keys", function()
	for _, name in ipairs(NAMES) do
		it("are kept apart, listed and removed over " .. name, function()
			local cache = open(name)
			local t = cache:table("odd", { ttl = 0 })
			local keys = { " ", "\n", "a\nb", "a\r\nset x 0 0 1\r\n", "\0", "a\0", "\255\254", "../..", ".", "*", "[a]", "%", "zbz%41", "zbz#x" }
			for _, n in ipairs({ 199, 200, 201, 250, 251, 255, 256, 512, 1000, 8000 }) do keys[#keys + 1] = ("k"):rep(n) end
			keys[#keys + 1] = ("\n"):rep(300)
			local map = {}
			for i, k in ipairs(keys) do map[k] = i end
			assert.is_true(t:set_multi(map))
			assert.same(map, (t:get_multi(keys)))
			local listed = {}
			for k in t:keys() do listed[k] = map[k] or "unknown" end
			assert.same(map, listed)
			for k, i in pairs(map) do
				assert.equal(i, (t:get(k)))
				assert.is_true(t:exists(k))
			end
			fails("invalid_key", t:set("", 1))
			local _, _, errs = t:set_multi{ [""] = 1, fine = 2 }
			assert.equal("invalid_key", errs[""].code)
			assert.equal(2, (t:get("fine")))
			assert.is_true(t:delete_multi(keys))
			assert.same({}, (t:get_multi(keys)))
			cache:close()
		end)
	end
end)

-- ---- more than there is room for ----------------------------------------------------------------------------------------------

describe("memory", function()
	it("refuses items larger than its limit, one by one and in a batch, and keeps what it has", function()
		local cache = open("memory", { max_size = "1MB", default_ttl = 0 })
		local t = cache:table("t", { serializer = "bytes" })
		assert.is_true(t:set("old", "value"))
		local huge = ("x"):rep(2 * 1048576)
		for i = 1, 50 do fails("too_large", t:set("huge" .. i, huge)) end
		fails("too_large", t:set("old", huge))
		local _, _, errs = t:set_multi{ old = huge, other = "small" }
		assert.equal("too_large", errs.old.code)
		assert.equal("small", (t:get("other")))
		assert.equal("value", (t:get("old")))
		assert.is_nil((t:get("huge1")))
		cache:close()
	end)
end)

-- ---- servers ------------------------------------------------------------------------------------------------------------------

describe("a server", function()
	it("that refuses the password costs nothing but the call, and the password is not told", function()
		local cache = open("redis", { url = ("redis://:s3cret@127.0.0.1:%d"):format(redis.port) })
		local t = cache:table("t")
		for _, err in ipairs({ fails("denied", t:get("k")), fails("denied", t:set("k", 1)), fails("denied", cache:ping()) }) do
			assert.is_false(err.retryable)
			assert.is_nil(tostring(err):find("s3cret", 1, true))
		end
		cache:close()
		local without = open("redis", { url = ("redis://127.0.0.1:%d"):format(redis.port) })
		fails("denied", without:table("t"):get("k"))
		without:close()
	end)

	it("that talks nonsense is an error, not a value", function()
		local wrong = { open("redis", { url = "redis://" .. memcached.address, max_retries = 0 }),
			open("memcached", { servers = "127.0.0.1:" .. redis.port, max_retries = 0 }) }
		for _, cache in ipairs(wrong) do
			local t = cache:table("t")
			for _, r in ipairs({ { t:get("k") }, { t:set("k", 1) }, { t:incr("n") }, { t:set_multi{ a = 1, b = 2 } }, { t:exists("k") } }) do
				assert.truthy(r[1] == nil and r[2], cache:info().provider)
				assert.truthy(r[2].code == "unavailable" or r[2].code == "unsupported" or r[2].code == "timeout", r[2].code)
			end
			cache:close()
		end
	end)

	it("that dies in the middle of a pipeline: what was answered is true, what was not says so, and the next call works", function()
		local cache = open("redis", { max_retries = 0 })
		local t, r = cache:table("t", { serializer = "string" }), assert(cache:native("redis"))
		assert.is_true(t:set("k", "before"))
		local replies, err = r:pipeline({ "SET", "a", "1" }, { "SHUTDOWN", "NOSAVE" }, { "SET", "b", "2" })
		fails("unavailable", replies, err)
		local v, why = t:set_multi{ a = "1", b = "2", c = "3" }
		fails("unavailable", v, why)
		assert.is_true(why.retryable)
		assert.equal(3, t:stats().lost_writes)
		redis.restart()
		assert.is_nil((t:get("k"))) -- the server kept nothing
		assert.is_true(t:set_multi{ a = "1", b = "2" })
		assert.same({ a = "1", b = "2" }, (t:get_multi{ "a", "b" }))
		cache:close()
	end)
end)

-- ---- forks --------------------------------------------------------------------------------------------------------------------

local has_ffi, ffi = pcall(require, "ffi") -- Lua 5.4 forks in spec/c/test_states.c
if has_ffi then
	describe("a fork with an open cache", function()
		ffi.cdef("int fork(void); int waitpid(int pid, int *status, int options); void _exit(int code);")
		local sys = { fork = ffi.C.fork, exit = ffi.C._exit }
		function sys.wait(pid)
			local status = ffi.new("int[1]", -1)
			return ffi.C.waitpid(pid, status, 0) == pid and status[0] or -1
		end
		for _, name in ipairs(NAMES) do
			it("leaves parent and child at work over " .. name, function()
				local opts = PROVIDERS[name]()
				opts.key_prefix = "forked:"
				require("spec.lua.fork_cases").run(sys, opts)
			end)
		end
	end)
end

describe("what is closed", function()
	for _, name in ipairs(NAMES) do
		it("stays closed over " .. name .. ", twice and in any order", function()
			local cache, other = open(name), open(name)
			local t = cache:table("t")
			assert.is_true(t:set("k", 1))
			assert.is_true(cache:close())
			assert.is_true(cache:close())
			local function one() return 1 end
			for _, r in ipairs({ { t:get("k") }, { t:set("k", 2) }, { t:get_multi{ "k" } }, { t:delete("k") }, { t:fetch("k", one) },
				{ cache:ping() }, { cache:clear() } }) do
				assert.equal("closed", type(r[2]) == "table" and r[2].code or r[2] or r[1])
			end
			assert.is_true(other:table("u"):set("k", 3))
			collectgarbage()
			assert.equal(3, (other:table("u"):get("k")))
			other:close()
			collectgarbage()
			assert.equal("table", type(core.providers()))
		end)
	end
end)
