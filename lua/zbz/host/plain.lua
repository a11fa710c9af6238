--- Plain scripts: calls block; zbz.poll delivers messages and runs background refreshes; zbz.run loops.
local core = require("zbz.core")
local E = require("zbz.error")
local O = require("zbz.options")

local M = { name = "plain", refused = 0 }

local MAX_QUEUE, MAX_PER_POLL = 1024, 256
local queue, first, last = {}, 1, 0
local running = false

--- What to do with an error in a callback: the program may set zbz.on_error.
local function report(err)
	local handler = require("zbz").on_error
	if handler then
		pcall(handler, err)
	else
		io.stderr:write("zbz: a callback failed: ", E.line(err, 500), "\n")
	end
end

function M.defer(fn)
	if last - first + 1 >= MAX_QUEUE then
		M.refused = M.refused + 1
		return false
	end
	last = last + 1
	queue[last] = fn
	return true
end

local function run_queued()
	local n = 0
	while first <= last and n < MAX_PER_POLL do
		local fn = queue[first]
		queue[first] = nil
		first, n = first + 1, n + 1
		local ok, err = xpcall(fn, debug.traceback)
		if not ok then report(err) end
	end
	return n
end

--- Hands over what is waiting; when nothing is, waits up to `seconds` (none: does not wait). Number of things done.
function M.poll(seconds)
	local ms = O.duration_arg(seconds or 0, "timeout", "poll", 2)
	if seconds == math.huge then ms = 86400000 end
	local n = run_queued()
	local wait = n == 0 and ms or 0
	for _ = 1, MAX_PER_POLL do
		local fn, channel, payload = core.poll_next(wait)
		if not fn then break end
		wait, n = 0, n + 1
		if type(fn) == "number" then fn = function() end end -- a call from before this host was chosen
		local ok, err = xpcall(function() fn(channel, payload) end, debug.traceback)
		if not ok then report(err) end
	end
	return n
end

--- Polls until zbz.stop() is called, or for `seconds`. True when it was stopped; by SIGINT or SIGTERM: true and the name.
function M.run(seconds)
	local till = seconds and core.mono() + O.duration_arg(seconds, "timeout", "run", 2)
	local signal, err
	running = true
	core.signals_begin()
	while running do
		local left = till and till - core.mono() or 60000
		if left <= 0 then break end
		local wait = M.poll(0) == 0 and running and math.min(left, 60000) or 0
		signal, err = core.signals_wait(wait)
		if signal or err then break end
	end
	core.signals_end()
	local stopped = not running or signal ~= nil
	running = false
	if err then return nil, err end
	return stopped, signal
end

function M.stop() running = false end

return M
