-- What bound fields hold in C counts for the collector: a loop of with{} must not grow to many times what Lua's own heap has.
local zbz = require("zbz")

describe("bound fields", function()
	teardown(function() zbz.log.close() end)

	it("are collected as they are made", function()
		zbz.log.configure{ outputs = { { type = "null" } } }
		local l, big = zbz.log.logger("weight"), ("v"):rep(2000)
		local alive, most = setmetatable({}, { __mode = "v" }), 0
		collectgarbage()
		collectgarbage()
		for i = 1, 60000 do
			alive[i] = l:with{ request = i, big = big }
			if i % 500 == 0 then
				local n = 0
				for _ in pairs(alive) do n = n + 1 end
				most = math.max(most, n)
			end
		end
		assert.is_true(most < 6000, most .. " of 60000 were there at once")
	end)

	it("of which there are many leave a stopped collector alone", function()
		local l, big = zbz.log.logger("weight"), ("v"):rep(2000)
		local held = setmetatable({ l:with{ big = big } }, { __mode = "v" })
		collectgarbage("stop")
		for _ = 1, 2000 do l:with{ big = big } end
		local there = held[1] ~= nil
		collectgarbage("restart")
		assert.is_true(there)
	end)
end)
