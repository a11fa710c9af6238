--- One run of a loader, and waiting for somebody else's.
local core = require("zbz.core")
local E = require("zbz.error")
local O = require("zbz.options")
local host = require("zbz.host")
local waiting = require("zbz.waiting")

local M = {}

local RESULT = { ttl = true, store = true }
local MAIN = {}

--- The running coroutine; a fixed mark on the main thread, in both Luas.
function M.running()
	local co, main = coroutine.running()
	if co == nil or main then return MAIN end
	return co
end

local function trace(thrown)
	return { thrown = thrown, traceback = debug.traceback(E.line(thrown, 300), 2) }
end

--- Which coroutines run loaders, how many deep, and for whose end a coroutine waits.
local depth = setmetatable({}, { __mode = "k" })
local waits_for = setmetatable({}, { __mode = "kv" })

--- Runs the loader. Returns { value=, opts= } for an answer (value nil: there is none), or nil and a loader error.
---@return table?, zbz.Error?
function M.run(loader, k, n, ...)
	local ok, value, second, third
	local me = M.running()
	depth[me] = (depth[me] or 0) + 1
	if n > 0 then
		ok, value, second, third = xpcall(loader, trace, ...)
	else
		ok, value, second, third = xpcall(loader, trace, k)
	end
	depth[me] = depth[me] > 1 and depth[me] - 1 or nil
	if not ok then
		local thrown = value.thrown
		local text = E.line(type(thrown) == "table" and (thrown.message or thrown.code) or thrown, 300)
		local err = E.new("loader", "the loader failed: " .. text, { cause = E.is(thrown) and thrown or value.traceback })
		err.traceback, err.thrown = value.traceback, thrown
		return nil, err
	end
	if value == nil and second ~= nil then
		local text = type(second) == "table" and (second.message or second.code) or second
		local err = E.new("loader", "the loader failed: " .. E.line(text, 300), { cause = second })
		return nil, err
	end
	local opts = value == nil and third or second
	if type(opts) ~= "table" then opts = nil end
	if opts then
		local fine, why = pcall(O.check, opts, RESULT, "a loader's result", 1)
		local ttl
		if fine then fine, ttl = pcall(O.duration_arg, opts.ttl, "ttl", 1) end
		if not fine then return nil, E.new("loader", "the loader returned wrong options: " .. E.line(ttl or why, 300)) end
		return { value = value, ttl_ms = ttl, store = opts.store }
	end
	return { value = value }
end

--- Would waiting for `leader` never end? The main thread cannot step aside; a leader that is this coroutine, that resumed it, or
--- that waits for it in turn cannot go on. An unknown leader (another handle on the same key) may be this coroutine's own loader.
local function stuck(me, leader)
	if me == MAIN then return true end
	if leader == nil then return depth[me] ~= nil end
	local hops = 0
	while leader ~= nil and hops < 1000 do
		if leader == me or leader == MAIN or coroutine.status(leader) == "normal" then return true end
		leader, hops = waits_for[leader], hops + 1
	end
	return false
end

--- Waits until the flight has landed: true, or nil and timeout or locked. `leader` is the coroutine that leads it, when
--- it is one of this Lua state.
function M.wait(flight, seat, k, env, deadline, leader)
	local loop = host.current and host.current.blocked and host.current
	if seat == "waits" and not loop then return flight:wait(deadline, env.clock) end
	local me = M.running()
	if seat ~= "waits" and stuck(me, leader) then
		return E.fail("locked", ("the key '%s' is being loaded by a coroutine that cannot go on while this call waits")
			:format(E.line(k, 100)), { op = "fetch", table = env.name, key = k })
	end
	waits_for[me] = leader
	leader = nil -- luacheck: ignore 311 (whoever waits must not keep a leader alive that nobody else remembers)
	if loop then
		local ok, err = require("zbz.host.loop").await_flight(loop, flight, function() return deadline and deadline - M.mono(env) end)
		waits_for[me] = nil
		if not ok then return nil, E.at(err, { op = "fetch", table = env.name, key = k }) end
		return true
	end
	while not flight:landed() do
		if deadline and M.mono(env) >= deadline then
			waits_for[me] = nil
			return E.fail("timeout", "the deadline passed while another coroutine was loading the key",
				{ op = "fetch", table = env.name, key = k })
		end
		coroutine.yield(waiting)
	end
	waits_for[me] = nil
	return true
end

--- Monotonic milliseconds of the table's clock.
function M.mono(env) return env.clock and env.clock:mono() or core.mono() end

return M
