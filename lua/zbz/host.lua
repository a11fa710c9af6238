--- The host this Lua state runs under: what poll, run and background work mean there. Set by zbz.use.
local M = { current = nil }

local KNOWN = { plain = true, nginx = true, luv = true, cqueues = true, copas = true }

local function get()
	if not M.current then M.current = require("zbz.host.plain") end
	return M.current
end

--- Chooses the host by name; what it needs (the loop) is its own business.
---@return boolean?, zbz.Error?
function M.use(name, ...)
	local E = require("zbz.error")
	if not KNOWN[name] then
		return E.fail("unsupported", ("use: there is no host '%s'; known: plain nginx luv cqueues copas"):format(name),
			{ op = "use", option = name })
	end
	local host = require("zbz.host." .. name)
	if host.setup then
		local ok, err = host.setup(...)
		if not ok then return nil, err end
	end
	require("zbz.host.loop").install(name ~= "plain" and host or nil)
	M.current = host
	return true
end

--- Inside nginx its host is chosen without a word.
function M.detect()
	local ngx = rawget(_G, "ngx")
	if M.current or type(ngx) ~= "table" or type(ngx.get_phase) ~= "function" then return end
	local ok, err = M.use("nginx")
	if not ok then ngx.log(ngx.ERR, "zbz: calls will block the worker: ", tostring(err)) end
end

--- Why a call on this table could not wait here; nil when it can, or need not.
function M.hindrance(t)
	local host = M.current
	if not host or not host.blocked or require("zbz.core").inline(t.bytes or t) then return nil end
	return host.blocked()
end

--- For results of configuration: hosts whose program cannot show an error value may write it to their log. Returns what it got.
function M.told(v, err)
	local host = M.current
	if v == nil and err ~= nil and host and host.tell then host.tell(err) end
	return v, err
end

--- The counters of queued writes; nil where none are queued.
function M.queue()
	local host = M.current
	return host and host.queues and require("zbz.host.loop").writes or nil
end

--- Queues work for the next zbz.poll; false when the queue is full.
---@param fn fun()
---@return boolean
function M.defer(fn) return get().defer(fn) end
function M.poll(seconds) return get().poll(seconds) end
function M.run(seconds) return get().run(seconds) end
function M.stop() return get().stop() end
function M.name() return get().name end

return M
