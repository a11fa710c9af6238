-- The conformance suite again, with `l1` on every table it opens: what is kept decoded must not show.
local redis = require("spec.services.redis")
local testkit = require("zbz.testkit")
local I = require("zbz.instance")

local Cache = I.Cache
local bare = Cache.table

describe("tables with l1", function()
	it("are what the suite opens now", function()
		function Cache:table(name, opts)
			local with = { l1 = 50 }
			for k, v in pairs(opts or {}) do with[k] = v end
			return self:table_at(name, with, 2)
		end
	end)
end)

local function run(name, make, clock) testkit.cache(make, { name = name .. " with l1", clock = clock }) end

run("memory", function() return { provider = "memory" } end, testkit.clock())
run("shared", function() return { provider = "shared", zone = "l1" } end, testkit.clock())
run("multitier", function()
	local server = redis.start()
	return { provider = "multitier", l1 = "memory:", l2 = { provider = "redis", url = server.url } }, server.stop
end)

describe("tables with l1", function()
	it("are none without the option again", function() Cache.table = bare end)
end)
