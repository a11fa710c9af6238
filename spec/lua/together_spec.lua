-- Reads that wait for a thread at the same time become one batch; each has the answer it would have had alone.
local assert = require("luassert")
local redis = require("spec.services.redis")
local zbz = require("zbz")

local have, uv = pcall(require, "luv")
if not have then
	print("SKIP together: luv is not installed")
	describe("reads together", function() it("need luv", function() pending("luv is not installed") end) end)
	return
end

describe("reads together", function()
	local server, cache, t, counted

	setup(function()
		server = redis.start()
		assert(zbz.use("luv", uv))
		cache = assert(zbz.cache.new{ provider = "redis", url = server.url, key_prefix = "x:" })
		t = assert(cache:table("t", { serializer = "string", ttl = "1h" }))
		counted = assert(cache:table("n", { serializer = "json", stale_ttl = "1m" }))
	end)
	teardown(function()
		cache:close()
		assert(zbz.use("plain"))
		server.stop()
	end)

	--- fn(i) for i = 1 .. n, all at once; the packed results.
	local function all(n, fn)
		local got = {}
		for i = 1, n do coroutine.wrap(function() got[i] = { fn(i) } end)() end
		uv.run()
		return got
	end
	local function fill()
		all(1, function()
			for i = 1, 60 do if i % 3 ~= 0 then assert(t:set("k" .. i, "value of " .. i)) end end
		end)
		server.cli("DEL x:t:list")
		server.cli("RPUSH x:t:list 1")
	end

	it("get: a value, a miss, a value of another type, a key that is too long or empty, each its own", function()
		fill()
		local before = tonumber(server.cli("INFO stats | sed -n s/^total_reads_processed://p"):match("%d+"))
		local got = all(200, function(i)
			if i % 50 == 0 then return t:get("list") end
			if i % 50 == 1 then return t:get("") end
			return t:get("k" .. (i % 60 + 1))
		end)
		local reads = tonumber(server.cli("INFO stats | sed -n s/^total_reads_processed://p"):match("%d+")) - before
		for i = 1, 200 do
			local n, v, err = i % 60 + 1, got[i][1], got[i][2]
			if i % 50 == 0 then
				assert.are.equal("type_mismatch", err.code)
				assert.are.equal("list", err.key)
			elseif i % 50 == 1 then
				assert.are.equal("invalid_key", err.code)
			elseif n % 3 == 0 then
				assert.is_nil(v)
				assert.is_nil(err)
			else
				assert.are.equal("value of " .. n, v)
			end
		end
		assert.is_true(reads < 150, reads .. " requests for 200 reads")
		assert.is_true(t:stats().hits >= 100)
	end)

	it("get: what is sealed is opened, and what is stale is a miss", function()
		local got = all(1, function()
			for i = 1, 20 do assert(counted:set("k" .. i, { n = i })) end
			for i = 1, 20, 2 do assert(counted:invalidate("k" .. i)) end
			return true
		end)
		assert.is_true(got[1][1])
		got = all(60, function(i) return counted:get("k" .. (i % 20 + 1)) end)
		for i = 1, 60 do
			local n = i % 20 + 1
			if n % 2 == 1 then assert.is_nil(got[i][1]) else assert.are.equal(n, got[i][1].n) end
		end
	end)

	it("get_multi: every call has its own map and its own errors", function()
		fill()
		local got = all(60, function(i)
			if i == 7 then return t:get_multi{} end
			if i == 8 then return t:get_multi{ "k1", "", "k2" } end
			local keys = {}
			for j = 0, i % 10 do keys[#keys + 1] = "k" .. ((i + j) % 60 + 1) end
			return t:get_multi(keys)
		end)
		for i = 1, 60 do
			local map, wanted = got[i][1], {}
			if i == 8 then
				wanted = { k1 = "value of 1", k2 = "value of 2" }
				assert.are.equal("invalid_key", got[i][3][""].code)
			elseif i ~= 7 then
				for j = 0, i % 10 do
					local n = (i + j) % 60 + 1
					if n % 3 ~= 0 then wanted["k" .. n] = "value of " .. n end
				end
			end
			assert.are.same(wanted, map)
		end
	end)

	it("each ends by its own deadline, and who has more time has the value after all", function()
		fill()
		server.pause()
		local timer = uv.new_timer()
		timer:start(600, 0, function()
			server.resume()
			timer:close()
		end)
		local took = {}
		local got = all(30, function(i)
			local began = uv.hrtime()
			local v, err = t:get("k1", { deadline = i % 3 == 0 and "100ms" or i % 3 == 1 and "250ms" or "10s" })
			took[i] = (uv.hrtime() - began) / 1e6
			return v, err
		end)
		for i = 1, 30 do
			if i % 3 == 2 then
				assert.are.equal("value of 1", got[i][1])
			else
				assert.are.equal("timeout", got[i][2].code)
				assert.is_true(took[i] < (i % 3 == 0 and 100 or 250) + 200, took[i] .. " ms")
			end
		end
	end)

	it("all of them fail when the server is gone, and work when it is back", function()
		server.kill()
		for _, r in ipairs(all(20, function() return t:get("k1", { deadline = "300ms" }) end)) do
			assert.is_nil(r[1])
			assert.is_true(r[2].code == "unavailable" or r[2].code == "timeout", r[2].code)
		end
		server.restart()
		for _, r in ipairs(all(20, function() return t:get("k1", { deadline = "10s" }) end)) do
			assert.is_nil(r[1])
			assert.is_nil(r[2])
		end
	end)
end)
