-- An output that fails for a while: its records wait on disk, in order, and nothing is lost. Here the "server" is a directory that goes
-- away, as a network mount does; with an output of another type it is the same.
local zbz = require("zbz")
local log = zbz.log

local dir = os.tmpname()
os.remove(dir)
os.execute("mkdir -p " .. dir .. "/mount/logs " .. dir .. "/spool " .. dir .. "/objects")

assert(log.configure{ outputs = {
	app = { type = "file", path = dir .. "/mount/logs/app.log", format = "logfmt", ring_size = "64KB", batch_size = "16KB",
		spool = dir .. "/spool", spool_size = "100MB", -- where records wait, and how many may
		retry_timeout = "1d", dead_letter = dir .. "/dead.log", -- what nobody has taken in a day
		max_retry_delay = "50ms" },
	-- One object for each batch: 1 MB, or what there is after 10 seconds. flush and closing do not wait for it.
	archive = { type = "storage", bucket = { provider = "filesystem", base_dir = dir .. "/objects" }, prefix = "app/%Y/",
		batch_size = "1MB", batch_wait = "10s" },
} })
assert(log.routes{ { to = { "app", "archive" } } })
local function app() return log.stats().outputs.app end

log.info("before", { n = 0 })
assert(log.flush(5))
print("taken:", app().written)

os.execute(("cd %s && mv mount gone && touch mount"):format(dir)) -- the mount is away
for i = 1, 2000 do log.info("during", { n = i }) end
repeat log.flush(0.02) until app().spooled > 0 and app().failures > 0
local now = app()
print("while it is away:", now.spooled > 1000 and "most on disk", "lost " .. now.dropped_full, now.last_error and "an error")

os.execute(("cd %s && rm mount && mv gone mount"):format(dir)) -- and back
assert(log.flush(10))
now = app()
print("when it is back:", "on disk " .. now.spooled, "taken " .. now.written, "failures in a row " .. now.failures)

local expected = 0
for line in io.lines(dir .. "/mount/logs/app.log") do
	assert(tonumber(line:match(" n=(%d+)")) == expected, "out of order: " .. line)
	expected = expected + 1
end
print("lines in the file, in order:", expected)
log.close()

local objects, records = 0, 0
for path in io.popen("find " .. dir .. "/objects -name '*.log'"):lines() do
	objects = objects + 1
	for _ in io.lines(path) do records = records + 1 end
end
print("in the archive:", records .. " records", objects <= 20 and "few objects" or objects .. " objects")
os.execute("rm -rf " .. dir)
