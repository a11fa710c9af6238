--- Loggers: a name, methods per level that are swapped when levels change, bound events.
local core = require("zbz.core")
local E = require("zbz.error")
local O = require("zbz.options")
local S = require("zbz.log.state")
local rules = require("zbz.log.rules")
local doors = require("zbz.ffi.log")

local M = {}

local LEVELS = { "trace", "debug", "info", "warn", "error", "fatal" }
local ROOT = ""
M.LEVELS, M.ROOT = LEVELS, ROOT
--- Called with the root's functions of the module, by level, when they change.
function M.on_root() end

local function noop() end

--- No tail calls where a level is counted.
local function both(a, b) return a, b end

---@class zbz.Logger
local Logger = {}
local classes, known = {}, 0 -- by name: {handle=, methods=, events=}; they stay
local MOST = 10000


local function bit_set(mask, i) return math.floor(mask / 2 ^ i) % 2 == 1 end

--- caller and traceback are the binding's business: the nearest ancestor that says something.
local function habit(name, option)
	for _ = 1, 64 do
		local opts = name == ROOT and S.asked.root or S.asked.loggers[name]
		if opts and opts[option] ~= nil then return opts[option] end
		if name == ROOT then return nil end
		name = opts and opts.parent or name:match("^(.*)%.[^%.]*$") or ROOT
	end
end

local function refresh(class)
	local mask = core.log_mask(class.handle)
	local traceback = habit(class.name, "traceback")
	if traceback == true then traceback = "error" end
	local caller = habit(class.name, "caller") and true or false
	core.log_habits(class.handle, caller, traceback and core.log_level(traceback) or 0)
	local by_doors = doors.installed and class.doors and not caller and not traceback and not S.lua_looks
	for i, level in ipairs(LEVELS) do
		local method = by_doors and class.doors[level] or core.log_methods[level]
		class.methods[level] = bit_set(mask, i) and method or noop
	end
	for event in pairs(class.events) do event.set(bit_set(mask, event.level)) end
	if class.name == ROOT then
		local plain = by_doors and class.plain_doors or class.plain
		for i, level in ipairs(LEVELS) do M.on_root(level, bit_set(mask, i) and plain[i] or noop) end
	end
end

function S.changed()
	for _, class in pairs(classes) do refresh(class) end
end

local function add_doors(class, mt)
	if not doors.installed then return end
	class.doors, class.plain_doors = {}, {}
	for i, level in ipairs(LEVELS) do
		class.doors[level] = doors.method(mt, i, core.log_methods[level])
		if class.plain then class.plain_doors[i] = doors.plain(class.handle, i, class.plain[i]) end
	end
end

local function class_of(name)
	local class = classes[name]
	if class then return class end
	local methods = {}
	for k, v in pairs(Logger) do methods[k] = v end
	methods.with = core.log_methods.with
	class = { name = name, methods = methods, events = setmetatable({}, { __mode = "k" }) }
	local mt = { __index = methods, __name = "zbz.Logger", __metatable = false }
	function mt.__tostring() return ("zbz.Logger: %s"):format(name == ROOT and "(root)" or name) end
	class.handle = core.log_logger(name, mt)
	if name == ROOT then
		class.plain = {}
		for i in ipairs(LEVELS) do class.plain[i] = core.log_plain(class.handle, i) end
	end
	add_doors(class, mt)
	classes[name] = class
	known = known + 1
	refresh(class)
	return class
end

M.OPTIONS = { level = true, format = true, outputs = true, output = true, parent = true, sampling = true, rate_limit = true, dedup = true,
	caller = true, traceback = true }

function M.check_habits(opts, level)
	if opts.traceback ~= nil and type(opts.traceback) ~= "boolean" then
		local ok, err = rules.level(opts.traceback, "traceback")
		if not ok then return nil, err end
	end
	if opts.caller ~= nil and type(opts.caller) ~= "boolean" then error("zbz: log: caller: expects true or false", level + 1) end
	return true
end

--- A named logger; the same name gives the same one, options given again take the place of the former ones.
---@param name string
---@param opts zbz.LoggerOptions?
---@param level integer  of the caller to blame
---@return zbz.Logger?, zbz.Error?
function M.get(name, opts, level)
	if type(name) ~= "string" then error("zbz: log.logger: expects a name, got " .. type(name), level + 1) end
	if #name > 255 then error("zbz: log.logger: a name has at most 255 bytes", level + 1) end
	S.ensure()
	if known >= MOST and not classes[name] then
		local text = ("there are %d loggers: what changes from record to record belongs into a field"):format(known)
		return E.fail("too_large", text, { op = "logger" })
	end
	if opts ~= nil then
		O.check(opts, M.OPTIONS, "a logger", level + 1)
		local ok, err = M.check_habits(opts, level + 1)
		if not ok then return nil, err end
		local all, own = O.copy(S.asked.loggers), O.copy(opts)
		all[name] = own
		if name == ROOT and own.outputs == nil and own.output == nil then -- it has nobody to inherit them from
			own.outputs, own.output = S.asked.root.outputs, S.asked.root.output
		end
		ok, err = S.apply(S.with(name == ROOT and { root = own } or { loggers = all }), "logger")
		if not ok then return nil, err end
	end
	return class_of(name).handle
end

local function name_of(l, op, level)
	local ok, name = pcall(core.log_name, l)
	if not ok then error(("zbz: %s: a logger expected, got %s (call it with a colon)"):format(op, type(l)), level + 1) end
	return name
end

--- Changes some options of a logger: set{level="debug"}; others stay.
function M.set_option(name, option, v, op)
	if name == ROOT then
		local root = O.copy(S.asked.root)
		root[option] = v
		return both(S.apply(S.with{ root = root }, op))
	end
	local all = O.copy(S.asked.loggers)
	all[name] = O.copy(all[name])
	all[name][option] = v
	return both(S.apply(S.with{ loggers = all }, op))
end

--- At run time, for this logger and those that inherit from it. nil: as its parent; invalid_config for what is no level.
---@param level zbz.LogLevel|"off"|nil
---@return boolean?, zbz.Error?
function Logger:set_level(level) return M.set_option(name_of(self, "set_level", 2), "level", level, "set_level") end
--- Likewise.
---@param format zbz.LogFormat?
---@return boolean?, zbz.Error?
function Logger:set_format(format) return M.set_option(name_of(self, "set_format", 2), "format", format, "set_format") end
--- The one in force.
---@return zbz.LogLevel|"off"
function Logger:level() return select(2, core.log_mask(self)) end
--- "" for the root.
---@return string
function Logger:name() return core.log_name(self) end
--- Would a record of this level reach an output?
---@param level zbz.LogLevel
---@return boolean
function Logger:enabled(level)
	local rank = core.log_level(level)
	return rank and bit_set(core.log_mask(self), rank) or false
end
--- A logger below this one: ("a"):logger("b") is "a.b".
---@param name string
---@param opts zbz.LoggerOptions?
---@return zbz.Logger?, zbz.Error?
function Logger:logger(name, opts)
	local own = name_of(self, "logger", 2)
	return both(M.get(own == ROOT and name or own .. "." .. name, opts, 2))
end

-- ---- bound events --------------------------------------------------------------------------------------------------------------

--- rank, function, box, number of values
local function event(handle, level, msg, ...)
	if type(msg) ~= "table" then
		local fn, box = core.log_event(handle, 3, msg, ...)
		return 3, fn, box, select("#", ...)
	end
	local opts = msg
	for k in pairs(opts) do
		if type(k) ~= "number" and k ~= "level" then
			error("zbz: event: unknown option '" .. tostring(k) .. "'; known: level", level + 1)
		end
	end
	local rank = core.log_level(opts.level or "info")
	if type(rank) ~= "number" or rank > #LEVELS then
		error("zbz: event: unknown level '" .. tostring(opts.level) .. "'", level + 1)
	end
	local unpack = table.unpack or unpack -- luacheck: ignore 143
	local fn, box = core.log_event(handle, rank, unpack(opts))
	return rank, fn, box, #opts - 1
end

local keep = setmetatable({}, { __mode = "k" })

--- Through the doors, where there are any: there a call of C ends a trace, so one of a level that is off must not be one either.
local function switchable(class, rank, emit, box, count)
	if not doors.installed then return emit end
	local fn, set = doors.event(emit, box, count)
	local entry = { level = rank, set = set }
	class.events[entry] = true
	set(bit_set(core.log_mask(class.handle), rank))
	keep[fn] = entry -- as long as the program has the function
	return fn
end

--- A function of the values of some fields, their names compiled once:
---   local ev = l:event("user action", "user_id", "action");  ev(id, "login")
---   local ev = l:event{ level = "warn", "disk is filling", "path", "free" }
---@param msg string|table  or { level =, msg, names... }; level: info
---@param ... string  names of fields
---@return fun(...)  a value for each name
function Logger:event(msg, ...)
	local class = class_of(name_of(self, "event", 2))
	return switchable(class, event(self, 2, msg, ...))
end

--- Tells of what has been counted and not told yet.
function M.settle()
	for _, class in pairs(classes) do core.log_settle(class.handle) end
end

return M
