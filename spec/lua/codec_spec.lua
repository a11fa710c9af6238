-- JSON, MessagePack and auto: what comes back, what is refused and how it is told. Others' decoders: codec_peers_spec.lua.
local core = require("zbz.core")
local null, array_mt = core.null, core.array_mt
local exact = math.type ~= nil -- Lua 5.4: integers of 64 bits beside floats
local kind = math.type or type

local function array(t) return setmetatable(t, array_mt) end
local function bytes(...) return string.char(...) end
local function unhex(s) return (s:gsub("%s", ""):gsub("%x%x", function(x) return string.char(tonumber(x, 16)) end)) end

-- Equal in kind too: 1 is not 1.0 on 5.4, -0.0 is not 0.0, NaN is NaN, an empty array is no empty object.
local function same(a, b)
	if type(a) ~= type(b) then return false end
	if type(a) == "number" then
		if a ~= a then return b ~= b end
		return a == b and kind(a) == kind(b) and 1 / a == 1 / b
	end
	if type(a) ~= "table" then return a == b end
	if next(a) == nil and (getmetatable(a) == array_mt) ~= (getmetatable(b) == array_mt) then return false end
	for k, v in pairs(a) do
		if not same(v, b[k]) then return false end
	end
	for k in pairs(b) do
		if a[k] == nil then return false end
	end
	return true
end

-- The matchers of the test frame are slow, and these run a million times.
local function check(ok, ...)
	if not ok then error(table.concat({ ... }, " "), 3) end
end

local function comes_back(codec, v)
	local packed, err = core[codec .. "_encode"](v)
	check(packed, err and err.message)
	local back, err2 = core[codec .. "_decode"](packed)
	check(back ~= nil, err2 and err2.message)
	check(same(v, back), codec, "changed the value; bytes:", (packed:sub(1, 1000):gsub("[^ -~]", ".")))
	return packed
end

local function refused(codec, text, pattern)
	local v, err = core[codec .. "_decode"](text)
	check(v == nil and err, codec, "accepted", text)
	check(err.code == "decode", "code", err.code)
	check(err.message:find(pattern or "at byte %d+"), "told:", err.message)
end

local function unencodable(codec, v, path, pattern)
	local text, err = core[codec .. "_encode"](v)
	assert.is_nil(text)
	assert.equal("encode", err.code)
	assert.equal(path, err.field or "")
	assert.matches(pattern, err.message)
end

-- A small multiplicative generator: the same values on every Lua.
local state = 20240607
local function random(n)
	state = (state * 16807) % 2147483647
	return state % n
end

local function random_string(binary)
	local t = {}
	for i = 1, random(20) do
		if binary then t[i] = bytes(random(256))
		else t[i] = ({ "a", "\"", "\\", "/", "\n", "\0", "\31", "\127", "é", "€", "😀", "z" })[random(12) + 1] end
	end
	return table.concat(t)
end

local function random_value(depth, binary)
	local what = random(depth > 0 and 10 or 6)
	if what == 0 then return random(2) == 0
	elseif what == 1 then return (random(2) == 0 and 1 or -1) * math.floor(2 ^ random(54))
	elseif what == 2 then return random(1000000) / 1024 + 0.5 / 1024
	elseif what == 3 then return null
	elseif what <= 5 then return random_string(binary) end
	local t, n = {}, random(random(5) == 0 and 40 or 6)
	if what <= 7 then
		for i = 1, n do t[i] = random_value(depth - 1, binary) end
		return array(t)
	end
	for _ = 1, n do t[random_string(binary) .. "k"] = random_value(depth - 1, binary) end
	return t
end

for _, codec in ipairs { "json", "msgpack", "auto" } do
	describe(codec .. ": values come back as they went in", function()
		it("false, true, strings, null", function()
			for _, v in ipairs { false, true, "", "a", "with \0 and \1 \31 \127", "\"\\/\b\f\n\r\t", "é € 😀", ("x"):rep(100000), null } do
				comes_back(codec, v)
			end
		end)
		it("integers", function()
			for _, v in ipairs { 0, 1, -1, 31, 32, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, -32, -33, -128, -129, -32768,
				-32769, -2147483648, -2147483649, 999999999999999999 % 2 ^ 53, 9007199254740991, -9007199254740991 } do
				comes_back(codec, exact and math.tointeger(v) or v)
			end
		end)
		it("floats", function()
			for _, v in ipairs { 0.5, -0.5, 0.1, 1 / 3, 1e100, 1e-100, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e15, 1e16, 1e17,
				123456789.125, 2 ^ 53 + 2, -2 ^ 63, 2 ^ 63, 2 ^ 64, 1e22, 1e23 } do
				comes_back(codec, v + 0.0)
			end
			comes_back(codec, -0.0)
			if exact then comes_back(codec, 1.0) end
		end)
		it("tables", function()
			comes_back(codec, {})
			comes_back(codec, array {})
			comes_back(codec, { a = {}, b = array {}, c = { {}, array {} } })
			comes_back(codec, { 1, "two", { three = 3 }, false, null, { null, null } })
			comes_back(codec, { [""] = 1, ["1"] = 2, ["a b"] = null, ["é"] = false })
			for _, n in ipairs { 15, 16, 17, 255, 256, 257, 300, 1000, 65535, 65536, 70000 } do
				local list, map = {}, {}
				for i = 1, n do list[i], map["k" .. i] = i, i end
				comes_back(codec, list)
				comes_back(codec, map)
			end
		end)
		it("arrays whose entries were added in any order", function()
			local t = {}
			for i = 100, 1, -1 do t[i] = i end
			comes_back(codec, t)
			t = { 1, 2, 3, 4, 5, 6, 7, 8 }
			for i = 8, 4, -1 do t[i] = nil end
			comes_back(codec, t)
		end)
		it("random values", function()
			for _ = 1, 400 do comes_back(codec, random_value(4, codec ~= "json")) end
		end)
		it("deep values", function()
			local list, map = 1, 1
			for _ = 1, 128 do list, map = { list }, { k = map } end
			comes_back(codec, list)
			comes_back(codec, map)
			comes_back(codec, (function()
				local wide = {}
				for _ = 1, 127 do
					local t = { inner = wide }
					for i = 1, 40 do t["key" .. i] = i end
					wide = t
				end
				return wide
			end)())
		end)
	end)

	describe(codec .. ": refuses to encode", function()
		it("what has no form, with its path", function()
			unencodable(codec, print, "", "cannot encode a function")
			unencodable(codec, { a = { b = { 1, 2, print } } }, "a.b[3]", "cannot encode a function, at a%.b%[3%]$")
			unencodable(codec, { { { x = coroutine.create(print) } } }, "[1][1].x", "a coroutine")
			unencodable(codec, { io = io.stdout }, "io", "a userdata")
			unencodable(codec, { [true] = 1 }, "", "keys that are neither")
			unencodable(codec, { a = { [1.5] = 1 } }, "a", "keys that are neither")
			unencodable(codec, { a = { [{}] = 1 } }, "a", "keys that are neither")
		end)
		it("cycles and what is too deep", function()
			local t = {}
			t.t = t
			unencodable(codec, t, ("t."):rep(18) .. "...", "more than 128 tables inside each other, or a cycle, at t%.t%.")
			local list = { 1 }
			for _ = 1, 128 do list = { list } end
			unencodable(codec, list, ("[1]"):rep(12) .. "...", "more than 128 tables")
		end)
		it("arrays with holes", function()
			unencodable(codec, { a = array { 1, nil, 3 } }, "a", "an array with holes")
			unencodable(codec, array { x = 1 }, "", "an array with holes or other keys")
			unencodable(codec, array { 1, x = 1 }, "", "an array with holes or other keys")
		end)
		it("and keeps long keys and odd bytes out of the message", function()
			local _, err = core[codec .. "_encode"] { [("k"):rep(1000)] = { ["\n\255"] = print } }
			assert.equal("encode", err.code)
			assert.is_true(#err.message < 256 and #err.field < 40)
			assert.is_nil(err.message:find("[\n\255]"))
		end)
		it("without metamethods being called", function()
			local function no() error("called") end
			local t = setmetatable({ 1, 2 }, { __index = no, __len = no, __pairs = no, __tostring = no, __name = "x" })
			assert.is_string(core[codec .. "_encode"](t))
			assert.is_string(core[codec .. "_encode"](setmetatable({ a = t }, { __index = no, __pairs = no })))
		end)
	end)
end

describe("json text", function()
	it("is written compactly and in the shortest exact form", function()
		assert.equal("[]", core.json_encode(array {}))
		assert.equal("{}", core.json_encode {})
		assert.equal('[1,"a",[true,false],null,{"k":[]}]', core.json_encode { 1, "a", { true, false }, null, { k = array {} } })
		assert.equal('"\\u0000\\u001f\\"\\\\\\b\\t\\n\\f\\r/\127é"', core.json_encode("\0\31\"\\\b\t\n\f\r/\127é"))
		for text, v in pairs { ["0.1"] = 0.1, ["1e100"] = 1e100, ["5e-324"] = 5e-324, ["-2.5"] = -2.5, ["0.0001"] = 0.0001,
			["1.7976931348623157e308"] = 1.7976931348623157e308, ["123456.789"] = 123456.789, ["-0.0"] = -0.0, ["1e-7"] = 1e-7 } do
			assert.equal(text, core.json_encode(v))
		end
	end)
	it("tells integers from floats where Lua does", function()
		if exact then
			assert.equal("1.0", core.json_encode(1.0))
			assert.equal("[1,1000000000000000.0,1e16]", core.json_encode { 1, 1e15, 1e16 })
			for _, i in ipairs { math.maxinteger, math.mininteger, 9007199254740993, -9007199254740993 } do
				assert.equal(tostring(i), core.json_encode(i))
				assert.equal(i, comes_back("json", i) and core.json_decode(tostring(i)))
				assert.equal("integer", math.type(core.json_decode(tostring(i))))
			end
			assert.is_true(same(5.0, core.json_decode("5.0")) and same(5, core.json_decode("5")) and same(50.0, core.json_decode("5e1")))
			assert.is_true(same(2.0 ^ 63, core.json_decode("9223372036854775808")))
			assert.is_true(same(-0.0, core.json_decode("-0")))
		else
			assert.equal("[1,9007199254740992,1e16]", core.json_encode { 1, 2 ^ 53, 1e16 })
			assert.equal(2 ^ 60, core.json_decode("1152921504606846976"))
			assert.equal(1e30, core.json_decode("1000000000000000019884624838656"))
			for _, text in ipairs { "9007199254740993", "[-9007199254740993]", "9223372036854775807", "1000000000000000000000000000000" } do
				refused("json", text, "no LuaJIT number holds exactly")
			end
		end
	end)
	it("NaN, infinities and bytes that are not UTF-8 are refused", function()
		unencodable("json", { x = 0 / 0 }, "x", "NaN")
		unencodable("json", { 1, 1 / 0 }, "[2]", "an infinity")
		unencodable("json", -1 / 0, "", "an infinity")
		for _, s in ipairs { "\255", "a\128b", "\192\128", "\193\191", "\224\159\191", "\237\160\128", "\240\143\191\191", "\244\144\128\128",
			"\245\128\128\128", "\226\130", "long enough for the fast loop \226\40\161 and on" } do
			unencodable("json", { k = s }, "k", "not valid UTF%-8")
			unencodable("json", { [s] = 1 }, "", "a key that is not valid UTF%-8")
			refused("json", '["' .. s .. '"]', "invalid UTF%-8 at byte")
		end
	end)
	it("sparse and mixed keys are refused with the path of the table", function()
		unencodable("json", { 1, 2, x = 3 }, "", "mixed or sparse keys")
		unencodable("json", { a = { 1, nil, 3, 4 } }, "a", "keys")
		unencodable("json", { a = { [5] = 1 } }, "a", "keys")
		unencodable("json", { a = { [0] = 1, 2 } }, "a", "keys")
	end)

	local valid = {
		"0", "-0", "1", "-1", "10", "123456789", "0.0", "-0.5", "1.5e10", "1E5", "1e+5", "1e-5", "0e0", "0e400", "1e-400", "true",
		"false", "null",
		'""', '"a"', '"\\""', '"\\\\"', '"\\/"', '"\\b\\f\\n\\r\\t"', '"\\u0041"', '"\\u00e9"', '"\\u20AC"', '"\\uD83D\\uDE00"', '"\\u0000"',
		'"\127"', '"é€😀"', "[]", "[ ]", "[1]", "[1,2]", " [ 1 , 2 ] ", "[[]]", "[[[[]]]]", "{}", "{ }", '{"a":1}', '{"a":1,"b":2}', '{"":0}',
		' { "a" : [ 1 , { "b" : null } ] } ', "\t\r\n 1 \t\r\n", '{"a":{"a":{"a":{}}}}', '[null,true,false,"",{},[]]',
		'"' .. ("a"):rep(1000) .. '"',
		"1.7976931348623157e308", "4.9e-324", "0." .. ("0"):rep(1000) .. "1", ("[1,"):rep(100) .. "1" .. ("]"):rep(100),
		'["\\ud834\\udd1e"]', "[1e0]", "[0.1e1]", "[-0.0]", '{"\\u0061":1}', "[1.0000000000000002220446049250313080847263336181640625]",
	}
	it("valid: " .. #valid .. " texts", function()
		for _, text in ipairs(valid) do
			local v, err = core.json_decode(text)
			assert.is_nil(err, text)
			comes_back("json", v)
		end
	end)

	local invalid = {
		"", " ", "\n", "[", "]", "{", "}", ",", ":", "[,]", "[1,]", "[,1]", "[1,,2]", "[1 2]", "[1:2]", "[1", "[1,", "[[", "[]]", "[}",
		"{]", "[1}", "{,}",
		'{"a"}', '{"a":}', '{"a":1,}', '{,"a":1}', '{"a":1 "b":2}', '{"a" 1}', '{"a"::1}', "{a:1}", "{'a':1}", "{1:1}", "{null:1}",
		'{"a":1]', '{"a":1',
		'{"a":', '{"a"', '{"a', '{"', '{"a":1}}', "1 2", "1,2", "[] []", "tru", "True", "TRUE", "truex", "nul", "nil", "fals",
		"undefined", "NaN", "nan",
		"Infinity", "-Infinity", "inf", "+1", "-", "--1", "-a", ".5", "-.5", "1.", "1.e5", "1.5.5", "1e", "1e+", "1e-", "1e1.5", "1ee5",
		"01", "-01", "00", "0x10",
		"1_000", "1a", "1e400", "-1e400", ("9"):rep(400), '"', '"a', '"a\\', '"a\\"', '"\\x41"', '"\\u"', '"\\u00"', '"\\u00g0"',
		'"\\u004"', '"\\U0041"',
		'"\\ud800"', '"\\udc00"', '"\\ud800\\u0041"', '"\\ud800x"', '"\\ud800\\ud800"', '"\\udc00\\ud800"', '"\\a"', '"\\0"', '"\n"',
		'"\t"', '"\0"', '"\31"', "'a'",
		"\239\187\1911", "// c\n1", "/* c */1", "[1]#", "[\"a\\\n\"]", "\0", "1\0", "[1]\0", "\f1", "\1601", '"\\u 041"', '"\\u+041"',
		"[1,2,3,4,5,6,7,8,9",
	}
	it("invalid: " .. #invalid .. " texts", function()
		for _, text in ipairs(invalid) do refused("json", text) end
		assert.is_true(#valid + #invalid >= 150)
	end)
	it("names the byte, counted from 1", function()
		for text, message in pairs {
			["[1,2"] = "unexpected end at byte 5", ["[1,x]"] = "expected a value at byte 4", ['{"a":1,}'] = "expected a key at byte 8",
			["[1 2]"] = "expected ',' or ']' at byte 4", ['{"a" 1}'] = "expected ':' at byte 6", ["1 1"] = "trailing bytes at byte 3",
			['["\\q"]'] = "an unknown escape at byte 3", ["[01]"] = "a number with a leading zero at byte 2", [""] = "unexpected end at byte 1",
			['["abcdefghijkl\1"]'] = "a control byte in a string at byte 15", ["[1,1e400]"] = "a number out of range at byte 4",
		} do
			refused("json", text, message:gsub("%p", "%%%0") .. "$")
		end
	end)
	it("reads escapes", function()
		assert.equal("A\0é€😀/\"\\\b\f\n\r\t", core.json_decode('"\\u0041\\u0000\\u00e9\\u20ac\\ud83d\\ude00\\/\\"\\\\\\b\\f\\n\\r\\t"'))
		assert.equal(("\n"):rep(5000) .. "é", core.json_decode('"' .. ("\\n"):rep(5000) .. '\\u00E9"'))
		assert.equal(("ab\n"):rep(300), core.json_decode('"' .. ("ab\\n"):rep(300) .. '"'))
	end)
	it("the last of repeated keys counts, in small and large objects", function()
		assert.equal(3, core.json_decode('{"a":1,"b":0,"a":2,"\\u0061":3}').a)
		local t = { '"a":1' }
		for i = 1, 500 do t[#t + 1] = ('"k%d":%d'):format(i, i) end
		t[#t + 1] = '"a":2'
		assert.equal(2, core.json_decode("{" .. table.concat(t, ",") .. "}").a)
	end)
	it("null is zbz.null wherever it stands", function()
		local t = core.json_decode('{"a":null,"b":[null,1,null]}')
		assert.equal(null, t.a)
		assert.is_true(same({ null, 1, null }, t.b))
		assert.equal(null, core.json_decode("null"))
	end)
	it("depth ends at 128, in any mixture, and never in a crash", function()
		assert.is_table(core.json_decode(("["):rep(128) .. ("]"):rep(128)))
		refused("json", ("["):rep(129) .. ("]"):rep(129), "more than 128 levels at byte 129")
		refused("json", ("["):rep(100000), "more than 128 levels")
		refused("json", ('{"a":'):rep(100000), "more than 128 levels")
		refused("json", ('[{"a":'):rep(100000), "more than 128 levels")
		local row = {}
		for i = 1, 300 do row[i] = i end
		local wide = "[" .. table.concat(row, ",")
		for _ = 1, 126 do wide = "[" .. table.concat(row, ",") .. "," .. wide .. "]" end
		assert.is_table(core.json_decode("[" .. wide .. "]]"))
	end)
	it("doubles are read to the last bit", function()
		for _, text in ipairs { "9007199254740993.0", "9007199254740992.99999999999999999999", "2.2250738585072011e-308",
			"2.47032822920623272e-324",
			"2.4703282292062327208e-324", "1.7976931348623158e308", "8.41e-10", "6.02214076e23",
			"0.000001234567890123456789012345678901234567890",
			"1.00000000000000011102230246251565404236316680908203125", "1.00000000000000011102230246251565404236316680908203124",
			"1.00000000000000011102230246251565404236316680908203126", "123456789012345678901234567890.5e-20", "1" .. ("0"):rep(300) .. ".0" } do
			assert.equal(tonumber(text), core.json_decode(text))
		end
	end)
	it("does not depend on the locale's decimal point", function()
		local before = os.setlocale(nil, "numeric")
		for _, name in ipairs { "de_DE.UTF-8", "de_DE.utf8", "fr_FR.utf8" } do
			if os.setlocale(name, "numeric") then break end
		end
		local read, text = core.json_decode("1.00000000000000011102230246251565404236316680908203126"), core.json_encode(0.5)
		os.setlocale(before, "numeric")
		assert.equal(1 + 2 ^ -52, read)
		assert.equal("0.5", text)
	end)
end)

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

describe("auto", function()
	it("stores strings and integers as they are, and marks the rest", function()
		for _, s in ipairs { "abc", "", "007", "-0", "-", "+1", "1.5", "1e3", " 1", "1 ", "0x10", "\0", "12a" } do assert.equal(s,
			comes_back("auto", s)) end
		for _, s in ipairs { "0", "1", "-1", "12", "9223372036854775807", "9223372036854775808", "\193", "\193s", "\193m", "\193zbz" } do
			assert.equal("\193s" .. s, comes_back("auto", s))
		end
		assert.equal("12", core.auto_encode(12))
		assert.equal("-5", core.auto_encode(-5))
		assert.equal("\193m\195", core.auto_encode(true))
		assert.equal("\193m\203\63\248\0\0\0\0\0\0", core.auto_encode(1.5))
		comes_back("auto", { 1, "\255", { x = 1.5 } })
	end)
	it("reads counters, and digits that are no integer as text", function()
		assert.is_true(same(42, core.auto_decode("42")))
		assert.is_true(same(-42, core.auto_decode("-42")))
		assert.equal("18446744073709551615", core.auto_decode("18446744073709551615"))
		assert.equal("-9223372036854775809", core.auto_decode("-9223372036854775809"))
		if exact then
			assert.equal(math.mininteger, core.auto_decode("-9223372036854775808"))
		else
			refused("auto", "9007199254740993", "no LuaJIT number holds exactly")
		end
	end)
	it("refuses unknown tags and broken contents", function()
		refused("auto", "\193", "unknown tag")
		refused("auto", "\193x1", "unknown tag at byte 2")
		refused("auto", "\193m", "unexpected end at byte 3")
		refused("auto", "\193m\193", "at byte 3")
		refused("auto", "\193m\1\1", "trailing bytes at byte 4")
	end)
end)

describe("bytes and string", function()
	local function handle(codec)
		local cache = assert(core.new_cache(assert(core.open_store { provider = "memory" }), {}))
		return assert(core.new_table(cache, { name = codec, codec = codec }))
	end
	it("take strings only, as they are", function()
		for _, codec in ipairs { "bytes", "string" } do
			local t = handle(codec)
			for _, s in ipairs { "", "a", "12", "é\0\n" } do
				assert.equal(s, t:encode(s))
				assert.equal(s, t:decode(s))
			end
			for v, what in pairs { [1] = "a number", [true] = "a boolean", [{}] = "a table", [null] = "zbz.null", [print] = "a function" } do
				local s, err = t:encode(v)
				assert.is_nil(s)
				assert.equal("encode", err.code)
				assert.matches(codec .. ": cannot encode " .. what, err.message)
			end
		end
	end)
	it("bytes takes any bytes, string takes UTF-8", function()
		assert.equal("\255\0", handle("bytes"):encode("\255\0"))
		local t = handle("string")
		local s, err = t:encode("a\255")
		assert.is_nil(s)
		assert.equal("encode", err.code)
		assert.matches("string: cannot encode a string that is not valid UTF%-8", err.message)
		s, err = t:set("k", "a\255")
		assert.is_nil(s)
		assert.equal("encode", err.code)
	end)
end)

describe("damaged bytes", function()
	local function decodes(codec, text)
		local v, err = core[codec .. "_decode"](text)
		if v == nil then
			check(err.code == "decode", err.code)
			return false
		end
		return true, v
	end
	it("every truncation of an object or array is an error", function()
		for _ = 1, 30 do
			local value = { random_value(2), random_value(1), "end" }
			for _, codec in ipairs { "json", "msgpack" } do
				local packed = assert(core[codec .. "_encode"](value))
				for n = 0, #packed - 1 do check(not decodes(codec, packed:sub(1, n)), "accepted a truncation at", n) end
			end
		end
	end)
	it("flipped bits give an error or a value that encodes again", function()
		local value = { a = { 1, -2, 3.25, "text é", null, true }, b = array {}, ["key \n"] = { 1e300, 70000, ("x"):rep(40) }, c = -70000 }
		for _, codec in ipairs { "json", "msgpack", "auto" } do
			local packed = assert(core[codec .. "_encode"](value))
			for i = 1, #packed do
				for bit = 0, 7 do
					local old = packed:byte(i)
					local flipped = math.floor(old / 2 ^ bit) % 2 == 0 and old + 2 ^ bit or old - 2 ^ bit
					local ok, v = decodes(codec, packed:sub(1, i - 1) .. bytes(flipped) .. packed:sub(i + 1))
					check(not ok or core[codec .. "_encode"](v), "a decoded value does not encode")
				end
			end
		end
	end)
	it("garbage never does more than fail", function()
		for _ = 1, 3000 do
			local t = {}
			for i = 1, random(40) do t[i] = random(3) == 0 and bytes(random(256))
				or ('[]{}:,"\\0123456789eE+-.truefalsn \144\145\129\192\220\223'):sub(random(52) + 1):sub(1, 1) end
			local text = table.concat(t)
			decodes("json", text)
			decodes("msgpack", text)
			decodes("auto", "\193m" .. text)
		end
	end)
end)

describe("limits", function()
	it("more than 64 MB is too_large, and the next call works", function()
		local big = ("x"):rep(2 ^ 25)
		for _, codec in ipairs { "json", "msgpack", "auto" } do
			local text, err = core[codec .. "_encode"] { big, big, big }
			assert.is_nil(text)
			assert.equal("too_large", err.code)
			assert.equal("string", type(core[codec .. "_encode"] { 1 }))
		end
		local v, err = core.json_decode((" "):rep(2 ^ 26) .. "1")
		assert.is_nil(v)
		assert.equal("too_large", err.code)
	end)
end)
