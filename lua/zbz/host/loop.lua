--- What all event-loop hosts share: calls that may wait are submitted and parked, completions wake who waits for them, messages go to
--- their subscribers one at a time. A host adds what differs:
---   name, blocked() -> nil or why this place cannot wait, start() -> the wake socket is being watched, waiter() -> something to
---   park on, wait(waiter, seconds?) -> woken?, wake(waiter), spawn(fn) -> fn runs in a coroutine of its own. Optional: queues() ->
---   may a write be sent without waiting for its end?; bound(fn, seconds) -> fn() has ended in time?; where coroutines may be killed:
---   killed(co) -> is it known to have been?, look_after(fn) -> fn() is called now and then as long as it answers true.
local core = require("zbz.core")
local E = require("zbz.error")
local ffi_doors = require("zbz.ffi.doors")

local M = {}

local GRACE_MS = 100 -- the call itself ends by its deadline; who waits gives it this much more
local MAX_PER_WAKE, MAX_QUEUED, MAX_WRITES = 1000, 1024, 8192
local REPORT_MS = 10000
local THREADS = 16 -- at most; started as calls need them, so that a slow backend does not hold up a fast one

local direct = { table = {}, cache = {}, watch = {}, store = {}, subscription = {} } -- the blocking methods
M.direct = direct
local waiting = {} -- waiters by the number of their call
local queued = {} -- writes that nobody waits for, by their number

--- Writes queued where nothing can wait: how many are under way, have failed, were refused.
M.writes = { queued = 0, failed = 0, refused = 0 }
local subscribers = setmetatable({}, { __mode = "k" })

--- What to do with an error in a callback: the program may set zbz.on_error.
function M.report(err)
	local zbz = package.loaded["zbz"]
	local host = require("zbz.host").current
	if type(zbz) == "table" and zbz.on_error then
		pcall(zbz.on_error, err)
	elseif host and host.report then
		host.report(err)
	else
		io.stderr:write(E.is(err) and "zbz: " or "zbz: a callback failed: ", E.line(err, 500), "\n")
	end
end

function M.protected(fn, ...)
	local args, n = { ... }, select("#", ...)
	local ok, err = xpcall(function() return fn((table.unpack or unpack)(args, 1, n)) end, debug.traceback) -- luacheck: ignore 113
	if not ok then M.report(err) end
	return ok
end

-- ---- waiting -----------------------------------------------------------------------------------------------------------------

--- Parks until call `id` is done: true; false at the end of `left_ms`; nil, err when there is nothing to park on.
function M.await(host, id, left_ms)
	local ok, err = host.start()
	if not ok then return nil, E.new("unavailable", "the host cannot wait: " .. tostring(err)) end
	local w = host.waiter()
	waiting[id] = w
	local woken = host.wait(w, left_ms and left_ms / 1000 or nil)
	if not woken then waiting[id] = nil end
	return woken
end

local function settle(host, name, handle, ticket, id, ...)
	if ticket == false then return id, ... end
	local left = ...
	local done, err = M.await(host, id, left and left + GRACE_MS)
	if done then return core.finish(ticket, handle) end
	core.abandon(ticket)
	err = E.at(err or E.new("timeout", "no thread of the pool had an answer before the deadline"), { op = name })
	if name == "entry" then return nil, nil, err end
	return nil, err
end

local function refused(name, text)
	M.writes.refused = M.writes.refused + 1
	return E.fail("unavailable", text, { op = name })
end

--- Sends a write whose end nobody waits for. Those of one key keep their order, and a cache is closed after them.
local function queue(host, name, door, handle, ...)
	if M.writes.queued >= MAX_WRITES then return refused(name, MAX_WRITES .. " queued writes are under way already") end
	local ok, err = host.start()
	if not ok then return refused(name, "the host cannot queue: " .. tostring(err)) end
	local ticket, id, more = door(handle, ...)
	if ticket == false then
		if id == nil and more and more.code == "unavailable" then M.writes.refused = M.writes.refused + 1 end
		return id, more
	end
	queued[id] = { ticket = ticket, handle = handle }
	M.writes.queued = M.writes.queued + 1
	return true
end

local reported, unreported = nil, 0

--- Tells of writes that failed after they were queued: the first at once, then at most one in ten seconds.
local function lost(err)
	local now = core.mono()
	M.writes.failed, unreported = M.writes.failed + 1, unreported + 1
	if reported and now - reported < REPORT_MS then return end
	err.message = ("a queued write failed (%d since the last report): %s"):format(unreported, err.message)
	reported, unreported = now, 0
	M.report(err)
end

local function end_queued(id)
	local q = queued[id]
	queued[id], M.writes.queued = nil, M.writes.queued - 1
	local fine, ok, err = pcall(core.finish, q.ticket, q.handle)
	if not fine then return lost(E.new("internal", E.line(ok, 300))) end
	if ok == nil and err then lost(err) end
end

--- What a queued write could not tell: whether its condition held.
local function conditional(how) return type(how) == "table" and (how.only ~= nil or how.if_version ~= nil) end

--- A call from where nothing can wait: memory tiers answer, writes are queued where the host says so, what is closed is closed.
local function unable(host, name, blocking, why, handle, ...)
	if name ~= "swap" and core.inline(handle) then return blocking(handle, ...) end
	local queues = host.queues and host.queues()
	if name == "close" then
		if queues then return queue(host, name, core.queueable_whole.close, handle) end
		return blocking(handle)
	end
	if queues and core.queueable[name] and not (name == "set" and conditional((select(3, ...)))) then
		return queue(host, name, core.queueable[name], handle, ...)
	end
	local err = E.new("unsupported", why, { op = name })
	if name == "entry" then return nil, nil, err end
	return nil, err
end

--- The same for a read that a local tier may answer: `found` and what it did.
local function tried(host, name, blocking, why, handle, args, found, ...)
	if found then return ... end
	return unable(host, name, blocking, why, handle, (table.unpack or unpack)(args, 1, args.n)) -- luacheck: ignore 113
end

local function parking(host, name, door, blocking)
	return function(handle, ...)
		local why = host.blocked()
		if why then
			local try = core.table_tries[name]
			if not try or core.inline(handle) then return unable(host, name, blocking, why, handle, ...) end
			return tried(host, name, blocking, why, handle, { n = select("#", ...), ... }, try(handle, ...))
		end
		return settle(host, name, handle, door(handle, ...))
	end
end

--- Listings: the pages are fetched like any call, the keys of a page come without waiting.
local function parking_keys(host, page, blocking)
	return function(handle, pattern, opts)
		if core.inline(handle) then return blocking(handle, pattern, opts) end
		local why = host.blocked()
		if why then return E.fail("unsupported", why, { op = "keys" }) end
		local next_key, listing = core.listing(handle, pattern, opts)
		if not next_key then return nil, listing end
		local ended = false
		return function()
			if ended then return nil end
			if core.listing_dry(listing) then
				local ok, err = settle(host, "keys", listing, page(listing))
				if not ok then
					ended = true
					return nil, err
				end
			end
			return next_key()
		end, nil, nil, listing
	end
end

--- Waits for somebody else's loader: see zbz.load.
function M.await_flight(host, flight, left_ms)
	local why = host.blocked()
	if why then return E.fail("unsupported", why) end
	while not flight:landed() do
		local left = left_ms()
		if left and left <= 0 then return E.fail("timeout", "the deadline passed while the key was being loaded") end
		local ticket, id = flight:park()
		if not ticket then return nil, id end
		local woken, err = M.await(host, id, left)
		if woken then core.finish(ticket) else core.abandon(ticket) end
		if err then return nil, err end
	end
	return true
end

-- ---- waking ------------------------------------------------------------------------------------------------------------------

local function run_subscriber(s, fn)
	while s.first <= s.last do
		local m = s[s.first]
		s[s.first], s.first = nil, s.first + 1
		M.protected(fn, m[1], m[2])
	end
	s.active = false
	if s.lost then
		local channel = s.lost
		s.lost = nil
		M.protected(fn, channel, nil)
	end
end

--- Messages of one subscription run in order, one at a time, in a coroutine of their own; what is too much is told as lost.
local function deliver(host, fn, channel, payload)
	local s = subscribers[fn]
	if not s then
		s = { first = 1, last = 0, active = false }
		subscribers[fn] = s
	end
	if s.last - s.first + 1 >= MAX_QUEUED then
		s.lost = channel
	else
		s.last = s.last + 1
		s[s.last] = { channel, payload }
	end
	if s.active then return end
	s.active = true
	if not host.spawn(function() run_subscriber(s, fn) end) then s.active = false end
end

--- Hands out everything that has arrived. Number of things done.
function M.drain(host)
	for n = 0, MAX_PER_WAKE - 1 do
		local what, channel, payload = core.poll_next(0)
		if what == nil then return n end
		if type(what) == "number" then
			local w = waiting[what]
			waiting[what] = nil
			if w then
				host.wake(w)
			elseif queued[what] then
				end_queued(what)
			end
		else
			deliver(host, what, channel, payload)
		end
	end
	core.kick()
	return MAX_PER_WAKE
end

-- ---- coroutines that are resumed by hand ---------------------------------------------------------------------------------------

function M.resume(co, ...)
	local ok, err = coroutine.resume(co, ...)
	if not ok then M.report(debug.traceback(co, E.line(err, 500))) end
end

--- blocked() of hosts whose calls wait in any coroutine.
function M.outside_coroutine(name)
	if coroutine.isyieldable() then return nil end
	return ("outside a coroutine nothing can wait on the loop of %s; wrap it: coroutine.wrap(function() ... end)()"):format(name)
end

-- ---- in and out ----------------------------------------------------------------------------------------------------------------

--- Lets the methods of tables and caches park on this host; nil: they block again.
function M.install(host)
	if host then core.threads(THREADS) end -- no matter when the pool runs already
	core.hosted(host ~= nil)
	ffi_doors.remove()
	local sides = { { core.table_methods, core.table_doors, direct.table }, { core.cache_methods, core.cache_doors, direct.cache },
		{ core.watch_methods, core.watch_doors, direct.watch }, { core.store_methods, core.handle_doors, direct.store },
		{ core.subscription_methods, core.handle_doors, direct.subscription } }
	for _, side in ipairs(sides) do
		local methods, doors, kept = side[1], side[2], side[3]
		for name, door in pairs(doors) do
			kept[name] = kept[name] or methods[name]
			if not host then
				methods[name] = kept[name]
			elseif name == "keys" then
				methods[name] = parking_keys(host, door, kept[name])
			else
				methods[name] = parking(host, name, door, kept[name])
			end
		end
	end
	ffi_doors.install()
end

return M
