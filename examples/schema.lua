-- Schemas: a table that holds one kind of record, checked before anything is written.
local zbz = require("zbz")

local cache = assert(zbz.cache.new{ provider = "memory" })

local User = zbz.schema("User", {
	ID = { "id", "integer", min = 1 },                       -- ID in Lua, id where it is stored
	name = { "string", min = 1, max = 40 },
	email = { "string?", email = true },
	role = { "string", oneof = { "admin", "editor", "reader" } },
	tags = { "string" },                                     -- an array
	home = { street = "string", zip = "string?" },           -- a record in the record
	scores = { ["*"] = "number" },                           -- a map
})
local users = cache:table("users", { schema = User })

local ann = { ID = 1, name = "Ann", email = "ann@example.org", role = "admin", tags = { "a" }, home = { street = "Main St" },
	scores = { chess = 7.5 } }
print("a good one", users:set("1", ann), users:get("1").ID)
print("as stored", users:get_raw("1"):match('"id":1') ~= nil)

local function try(what, field, value)
	local copy = {}
	for k, v in pairs(ann) do copy[k] = v end
	copy[field] = value
	local ok, err = users:set("2", copy)
	print(("%-18s %s %s"):format(what, tostring(ok), err.field .. ": " .. err.message))
end
try("a wrong type", "ID", "one")
try("a broken rule", "email", "not an address")
try("none of these", "role", "king")
try("deep inside", "tags", { "a", 7 })
try("deeper", "home", { zip = "12345" })
try("an unknown field", "age", 30)
print("nothing was written", users:exists("2"))

zbz.schema.rule("even", function(v) return v % 2 == 0, "must be even" end)
local pairs_only = cache:table("pairs", { schema = { n = { "integer", even = true } } })
print("own rule", select(2, pairs_only:set("k", { n = 3 })).message)
cache:close()
