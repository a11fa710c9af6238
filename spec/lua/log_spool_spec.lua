-- Batches, the spool and objects in a bucket, as a Lua program sees them. What survives deaths is tested in C.
local zbz = require("zbz")
local proc = require("spec.services.proc")
local log = zbz.log

local slurp = proc.read
local function objects(dir)
	local list = {}
	for path in io.popen("find " .. dir .. " -type f | sort"):lines() do list[#list + 1] = path end
	return list
end

describe("outputs that collect", function()
	local dir
	setup(function() dir = proc.folder() end)
	teardown(function() proc.remove(dir) end)
	after_each(function() log.close() end)

	it("let a batch fill, and flush at once", function()
		assert(log.configure{ outputs = { { type = "file", name = "out", path = dir .. "/wait.log", batch_wait = "10m", batch_size = "1MB" } } })
		log.info("one")
		log.info("two")
		assert.is_nil(slurp(dir .. "/wait.log"))
		assert(log.flush(5))
		assert.are.equal(2, select(2, slurp(dir .. "/wait.log"):gsub("\n", "")))
		log.info("three")
		log.close()
		assert.are.equal(3, select(2, slurp(dir .. "/wait.log"):gsub("\n", "")))
	end)

	it("keep on disk what the output does not take, and tell of it", function()
		os.execute(("mkdir -p %s/away/logs %s/spool"):format(dir, dir))
		assert(log.configure{ outputs = { { type = "file", name = "out", path = dir .. "/away/logs/app.log", format = "logfmt",
			ring_size = "64KB", batch_size = "4KB", spool = dir .. "/spool", max_retry_delay = "20ms" } } })
		local function out() return log.stats().outputs.out end
		local fresh = out()
		assert.are.same({ 0, 0, 0, 0 }, { fresh.spooled, fresh.spooled_bytes, fresh.spool_age, fresh.failures })
		assert.is_nil(fresh.last_error)
		assert.is_nil(fresh.spool_error)
		os.execute(("cd %s && mv away gone && touch away"):format(dir))
		for i = 1, 1000 do log.info("m", { n = i }) end
		local tries = 0
		repeat tries = tries + 1; log.flush(0.02) until out().spooled > 0 or tries > 500
		local now = out()
		assert.is_true(now.spooled > 0 and now.spooled_bytes > now.spooled * 20 and now.failures > 0)
		assert.is_true(now.last_error:find("away/logs/app.log", 1, true) ~= nil)
		assert.are.equal(0, now.dropped_full)
		os.execute(("cd %s && rm away && mv gone away"):format(dir))
		assert(log.flush(10))
		local n = 0
		for line in io.lines(dir .. "/away/logs/app.log") do
			n = n + 1
			assert.are.equal(tostring(n), line:match(" n=(%d+)"))
		end
		assert.are.equal(1000, n)
		assert.are.same({ 0, 0, 0 }, { out().spooled, out().spooled_bytes, out().failures })
	end)

	it("write objects", function()
		assert(log.configure{ outputs = { { type = "storage", bucket = { provider = "filesystem", base_dir = dir .. "/objects" },
			prefix = "app/%Y/", batch_size = 1000 } } })
		for i = 1, 100 do log.info("m", { n = i }) end
		assert(log.flush(5))
		local list, n = objects(dir .. "/objects"), 0
		assert.is_true(#list > 5)
		for _, path in ipairs(list) do
			assert.is_truthy(path:match("/app/%d%d%d%d/%d+T%d+%.%d%d%dZ%-%x+%-%d+%.log$"))
			assert.is_true(#slurp(path) <= 1000)
			n = n + select(2, slurp(path):gsub('"message":"m"', ""))
		end
		assert.are.equal(100, n)
		assert(log.configure{ outputs = { { type = "storage", bucket = "memory" } } })
		log.info("m")
		assert(log.flush(5))
	end)

	it("name what is wrong", function()
		local function refused(spec)
			local ok, err = log.configure{ outputs = { spec } }
			assert.is_nil(ok)
			return tostring(err)
		end
		assert.is_truthy(refused{ type = "storage" }:find("bucket", 1, true))
		assert.is_truthy(refused{ type = "storage", bucket = { provider = "s4" } }:find("memory, filesystem", 1, true))
		assert.is_truthy(refused{ type = "storage", bucket = { provider = "filesystem" } }:find("base_dir", 1, true))
		assert.is_truthy(refused{ set = function() end }:find("provider=\"filesystem\"", 1, true))
		assert.is_truthy(refused{ type = "null", spool = dir }:find("spool", 1, true))
		assert.is_truthy(refused{ type = "file", path = dir .. "/x.log", spool = "relative" }:find("absolute", 1, true))
		assert.is_truthy(refused{ type = "file", path = dir .. "/x.log", retry_timeout = "soon" }:find("retry_timeout", 1, true))
	end)
end)
