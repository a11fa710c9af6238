--- Values of watches: copies that share nothing, and the paths at which two of them differ.
local M = {}

--- A copy whose tables are nobody else's. Metatables stay (they mark arrays); one table in two places stays one.
---@generic T
---@param v T
---@param seen table?
---@return T
function M.copy(v, seen)
	if type(v) ~= "table" then return v end
	seen = seen or {}
	if seen[v] then return seen[v] end
	local out = {}
	seen[v] = out
	for k, x in pairs(v) do out[k] = M.copy(x, seen) end
	return setmetatable(out, getmetatable(v))
end

--- "a.b", "list[2]", 'a["odd key"]'
local function join(path, key)
	if type(key) == "number" then return ("%s[%s]"):format(path, tostring(key)) end
	local text = tostring(key)
	if not text:find("^[%a_][%w_-]*$") then return ('%s["%s"]'):format(path, text) end
	return path == "" and text or path .. "." .. text
end

local function same_number(a, b) return a == b or a ~= a and b ~= b end

local function walk(a, b, path, out, seen)
	if type(a) ~= "table" or type(b) ~= "table" then
		if not same_number(a, b) then out[#out + 1] = path end
		return
	end
	if a == b or seen[a] == b then return end -- a pair on the way already: a value that holds itself
	seen[a] = b
	if getmetatable(a) ~= getmetatable(b) and (next(a) == nil or next(b) == nil) and next(a) == next(b) then
		out[#out + 1] = path -- [] and {}
	end
	for k, x in pairs(a) do walk(x, b[k], join(path, k), out, seen) end
	for k in pairs(b) do
		if a[k] == nil then out[#out + 1] = join(path, k) end
	end
	seen[a] = nil
end

--- The paths that differ, sorted; a part that was added or removed is one path; "" is the whole value.
---@return string[]
function M.changed(a, b)
	local out = {}
	walk(a, b, "", out, {})
	table.sort(out)
	return out
end

return M
