--- Errors are values: `nil, err` with a code to branch on and one readable line.
local core = require("zbz.core")

---@alias zbz.ErrorCode
---| "invalid_config" | "unknown_provider" | "not_configured" | "invalid_key" | "invalid_argument" | "type_mismatch"
---| "encode" | "decode" | "timeout" | "unavailable" | "unsupported" | "provider_mismatch" | "conflict" | "closed"
---| "locked" | "too_large" | "denied" | "corrupt" | "loader" | "internal"

---@class zbz.Error
---@field code zbz.ErrorCode
---@field message string     what happened, one line, never a secret
---@field op string?         the operation: "get", "fetch", "configure" ...
---@field provider string?   name of the provider or layer that failed
---@field table string?      name of the table
---@field key string?        the key, without prefix
---@field option string?     the option at fault (invalid_config)
---@field field string?      the path of the value at fault (type_mismatch, encode): "address.street", "tags[2]"
---@field retryable boolean  the same call may succeed later
---@field cause any          what is behind it: another error, a loader's error, a traceback
local Error = {}

local KNOWN = {}
for code in ([[invalid_config unknown_provider not_configured invalid_key invalid_argument type_mismatch encode decode timeout unavailable
	unsupported provider_mismatch conflict closed locked too_large denied corrupt loader internal]]):gmatch("%S+") do
	KNOWN[code] = true
end
local RETRYABLE = { timeout = true, unavailable = true, locked = true }

--- One line: control bytes and invalid text become "?", long text is cut.
local function line(text, limit)
	text = tostring(text):gsub("[%c\127]", "?")
	if #text > limit then text = text:sub(1, limit - 3) .. "..." end
	return text
end

local mt = core.error_mt
mt.__index = Error
mt.__name = "zbz.Error"

--- "timeout: no answer within 5s (get users:123, provider redis)"
function mt.__tostring(err)
	local where = {}
	local op = rawget(err, "op")
	local target = rawget(err, "table")
	local key = rawget(err, "key")
	if key ~= nil then
		target = (target and target ~= "") and target .. ":" .. tostring(key) or tostring(key)
	elseif target then
		target = "table " .. target
	end
	if op or target then where[#where + 1] = line((op or "") .. (op and target and " " or "") .. (target or ""), 160) end
	local option = rawget(err, "option")
	if option and not tostring(rawget(err, "message")):find(option, 1, true) then where[#where + 1] = "option " .. line(option, 40) end
	local provider = rawget(err, "provider")
	if provider and provider ~= "" then where[#where + 1] = "provider " .. line(provider, 40) end
	local text = line(rawget(err, "code") or "internal", 40) .. ": " .. line(rawget(err, "message") or "failed", 400)
	if #where > 0 then text = text .. " (" .. table.concat(where, ", ") .. ")" end
	return text
end

function mt.__concat(a, b) return tostring(a) .. tostring(b) end

local home = debug.getinfo(1, "S").source:match("^(@.*[/\\])error%.lua$")
if home then core.home(home) end

local M = { Error = Error, line = line }

--- Makes an error. `fields` (op, provider, table, key, cause ...) become fields of it.
---@param code zbz.ErrorCode
---@param message string
---@param fields table?
---@return zbz.Error
function M.new(code, message, fields)
	local err = { code = code, message = message, retryable = RETRYABLE[code] or false }
	if fields then
		for name, value in pairs(fields) do err[name] = value end
	end
	return setmetatable(err, mt)
end

---@param v any
---@return boolean
function M.is(v) return type(v) == "table" and getmetatable(v) == mt end

--- The usual end of a failing function: return E.fail("closed", "the cache is closed").
---@return nil, zbz.Error
function M.fail(code, message, fields) return nil, M.new(code, message, fields) end

--- Adds where it happened to an error that does not say yet; returns it.
---@param err zbz.Error
---@param fields table
---@return zbz.Error
function M.at(err, fields)
	if M.is(err) then
		for name, value in pairs(fields) do
			if rawget(err, name) == nil then err[name] = value end
		end
	end
	return err
end

--- Anything a foreign function gave as its error, as a zbz error.
---@param cause any
---@param code zbz.ErrorCode code for what is not a zbz error already
---@param fields table?
---@return zbz.Error
function M.wrap(cause, code, fields)
	if M.is(cause) then return fields and M.at(cause, fields) or cause end
	if type(cause) == "table" and (cause.message or cause.code) then
		local err = M.new(KNOWN[cause.code] and cause.code or code, line(cause.message or cause.code, 400), fields)
		err.cause = cause
		if cause.retryable ~= nil then err.retryable = cause.retryable and true or false end
		return err
	end
	local err = M.new(code, line(cause == nil and "failed without a reason" or cause, 400), fields)
	err.cause = cause
	return err
end

return M
