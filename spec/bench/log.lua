-- make bench-log: one record of five fields into a file on disk, by zbz and by others; wall time until all is written.
-- Arguments: a folder on disk, and one with the programs of other languages (or nothing).
local zbz = require("zbz")
local bench = require("spec.bench.bench")
local dir, programs = arg[1], arg[2]
local N = 100000
local paths = { "/api/v1/users", "/api/v1/orders" }

assert(zbz.log.configure{ outputs = { { type = "file", path = dir .. "/zbz.log", ring_size = "16MB" } } })
local l = zbz.log.logger("bench")
local ev = l:event("user action", "user_id", "action", "status", "duration_ms", "path")
local off = l:event{ level = "debug", "user action", "user_id", "action", "status", "duration_ms", "path" }

local function table_form(n)
	for i = 1, n do
		l:info("user action", { user_id = "u-1234", action = "login", status = 200 + i % 3, duration_ms = 12.375 + i % 7,
			path = paths[i % 2 + 1] })
	end
	zbz.log.flush(60)
end
local function event_form(n)
	for i = 1, n do ev("u-1234", "login", 200 + i % 3, 12.375 + i % 7, paths[i % 2 + 1]) end
	zbz.log.flush(60)
end

local contestants = {}
local cjson = require("cjson")
local file = assert(io.open(dir .. "/cjson.log", "w"))
contestants[#contestants + 1] = { name = "lua-cjson and io.write", n = N, run = function(n)
	for i = 1, n do
		file:write(cjson.encode({ time = os.date("!%Y-%m-%dT%H:%M:%SZ"), level = "info", logger = "bench", message = "user action",
			user_id = "u-1234", action = "login", status = 200 + i % 3, duration_ms = 12.375 + i % 7, path = paths[i % 2 + 1] }), "\n")
	end
	file:flush()
end }
contestants[#contestants + 1] = { name = "zbz, table of fields", n = N, run = table_form }
contestants[#contestants + 1] = { name = "zbz, bound event", n = N, run = event_form }
package.path = package.path .. ";/usr/share/lua/5.1/?.lua" -- where Debian has it; it runs on 5.4 as well
local have, lualogging = pcall(require, "logging.file")
if have then
	local logger = lualogging(dir .. "/lualogging.log")
	contestants[#contestants + 1] = { name = "lualogging, file (format, no JSON)", n = N, run = function(n)
		for i = 1, n do
			logger:info(("user action user_id=%s action=%s status=%d duration_ms=%g path=%s"):format("u-1234", "login", 200 + i % 3, 12.375 + i % 7,
				paths[i % 2 + 1]))
		end
	end }
end
local gettime = require("socket").gettime
local times = bench.compare("one record of five fields, file on disk", contestants, { rounds = 9, clock = gettime })

--- A program of another language: PROGRAM MODE FILE RECORDS prints its nanoseconds a record.
local function outside(program, modes)
	local there = io.open(programs .. "/" .. program)
	local base = times["lua-cjson and io.write"]
	if there then there:close() end
	for _, mode in ipairs(modes) do
		local list = {}
		for i = 1, there and 5 or 0 do
			local p = assert(io.popen(("%s/%s %s %s/%s.log %d"):format(programs, program, mode[1], dir, program, N)))
			list[i] = tonumber(p:read("*l"))
			p:close()
		end
		table.sort(list)
		if list[3] then print(("  %-52s %9.1f ns   %6.2fx"):format(mode[2], list[3], list[3] / (base * 1e9)))
		else print(("  %-52s not measured: %s"):format(mode[2], there and "it failed" or "no Go")) end
	end
end

if programs then
	outside("log_spdlog", { { "sync", "spdlog, buffered (loses its buffer in a crash)" }, { "flush", "spdlog, flush after every record" },
		{ "async", "spdlog, asynchronous (loses its queue)" } })
	outside("log_go", { { "zerolog", "zerolog" }, { "zerolog-diode", "zerolog, diode (loses its queue)" }, { "zap", "zap" },
		{ "zap-buffered", "zap, buffered (loses its buffer in a crash)" } })
end

local function empty() end
bench.compare("a level that is off", {
	{ name = "an empty Lua call with a message", n = 20 * N, run = function(n) for _ = 1, n do empty(l, "user action") end end },
	{ name = "l:debug with a message", n = 20 * N, run = function(n) for _ = 1, n do l:debug("user action") end end },
	{ name = "an empty Lua call with five values", n = 20 * N, run = function(n)
		for i = 1, n do empty("u-1234", "login", 200 + i % 3, 12.375 + i % 7, paths[i % 2 + 1]) end
	end },
	{ name = "bound event", n = 20 * N, run = function(n)
		for i = 1, n do off("u-1234", "login", 200 + i % 3, 12.375 + i % 7, paths[i % 2 + 1]) end
	end },
}, { rounds = 5 })
zbz.log.close()
