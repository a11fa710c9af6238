-- zbz.copy: tables made anew for each caller.
local core = require("zbz.core")
local copy = require("zbz.copy")
local unpack = table.unpack or unpack -- luacheck: ignore 113

describe("copies", function()
	it("are equal and apart, whatever the shape", function()
		local mt = { __name = "some" }
		for _, v in ipairs({ {}, { {} }, { 1, nil, 3 }, { [2] = "sparse" }, { [1.5] = 1 }, { [true] = { 1 } }, setmetatable({ a = 1 }, mt),
			{ a = setmetatable({}, core.array_mt) }, { unpack((function() local t = {} for i = 1, 64 do t[i] = i end return t end)()) } }) do
			local mould = copy.mould(v)
			for _ = 1, 2 do
				local c = mould[1](mould)
				assert.are.same(v, c)
				assert.are_not.equal(v, c)
				assert.are.equal(getmetatable(v), getmetatable(c))
				if type(v.a) == "table" then
					assert.are_not.equal(v.a, c.a)
					assert.are.equal(core.array_mt, getmetatable(c.a))
				end
			end
		end
	end)
	it("of one shape share their function, and there is an end to shapes", function()
		local function maker(v) return copy.mould(v)[1] end
		assert.are.equal(maker{ b = 1, a = { 1, 2 } }, maker{ a = { 3, 4 }, b = 2 })
		assert.are_not.equal(maker{ b = 1 }, maker{ b = { 1 } })
		for i = 1, 400 do
			local v = { ["field" .. i] = { i } }
			assert.are.same(v, maker(v)(copy.mould(v)))
		end
		assert.are_not.equal(maker{ last = 1, of = 1, many = 1 }, maker{ b = 1, a = { 1, 2 } })
		assert.are.equal(maker{ last = 1, of = 1, many = 1 }, maker{ last = 1, of = 1, many = { 2 } }) -- that for any tree
	end)
end)
