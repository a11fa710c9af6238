-- JSON as text: how it is written, what is read, what is refused.
local core = require("zbz.core")
local support = require("spec.lua.codec_support")
local null = core.null
local exact = math.type ~= nil -- Lua 5.4: integers of 64 bits beside floats
local array, same = support.array, support.same
local comes_back, refused, unencodable = support.comes_back, support.refused, support.unencodable

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
