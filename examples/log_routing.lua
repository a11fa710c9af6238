-- Where records go is said outside the code: user events to an audit log, system alerts to monitoring, debug to a local file.
-- The three loggers know nothing of files; change the routes, and the program stays as it is.
local zbz = require("zbz")
local log = zbz.log

local dir = os.tmpname()
os.remove(dir)
os.execute("mkdir -p " .. dir)

assert(log.configure{
	level = "info",
	outputs = {
		{ type = "console", format = "console", level = "fatal" }, -- what no route takes
		audit = { type = "file", path = dir .. "/audit.log", format = "json", mode = "0640", rotate = { size = "100MB", keep = 7 } },
		monitoring = { type = "file", path = dir .. "/monitoring.log", format = "logfmt" },
	},
	redact = { "password", "*_token", scan = { "email" } },
})
assert(log.routes{
	{ logger = "user-events", to = "audit" },
	{ logger = "system-*", level = ">=error", to = "monitoring" },
	{ where = { status = ">=500" }, to = { "monitoring", "audit" } }, -- of any logger
	{ logger = "debug", to = "file:" .. dir .. "/debug.log" },
})

local users = log.logger("user-events")
local alerts = log.logger("system-alerts")
local debugging = log.logger("debug", { level = "debug", format = "console" })

users:info("User login", { user_id = "123", password = "hunter2" })
local request = users:with{ request_id = "r-1" } -- on every record of this request
request:info("User renamed", { user_id = "123", note = "was bob@example.com" })

local seen = users:event("page seen", "user_id", "path") -- names compiled once: the fast form
for _, path in ipairs{ "/", "/cart" } do seen("123", path) end

alerts:warn("Disk is filling", { free = 0.08 }) -- no route, and too low for the console
alerts:error("Database connection failed", { error = select(2, zbz.cache.get("no default cache yet")) })
debugging:debug("Query executed", { latency = zbz.ms(42) })
log.logger("api"):info("answered", { status = 503, took = zbz.ms(1500) })

assert(log.flush())
for _, name in ipairs{ "audit", "monitoring", "debug" } do
	print("-- " .. name)
	for line in io.lines(("%s/%s.log"):format(dir, name)) do
		print((line:gsub("%d%d%d%d%-%d%d%-%d%dT[%d:%.]+Z", "..."))) -- the times, for a stable output
	end
end
-- A route to an output that is not there is an error that names it.
print(select(2, log.routes{ { logger = "user-events", to = "audti" } }))
log.close()
os.execute("rm -rf " .. dir)
