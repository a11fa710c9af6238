--- luv: calls inside a coroutine park it, the wake socket is a poll handle of the loop. The handle keeps the loop alive only while
--- a call is under way or zbz.run is running.
local core = require("zbz.core")
local E = require("zbz.error")
local O = require("zbz.options")
local loop = require("zbz.host.loop")

local M = { name = "luv" }

local uv, poll
local under_way, drained = 0, 0

--- uv_: the luv module, require("luv") when nil.
function M.setup(uv_)
	if uv_ == nil then
		local ok, found = pcall(require, "luv")
		if not ok then return E.fail("unsupported", "use: luv is not installed (Debian: lua-luv; LuaRocks: luv)", { op = "use" }) end
		uv_ = found
	end
	if type(uv_) ~= "table" or not uv_.new_poll then error("zbz: use: luv: expects the luv module", 4) end
	if uv_ == uv then return true end
	uv, poll, under_way = uv_, nil, 0
	return true
end

function M.start()
	if poll then return true end
	local fd, err = core.fd()
	if not fd then return nil, err end
	poll, err = uv.new_poll(fd)
	if not poll then return nil, err end
	poll:start("r", function() drained = drained + loop.drain(M) end)
	poll:unref()
	return true
end

function M.blocked() return loop.outside_coroutine("luv") end
function M.waiter() return { co = coroutine.running() } end

function M.wait(w, seconds)
	local timer
	if seconds then
		timer = uv.new_timer()
		timer:start(math.floor(seconds * 1000), 0, function()
			w.late = true
			loop.resume(w.co)
		end)
	end
	under_way = under_way + 1
	if under_way == 1 then poll:ref() end
	repeat coroutine.yield() until w.woken or w.late
	under_way = under_way - 1
	if under_way == 0 then poll:unref() end
	if timer then timer:close() end
	return w.woken or false
end

function M.wake(w)
	if w.late then return end
	w.woken = true
	loop.resume(w.co)
end

function M.spawn(fn)
	loop.resume(coroutine.create(fn))
	return true
end
M.defer = M.spawn

function M.poll(seconds)
	local ms = O.duration_arg(seconds or 0, "timeout", "poll", 2)
	local n = loop.drain(M)
	if n > 0 or ms == 0 then return n end
	local ok, err = M.start()
	if not ok then return nil, err end
	local late, timer = false, uv.new_timer()
	uv.update_time()
	timer:start(ms, 0, function() late = true end)
	drained = 0
	poll:ref()
	while drained == 0 and not late do uv.run("once") end
	if under_way == 0 then poll:unref() end
	timer:close()
	return drained
end

--- Runs the loop until zbz.stop(), SIGINT or SIGTERM, or for `seconds`.
function M.run(seconds)
	local ms = O.duration_arg(seconds, "timeout", "run", 2)
	local ok, err = M.start()
	if not ok then return nil, err end
	local stopped, handles = true, {}
	local function on_signal(name)
		stopped = name
		uv.stop()
	end
	for _, name in ipairs({ "sigint", "sigterm" }) do
		local h = uv.new_signal()
		h:start(name, function() on_signal(name:upper()) end)
		h:unref()
		handles[#handles + 1] = h
	end
	if ms then
		local timer = uv.new_timer()
		timer:start(ms, 0, function()
			stopped = false
			uv.stop()
		end)
		handles[#handles + 1] = timer
	end
	poll:ref()
	uv.run()
	if under_way == 0 then poll:unref() end
	for _, h in ipairs(handles) do h:close() end
	for _ = 1, 2 do uv.run("nowait") end -- a signal handle that is still closing at exit takes the process down
	if type(stopped) == "string" then return true, stopped end
	return stopped
end

function M.stop() uv.stop() end

return M
