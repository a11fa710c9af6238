-- MessagePack as bytes: the shortest forms, all that may be read, what is refused.
local core = require("zbz.core")
local support = require("spec.lua.codec_support")
local null = core.null
local exact = math.type ~= nil -- Lua 5.4: integers of 64 bits beside floats
local array, same = support.array, support.same
local comes_back, refused = support.comes_back, support.refused

local function unhex(s) return (s:gsub("%s", ""):gsub("%x%x", function(x) return string.char(tonumber(x, 16)) end)) end

describe("msgpack bytes", function()
	local forms = {
		{ "00", 0 }, { "7f", 127 }, { "ff", -1 }, { "e0", -32 }, { "cc80", 128 }, { "ccff", 255 }, { "cd0100", 256 }, { "cdffff", 65535 },
		{ "ce00010000", 65536 }, { "ceffffffff", 4294967295 }, { "cf0000000100000000", 4294967296 }, { "d0df", -33 }, { "d080", -128 },
		{ "d1ff7f", -129 }, { "d18000", -32768 }, { "d2ffff7fff", -32769 }, { "d280000000", -2147483648 }, { "d3ffffffff7fffffff",
		-2147483649 },
		{ "cb3ff8000000000000", 1.5 }, { "cb7ff0000000000000", 1 / 0 }, { "cbfff0000000000000", -1 / 0 }, { "cb8000000000000000", -0.0 },
		{ "c0", null }, { "c2", false }, { "c3", true }, { "a0", "" }, { "a161", "a" }, { "bf" .. ("61"):rep(31), ("a"):rep(31) },
		{ "d920" .. ("61"):rep(32), ("a"):rep(32) }, { "da0100" .. ("61"):rep(256), ("a"):rep(256) },
		{ "db00010000" .. ("61"):rep(65536), ("a"):rep(65536) },
		{ "c401ff", "\255" }, { "c50100" .. ("ff"):rep(256), ("\255"):rep(256) }, { "c600010000" .. ("ff"):rep(65536), ("\255"):rep(65536) },
		{ "90", array {} }, { "80", {} }, { "93010203", { 1, 2, 3 } }, { "81a16101", { a = 1 } }, { "dc0010" .. ("01"):rep(16), (function()
			local t = {}
			for i = 1, 16 do t[i] = 1 end
			return t
		end)() }, { "810501", { [5] = 1 } }, { "81ff01", { [-1] = 1 } },
	}
	it("are the shortest form, both ways", function()
		for _, form in ipairs(forms) do
			local v = form[2]
			if exact and v ~= 0 and type(v) == "number" then v = math.tointeger(v) or v end
			assert.equal(unhex(form[1]), core.msgpack_encode(v))
			assert.is_true(same(v, core.msgpack_decode(unhex(form[1]))), form[1])
		end
	end)
	it("are read in longer forms too", function()
		for hex, v in pairs { cc01 = 1, cd0001 = 1, ce00000001 = 1, cf0000000000000001 = 1, d001 = 1, d0ff = -1, d1ffff = -1, d2ffffffff = -1,
			d3ffffffffffffffff = -1, d90161 = "a", da000161 = "a", db0000000161 = "a", c40161 = "a", dc000101 = { 1 }, dd0000000101 = { 1 },
			de0001a16101 = { a = 1 }, df00000001a16101 = { a = 1 }, ca3fc00000 = 1.5, caff800000 = -1 / 0, ["82a16101a16102"] = { a = 2 },
				dc0000 = array {},
			["81c4016101"] = { a = 1 } } do
			assert.is_true(same(v, core.msgpack_decode(unhex(hex))), hex)
		end
	end)
	it("NaN, binary strings, sparse and mixed tables come back", function()
		comes_back("msgpack", 0 / 0)
		comes_back("msgpack", { ["\255\0"] = "\0\255", ["é"] = "\226\130" })
		comes_back("msgpack", { 1, 2, 3, x = 4, [10] = 5, [-1] = 6, [0] = 7 })
		comes_back("msgpack", { [2] = "two", [100000] = "x" })
		comes_back("msgpack", { 1, nil, 3, 4 })
		if exact then comes_back("msgpack", { [math.maxinteger] = math.mininteger, [math.mininteger] = 1.0 }) end
	end)
	it("integers at the edge", function()
		if exact then
			comes_back("msgpack", math.maxinteger)
			comes_back("msgpack", math.mininteger)
			assert.is_true(same(2.0 ^ 63, core.msgpack_decode(unhex("cf8000000000000000"))))
			assert.is_true(same(2.0 ^ 64, core.msgpack_decode(unhex("cfffffffffffffffff"))))
		else
			assert.equal(2 ^ 63, core.msgpack_decode(unhex("cf8000000000000000")))
			assert.equal(-2 ^ 63, core.msgpack_decode(unhex("d38000000000000000")))
			refused("msgpack", unhex("cf0020000000000001"), "no LuaJIT number holds exactly .* at byte 1")
			refused("msgpack", unhex("cfffffffffffffffff"), "no LuaJIT number holds exactly .* at byte 1")
			refused("msgpack", unhex("91d37fffffffffffffff"), "no LuaJIT number holds exactly .* at byte 2")
		end
	end)
	it("integer keys that would become floats are refused", function()
		refused("msgpack", unhex("81cfffffffffffffffff01"), exact and "no integer for at byte 2" or "at byte 2")
		if not exact then refused("msgpack", unhex("81cf002000000000000201"), "no integer for at byte 2") end
	end)
	it("hostile ones are refused", function()
		for hex, message in pairs {
			[""] = "unexpected end at byte 1", c1 = "C1, which MessagePack never uses, at byte 1", ["91c1"] = "at byte 2",
			["0101"] = "trailing bytes at byte 2",
			["dc"] = "unexpected end", ["dcffff"] = "unexpected end in a table", ddffffffff = "unexpected end in a table",
			dfffffffff = "unexpected end in a table",
			dbffffffff = "unexpected end in a string", c6ffffffff = "unexpected end in a string",
				c9ffffffff00 = "unexpected end in an extension",
			["9101" .. "01"] = "trailing", ["81a161"] = "unexpected end", ["81c001"] = "a key that is neither",
			["81c201"] = "a key that is neither",
			["81cb3ff000000000000001"] = "a key that is neither", ["819001"] = "a key that is neither", ["818001"] = "a key that is neither",
			d40100 = "an extension type", d6ff00000000 = "an extension type", d7ff0000000000000000 = "an extension type",
			["c70cff" .. ("00"):rep(12)] = "an extension type .* at byte 3",
		} do
			refused("msgpack", unhex(hex), message)
		end
	end)
	it("depth ends at 128", function()
		assert.is_table(core.msgpack_decode(("\145"):rep(127) .. "\144"))
		refused("msgpack", ("\145"):rep(129) .. "\1", "more than 128 levels at byte")
		refused("msgpack", ("\145"):rep(100000) .. "\1", "more than 128 levels")
		refused("msgpack", ("\129\1"):rep(100000) .. "\1", "more than 128 levels")
	end)
	it("announced sizes are not allocated before the bytes are there", function()
		collectgarbage()
		collectgarbage("stop")
		local before = collectgarbage("count")
		for _ = 1, 100 do
			refused("msgpack", unhex("dd00ffffff"), "unexpected end")
			refused("msgpack", unhex("df00ffffff"), "unexpected end")
			refused("msgpack", unhex("dc0100dd000000f0") .. ("\0"):rep(260), "unexpected end in a table")
			refused("msgpack", unhex("dbffffffff61"), "unexpected end")
		end
		local grown = collectgarbage("count") - before
		collectgarbage("restart")
		assert.is_true(grown < 8000, grown .. " KB")
	end)
end)
