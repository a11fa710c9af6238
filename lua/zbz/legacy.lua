--- The older calling style over a provider object or a cache: Get, Set, Delete, Exists ... on bytes. One warning per process.
local P = require("zbz.provider")

local M = {}

local CALLS = { Get = "get", Set = "set", Delete = "delete", Exists = "exists", GetMulti = "get_multi", SetMulti = "set_multi",
	DeleteMulti = "delete_multi", Keys = "keys", TTL = "ttl", Expire = "expire", Clear = "clear",
	Stats = "stats", Ping = "ping", Close = "close" }
local RAW = { get = "get_raw", set = "set_raw" }
local warned = false

--- Where the warning goes; a program may replace it.
function M.warn(text) io.stderr:write("zbz: ", text, "\n") end

---@param x zbz.Provider|zbz.Cache
function M.new(x)
	if not warned then
		warned = true
		M.warn("the calls of zbz.cache.legacy are deprecated; use zbz.cache.new and tables")
	end
	local out = {}
	for old, new in pairs(CALLS) do
		local op = not P.is(x) and RAW[new] or new
		local call = function(_, ...) return x[op](x, ...) end
		out[old], out[new] = call, call
	end
	return out
end

return M
