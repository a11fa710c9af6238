-- The conformance suite over a real Redis, pipelining on and off.
local targets = require("spec.conformance.targets")
local server

describe("a Redis server", function()
	it("starts", function() server = require("spec.services.redis").start() end)
end)
targets.run("redis", function() return { provider = "redis", url = server.url } end)
targets.bare("redis without pipelining", function()
	return { provider = "redis", url = server.url .. "/3", enable_pipelining = false, pool_size = 1 }
end)
describe("the Redis server", function()
	it("stops", function() server.stop() end)
end)
