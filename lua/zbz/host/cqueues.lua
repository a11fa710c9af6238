--- cqueues: calls wait on a condition variable of the controller; one thread of it watches the wake socket while calls are under way.
local core = require("zbz.core")
local E = require("zbz.error")
local O = require("zbz.options")
local loop = require("zbz.host.loop")

local M = { name = "cqueues" }

local cqueues, condition, controller
local under_way, drained, watching, lasting = 0, 0, false, false -- lasting: in poll or run

--- cq: the controller that runs the program's threads.
function M.setup(cq)
	local ok, found = pcall(require, "cqueues")
	if not ok then return E.fail("unsupported", "use: cqueues is not installed (Debian: lua-cqueues; LuaRocks: cqueues)", { op = "use" }) end
	if found.type(cq) ~= "controller" then error("zbz: use: cqueues: expects the controller, cqueues.new()", 4) end
	cqueues, condition = found, require("cqueues.condition")
	controller, under_way, watching = cq, 0, false
	return true
end

function M.start()
	if watching then return true end
	local fd, err = core.fd()
	if not fd then return nil, err end
	local mine = controller
	watching = true
	mine:wrap(function()
		while mine == controller and (under_way > 0 or lasting) do
			cqueues.poll({ pollfd = fd, events = "r" }, lasting and 0.5 or nil)
			drained = drained + loop.drain(M)
		end
		if mine == controller then watching = false end
	end)
	return true
end

function M.blocked()
	local _, inside = cqueues.running()
	if inside then return nil end
	return "outside a thread of the controller nothing can wait; wrap it: cq:wrap(function() ... end)"
end

function M.waiter()
	under_way = under_way + 1
	return { cond = condition.new() }
end

function M.wait(w, seconds)
	local till = seconds and cqueues.monotime() + seconds
	while not w.woken do
		local left = till and till - cqueues.monotime()
		if left and left <= 0 then break end
		w.cond:wait(left)
	end
	under_way = under_way - 1
	if under_way == 0 then core.kick() end
	return w.woken or false
end

function M.wake(w)
	w.woken = true
	w.cond:signal()
end

function M.spawn(fn)
	controller:wrap(function() loop.protected(fn) end)
	return true
end
M.defer = M.spawn

function M.poll(seconds)
	local ms = O.duration_arg(seconds or 0, "timeout", "poll", 2)
	local n = loop.drain(M)
	if n > 0 then return n end
	local till = cqueues.monotime() + ms / 1000
	local ok, err = M.start()
	if not ok then return nil, err end
	local running = lasting
	drained, lasting = 0, true
	repeat
		local fine, why = controller:step(math.max(till - cqueues.monotime(), 0))
		if not fine then loop.report(why) end
	until drained > 0 or cqueues.monotime() >= till
	lasting = running
	if under_way == 0 then core.kick() end
	return drained
end

--- Runs the controller until zbz.stop(), or for `seconds`.
function M.run(seconds)
	local till = seconds and cqueues.monotime() + O.duration_arg(seconds, "timeout", "run", 2) / 1000
	local fine, why = M.start()
	if not fine then return nil, why end
	lasting = true
	while lasting do
		local left = till and till - cqueues.monotime() or 1
		if left <= 0 then break end
		local ok, err = controller:step(math.min(left, 1))
		if not ok then loop.report(err) end
	end
	local stopped = not lasting
	lasting = false
	return stopped
end

function M.stop() lasting = false end

return M
