--- Schemas: what a record must look like, compiled once, checked before any I/O.
---
---   { id = "integer", name = "string", email = "string?" }        fields; "?" may be absent
---   { tags = {"string"}, home = { street = "string" } }            an array; a nested record
---   { scores = { ["*"] = "number" } }                               a map: any other key holds a number
---   { age = {"integer", min=0, max=150}, mail = {"string", email=true} }  rules
---   { ID = {"id", "integer"} }                                      ID in Lua, id where it is stored
local E = require("zbz.error")
local O = require("zbz.options")
local rules = require("zbz.schema_rules")

---@class zbz.Schema
---@field name string?
---@field check fun(self: zbz.Schema, v: any, lenient: boolean?): boolean?, zbz.Error?
---@field to_stored fun(self: zbz.Schema, v: any): any
---@field from_stored fun(self: zbz.Schema, v: any): any
---@field source table
local Schema = {}
Schema.__index = Schema

local MAX_DEPTH = 32

local function is_integer(v)
	if type(v) == "number" then return v == math.floor(v) and v >= -2 ^ 63 and v < 2 ^ 63 end
	return type(v) == "cdata" and (tostring(v):match("^%-?%d+U?LL$") ~= nil)
end

local is_type = {
	string = function(v) return type(v) == "string" end,
	integer = is_integer,
	number = function(v) return type(v) == "number" or is_integer(v) end,
	boolean = function(v) return type(v) == "boolean" end,
	table = function(v) return type(v) == "table" end,
	any = function() return true end,
}
local type_aliases = { int = "integer", float = "number", bool = "boolean", text = "string", bytes = "string",
	object = "table" }

local function describe(v)
	if type(v) == "number" and not is_integer(v) then return "number " .. tostring(v) end
	if type(v) == "userdata" then return "null" end
	return type(v)
end

local compile

local function bad(what, path) error(("schema: %s%s"):format(path ~= "" and path .. ": " or "", what), 0) end

--- A type written as text: "string", "integer?".
local function compile_name(text, path)
	local name, optional = text:match("^%s*([%a_]+)%s*(%??)%s*$")
	name = name and (type_aliases[name] or name)
	if not name or not is_type[name] then
		local known = {}
		for t in pairs(is_type) do known[#known + 1] = t end
		bad(O.unknown("type", text, known), path)
	end
	return { kind = "plain", type = name, is = is_type[name], optional = optional == "?" }
end

local function add_rule(node, name, arg, path)
	local list = {}
	for i, rule in ipairs(node.rules or {}) do list[i] = rule end
	list[#list + 1] = rules.compile(name, arg, path, bad)
	node.rules = list
end

--- Named entries of a spec are rules; numbered ones up to `first` were read already.
local function compile_rules(node, spec, first, path)
	for name, arg in pairs(spec) do
		if type(name) == "string" then
			if name == "optional" then
				node.optional = arg and true or false
			elseif name == "rule" then
				local list = type(arg) == "table" and arg or { arg }
				for _, rule in ipairs(list) do
					add_rule(node, rule, true, path)
				end
			else
				add_rule(node, name, arg, path)
			end
		elseif type(name) ~= "number" or name > first then
			bad("unexpected entry [" .. tostring(name) .. "]", path)
		end
	end
	if node.rules then table.sort(node.rules, function(a, b) return a.name < b.name end) end
	return node
end

--- {"id", "integer", min=1}: the type stands second, rules follow by name.
local function renamed(what, path, depth)
	local node = O.copy(compile(what[2], path, depth + 1))
	return compile_rules(node, what, 2, path)
end

local function compile_record(spec, path, depth)
	local node = { kind = "record", fields = {}, order = {} }
	for name, what in pairs(spec) do
		if type(name) ~= "string" then bad("field names are text, got [" .. tostring(name) .. "]", path) end
		local where = path == "" and name or path .. "." .. name
		if name == "*" then
			node.rest = compile(what, where, depth + 1)
		else
			local stored, field = name
			if type(what) == "table" and type(what[1]) == "string" and what[2] ~= nil and getmetatable(what) ~= Schema then
				stored = what[1]
				field = renamed(what, where, depth)
			else
				field = compile(what, where, depth + 1)
			end
			field = { node = field, stored = stored }
			if stored ~= name or field.node.renames then node.renames = true end
			node.fields[name] = field
			node.order[#node.order + 1] = name
		end
	end
	if node.rest and node.rest.renames then node.renames = true end
	table.sort(node.order)
	node.by_stored = {}
	for name, field in pairs(node.fields) do
		if node.by_stored[field.stored] then bad("two fields are stored as '" .. field.stored .. "'", path) end
		node.by_stored[field.stored] = name
	end
	return node
end

--- An array is written {"integer"}: one entry, no rules of its own on the entry unless the entry is itself a table.
function compile(spec, path, depth)
	if depth > MAX_DEPTH then bad("nested deeper than " .. MAX_DEPTH, path) end
	if type(spec) == "string" then return compile_name(spec, path) end
	if type(spec) ~= "table" then bad("expects a type name or a table, got " .. type(spec), path) end
	if getmetatable(spec) == Schema then return spec.node end
	local first = spec[1]
	if first == nil then return compile_record(spec, path, depth) end
	local only_entry = next(spec) == 1 and next(spec, 1) == nil
	if only_entry or type(first) == "table" or spec.array then
		local item = compile(first, path .. "[]", depth + 1)
		local node = { kind = "array", item = item, renames = item.renames }
		return compile_rules(node, O.copy(spec, { array = true }), 1, path)
	end
	if spec[2] ~= nil then bad("a type and rules by name are expected", path) end
	if type(first) ~= "string" then bad("expects a type name, got " .. type(first), path) end
	return compile_rules(compile_name(first, path), spec, 1, path)
end

-- ---- checking ------------------------------------------------------------------------------------------------------

local function fault(path, text) return { path = path, text = text } end
local function join(path, name) return path == "" and tostring(name) or path .. "." .. tostring(name) end

local walk

local function walk_rules(node, v, path)
	for _, rule in ipairs(node.rules) do
		local why = rule.check(v)
		if why then return fault(path, why) end
	end
end

local function walk_array(node, v, path, lenient)
	if type(v) ~= "table" then return fault(path, "expects an array, got " .. describe(v)) end
	local n = #v
	for k in pairs(v) do
		if type(k) ~= "number" or k < 1 or k > n or k ~= math.floor(k) then
			return fault(path, ("expects an array, found the key '%s'"):format(tostring(k)))
		end
	end
	for i = 1, n do
		local wrong = walk(node.item, v[i], path .. "[" .. i .. "]", lenient)
		if wrong then return wrong end
	end
end

local function walk_record(node, v, path, lenient)
	if type(v) ~= "table" then return fault(path, "expects a record, got " .. describe(v)) end
	for _, name in ipairs(node.order) do
		local field = node.fields[name]
		local wrong = walk(field.node, v[name], join(path, name), lenient)
		if wrong then return wrong end
	end
	for name, value in pairs(v) do
		if not node.fields[name] then
			if node.rest then
				local wrong = walk(node.rest, value, join(path, name), lenient)
				if wrong then return wrong end
			elseif not lenient then
				return fault(join(path, name), "is no field of the schema")
			end
		end
	end
end

function walk(node, v, path, lenient)
	if v == nil or (type(v) == "userdata" and node.type ~= "any") then
		if node.optional or v == nil and node.type == "any" then return nil end
		return fault(path, v == nil and "is missing" or "is null")
	end
	local wrong
	if node.kind == "plain" then
		if not node.is(v) then wrong = fault(path, ("expects %s, got %s"):format(node.type, describe(v))) end
	elseif node.kind == "array" then
		wrong = walk_array(node, v, path, lenient)
	else
		wrong = walk_record(node, v, path, lenient)
	end
	if wrong or not node.rules then return wrong end
	return walk_rules(node, v, path)
end

--- True, or nil and a type_mismatch whose `field` is the path of the wrong value. lenient: unknown fields are let through
--- (records read back may come from a newer program).
---@param v any
---@param lenient boolean?
---@return true?, zbz.Error?
function Schema:check(v, lenient)
	local wrong = walk(self.node, v, "", lenient)
	if not wrong then return true end
	local subject = wrong.path ~= "" and wrong.path or "the value"
	local text = ("%s %s"):format(subject, wrong.text)
	if self.name then text = text .. (" (schema %s)"):format(self.name) end
	return E.fail("type_mismatch", text, { field = wrong.path })
end

-- ---- renaming and whole numbers --------------------------------------------------------------------------------------

local function rename(node, v, back)
	if type(v) ~= "table" or not node.renames then return v end
	local out = setmetatable({}, getmetatable(v))
	if node.kind == "array" then
		for i = 1, #v do out[i] = rename(node.item, v[i], back) end
		return out
	end
	for name, value in pairs(v) do
		local known = back and node.by_stored[name] or name
		local field = node.fields[known]
		if field then
			out[back and known or field.stored] = rename(field.node, value, back)
		else
			out[name] = node.rest and rename(node.rest, value, back) or value
		end
	end
	return out
end

--- Decoders that know only floats give 5.0 for 5: an integer field gets its integer back.
local function whole(node, v)
	if node.kind == "plain" then
		if node.type == "integer" and type(v) == "number" and math.type and math.type(v) == "float" then
			return math.tointeger(v) or v
		end
	elseif type(v) == "table" then
		if node.kind == "array" then
			for i = 1, #v do v[i] = whole(node.item, v[i]) end
		else
			for name, field in pairs(node.fields) do
				if v[name] ~= nil then v[name] = whole(field.node, v[name]) end
			end
		end
	end
	return v
end

function Schema:to_stored(v) return self.node.renames and rename(self.node, v, false) or v end
function Schema:from_stored(v)
	if self.node.renames then v = rename(self.node, v, true) end
	return whole(self.node, v)
end
function Schema:__tostring() return "schema " .. (self.name or "without a name") end

---@class zbz.schema
---@overload fun(name: string|table, spec: table|string|nil): zbz.Schema
local M = {}

--- Compiles a schema; a wrong one raises and says where.
---@param name string|table  a name for messages, or the schema itself
---@param spec table|string|zbz.Schema|nil
---@param level integer? of the caller to blame, 2
---@return zbz.Schema
function M.compile(name, spec, level)
	if spec == nil then name, spec = nil, name end
	if getmetatable(spec) == Schema then
		if not name or name == spec.name then return spec end
		return setmetatable({ name = name, node = spec.node, source = spec.source }, Schema)
	end
	if name ~= nil and type(name) ~= "string" then error("schema: the name must be text", level or 2) end
	local ok, node = pcall(compile, spec, "", 1)
	if not ok then error(node, level or 2) end
	return setmetatable({ name = name, node = node, source = spec }, Schema)
end

--- Is it a compiled schema?
---@param x any
---@return boolean
function M.is(x) return getmetatable(x) == Schema end

--- Adds a rule usable in every schema by its name; fn(value, argument) returns true, or false and a reason.
---@param name string
---@param fn fun(v: any, arg: any): boolean, string?
function M.rule(name, fn) rules.add(name, fn) end

return setmetatable(M, { __call = function(_, name, spec) return M.compile(name, spec) end })
