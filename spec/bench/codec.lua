-- The codecs against lua-cjson: the same values, both directions. MessagePack is shown beside them.
local core = require("zbz.core")
local bench = require("spec.bench.bench")
local has_cjson, cjson = pcall(require, "cjson")
if not has_cjson then
	print("codecs: left out, no lua-cjson for this Lua")
	return
end

-- lua-cjson writes 14 digits and zbz what a number needs; both read the text that zbz wrote.
local function record(i)
	return { id = i, name = "user " .. i, email = ("user%d@example.org"):format(i), active = i % 3 ~= 0, score = i * 0.25,
		tags = { "alpha", "beta", "gamma" }, address = { street = i .. " Long Street", city = "Springfield", zip = "12345" } }
end

local function list(n, f)
	local t = {}
	for i = 1, n do t[i] = f(i) end
	return t
end

local state = 7
local function random()
	state = (state * 16807) % 2147483647
	return state / 2147483647
end

local cases = {
	{ "small object", { id = 123, name = "Alice", email = "alice@example.org", active = true, age = 31 }, 100000 },
	{ "100 records", list(100, record), 500 },
	{ "string of 10 KB", ("The quick brown fox jumps over the lazy dog. "):rep(230), 20000 },
	{ "string of 10 KB, escapes", ('say "hi"\tto\n everybody who listens to it '):rep(250), 5000 },
	{ "string of 10 KB, not ASCII", ("Съешь ещё этих мягких французских булок "):rep(140), 5000 },
	{ "1000 integers", list(1000, function(i) return i * 7919 % 1000003 end), 2000 },
	{ "1000 prices", list(1000, function(i) return math.floor(random() * 1e6) / 100 + i end), 1000 },
	{ "1000 floats of 14 digits", list(1000, function() return tonumber(("%.14g"):format(random())) end), 1000 },
	{ "1000 floats of 17 digits", list(1000, random), 1000 },
	{ "nested 20 deep", (function()
		local t = { leaf = true }
		for i = 1, 20 do t = { level = i, inner = t } end
		return t
	end)(), 20000 },
}

local worst = { encode = 0, decode = 0 }
for _, case in ipairs(cases) do
	local name, value, n = case[1], case[2], case[3]
	local text = assert(core.json_encode(value))
	local packed = assert(core.msgpack_encode(value))
	local function loop(f, v)
		return function(times)
			for _ = 1, times do f(v) end
		end
	end
	for _, way in ipairs { "encode", "decode" } do
		local encodes = way == "encode"
		local got = bench.compare(way .. " " .. name, {
			{ name = "lua-cjson", n = n, run = loop(cjson[way], encodes and value or text) },
			{ name = "zbz json", n = n, run = loop(core["json_" .. way], encodes and value or text) },
			{ name = "zbz msgpack", n = n, run = loop(core["msgpack_" .. way], encodes and value or packed) },
		})
		worst[way] = math.max(worst[way], got["zbz json"] / got["lua-cjson"])
	end
end
print(("\njson against lua-cjson, the worst ratio: encode %.2f, decode %.2f (target 1.00 at most)"):format(worst.encode, worst.decode))
