--- Copies of decoded values, which are trees. A small one gets a function written for its shape, which makes the whole table at once
--- where a loop would grow it key by key, out of a flat list of its leaves.
local core = require("zbz.core")

local M = {}

local MOST_FIELDS, MOST_DEPTH, MOST_SHAPES = 64, 8, 256

local load_text = loadstring or load -- luacheck: ignore 113
local array_mt = core.array_mt
local jit = rawget(_G, "jit")

--- Any tree.
local function deep(v)
	local out = {}
	for k, x in next, v do
		if type(x) == "table" then x = deep(x) end
		out[k] = x
	end
	local mt = getmetatable(v)
	if mt ~= nil then setmetatable(out, mt) end
	return out
end
M.deep = deep

-- ---- copiers by shape ------------------------------------------------------------------------------------------------------------

local shapes, known = {}, 0

--- The keys in an order that equal shapes share: 1..n, then text. nil: a table that this is not for.
local function keys_of(v)
	local n, names, count = #v, {}, 0
	for k in next, v do
		count = count + 1
		if type(k) == "string" then
			names[#names + 1] = k
		elseif type(k) ~= "number" or k < 1 or k > n or k ~= math.floor(k) then
			return nil
		end
	end
	if count > MOST_FIELDS or count ~= n + #names then return nil end
	table.sort(names)
	return n, names
end

--- Writes the making of a table like v out of the list `v` of its leaves; the local that holds it, or nil. w.leaves: those of this v.
local function write(w, v, depth)
	local n, names = keys_of(v)
	local mt = getmetatable(v)
	if not n or depth > MOST_DEPTH or (mt ~= nil and mt ~= array_mt) then return nil end
	w.fields, w.tables = w.fields + n + #names, w.tables + 1
	if w.fields > MOST_FIELDS then return nil end
	local to = "t" .. w.tables
	local places, fields = {}, {}
	for i = 1, n do places[i] = ("[%d]"):format(i) end
	for _, name in ipairs(names) do places[#places + 1] = ("[%q]"):format(name) end
	for i, place in ipairs(places) do
		local x = v[i <= n and i or names[i - n]]
		local value
		if type(x) == "table" then
			value = write(w, x, depth + 1)
			if not value then return nil end
		else
			w.leaves[#w.leaves + 1] = x
			value = ("v[%d]"):format(#w.leaves)
		end
		fields[i] = { i <= n and "" or place .. " = ", value, place }
	end
	-- LuaJIT copies a table of constants as a block, and then only has to set its fields
	local items, after = {}, {}
	for i, f in ipairs(fields) do
		items[i] = f[1] .. (jit and "0" or f[2])
		if jit then after[i] = ("%s%s = %s"):format(to, f[3], f[2]) end
	end
	w.lines[#w.lines + 1] = ("local %s = {%s}"):format(to, table.concat(items, ", "))
	for _, line in ipairs(after) do w.lines[#w.lines + 1] = line end
	if mt then w.lines[#w.lines + 1] = ("setmetatable(%s, array_mt)"):format(to) end
	return to
end

local function compile(v)
	local w = { lines = {}, leaves = { false }, fields = 0, tables = 0 }
	local to = write(w, v, 1)
	if not to then return nil end
	local text = ("local setmetatable, array_mt = ...\nreturn function(v)\n%s\nreturn %s\nend"):format(table.concat(w.lines, "\n"), to)
	local fn = shapes[text]
	if not fn and known < MOST_SHAPES then
		local chunk = load_text(text, "=zbz copy")
		fn = chunk and chunk(setmetatable, array_mt)
		shapes[text], known = fn, known + 1
	end
	return fn, w.leaves
end

local function of_tree(mould) return deep(mould[2]) end

--- What to keep of a table that nobody changes any more, to make copies from: `mould[1](mould)` makes one. Behind its first item stand the
--- leaves, side by side in one or two lines of a processor's cache, where the tree itself would be all over the heap.
---@param v table
---@return table mould
function M.mould(v)
	local fn, leaves = compile(v)
	if not fn then return { of_tree, v } end
	leaves[1] = fn
	return leaves
end

return M
