-- JSON, MessagePack and auto: what comes back, what is refused and how it is told; auto, bytes and string. The bytes of each:
-- codec_json_spec.lua, codec_msgpack_spec.lua; others' decoders: codec_peers_spec.lua.
local core = require("zbz.core")
local support = require("spec.lua.codec_support")
local null = core.null
local exact = math.type ~= nil -- Lua 5.4: integers of 64 bits beside floats
local array, same, check = support.array, support.same, support.check
local comes_back, refused, unencodable = support.comes_back, support.refused, support.unencodable

local function bytes(...) return string.char(...) end

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
