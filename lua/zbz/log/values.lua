--- Values with a type that Lua has not: secrets, personal data, times, durations, bytes. {value} under a metatable that C knows.
local core = require("zbz.core")

local M = {}

local function kind(name, shown)
	local mt = { __name = "zbz.log." .. name, __metatable = false }
	function mt.__tostring(x) return shown and shown(rawget(x, 1)) or "***" end
	return mt
end

local mts = {
	secret = kind("secret"),
	pii = kind("pii"),
	time = kind("time", tostring),
	duration = kind("duration", function(s) return tostring(s) .. "s" end),
	bytes = kind("bytes", tostring),
}
core.log_wraps(mts)

--- zbz_guard in zbz/log.h
local HOW = { mask = 3, hash = 4, partial = 5, encrypt = 6 }

local function guarded(name, v, how)
	if how ~= nil and not HOW[how] then
		error(("zbz: log.%s: expects mask, hash, partial or encrypt, got %s"):format(name, tostring(how)), 3)
	end
	return setmetatable({ v, HOW[how] }, mts[name])
end

--- A value that no output ever sees, only "***" or what redact{secret=} says instead. `how`: this one otherwise; without the key
--- that it takes it is masked.
---@param how "mask"|"hash"|"partial"|"encrypt"|nil
function M.secret(v, how)
	local wrapped = guarded("secret", v, how)
	return wrapped
end
--- Personal data: shown as redact{pii=} says, masked unless told.
---@param how "mask"|"hash"|"partial"|"encrypt"|nil
function M.pii(v, how)
	local wrapped = guarded("pii", v, how)
	return wrapped
end
--- A moment, in seconds since 1970 with fraction; shown as 2026-01-31T12:00:00.5Z.
function M.time(seconds)
	if type(seconds) ~= "number" then error("zbz: log.time: expects seconds since 1970, got " .. type(seconds), 2) end
	return setmetatable({ seconds }, mts.time)
end
--- A duration, in seconds or as text ("1h30m"); shown as "42ms".
function M.duration(x)
	if type(x) == "string" then
		local ms, why = core.duration(x)
		if not ms then error("zbz: log.duration: " .. tostring(why), 2) end
		x = ms / 1000
	end
	if type(x) ~= "number" then error("zbz: log.duration: expects seconds or text, got " .. type(x), 2) end
	return setmetatable({ x }, mts.duration)
end
--- A duration in milliseconds.
function M.ms(n)
	if type(n) ~= "number" then error("zbz: log.ms: expects milliseconds, got " .. type(n), 2) end
	return setmetatable({ n / 1000 }, mts.duration)
end
--- Bytes that are no text, shown as base64.
function M.bytes(s)
	if type(s) ~= "string" then error("zbz: log.bytes: expects a string, got " .. type(s), 2) end
	return setmetatable({ s }, mts.bytes)
end

--- Its type, for processors: "secret" ..., or the Lua type; and the value inside.
function M.kind(v)
	local t = type(v)
	if t ~= "table" then return t, v end
	local mt = debug.getmetatable(v)
	for name, known in pairs(mts) do
		if mt == known then return name, rawget(v, 1) end
	end
	if mt == core.error_mt then return "error", v end
	return t, v
end

return M
