-- A process that logs to Loki and then waits to be killed: log_loki_child.lua URL RING FROM TO FILE
-- FILE appears when the last call has returned.
local url, ring, from, to, file = arg[1], arg[2], tonumber(arg[3]), tonumber(arg[4]), arg[5]
local zbz = require("zbz")
local log = zbz.log

local output = { type = "loki", url = url, ring = ring, labels = { app = "kills" }, metadata = { "trace_id" }, batch_size = "200KB" }
assert(log.configure{ outputs = { output } })
local l = log.logger("api")
for i = from, to do l:info("record", { seq = i, trace_id = "t" .. i }) end
local f = assert(io.open(file, "w"))
f:write("logged ", log.stats().outputs.loki.records, "\n")
f:close()
for _ = 1, 60 do os.execute("sleep 1") end -- long enough for whoever kills it
