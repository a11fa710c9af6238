--- nginx and OpenResty: every waiting call parks its light thread on a semaphore. One light thread per worker, the waker, reads
--- the doorbell and posts them. Found by itself when `ngx` is there; nothing starts before a worker's first call that waits.
local core = require("zbz.core")
local E = require("zbz.error")
local loop = require("zbz.host.loop")

local M = { name = "nginx" }

local ngx = rawget(_G, "ngx")
local semaphore

local CAN_WAIT = { rewrite = true, server_rewrite = true, access = true, content = true, timer = true, preread = true,
	ssl_cert = true, ssl_session_fetch = true, ssl_client_hello = true, precontent = true }
local FOREVER_S, FOREVER_MS = 86400 * 20, 86400 * 20 * 1000
local MAX_POOL = 1024

local START_MS = 500 -- a timer that has not begun by then was dropped: lua_max_running_timers

local LOOK_SECONDS, SWEEP_MS = 0.1, 4

local pool, running, starting, armed = {}, false, nil, false

function M.setup()
	ngx = rawget(_G, "ngx")
	if type(ngx) ~= "table" or not ngx.get_phase then
		return E.fail("unsupported", "use: this is no nginx with the lua module", { op = "use" })
	end
	local ok, found = pcall(require, "ngx.semaphore")
	if not ok then return E.fail("unsupported", "use: nginx: ngx.semaphore is missing (Debian: lua-resty-core): " .. E.line(found, 200)) end
	semaphore = found
	M.hear_of_kills()
	return true
end

-- ---- light threads that are no more ----------------------------------------------------------------------------------------------

local dead = setmetatable({}, { __mode = "k" })
local bounding = setmetatable({}, { __mode = "k" }) -- light threads that wait for one of their own: see M.bound
local looking = false

local KILL_SECONDS = 1

--- Nobody but its parent can kill a light thread: so one that is to be killed first does that with its own.
local function end_children(th)
	local b = bounding[th]
	if not b or not CAN_WAIT[ngx.get_phase()] or not core.can_yield() then return end
	b.ended = semaphore.new(0)
	b.done:post(1)
	b.ended:wait(KILL_SECONDS)
end

--- A light thread that was killed stays as it was, for nginx and for Lua: so ngx.thread.kill is made to tell.
function M.hear_of_kills()
	local kill = ngx.thread.kill
	if M.wrapped == kill then return end
	M.wrapped = function(th)
		end_children(th)
		local ok, err = kill(th)
		if ok then dead[th] = true end
		return ok, err
	end
	ngx.thread.kill = M.wrapped
end

function M.killed(co) return dead[co] end

local function look(premature, fn)
	looking = false
	if not fn() or premature then return end
	M.look_after(fn)
	local now = core.mono()
	repeat until collectgarbage("step") or core.mono() - now >= SWEEP_MS
end

--- Calls fn now and then while it answers true. What went with its request is found by the garbage collector, which is kept going for
--- as long, a little at a time.
function M.look_after(fn)
	if looking then return end
	looking = ngx.timer.at(LOOK_SECONDS, look, fn) and true or false
end

function M.blocked()
	local phase = ngx.get_phase()
	if CAN_WAIT[phase] then
		if core.can_yield() then return nil end
		return "nothing can wait inside require() or another function in C"
	end
	return ("the phase '%s' of nginx cannot wait; only memory tiers answer there (ngx.timer.at(0, ...) can wait)"):format(phase)
end

--- "init" and "init_worker": the loop does not run yet.
function M.phase() return ngx.get_phase() end

--- Does this Lua state live as long as its worker? One comes from the master, or is the worker's own, one for http and one for
--- stream; lua_code_cache off makes one more for every request.
function M.lasting() return core.ordinal <= 2 or core.inherited() end

--- Everywhere but before the workers are forked.
function M.queues() return ngx.get_phase() ~= "init" end

-- ---- the waker -----------------------------------------------------------------------------------------------------------------

--- When a worker begins to exit its pending timers fire at once: the waker then looks whether it may go.
local function arm_sentinel()
	if armed then return end
	armed = ngx.timer.at(86400, function(premature)
		armed = false
		if premature then return core.kick() end
		if running then arm_sentinel() end
	end) and true or false
end

local function connect()
	local path, err = core.listen()
	if not path then return nil, err end
	local sock = ngx.socket.tcp()
	sock:settimeouts(1000, 1000, FOREVER_MS)
	local ok, why = sock:connect("unix:" .. path)
	local fine, wrong = core.accept(path)
	if not ok then return nil, why end
	if not fine then return nil, wrong end
	return sock
end

--- May the waker go? When the worker exits and nobody asks for what is still under way; and in a state that is neither the master's (each
--- reload makes one) nor the worker's first (lua_code_cache off makes one for every request) as soon as nothing can arrive, or the waker
--- would keep it alive.
local function may_go()
	local flying, undrained, subscribed, _, unattended = core.under_way()
	if undrained > 0 then return false end
	if ngx.worker.exiting() then return flying <= unattended end
	return flying == 0 and core.ordinal > 1 and not core.inherited() and not subscribed
end

--- A light thread that was killed is forgotten by the garbage collector only: an exiting worker does not wait for its next cycle.
local function hasten()
	while running do
		collectgarbage()
		core.kick()
		ngx.sleep(0.2)
	end
end

local function serve(sock)
	local hastened = false
	while true do
		loop.drain(M)
		if may_go() then return end
		if ngx.worker.exiting() and not hastened then hastened = ngx.thread.spawn(hasten) end
		local _, err = sock:receiveany(64)
		if err and err ~= "timeout" then return err end
	end
end

--- Without a socket: looks every millisecond while a call is under way.
local function serve_polling()
	repeat
		ngx.sleep(0.001)
		loop.drain(M)
	until core.under_way() == 0
end

local function waker()
	if running then return end
	running, starting = true, nil
	local sock, err = connect()
	if sock then
		if M.lasting() and not ngx.worker.exiting() then arm_sentinel() end
		local why = serve(sock)
		sock:close()
		if why then ngx.log(ngx.ERR, "zbz: the wake socket ended: ", why) end
	else
		ngx.log(ngx.ERR, "zbz: no wake socket, polling instead: ", tostring(err))
		serve_polling()
	end
	running = false
	if core.under_way() > 0 and not may_go() then M.start() end
end

function M.start()
	if running or starting and core.mono() - starting < START_MS then return true end
	local ok, err = ngx.timer.at(0, function()
		if not loop.protected(waker) then running = false end
	end)
	starting = ok and core.mono() or nil
	local watches = package.loaded["zbz.watch.handle"]
	if ok and watches then watches.start_waiting() end -- made in init, before the fork
	return ok, err
end

-- ---- waiting -------------------------------------------------------------------------------------------------------------------

function M.waiter()
	local n = #pool
	local w = pool[n]
	if not w then return semaphore.new(0) end
	pool[n] = nil
	return w
end

--- A semaphore that was not posted in time is dropped: a late post must not wake its next owner.
function M.wait(w, seconds)
	if not w:wait(seconds or FOREVER_S) then return false end
	if #pool < MAX_POOL then pool[#pool + 1] = w end
	return true
end

function M.wake(w) w:post(1) end

--- fn() in a light thread of its own, killed when it has not ended by then. True when it has.
function M.bound(fn, seconds)
	local ended, done = false, semaphore.new(0)
	local th, err = ngx.thread.spawn(function()
		fn()
		ended = true
		done:post(1)
	end)
	if not th then return false, "no light thread for the loader: " .. tostring(err) end
	local me, b = coroutine.running(), { done = done }
	bounding[me] = b
	if not ended then done:wait(seconds) end
	bounding[me] = nil
	if not ended then ngx.thread.kill(th) end
	if b.ended then
		b.ended:post(1)
		semaphore.new(0):wait(KILL_SECONDS) -- here it is killed
	end
	if not ended then return false end
	ngx.thread.wait(th) -- or it would stay with the request until its end
	return true
end

function M.spawn(fn) return (ngx.timer.at(0, function() loop.protected(fn) end)) end

--- Work that can be left undone: an exiting worker does not begin it.
function M.defer(fn)
	return (ngx.timer.at(0, function(premature)
		if not premature then loop.protected(fn) end
	end))
end

--- A reload that fails in init_by_lua says "unknown error" of a thrown value that is no text, as assert() throws it.
function M.tell(err)
	if ngx.get_phase() == "init" then ngx.log(ngx.ERR, "zbz: ", tostring(err)) end
end

function M.report(err) ngx.log(ngx.ERR, E.is(err) and "zbz: " or "zbz: a callback failed: ", tostring(err)) end

function M.poll() return loop.drain(M) end
function M.run() return E.fail("unsupported", "run: nginx runs its loop itself", { op = "run" }) end
function M.stop() end

return M
