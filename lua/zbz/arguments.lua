--- Arguments of table methods written in Lua, checked as the C ones are: what does not fit raises at the caller's line.
local O = require("zbz.options")

local M = {}

local WRITE = { ttl = true, only = true, if_version = true, deadline = true }
local TTL = { ttl = true, deadline = true }
local INCR = { initial = true, ttl = true, deadline = true }
local DEADLINE = { deadline = true }

local function raise(level, text, ...) error("zbz: " .. text:format(...), level + 1) end

---@param level integer stack level of the caller to blame, as in error()
function M.key(k, op, level)
	if type(k) ~= "string" then raise(level + 1, "%s: the key must be a string, got %s", op, type(k)) end
end

function M.keys(keys, op, level)
	if type(keys) ~= "table" then raise(level + 1, "%s: expects a list of keys, got %s", op, type(keys)) end
	for i = 1, #keys do
		if type(keys[i]) ~= "string" then raise(level + 1, "%s: keys must be strings, one is a %s", op, type(keys[i])) end
	end
end

function M.map(map, op, level)
	if type(map) ~= "table" then raise(level + 1, "%s: expects a map of keys and values, got %s", op, type(map)) end
	for k in pairs(map) do
		if type(k) ~= "string" then raise(level + 1, "%s: the key must be a string, got %s", op, type(k)) end
	end
end

function M.integer(n, op, name, level)
	if type(n) ~= "number" or n ~= math.floor(n) or n < -2 ^ 63 or n >= 2 ^ 63 then
		raise(level + 1, "%s: %s must be a whole number, got %s", op, name, type(n) == "number" and "another number" or type(n))
	end
	return math.tointeger and math.tointeger(n) or n
end

local function read(x, known, op, level)
	if x == nil then return {} end
	if type(x) == "number" or type(x) == "string" then return { ttl_ms = O.duration_arg(x, "ttl", op, level + 1) } end
	if type(x) ~= "table" then raise(level + 1, "%s: options must be a table, got %s", op, type(x)) end
	O.check(x, known, op, level + 1)
	local only = x.only
	if only ~= nil and only ~= "absent" and only ~= "present" then
		raise(level + 1, "%s: only must be \"absent\" or \"present\", got %s", op,
			type(only) == "string" and ("%q"):format(only) or tostring(only))
	end
	if x.if_version ~= nil and type(x.if_version) ~= "string" then
		raise(level + 1, "%s: if_version must be a version from get_with, got %s", op, type(x.if_version))
	end
	if only and x.if_version then raise(level + 1, "%s: only and if_version exclude each other", op) end
	return {
		ttl_ms = O.duration_arg(x.ttl, "ttl", op, level + 1), only = only, if_version = x.if_version,
		deadline_ms = O.duration_arg(x.deadline, "deadline", op, level + 1), initial = x.initial,
	}
end

--- A TTL, or a table of options: { ttl_ms, only, if_version, deadline_ms }.
--- (In parentheses: a tail call would drop a level.)
function M.write(x, op, level) return (read(x, WRITE, op, level + 1)) end
function M.ttl(x, op, level) return (read(x, TTL, op, level + 1)) end
function M.deadline(x, op, level)
	if x ~= nil and type(x) ~= "table" then raise(level + 1, "%s: options must be a table, got %s", op, type(x)) end
	return (read(x, DEADLINE, op, level + 1))
end
function M.incr(x, op, level)
	local o = read(x, INCR, op, level + 1)
	if o.initial ~= nil then o.initial = M.integer(o.initial, op, "initial", level + 1) end
	return o
end

return M
