--- The host this Lua state runs under: what poll, run and background work mean there. Set by zbz.use.
local M = { current = nil }

local function get()
	if not M.current then M.current = require("zbz.host.plain") end
	return M.current
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
