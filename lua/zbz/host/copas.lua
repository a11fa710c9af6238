--- copas: calls inside a thread of it wait, a thread of our own reads the wake socket. A "socket" of copas is whatever socket.select
--- takes: an object that tells a descriptor, so no connection is made. Since version 2 copas lets threads sleep and be woken. Before,
--- a thread says with its yield which queue it goes to: ours notes the thread and lets copas run it again when its call is done,
--- and its deadlines are kept here, by a descriptor that is readable from the earliest on.
local core = require("zbz.core")
local E = require("zbz.error")
local O = require("zbz.options")
local loop = require("zbz.host.loop")

local M = { name = "copas" }

local copas, sleeps
local under_way, watching, lasting, drained = 0, false, false, 0

local A_DAY = 86400000 -- milliseconds

local function nothing() end

--- Once for every waiter, though its thread may have been removed and never come back.
local function forget(w)
	if w.gone then return end
	w.gone = true
	under_way = under_way - 1
end

--- As copas.receive asks for bytes: not yet, once; then it waits until the descriptor is readable, asks again and goes on.
local function source(fd)
	local asked = false
	return {
		getfd = fd, dirty = function() return false end, settimeout = nothing, close = nothing,
		receive = function()
			asked = not asked
			if asked then return nil, "timeout" end
			return "", nil
		end,
	}
end

local bell = source(function() return core.fd() or -1 end) -- a forked child has another one

-- ---- copas without sleeping threads ------------------------------------------------------------------------------------------

local alarm, alarm_at, alarm_source
local due = {} -- waiters by the moment they give up at
local clients = setmetatable({}, { __mode = "k" }) -- the socket of a handler's thread, which copas closes at its end
local patched = setmetatable({}, { __mode = "k" })

local parked = { insert = nothing, push = function(_, w, co) w.co = co end }

--- copas would close the socket it ran the thread for, but this time it knows of none.
local function continue(w)
	copas.addthread(w.co)
	local client = clients[w.co]
	if client and coroutine.status(w.co) == "dead" and copas.autoclose then client:close() end
end

local function give_up(w)
	w.late = true
	if coroutine.status(w.co) == "suspended" then continue(w) else forget(w) end
end

local function ring()
	local late = {}
	local now = core.mono()
	alarm_at = now + A_DAY
	for w, at in pairs(due) do
		if w.gone or at <= now then
			late[#late + 1] = w
		elseif at < alarm_at then
			alarm_at = at
		end
	end
	alarm:set(alarm_at - now)
	for _, w in ipairs(late) do due[w] = nil end
	for _, w in ipairs(late) do
		if not w.gone then give_up(w) end
	end
end

local function arm(w, seconds)
	local ms = math.ceil(seconds * 1000)
	due[w] = core.mono() + ms
	if alarm_at and alarm_at <= due[w] then return end
	alarm_at = due[w]
	alarm:set(ms)
end

--- Notes whose thread it is that runs a handler.
local function patch()
	if patched[copas] then return end
	patched[copas] = true
	local addserver = copas.addserver
	function copas.addserver(server, handler, ...) -- luacheck: ignore 122
		return addserver(server, function(client, ...)
			clients[coroutine.running()] = client
			return handler(client, ...)
		end, ...)
	end
end

local function start_alarm()
	if alarm then return true end
	local err
	alarm, err = core.alarm()
	if not alarm then return nil, err end
	alarm_source = source(function() return alarm:fd() end)
	copas.addthread(function()
		while true do
			copas.receive(alarm_source, 1)
			ring()
		end
	end)
	return true
end

-- ---- the host ----------------------------------------------------------------------------------------------------------------

--- copas_: the copas module, require("copas") when nil.
function M.setup(copas_)
	if copas_ == nil then
		local ok, found = pcall(require, "copas")
		if not ok then return E.fail("unsupported", "use: copas is not installed (Debian: lua-copas; LuaRocks: copas)", { op = "use" }) end
		copas_ = found
	end
	if type(copas_) ~= "table" or not (copas_.addthread and copas_.receive and copas_.step) then
		error("zbz: use: copas: expects the copas module", 4)
	end
	if copas_ == copas then return true end
	copas, under_way, watching = copas_, 0, false
	alarm, alarm_at, due = nil, nil, {}
	sleeps = copas.wakeup ~= nil
	if not sleeps then patch() end
	return true
end

--- Where threads sleep, the loop of copas ends when there is nothing left to do: the one that watches must not keep it.
local function may_end() return sleeps and under_way == 0 and not lasting end

function M.start()
	if watching then return true end
	local fd, err = core.fd()
	if not fd then return nil, err end
	if not sleeps then
		fd, err = start_alarm()
		if not fd then return nil, err end
	end
	local mine = copas
	watching = true
	copas.addthread(function()
		repeat
			mine.receive(bell, 1)
			if mine ~= copas then return end
			drained = drained + loop.drain(M)
		until may_end()
		watching = false
	end)
	return true
end

function M.blocked()
	if coroutine.isyieldable() then return nil end
	return "outside a thread of copas nothing can wait; wrap it: copas.addthread(function() ... end)"
end

function M.waiter()
	under_way = under_way + 1
	return { co = coroutine.running() }
end

local function sleep(seconds)
	if not copas.pause then
		copas.sleep(seconds or -1)
	elseif seconds then
		copas.pause(seconds)
	else
		copas.pauseforever()
	end
end

local function wait_asleep(w, seconds)
	local till = seconds and core.mono() + seconds * 1000
	repeat
		local left = till and till - core.mono()
		if left and left <= 0 then return end
		sleep(left and left / 1000)
	until w.woken
end

local function wait_parked(w, seconds)
	if seconds then arm(w, seconds) end
	repeat coroutine.yield(w, parked) until w.woken or w.late
	due[w] = nil
end

function M.wait(w, seconds)
	if sleeps then wait_asleep(w, seconds) else wait_parked(w, seconds) end
	if not w.gone then
		forget(w)
		if may_end() then core.kick() end
	end
	return w.woken or false
end

function M.wake(w)
	if w.late then return end
	w.woken = true
	forget(w)
	if coroutine.status(w.co) ~= "suspended" then return end
	if sleeps then copas.wakeup(w.co) else continue(w) end
end

function M.spawn(fn)
	copas.addthread(function() loop.protected(fn) end)
	return true
end
M.defer = M.spawn

--- Steps of copas while wanted() and until the moment; true when it was no longer wanted.
local function steps_until(till, wanted)
	lasting = true
	while wanted() do
		local left = till and till - core.mono() or 1000
		if left <= 0 then break end
		copas.step(math.min(left, 1000) / 1000)
	end
	local stopped = not wanted()
	lasting = false
	if may_end() then core.kick() end
	return stopped
end

function M.poll(seconds)
	local ms = O.duration_arg(seconds or 0, "timeout", "poll", 2)
	local n = loop.drain(M)
	if n > 0 or ms == 0 or coroutine.isyieldable() then return n end
	local ok, err = M.start()
	if not ok then return nil, err end
	drained = 0
	steps_until(core.mono() + ms, function() return drained == 0 end)
	return drained
end

--- Runs copas until zbz.stop(), or for `seconds`.
function M.run(seconds)
	local till = seconds and core.mono() + O.duration_arg(seconds, "timeout", "run", 2)
	local ok, err = M.start()
	if not ok then return nil, err end
	return steps_until(till, function() return lasting end)
end

function M.stop() lasting = false end

return M
