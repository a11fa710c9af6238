-- Records over the network: lines by TCP, RFC 5424 by UDP, and a server that is away. The receivers are LuaSocket's, in this very program:
-- a thread of the log's own writes, and what the kernel has taken waits there until it is read.
local zbz = require("zbz")
local socket = require("socket")
local log = zbz.log

local lines = assert(socket.bind("127.0.0.1", 0))
local syslog = assert(socket.udp())
assert(syslog:setsockname("127.0.0.1", 0))
local away = assert(socket.bind("127.0.0.1", 0))
local function address(s)
	local host, port = s:getsockname()
	return host .. ":" .. port
end
local nobody = address(away)
away:close() -- nobody listens there for now

assert(log.configure{
	level = "info",
	outputs = {
		collector = { type = "tcp", address = address(lines), timeout = "2s" }, -- with TLS: tls = true, tls_ca = "ca.pem"
		central = { type = "syslog", protocol = "udp", address = address(syslog), facility = "local4", app = "shop", hostname = "web-1",
			format = "logfmt", metadata = { "order" } }, -- these fields go as structured data, too
		backup = { type = "tcp", address = nobody, max_retry_delay = "100ms", policy = "drop_oldest" },
	},
})
assert(log.routes{
	{ logger = "shop", to = { "collector", "backup" } },
	{ logger = "shop", level = ">=error", to = "central" },
})

local shop = log.logger("shop")
shop:info("order placed", { order = "A-1", total = 12.5 })
shop:error("card refused", { order = "A-2" })

-- The server that is away holds nobody up; its records wait in shared memory and would outlive this process.
local client = assert(lines:accept())
client:settimeout(5)
for _ = 1, 2 do print("collector:", (assert(client:receive("*l")):gsub("%d%d%d%d%-%d%d%-%d%dT[%d:%.]+Z", "..."))) end
syslog:settimeout(5)
print("central:", (assert(syslog:receive()):gsub("%d%d%d%d%-%d%d%-%d%dT[%d:%.]+Z", "..."):gsub(" %d+ shop ", " PID shop ")))
print("backup has written", log.stats().outputs.backup.written)

-- It comes back, and the log finds it by itself.
local host, port = nobody:match("^(.*):(%d+)$")
local back = assert(socket.bind(host, tonumber(port)))
back:settimeout(5)
assert(log.flush(5))
local late = assert(back:accept())
late:settimeout(5)
for _ = 1, 2 do print("backup:", (assert(late:receive("*l")):match('"message":"[^"]*"'))) end

-- Mistakes are found before anything is sent.
print(select(2, log.outputs{ wrong = { type = "tcp", address = "localhost" } }))
log.close()
