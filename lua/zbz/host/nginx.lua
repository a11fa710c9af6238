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

local pool, running = {}, false

function M.setup()
	ngx = rawget(_G, "ngx")
	if type(ngx) ~= "table" or not ngx.get_phase then
		return E.fail("unsupported", "use: this is no nginx with the lua module", { op = "use" })
	end
	local ok, found = pcall(require, "ngx.semaphore")
	if not ok then return E.fail("unsupported", "use: nginx: ngx.semaphore is missing (Debian: lua-resty-core): " .. E.line(found, 200)) end
	semaphore = found
	return true
end

function M.blocked()
	local phase = ngx.get_phase()
	if CAN_WAIT[phase] then return nil end
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
	ngx.timer.at(86400, function(premature)
		if premature then return core.kick() end
		if running then arm_sentinel() end
	end)
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

--- May the waker go? When the worker exits; and in a state that is not the worker's first (lua_code_cache off makes one for every
--- request) as soon as nothing can arrive, or the waker would keep it alive.
local function may_go()
	local flying, undrained, subscribed = core.under_way()
	if flying + undrained > 0 then return false end
	return ngx.worker.exiting() or core.ordinal > 1 and not subscribed
end

local function serve(sock)
	while true do
		loop.drain(M)
		if may_go() then return end
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
	if core.under_way() > 0 then M.start() end
end

function M.start()
	if running then return true end
	local ok, err = ngx.timer.at(0, function()
		if not loop.protected(waker) then running = false end
	end)
	running = ok and true or false
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

function M.spawn(fn) return (ngx.timer.at(0, function() loop.protected(fn) end)) end
M.defer = M.spawn

function M.report(err) ngx.log(ngx.ERR, "zbz: a callback failed: ", tostring(err)) end

function M.poll() return loop.drain(M) end
function M.run() return E.fail("unsupported", "run: nginx runs its loop itself", { op = "run" }) end
function M.stop() end

return M
