-- Independent decoders read what the codecs write, and the codecs read what they write: Python's json and msgpack, and lua-cjson as
-- far as it is exact. Both sides render a value as one canonical text, and the texts are compared.
local core = require("zbz.core")
local cjson = require("cjson")
local null, array_mt = core.null, core.array_mt
local exact = math.type ~= nil
local integer_bits = exact and 63 or 53

local hex_of, byte_of = {}, {}
for i = 0, 255 do
	hex_of[string.char(i)] = ("%02x"):format(i)
	byte_of[("%02x"):format(i)] = string.char(i)
end
local function hex(s) return (s:gsub(".", hex_of)) end
local function unhex(s) return (s:gsub("%x%x", byte_of)) end

-- Exactly, as m * 2^e with 53 bits of m: two libraries may round a decimal text differently.
local function canon_float(v)
	if v ~= v then return "dnan" end
	if v == 1 / 0 or v == -1 / 0 then return v > 0 and "dinf" or "d-inf" end
	if v == 0 then return 1 / v > 0 and "d0" or "d-0" end
	local e = 0
	while math.abs(v) >= 2 ^ 53 do v, e = v / 2, e + 1 end
	while math.abs(v) < 2 ^ 52 do v, e = v * 2, e - 1 end
	return ("d%.0fp%d"):format(v, e)
end

local canon
local function canon_number(v)
	if exact and math.type(v) == "integer" then return ("i%d"):format(v) end
	if not exact and v % 1 == 0 and math.abs(v) <= 2 ^ 53 and 1 / v ~= -1 / 0 then return ("i%.0f"):format(v) end
	return canon_float(v)
end
function canon(v)
	if v == null then return "n" end
	if type(v) == "boolean" then return v and "t" or "f" end
	if type(v) == "number" then return canon_number(v) end
	if type(v) == "string" then return "s" .. hex(v) end
	local parts = {}
	if #v > 0 or getmetatable(v) == array_mt then
		for i = 1, #v do parts[i] = canon(v[i]) end
		return "[" .. table.concat(parts, ",") .. "]"
	end
	for k, x in pairs(v) do parts[#parts + 1] = canon(k) .. ":" .. canon(x) end
	table.sort(parts)
	return "{" .. table.concat(parts, ",") .. "}"
end

local peer = [=[
import binascii, json, math, random, sys
import msgpack

LUAJIT = sys.argv[2] == "53"

def number(v):
    if isinstance(v, int): return "i%d" % v
    whole = LUAJIT and v == v and abs(v) <= 2 ** 53 and v == int(v)
    if whole and not (v == 0 and math.copysign(1, v) < 0): return "i%d" % v
    if v != v or math.isinf(v): return "d%s" % v
    if v == 0: return "d-0" if math.copysign(1, v) < 0 else "d0"
    m, e = math.frexp(v)
    return "d%dp%d" % (m * 2 ** 53, e - 53)

def canon(v):
    if v is None: return "n"
    if v is True: return "t"
    if v is False: return "f"
    if isinstance(v, (int, float)): return number(v)
    if isinstance(v, str): return "s" + v.encode("utf-8").hex()
    if isinstance(v, bytes): return "s" + v.hex()
    if isinstance(v, list): return "[" + ",".join(canon(x) for x in v) + "]"
    return "{" + ",".join(sorted(canon(k) + ":" + canon(x) for k, x in v.items())) + "}"

def read(codec, data):
    if codec == "json": return json.loads(data.decode("utf-8"), parse_constant=None)
    return msgpack.unpackb(data, raw=False, strict_map_key=False)

BITS = int(sys.argv[2])
R = random.Random(20240607)
LETTERS = ["a", "\"", "\\", "/", "\n", "\x00", "\x1f", "\x7f", "\u00e9", "\u20ac", "\ud7ff", "\ue000", "\uffff",
    "\U0001f600", "\U0010ffff", " "]

def text(): return "".join(R.choice(LETTERS) for _ in range(R.choice([0, 1, 3, 8, 20] * 9 + [40, 300])))

def scalar(codec):
    k = R.randrange(8)
    if k == 0: return R.choice([None, True, False])
    if k <= 2: return R.choice([-1, 1]) * (R.getrandbits(R.randrange(1, BITS)))
    if k == 3: return R.uniform(-1, 1) * 10.0 ** R.randrange(-300, 300)
    if k == 4: return round(R.uniform(-1000, 1000), R.randrange(1, 6)) + 0.0
    if k == 5 and codec == "msgpack":
        return R.choice([float("inf"), float("-inf"), bytes(R.getrandbits(8) for _ in range(R.choice([0, 5, 300])))])
    return text()

def value(codec, depth):
    k = R.randrange(10)
    if depth == 0 or k < 4: return scalar(codec)
    n = R.choice([0, 1, 2, 3, 5] * 4 + [15, 16, 17])
    if k < 7: return [value(codec, depth - 1) for _ in range(n)]
    if k == 7 and codec == "msgpack": return {R.choice([-1, 1]) * R.randrange(1000, 2 ** 40): value(codec, depth - 1) for _ in range(n)}
    return {"k" + text(): value(codec, depth - 1) for _ in range(n)}

def write(codec, v, i):
    if codec == "msgpack": return msgpack.packb(v, use_bin_type=True)
    return json.dumps(v, ensure_ascii=i % 2 == 0, indent=None if i % 3 else 2, allow_nan=False).encode("utf-8")

if sys.argv[1] == "read":
    for line in sys.stdin:
        codec, data = line.split()
        print(canon(read(codec, binascii.unhexlify(data))))
else:
    for i in range(500):
        for codec in "json", "msgpack":
            v = value(codec, 4)
            print(codec, write(codec, v, i).hex(), canon(v))
]=]

-- The packaged module belongs to the packaged Python, which need not be the first one on the path.
local interpreter = "python3"
for _, name in ipairs { "python3", "/usr/bin/python3" } do
	local ok = os.execute("LD_PRELOAD= " .. name .. " -c 'import msgpack' 2>/dev/null")
	if ok == true or ok == 0 then
		interpreter = name
		break
	end
end

local program, input
local function python(mode)
	local out = {}
	local p = assert(io.popen(("LD_PRELOAD= %s %s %s %d <%s 2>&1"):format(interpreter, program, mode, integer_bits, input)))
	for line in p:lines() do out[#out + 1] = line end
	p:close()
	return out
end
local function write(path, text)
	local f = assert(io.open(path, "wb"))
	f:write(text)
	f:close()
end

local state = 11
local function random(n)
	state = (state * 16807) % 2147483647
	return state % n
end
local letters = { "a", "\"", "\\", "/", "\n", "\0", "\31", "\127", "é", "€", "😀", " " }
local function text(n)
	local t = {}
	for i = 1, n do t[i] = letters[random(#letters) + 1] end
	return table.concat(t)
end
local function value(depth, binary)
	local what = random(depth > 0 and 10 or 6)
	if what == 0 then return random(2) == 0
	elseif what == 1 then
		local v = (random(2) == 0 and 1 or -1) * math.floor(2 ^ random(54))
		return exact and v * (random(1000) + 1) or v
	elseif what == 2 then return (random(2147483647) / 2147483647) * 10 ^ (random(600) - 300)
	elseif what == 3 then return null
	elseif what == 4 and binary then return text(random(10)) .. "\255" .. text(random(30))
	elseif what <= 5 then return text(random(50)) end
	local t, n = {}, random(random(5) == 0 and 20 or 6)
	if what <= 7 then
		for i = 1, n do t[i] = value(depth - 1, binary) end
		return n == 0 and setmetatable(t, array_mt) or t
	end
	for _ = 1, n do t["k" .. text(random(10))] = value(depth - 1, binary) end
	return t
end

describe("python", function()
	setup(function()
		program, input = os.tmpname(), os.tmpname()
		write(program, peer)
	end)
	teardown(function()
		os.remove(program)
		os.remove(input)
	end)

	it("reads what we write", function()
		local lines, expected = {}, {}
		local function add(codec, v)
			lines[#lines + 1] = codec .. " " .. hex(assert(core[codec .. "_encode"](v)))
			expected[#expected + 1] = canon(v)
		end
		for _ = 1, 400 do
			add("json", value(4))
			add("msgpack", value(4, true))
		end
		local edge = { 0, 1, -1, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, -32, -33, -128, -129, -32768, -32769, -2147483648,
			-2147483649, 0.1, 1e23, 5e-324, 1.7976931348623157e308, -0.0, 1e16, 123456789.125 }
		if exact then
			for _, i in ipairs { math.maxinteger, math.mininteger, 9007199254740993 } do edge[#edge + 1] = i end
		end
		add("json", edge)
		add("msgpack", edge)
		add("msgpack", { 1 / 0, -1 / 0, 0 / 0 })
		add("msgpack", { [1000] = "x", [-5] = "y" })
		write(input, table.concat(lines, "\n") .. "\n")
		local got = python("read")
		assert.equal(#expected, #got, got[#got])
		for i, text_of in ipairs(expected) do assert(text_of == got[i], ("%s\n%s\n%s"):format(lines[i], text_of, got[i])) end
	end)

	it("writes what we read", function()
		write(input, "")
		local got = python("write")
		assert.equal(1000, #got, got[#got])
		for _, line in ipairs(got) do
			local codec, data, expected = line:match("^(%l+) (%x+) (.*)$")
			local v, err = core[codec .. "_decode"](unhex(data))
			assert(v ~= nil, err and err.message)
			local got_text = canon(v)
			assert(got_text == expected, ("%s\n%s\n%s"):format(data, expected, got_text))
		end
	end)
end)

describe("lua-cjson", function()
	local decoder = cjson.new()
	decoder.decode_max_depth(128)
	local loose = require("zbz.options").same -- it reads every number as a float and marks no empty arrays
	it("has the same null", function() assert.equal(cjson.null, null) end)
	it("reads what we write", function()
		for _ = 1, 400 do
			local v = value(4)
			local packed = assert(core.json_encode(v))
			assert(loose(v, decoder.decode(packed)), packed)
		end
	end)
	it("writes what we read", function()
		local encoder = cjson.new()
		encoder.encode_max_depth(128)
		encoder.encode_number_precision(14)
		for _ = 1, 400 do
			local packed = encoder.encode { value(4), text(30) }
			assert(loose(decoder.decode(packed), assert(core.json_decode(packed))), packed)
		end
	end)
end)
