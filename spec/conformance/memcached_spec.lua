-- The conformance suite over two real memcached servers.
local targets = require("spec.conformance.targets")
local one, two

describe("two memcached servers", function()
	it("start", function()
		one = require("spec.services.memcached").start()
		two = require("spec.services.memcached").start()
	end)
end)
targets.run("memcached", function() return { provider = "memcached", servers = one.env.MEMCACHED_SERVERS, timeout = "5s" } end)
targets.bare("memcached on two servers", function()
	return { provider = "memcached", servers = one.env.MEMCACHED_SERVERS .. "," .. two.env.MEMCACHED_SERVERS, timeout = "5s" }
end)
describe("the memcached servers", function()
	it("stop", function()
		one.stop()
		two.stop()
	end)
end)
