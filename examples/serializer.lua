-- Serializers: what the bytes in the store look like, per table.
local zbz = require("zbz")

local cache = assert(zbz.cache.new{ provider = "memory" })
local value = { id = 9007199254740991, name = "Ann", tags = zbz.array{ "a", "b" }, none = zbz.null }

local function show(name, bytes)
	print(("%-8s %3d bytes  %s"):format(name, #bytes, (bytes:gsub("[^%g ]", "."):sub(1, 60))))
end

for _, name in ipairs({ "json", "msgpack", "auto" }) do
	local t = cache:table(name, { serializer = name })
	assert(t:set("k", { name = "Ann", n = 1 } and value.tags))
	show(name, t:get_raw("k"))
	assert(t:set("k", value))
	assert(t:get("k").id == value.id and t:get("k").none == zbz.null)
end

local text = cache:table("text", { serializer = "string" })
text:set("k", "just text")
show("string", text:get_raw("k"))

-- One of your own: a row of a CSV file.
assert(zbz.cache.register_serializer("csv", {
	encode = function(row) return table.concat(row, ",") end,
	decode = function(line)
		local row = {}
		for cell in line:gmatch("[^,]+") do row[#row + 1] = cell end
		return row
	end,
	content_type = "text/csv",
}))
local rows = cache:table("rows", { serializer = "csv" })
rows:set("1", { "Ann", "Bonn", "1985" })
show("csv", rows:get_raw("1"))
print("csv      second cell", rows:get("1")[2])

-- What cannot be stored says where it is, and nothing is written.
local _, err = cache:table("json"):set("bad", { list = { 1, { deep = print } } })
print(err.code, err.field)
cache:close()
