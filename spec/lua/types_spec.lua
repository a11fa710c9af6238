-- Annotations (LuaCATS) against the code: what programs may call is declared, each argument with its type, and what it gives.
local zbz = require("zbz")
local I = require("zbz.instance")
local core = require("zbz.core")
local proc = require("spec.services.proc")

--- "function Cache:get(k, opts) ..." with what stands above it.
local function declaration(line, block, owners)
	local owner, name, list = line:match("^function ([%w_]+)[.:]([%w_]+)%(([^)]*)%)")
	local class = owner and owners[owner]
	if not class or name:find("^__") then return end
	local text, missing = table.concat(block, "\n") .. "\n", {}
	for arg in list:gmatch("[%w_.]+") do
		if not text:find("%-%-%-@param " .. arg:gsub("%.", "%%.") .. "%??%s") then missing[#missing + 1] = arg end
	end
	return class, name, { missing = missing, gives = text:find("---@return", 1, true) ~= nil, said = text:find("%S") ~= nil }
end

--- Classes of the Lua part: { parents = {}, [name] = declaration } by their names; and the names of their fields.
local function read_classes()
	local classes, fields = {}, {}
	local function class_of(name)
		classes[name] = classes[name] or { parents = {} }
		return classes[name]
	end
	for path in proc.output("find lua/zbz -name '*.lua' | sort"):gmatch("[^\n]+") do
		local owners, block, last = {}, {}, nil
		for line in io.lines(path) do
			local name, parent = line:match("^%-%-%-@class ([%w_.]+)%s*:?%s*([%w_.]*)")
			local field = line:match("^%-%-%-@field ([%w_]+)%??%s+fun")
			if name then
				last = name
				fields[name] = fields[name] or {}
				if parent:find("^zbz") then table.insert(class_of(name).parents, parent) end
			elseif field and last then
				class_of(last)[field] = { missing = {}, gives = true, said = true, path = path }
			end
			local any = last and line:match("^%-%-%-@field ([%w_]+)")
			if any then fields[last][any] = true end
			local variable = line:match("^local ([%w_]+) =")
			if variable and last then owners[variable], last = last, nil end
			local class, fn, found = declaration(line, block, owners)
			if class then
				found.path = path
				local known = class_of(class)[fn]
				if not known or #known.missing > #found.missing or not known.gives and found.gives then class_of(class)[fn] = found end
			end
			if line:find("^%-%-%-") then block[#block + 1] = line else block = {} end
		end
	end
	return classes, fields
end

local classes, fields = read_classes()

local function find(class, name)
	local here = classes[class]
	if not here then return nil end
	if here[name] then return here[name] end
	for _, parent in ipairs(here.parents) do
		local found = find(parent, name)
		if found then return found end
	end
	return nil
end

--- Does the source of a function of ours return anything? nil for what is made by a loop or in C.
local function returns(fn)
	local info = debug.getinfo(fn, "S")
	if info.what ~= "Lua" then return nil end
	local n, first = 0, nil
	for line in io.lines(info.source:sub(2)) do
		n = n + 1
		if n == info.linedefined then first = line:find("^function ") ~= nil end
		if n > info.lastlinedefined then break end
		local what = first and n >= info.linedefined and line:match("return (.+)")
		if what and not what:find("^end%f[%W]") then return true end
	end
	return false
end

local function wrong_with(class, methods, names)
	local wrong = {}
	for name, fn in pairs(methods) do
		if type(fn) == "function" and type(name) == "string" and not name:find("^__") and (not names or names[name]) then
			local found = find(class, name)
			if not found then
				wrong[#wrong + 1] = ("%s.%s is not declared"):format(class, name)
			else
				if #found.missing > 0 then
					wrong[#wrong + 1] = ("%s.%s: no type of %s (%s)"):format(class, name, table.concat(found.missing, " "), found.path)
				end
				if not found.said then wrong[#wrong + 1] = ("%s.%s: nothing is said of it (%s)"):format(class, name, found.path) end
				if not found.gives and returns(fn) then
					wrong[#wrong + 1] = ("%s.%s: not said what it gives (%s)"):format(class, name, found.path)
				end
			end
		end
	end
	table.sort(wrong)
	return table.concat(wrong, "\n")
end

local function set(text)
	local out = {}
	for word in text:gmatch("%S+") do out[word] = true end
	return out
end

local KEYS = "get set add delete exists ttl expire incr decr get_with get_multi set_multi delete_multi fetch fetch_multi keys clear " ..
	"invalidate get_raw set_raw warm stats info name prefix get_struct set_struct get_struct_multi set_struct_multi"

describe("annotations", function()
	for name, methods in pairs{ ["zbz"] = zbz, ["zbz.cache"] = zbz.cache, ["zbz.log"] = zbz.log, ["zbz.watch"] = zbz.watch,
		["zbz.schema"] = zbz.schema, ["zbz.Cache"] = I.Cache, ["zbz.Watch"] = require("zbz.watch.handle").Watch,
		["zbz.Provider"] = require("zbz.provider").Provider } do
		it("are complete of " .. name, function() assert.are.equal("", wrong_with(name, methods)) end)
	end

	it("are complete of tables, made in C and in Lua", function()
		local names = set(KEYS)
		for _, methods in ipairs{ core.table_methods, require("zbz.table").Table } do
			local n = 0
			for name in pairs(names) do
				assert.are.equal("function", type(methods[name]), name)
				n = n + 1
			end
			assert.is_true(n > 25)
			assert.are.equal("", wrong_with("zbz.Table", methods, names))
		end
	end)

	it("are complete of loggers", function()
		local methods = debug.getmetatable(zbz.log.logger("types")).__index
		assert.are.equal("function", type(methods.info))
		assert.are.equal("", wrong_with("zbz.Logger", methods))
		zbz.log.close()
	end)

	it("are complete where a handle is made by hand", function()
		for class, names in pairs{
			["zbz.Contract"] = KEYS .. " with_key_prefix with_default_ttl with_serializer with_schema register close cache is_registered " ..
				"ping version capabilities supports native swap_provider provider_name config health",
			["zbz.Native"] = "command pipeline subscribe psubscribe publish list_push list_pop list_range set_add set_members provider_name",
			["zbz.Uri"] = "get set delete exists ttl expire add incr decr fetch invalidate keys with",
			["zbz.Schema"] = "check to_stored from_stored",
		} do
			local methods = {}
			for name in pairs(set(names)) do methods[name] = print end
			assert.are.equal("", wrong_with(class, methods))
		end
	end)

	it("name every option, and no other", function()
		for class, taken in pairs{
			["zbz.TableOptions"] = require("zbz.table_options").KNOWN, ["zbz.CacheOptions"] = I.OWN,
			["zbz.LoggerOptions"] = require("zbz.log.logger").OPTIONS,
		} do
			local alias = { default_ttl = "ttl", serialization = "serializer" }
			if class == "zbz.CacheOptions" then alias = { ttl = "default_ttl", serialization = "serializer" } end
			for name in pairs(taken) do assert.is_truthy(fields[class][alias[name] or name], class .. ": " .. name) end
			for name in pairs(fields[class]) do assert.is_truthy(taken[name], class .. ": " .. name) end
		end
	end)

	it("are looked at: what is missing is told", function()
		assert.matches("zbz.Cache.nonsense is not declared", wrong_with("zbz.Cache", { nonsense = print }))
		local class, name, found = declaration("function M.x(a, ...)", { "---@param a string" }, { M = "zbz.m" })
		assert.are.same({ "zbz.m", "x", { "..." } }, { class, name, found.missing })
	end)
end)
