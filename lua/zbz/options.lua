--- Options, durations and arguments: one place that checks them, so that every message reads alike.
local core = require("zbz.core")
local E = require("zbz.error")

local M = {}

--- Number of edits between two short words (insert, delete, replace, swap of neighbours); optimal string alignment,
--- Damerau 1964.
local function distance(a, b)
	local before, last = nil, {}
	for j = 0, #b do last[j] = j end
	for i = 1, #a do
		local row = { [0] = i }
		for j = 1, #b do
			local same = a:byte(i) == b:byte(j)
			local best = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same and 0 or 1))
			if before and i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
				best = math.min(best, before[j - 2] + 1)
			end
			row[j] = best
		end
		before, last = last, row
	end
	return last[#b]
end

--- The known name most like `name`, or nil when none is close.
---@param name string
---@param known string[]
---@return string?
function M.nearest(name, known)
	local best, edits
	name = tostring(name):lower():sub(1, 64)
	for _, candidate in ipairs(known) do
		local d = distance(name, candidate:lower())
		if not edits or d < edits then best, edits = candidate, d end
	end
	if best and edits <= math.max(2, math.floor(#best / 3)) then return best end
	return nil
end

--- Text for an unknown name: the nearest match and all known ones.
function M.unknown(what, name, known)
	table.sort(known)
	local near = M.nearest(name, known)
	local hint = near and (", did you mean '%s'?"):format(near) or ""
	return ("unknown %s '%s'%s known: %s"):format(what, tostring(name), hint ~= "" and hint or ";", table.concat(known, " "))
end

--- Raises unless every key of `opts` is in `known` (a set). `opts` may be nil.
---@param opts table?
---@param known table<string, any>
---@param what string  "option of fetch"
---@param level integer stack level of the caller to blame
function M.check(opts, known, what, level)
	if opts == nil then return {} end
	if type(opts) ~= "table" then
		error(("zbz: %s: expects a table of options, got %s"):format(what, type(opts)), level + 1)
	end
	for name in pairs(opts) do
		if known[name] == nil then
			local names = {}
			for k in pairs(known) do names[#names + 1] = k end
			error("zbz: " .. M.unknown("option of " .. what, name, names), level + 1)
		end
	end
	return opts
end

--- Milliseconds of a duration option; nil when absent. Wrong text or type: nil, invalid_config naming the option.
--- A negative one raises; `prefix` begins that message.
---@return integer? ms, zbz.Error? err
function M.duration(opts, name, level, prefix)
	local v = opts[name]
	if v == nil then return nil end
	if type(v) == "number" and v < 0 or type(v) == "string" and v:match("^%s*%-") then
		error(("%s%s: a duration cannot be negative (got %s)"):format(prefix or "", name, tostring(v)), level + 1)
	end
	if type(v) ~= "number" and type(v) ~= "string" then
		return E.fail("invalid_config", ("%s: expects seconds or text such as \"30m\", got %s"):format(name, type(v)),
			{ option = name })
	end
	local ms, why = core.duration(v)
	if not ms then
		return E.fail("invalid_config", ("%s: %s"):format(name, E.line(why, 200)), { option = name })
	end
	return ms
end

--- The same for the arguments of a call of `op`: anything wrong raises.
---@return integer? ms
function M.duration_arg(v, name, op, level)
	if v == nil then return nil end
	local prefix = ("zbz: %s: "):format(op)
	local ms, err = M.duration({ [name] = v }, name, level + 1, prefix)
	if err then error(prefix .. err.message, level + 1) end
	return ms
end

--- A text option, or the default; another type is nil, invalid_config.
---@return string?, zbz.Error?
function M.text(opts, name, default)
	local v = opts[name]
	if v == nil then return default end
	if type(v) ~= "string" then
		return E.fail("invalid_config", ("%s: expects text, got %s"):format(name, type(v)), { option = name })
	end
	return v
end

--- A number between two bounds; nil when absent.
---@return number?, zbz.Error?
function M.fraction(opts, name, low, high)
	local v = opts[name]
	if v == nil then return nil end
	if type(v) ~= "number" or v ~= v or v < low or v > high then
		return E.fail("invalid_config", ("%s: expects a number from %g to %g, got %s"):format(name, low, high, tostring(v)),
			{ option = name })
	end
	return v
end

--- The first thing in a list that a walk over it would not come by: what has a name, or stands behind a hole. Said in words; nil: there
--- is none. `named`: names are allowed.
---@return string?
function M.overlooked(list, named)
	local n = 0
	while list[n + 1] ~= nil do n = n + 1 end
	for k in pairs(list) do
		local place = type(k) == "number" and k >= 1 and k <= n and k % 1 == 0
		if not place and not (named and type(k) == "string") then
			return ("expects a list without holes, and '%s' is no place in it"):format(tostring(k))
		end
	end
end

--- A shallow copy without the names in `without`.
function M.copy(opts, without)
	local out = {}
	for k, v in pairs(opts or {}) do
		if not (without and without[k]) then out[k] = v end
	end
	return out
end

--- Are they alike, tables by their content?
function M.same(a, b)
	if a == b then return true end
	if type(a) ~= "table" or type(b) ~= "table" then return false end
	for k, v in pairs(a) do
		if not M.same(v, b[k]) then return false end
	end
	for k in pairs(b) do
		if a[k] == nil then return false end
	end
	return true
end

return M
