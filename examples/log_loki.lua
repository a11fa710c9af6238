-- Logs to Grafana Loki: few labels name the streams, what differs from record to record is structured metadata. LOKI_URL says where
-- Loki is. Records survive a crash of this program and of Loki, and Loki shows each of them once.
local zbz = require("zbz")
local log = zbz.log

local url = os.getenv("LOKI_URL")
if not url then
	print("LOKI_URL is not set: this example wants a Loki server, for example LOKI_URL=http://localhost:3100")
	return
end
assert(log.configure{
	level = "info",
	outputs = {
		{ type = "loki", name = "loki", url = url,
			labels = { app = "shop", env = "demo" },               -- and the record's level and logger
			metadata = { "trace_id", "user_id" },                  -- to be looked for without a stream for each
			max_retry_delay = "5s",
			dead_letter = os.getenv("LOKI_DEAD_LETTERS") },        -- what Loki refuses for good; else it is only counted
		{ type = "console", level = "fatal", format = "console" }, -- Loki's troubles do not touch it
	},
	redact = { "password" },
})

local orders = log.logger("orders")
local request = orders:with{ trace_id = "4bf92f3577b34da6a3ce929d0e0e4736" }
request:info("order placed", { user_id = "u-17", total = 42, password = "hunter2" })
request:warn("stock is low", { item = "tea" })
local seen = log.logger("web"):event("page seen", "user_id", "path") -- the fast form
for i = 1, 1000 do seen("u-" .. i, "/cart") end

assert(log.flush(10)) -- for the example; a program need not wait
local s = log.stats().outputs.loki
print("delivered", s.written, "dead letters", s.dead_letters, "tries that failed", s.retries)

-- What would make a stream for every value is refused before it can hurt.
print(select(2, log.configure{ outputs = { { type = "loki", url = url, labels = { user_id = "u-17" } } } }))
log.close()
