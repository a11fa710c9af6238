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

local unpack = table.unpack or unpack -- luacheck: ignore 113

local function trace(thrown)
	return { thrown = thrown, traceback = debug.traceback(E.line(thrown, 300), 2) }
end

-- ---- who runs what -----------------------------------------------------------------------------------------------------

--- For whose end a coroutine waits. A hint only: a host may kill a coroutine in the middle, and use it again for another request.
local waits_for = setmetatable({}, { __mode = "kv" })

local MAX_LEVELS = 250

--- Is the function on the stack of that coroutine (nil: the running one), with that first local?
local function on_stack(co, fn, first)
	for level = co and 0 or 2, MAX_LEVELS do
		local info
		if co then info = debug.getinfo(co, level, "f") else info = debug.getinfo(level, "f") end
		if not info then return false end
		if info.func == fn and (first == nil or select(2, debug.getlocal(co, level, 1)) == first) then return true end
	end
	return true -- too deep to tell
end

--- Notes who leads: the running coroutine, for as long as `frame`, a function under way in it, has `leader` as its first local.
--- calls: those whose flight and lock end with it.
function M.leads(leader, frame, calls)
	leader.co, leader.frame, leader.calls = M.running(), frame, calls
	return leader
end

--- The coroutine that leads the key, if it is known. Whoever asks must not keep it.
function M.leader(env, k)
	local leader = env.leading[k]
	return leader and leader.co
end

--- Leaders that somebody waits for: { env, k }, held by who waits.
local awaited = setmetatable({}, { __mode = "k" })

--- Has the leader's coroutine been killed, as far as can be told? One that nobody has told of is found by the garbage collector, and
--- what it held goes with it.
local function is_dead(leader, loop)
	if leader.co == MAIN then return false end
	return loop.killed(leader.co) or not on_stack(leader.co, leader.frame, leader)
end

--- Lets go what a dead leader held, which wakes who waits for it. Did it?
local function let_go_if_dead(leader)
	if not leader or not is_dead(leader, host.current) then return false end
	for _, call in ipairs(leader.calls) do
		if call.lock then call.lock:close() end
		call.flight:leave()
	end
	return true
end

--- Is anybody waiting?
local function look_after()
	local leaders, any = {}, false
	for note in pairs(awaited) do
		leaders[#leaders + 1], any = note.env.leading[note.k], true
	end
	for _, leader in ipairs(leaders) do let_go_if_dead(leader) end
	return any
end

--- Overwrites what former calls have left on the stack above: a coroutine that waits must not keep the leader it asked for.
local function scrub()
	local a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y, z -- luacheck: ignore 211 221
	return nil
end
local jit = rawget(_G, "jit")
if jit then jit.off(scrub) end -- compiled it would be nothing at all

-- ---- a loader ------------------------------------------------------------------------------------------------------------

local function guarded(loader, k, n, ...)
	local ok, value, second, third
	if n > 0 then
		ok, value, second, third = xpcall(loader, trace, ...)
	else
		ok, value, second, third = xpcall(loader, trace, k)
	end
	return ok, value, second, third -- no tail call: this function on a stack tells that a loader runs there
end

--- In a coroutine of its own that the host kills at the end of the time.
local function bounded(host_, left_ms, loader, k, n, ...)
	local got, args, me = nil, { ... }, M.running()
	local ended, why = host_.bound(function()
		waits_for[me] = M.running()
		got = { guarded(loader, k, n, unpack(args, 1, n)) }
	end, left_ms / 1000)
	waits_for[me] = nil
	if not ended then return nil, why or "the loader did not end before the deadline" end
	return unpack(got, 1, 4)
end

--- Runs the loader; left_ms: what it may take where the host can end it, or nil. Returns { value=, opts= } for an answer (value nil:
--- there is none), or nil and an error.
---@return table?, zbz.Error?
function M.run(left_ms, loader, k, n, ...)
	local ok, value, second, third
	local loop = host.current
	if left_ms and loop and loop.bound and not loop.blocked() then
		ok, value, second, third = bounded(loop, left_ms, loader, k, n, ...)
		if ok == nil then return E.fail("timeout", value) end
	else
		ok, value, second, third = guarded(loader, k, n, ...)
	end
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
		if fine then fine, ttl = pcall(O.duration_arg, opts.ttl, "ttl", "a loader's result", 1) end
		if not fine then return nil, E.new("loader", "the loader returned wrong options: " .. E.line(ttl or why, 300)) end
		return { value = value, ttl_ms = ttl, store = opts.store }
	end
	return { value = value }
end

--- Would waiting for `leader` never end? The main thread cannot step aside; a leader that is this coroutine, that resumed it, or
--- that waits for it in turn cannot go on. An unknown leader (another handle on the same key) may be this coroutine's own loader.
local function stuck(me, leader)
	if me == MAIN then return true end
	if leader == nil then return on_stack(nil, guarded) end
	local hops = 0
	while leader ~= nil and hops < 1000 do
		if leader == me or leader == MAIN or coroutine.status(leader) == "normal" then return true end
		local next_one = waits_for[leader]
		if next_one and not on_stack(leader, M.wait) and not on_stack(leader, M.run) then next_one = nil end
		leader, hops = next_one, hops + 1
	end
	return false
end

--- Waits until the flight has landed, or the lock was given back: true, or nil and timeout or locked. `leader` is the coroutine that
--- leads or holds it, when it is one of this Lua state.
function M.wait(flight, seat, k, env, deadline, leader)
	local loop = host.current and host.current.blocked and host.current
	if seat == "waits" and not loop then return flight:wait(deadline, env.clock) end
	local me = M.running()
	if loop and loop.killed and let_go_if_dead(env.leading[k]) then return true end -- this may be its coroutine, used again
	if seat ~= "waits" and stuck(me, leader) then
		return E.fail("locked", ("the key '%s' is being loaded by a coroutine that cannot go on while this call waits")
			:format(E.line(k, 100)), { op = "fetch", table = env.name, key = k })
	end
	waits_for[me] = leader
	leader = nil -- luacheck: ignore 311 (whoever waits must not keep a leader alive that nobody else remembers)
	scrub()
	if loop then
		local note = loop.look_after and { env = env, k = k }
		if note then
			awaited[note] = true
			loop.look_after(look_after)
		end
		local ok, err = require("zbz.host.loop").await_flight(loop, flight, function() return deadline and deadline - M.mono(env) end)
		if note then awaited[note] = nil end
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
