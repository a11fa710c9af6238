-- Four kinds of cache, each with its own provider, prefix, lifetime and encoding. REDIS_URL says where the server is.
local zbz = require("zbz")

local url = os.getenv("REDIS_URL")
if not url then print("REDIS_URL is not set: everything stays in memory") end
local shared = assert(url and zbz.cache.provider("redis", { url = url }) or zbz.cache.provider("memory"))
local dir = os.tmpname()

local users = assert(zbz.cache.contract("users", shared, { key_prefix = "user:", ttl = "2h",
	schema = { id = "integer", name = "string" } }))
local sessions = assert(zbz.cache.contract("sessions", shared, { key_prefix = "sess:", ttl = "24h", serializer = "msgpack" }))
local config = assert(zbz.cache.contract("config", shared, { key_prefix = "conf:", ttl = 0, serializer = "string" }))
local files = assert(zbz.cache.contract("files", { provider = "filesystem", base_dir = dir .. ".files" },
	{ key_prefix = "file:", ttl = "7d", serializer = "bytes" }))

users:set("42", { id = 42, name = "Alice" })
sessions:set("s1", { user = 42, roles = { "admin", "editor" } })
config:set("theme", "dark")
files:set("logo.png", "\137PNG\r\n\26\n")

for _, c in ipairs({ users, sessions, config, files }) do
	local info = c:info()
	print(("%-9s prefix %-6s ttl %6.0f s  serializer %s"):format(info.name, info.key_prefix, info.default_ttl, info.serializer))
end
print(users:get("42").name, sessions:get("s1").roles[1], config:get("theme"), #files:get("logo.png") .. " bytes")

for _, c in ipairs({ users, sessions, config, files }) do
	c:clear()
	c:close()
end
shared:close()
os.remove(dir)
os.execute(("rm -rf '%s.files'"):format(dir))
