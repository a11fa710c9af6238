--- LuaJIT: log calls whose values are plain (texts, numbers, booleans, null) go through FFI, so that a loop which logs compiles. A
--- function is written for each bound event, and for the table form one for each message that comes with the same names again and
--- again: there it is not a walk over the table, which LuaJIT compiles badly or not at all, but a look at each name, after the number
--- of names was found right. Whatever is not plain, or not known yet, goes the way of the functions in C, whose answers are the same.
local core = require("zbz.core")

---@class zbz.ffi.log
---@field event fun(behind: function, box: userdata, count: integer): function, fun(on: boolean)
local M = { installed = false }

local jit = rawget(_G, "jit")
local have, ffi = pcall(require, "ffi")

if not have or not jit or not jit.status() or not core.doors then -- interpreted, FFI is the slower way
	function M.install() return false end
	function M.remove() end
	return M
end
M.installed = true

if not pcall(ffi.typeof, "zbz_log_door") then
	ffi.cdef([[
		typedef struct zbz_log_door { double serial, number[64]; const char *p[64]; uint32_t n[64]; uint8_t type[64]; } zbz_log_door;
		typedef int32_t (*zbz_door_log_event)(void *event, double serial, zbz_log_door *door);
		typedef int32_t (*zbz_door_log_fields)(void *shape, void *logger, int32_t level, const char *msg, uint32_t n, double serial,
			zbz_log_door *door);
	]])
end

local function at(what, name) return ffi.cast(what, ffi.cast("uintptr_t", core.doors[name])) end

local door = at("zbz_log_door *", "log_door")
local door_event, door_fields = at("zbz_door_log_event", "log_event"), at("zbz_door_log_fields", "log_fields")
local getmetatable, type, metatable_of = getmetatable, type, debug.getmetatable
local HERE = debug.getinfo(1, "S").source -- what is written here belongs to zbz: the place of a call is looked for further out


--- How many fields; OpenResty's LuaJIT can tell at once. Others compile a walk since 2021; before, the table form stays in C.
local counts, nkeys = pcall(require, "table.nkeys")
if not counts then
	nkeys = function(t)
		local n = 0
		for _ in next, t do n = n + 1 end
		return n
	end
	local told, vmdef = pcall(require, "jit.vmdef")
	for _, name in pairs(told and vmdef.ircall or {}) do counts = counts or tostring(name):find("lj_vm_next", 1, true) ~= nil end
end

-- ---- functions that are written ------------------------------------------------------------------------------------------------

--- What every one of them starts with: the record's arrays, which no access of these allocates for.
local HEAD = [[
local door, call, behind, box, null, type, getmetatable = ...
local number, p, n, kind = door.number, door.p, door.n, door.type
]]

--- Puts the value of variable v$i to place $i.
local PUT = [[
	t = type(v$i)
	if t == "string" then p[$i], n[$i], kind[$i] = v$i, #v$i, 5
	elseif t == "number" then number[$i], kind[$i] = v$i, 4
	elseif t == "boolean" then number[$i], kind[$i] = v$i and 1 or 0, 1
	elseif v$i == null then kind[$i] = 0
	else return $other end
]]

local function puts(count, null, other)
	local out = {}
	for i = 0, count - 1 do
		local text = PUT:gsub("v%$i == null", null):gsub("%$(%w+)", { i = tostring(i), other = other })
		out[i + 1] = text
	end
	return table.concat(out)
end

local function variables(count)
	local list = {}
	for i = 0, count - 1 do list[i + 1] = "v" .. i end
	return table.concat(list, ", ")
end

--- An event of `count` values. They are used once more after the call, or their strings could be collected before it.
local function event_source(count)
	local args = variables(count)
	return table.concat{ HEAD, "local on = true\nreturn function(", args, ")\n\tif not on then return end\n\tlocal serial, t = door.serial\n",
		puts(count, "(v$i == nil or v$i == null)", "behind(" .. args .. ")"),
		"\tif call(box, serial, door) ~= 0 then return behind(", args, ") end\nend, function(yes) on = yes end\n" }
end

--- The fields of one shape: true when the record was made. The values are used after the call for the same reason.
local function shape_source(names)
	local gets, values = {}, variables(#names)
	for i, name in ipairs(names) do gets[i] = ("fields[%q]"):format(name) end
	return table.concat{ HEAD, "return function(self, level, msg, fields)\n\tif getmetatable(fields) ~= nil then return false end\n",
		"\tlocal ", values, " = ", table.concat(gets, ", "), "\n\tlocal serial, t = door.serial\n", puts(#names, "v$i == null", "false"),
		"\tif call(box, self, level, msg, #msg, serial, door) == 0 then return true end\n\treturn false, ", values, "\nend\n" }
end

local function write(source, call, behind, box)
	return assert(loadstring(source, HERE))(door, call, behind, box, core.null, type, getmetatable)
end

local sources = {} -- of events, by the number of values

--- The event that core.log_event answered: a function of the values, and one that turns it on and off.
function M.event(behind, box, count)
	sources[count] = sources[count] or event_source(count)
	return write(sources[count], door_event, behind, box)
end

-- ---- the table form ------------------------------------------------------------------------------------------------------------

local NAMES, SHAPES, MESSAGES, UNKNOWN, MISSES = 40, 1000, 10000, 1000, 8

local shapes, shapes_n = {}, 0         -- functions by names
local plans, plans_n = {}, 0           -- by the number of fields, by message: functions, or false where they have failed too often
local seen, seen_n, patience = {}, 0, 20 * MESSAGES -- messages that are known from one call; messages made up for each call wear it out
local misses = {}
local none = core.log_shape()

local function sorted_names(fields)
	local names = {}
	for name, v in pairs(fields) do
		local kind = type(v)
		if type(name) ~= "string" or kind ~= "string" and kind ~= "number" and kind ~= "boolean" and v ~= core.null then return nil end
		names[#names + 1] = name
	end
	table.sort(names)
	return names
end

local function shape_of(fields)
	local names = sorted_names(fields)
	if not names then return nil end
	local id = {}
	for i, name in ipairs(names) do id[i] = #name .. ":" .. name end
	id = table.concat(id)
	if not shapes[id] and shapes_n < SHAPES then
		shapes[id] = write(shape_source(names), door_fields, nil, core.log_shape(unpack(names)))
		shapes_n = shapes_n + 1
	end
	return shapes[id]
end

--- After a call that no function was there for, or none that would do. A message that comes again gets one.
local function learn(count, msg, fields)
	local by = plans[count]
	if by and by[msg] ~= nil then
		misses[msg] = (misses[msg] or 0) + 1
		if misses[msg] >= MISSES then by[msg], misses[msg] = false, nil end
		return
	end
	if patience <= 0 or count == 0 or count > NAMES or plans_n >= MESSAGES or getmetatable(fields) ~= nil then return end
	patience = patience - 1
	if not seen[msg] then
		if seen_n >= UNKNOWN then seen, seen_n = {}, 0 end
		seen[msg], seen_n = true, seen_n + 1
		return
	end
	local shape = shape_of(fields)
	if not shape then return end
	plans[count] = by or {}
	plans[count][msg] = shape
	plans_n = plans_n + 1
end

local function write_record(self, level, msg, fields, behind)
	if fields == nil then
		if door_fields(none, self, level, msg, #msg, door.serial, door) ~= 0 then return behind(self, msg) end
		return
	elseif type(fields) ~= "table" or not counts then
		return behind(self, msg, fields)
	end
	local count = nkeys(fields)
	local by = plans[count]
	local plan = by and by[msg]
	if plan and plan(self, level, msg, fields) then return end
	if plan ~= false then learn(count, msg, fields) end
	return behind(self, msg, fields)
end

--- Without them everything goes through C again: loggers from the next configuration on, events made from then on.
function M.install()
	M.installed = true
	return true
end
function M.remove() M.installed = false end

--- The method of a level for loggers with that metatable.
function M.method(mt, level, behind)
	return function(self, msg, fields)
		if type(msg) ~= "string" or type(self) ~= "userdata" or metatable_of(self) ~= mt then return behind(self, msg, fields) end
		return write_record(self, level, msg, fields, behind)
	end
end

--- The same without a logger in front.
function M.plain(logger, level, behind)
	local function through(_, msg, fields) return behind(msg, fields) end
	return function(msg, fields, more)
		if type(msg) ~= "string" then return behind(msg, fields, more) end
		return write_record(logger, level, msg, fields, through)
	end
end

return M
