-- How many former objects of an output of type storage stay, and how long, as a Lua program says it. Faults and deaths are tested in C.
local zbz = require("zbz")
local proc = require("spec.services.proc")
local log = zbz.log

describe("former objects", function()
	local dir, number = nil, 0
	setup(function() dir = proc.folder() end)
	teardown(function() proc.remove(dir) end)
	before_each(function() number = number + 1 end)
	after_each(function() log.close() end)

	local function base() return dir .. "/" .. number end
	local function lines(how)
		local list = {}
		for line in io.popen(("cd %s && find . -name '*.log*' | sort | xargs -r %s"):format(base(), how or "cat")):lines() do
			list[#list + 1] = tonumber(line:match(" n=(%d+)"))
		end
		return list
	end
	local function open(options)
		local spec = { type = "storage", name = "out", bucket = { provider = "filesystem", base_dir = base() }, prefix = "app/%Y/",
			format = "logfmt", batch_wait = 0 }
		for k, v in pairs(options) do spec[k] = v end
		return log.configure{ outputs = { spec } }
	end
	local function write(from, to)
		for i = from, to do
			log.info("m", { n = i })
			assert(log.flush(10))
		end
	end

	it("stay by their number", function()
		assert(open{ rotate = { keep = 3 } })
		write(1, 20)
		assert.are.same({ 18, 19, 20 }, lines())
		assert(open{ keep = 2 })
		write(21, 21)
		assert.are.same({ 20, 21 }, lines())
		assert(open{ max_files = 1 })
		write(22, 22)
		assert.are.same({ 22 }, lines())
		local out = log.stats().outputs.out
		assert.are.same({ 0, 0 }, { out.failures, out.dead_letters })
		assert.is_nil(out.last_error)
	end)

	it("stay as long as they should", function()
		assert(open{})
		write(1, 5)
		os.execute(("cd %s && find . -name '*.log' | sort | head -3 | xargs touch -d '2 days ago' && touch app/mine.log"):format(base()))
		assert(open{ rotate = { keep_for = "1d" } })
		write(6, 6)
		assert.are.same({ 4, 5, 6 }, lines())
		assert.is_truthy(io.open(base() .. "/app/mine.log"))
	end)

	it("gunzip to the lines still", function()
		local ok, err = open{ rotate = { keep = 2, compress = true } }
		if not ok and err.code == "unsupported" then return pending(err.message) end
		assert(ok, err)
		write(1, 9)
		assert.are.same({ 8, 9 }, lines("zcat"))
	end)

	it("name what is wrong", function()
		local function refused(options)
			local ok, answer, err = pcall(open, options)
			assert.is_true(not ok or answer == nil)
			return tostring(ok and err or answer)
		end
		assert.is_truthy(refused{ keep = -1 }:find("keep", 1, true))
		assert.is_truthy(refused{ keep = "many" }:find("keep", 1, true))
		assert.is_truthy(refused{ rotate = { keep_for = "soon" } }:find("keep_for", 1, true))
		assert.is_truthy(refused{ rotate = { kep = 1 } }:find("keep", 1, true))
		assert.is_truthy(refused{ rotate = { size = "1MB" } }:find("batch_size", 1, true))
		assert.is_truthy(refused{ rotate = { every = "1h" } }:find("batch_wait", 1, true))
	end)
end)
