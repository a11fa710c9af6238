-- The services of an application: users on Redis, sessions in memory, configuration on the file system. Each can move elsewhere
-- by its line of configuration alone. REDIS_URL says where the server is; without it the users stay in memory too.
local zbz = require("zbz")

local redis = os.getenv("REDIS_URL")
if not redis then print("REDIS_URL is not set: users stay in memory") end
local dir = os.tmpname()

local services = assert(zbz.cache.load_all{
	{ name = "users", provider = redis and "redis" or "memory", settings = redis and { url = redis }, key_prefix = "app:user:",
		default_ttl = "1h", schema = { id = "integer", name = "string" } },
	{ name = "sessions", provider = "memory", settings = { max_size = "100MB" }, key_prefix = "sess:", default_ttl = "24h" },
	{ name = "config", provider = "filesystem", settings = { base_dir = dir .. ".config" }, default_ttl = 0 },
})

local App = {}

function App.login(id)
	local user = services.users:fetch(tostring(id), function() return { id = id, name = "user " .. id } end)
	services.sessions:set("s" .. id, { user = user.id, seen = 1 })
	return user
end
function App.setting(name, value)
	if value ~= nil then services.config:set(name, value) end
	return services.config:get(name)
end

print("login", App.login(7).name)
print("session", services.sessions:get("s7").user)
print("setting", App.setting("theme", "dark"))
print("health", services.users:health().status, services.sessions:health().status, services.config:health().status)
print("by name", zbz.cache.lookup("sessions"):get("s7").seen)

for _, service in pairs(services) do
	service:clear()
	service:close()
end
os.remove(dir)
os.execute(("rm -rf '%s.config'"):format(dir))
