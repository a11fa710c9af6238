-- Hits in this process: through FFI and through the C API, and kept decoded in the Lua state (l1), against lua-cjson on the same text.
local zbz = require("zbz")
local bench = require("spec.bench.bench")
local doors = require("zbz.ffi.doors")
local cjson = require("cjson")

local COUNT, LENGTH, N = 1000, 100000, 200000
local keys, sequence = bench.keys(COUNT, LENGTH, "zipf")
local record = { id = 12345, name = "Alice Example", email = "alice@example.com", active = true, score = 99.5, tags = { "a", "b", "c" } }
local text = cjson.encode(record)

--- A contestant: fn(key) for every key of the sequence. What it gives is kept, or LuaJIT would not make it.
local result = {} -- luacheck: ignore 241
local function each(name, fn) return { name = name, n = N, run = function(n)
	for i = 1, n do result[1] = fn(sequence[i % LENGTH + 1]) end
end } end

for _, provider in ipairs { "memory", "shared" } do
	local cache = assert(zbz.cache.new { provider = provider, max_size = "64MB", key_prefix = "bench:" })
	local strings = cache:table("strings", { serializer = "bytes" })
	local records = cache:table("records")
	local kept_strings = assert(cache:table("strings_l1", { serializer = "bytes", l1 = COUNT }))
	local kept = assert(cache:table("records_l1", { l1 = COUNT }))
	for i, k in ipairs(keys) do
		local value = ("v"):rep(90) .. i
		strings:set(k, value)
		kept_strings:set(k, value)
		records:set(k, record)
		kept:set(k, record)
	end
	for _ = 1, 2 do
		for _, k in ipairs(keys) do
			kept_strings:get(k)
			kept:get(k)
		end
	end

	-- the same loops twice, so that each is compiled for its own way in
	local function get_through_c(n) for i = 1, n do result[1] = strings:get(sequence[i % LENGTH + 1]) end end
	local function get_through_ffi(n) for i = 1, n do result[1] = strings:get(sequence[i % LENGTH + 1]) end end
	local list = { { name = "get of 95 bytes, C API", n = N, run = function(n)
		doors.remove()
		get_through_c(n)
		doors.install()
	end } }
	if doors.installed then list[2] = { name = "get of 95 bytes, FFI", n = N, run = get_through_ffi } end
	list[#list + 1] = each("get of 95 bytes, L1", function(k) return kept_strings:get(k) end)
	bench.compare(provider .. ": a string", list)

	local loader = function() error("there") end
	bench.compare(provider .. ": a small table", {
		each("cjson.decode of the same text, alone", function() return cjson.decode(text) end),
		each("get, decoded each time", function(k) return records:get(k) end),
		each("fetch, decoded each time", function(k) return records:fetch(k, loader) end),
		each("get, L1 (a copy of its own)", function(k) return kept:get(k) end),
		each("fetch, L1 (a copy of its own)", function(k) return kept:fetch(k, loader) end),
	})
	cache:close()
end
