-- While a key is being loaded elsewhere its lease is nothing to a program: over a second cache with connections of its own, as another
-- process would be.
local zbz = require("zbz")

local function open(opts)
	opts.key_prefix = "lease:"
	local cache = assert(zbz.cache.new(opts))
	local t = cache:table("t")
	return setmetatable({ cache = cache }, { __index = function(_, op) return function(_, ...) return t[op](t, ...) end end })
end

--- start() gives the options of a cache and what stops it all.
local function add_tests(name, start)
	describe("a lease on " .. name, function()
		local opts, stop, here, there
		setup(function() opts, stop = start() end)
		teardown(function() stop() end)
		before_each(function()
			here, there = open(opts), open(opts)
			here:delete("k")
		end)
		after_each(function()
			here:delete("k")
			here.cache:close()
			there.cache:close()
		end)
		it("is absent to every reading call, and the load is stored", function()
			assert.are.equal(1, here:fetch("k", function()
				assert.is_nil(there:get("k"))
				assert.is_false(there:exists("k"))
				assert.is_nil(there:ttl("k"))
				assert.is_nil(there:get_raw("k"))
				assert.is_nil(there:get_with("k"))
				assert.is_nil(there:expire("k", 50))
				assert.is_false(there:set("k", 2, { only = "present" }))
				return 1
			end))
			assert.are.equal(1, there:get("k"))
		end)
		it("does not stand in the way of add, which fences the load", function()
			assert.are.equal("old", here:fetch("k", function()
				assert.is_true(there:add("k", "new"))
				return "old"
			end))
			assert.are.equal("new", here:get("k"))
			assert.is_false(there:add("k", "newer"))
		end)
		it("nor does an absence that another remembers", function()
			here:fetch("k", { neg_ttl = 50 }, function() return nil end)
			assert.is_false(there:exists("k"))
			assert.is_true(there:add("k", "new"))
			assert.are.equal("new", here:get("k"))
		end)
	end)
end

add_tests("filesystem", function()
	local dir = os.tmpname()
	os.remove(dir)
	return { provider = "filesystem", base_dir = dir }, function() os.execute("rm -rf '" .. dir .. "'") end
end)
add_tests("redis", function()
	local server = require("spec.services.redis").start()
	return { provider = "redis", url = server.url }, server.stop
end)
add_tests("memcached", function()
	local server = require("spec.services.memcached").start()
	return { provider = "memcached", servers = server.address, timeout = "5s" }, server.stop
end)
