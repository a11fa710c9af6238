--- zbz.log: loggers by name, outputs by configuration.
---
---   zbz.log.configure{ level = "info", outputs = { { type = "console" } } }
---   zbz.log.info("user action", { action = "login" })
---   local audit = zbz.log.logger("user-events", { outputs = { { type = "file", path = "audit.log" } } })
local core = require("zbz.core")
local E = require("zbz.error")
local O = require("zbz.options")
local deliver = require("zbz.log.deliver")
local outputs = require("zbz.log.outputs")
local rules = require("zbz.log.rules")
local values = require("zbz.log.values")

---@class zbz.log
local M = { secret = values.secret, pii = values.pii, time = values.time, duration = values.duration, ms = values.ms, bytes = values.bytes }

local LEVELS = { "trace", "debug", "info", "warn", "error", "fatal" }
local ROOT = ""

local function noop() end

local function fail(option, text) return E.fail("invalid_config", ("%s: %s"):format(option, text), { option = option }) end

--- No tail calls where a level is counted.
local function both(a, b) return a, b end

-- ---- what is configured -----------------------------------------------------------------------------------------------------

--- Everything that was asked for, as it was written; a change makes a new one and puts it in place when it stands.
local state = { declared = {}, root = {}, loggers = {}, routes = {}, redact = nil, listener = nil, durations = nil, max_record = nil }
local standing = { byname = {}, list = {} }
local configured = false

local DURATIONS = { "latency", "*_latency", "duration", "elapsed", "took" }

local function default_level() return os.getenv("LOG_LEVEL") or "info" end
local function default_format()
	local f = os.getenv("LOG_FORMAT")
	return f ~= "" and f or nil
end

local function limits(opts, out)
	local s = opts.sampling
	if s == false then out.sample_first = -1
	elseif s ~= nil then
		if type(s) ~= "table" then return fail("sampling", "expects {initial=, thereafter=}, got " .. type(s)) end
		O.check(s, { initial = true, thereafter = true }, "sampling", 1)
		local first, after = s.initial or 100, s.thereafter or 0
		if type(first) ~= "number" or first < 1 or type(after) ~= "number" or after < 0 then
			return fail("sampling", "initial and thereafter are whole numbers, initial at least 1")
		end
		out.sample_first, out.sample_then = math.floor(first), math.floor(after)
	end
	local r = opts.rate_limit
	if r == false then out.rate = -1
	elseif r ~= nil then
		local rate, burst = r, nil
		if type(r) == "table" then rate, burst = r.rate, r.burst end
		if type(rate) == "string" then rate = tonumber((rate:match("^%s*(%d+)%s*/%s*s%s*$"))) end
		if type(rate) ~= "number" or rate < 1 then return fail("rate_limit", "expects records a second: 100, \"100/s\" or {rate=, burst=}") end
		out.rate, out.burst = math.floor(rate), burst and math.floor(burst) or nil
	end
	local d = opts.dedup
	if d == false then out.dedup_ms = -1
	elseif d ~= nil then
		local ms, err = O.duration({ dedup = d == true and "1s" or d }, "dedup", 2)
		if err then return nil, err end
		out.dedup_ms = ms
	end
	return true
end

--- One logger's options as C takes them.
local function flat_logger(set, name, opts)
	local out, err = { name = name }, nil
	if opts.level ~= nil then
		out.level, err = rules.level(opts.level, "level")
		if err then return nil, err end
	end
	if opts.format ~= nil then
		if type(opts.format) == "function" then return fail("format", "a function formats for an output: outputs = { { ..., format = fn } }") end
		out.format, err = rules.format(opts.format, "format")
		if err then return nil, err end
	end
	if opts.parent ~= nil then
		if type(opts.parent) ~= "string" then return fail("parent", "expects the name of a logger") end
		out.parent = opts.parent
	end
	local own = opts.outputs
	if own == nil then own = opts.output end
	if own ~= nil then
		out.outputs, err = set.names(own, "outputs", name ~= ROOT and name .. "/" or nil)
		if err then return nil, err end
	end
	local ok
	ok, err = limits(opts, out)
	if not ok then return nil, err end
	return out
end

local function declare(set, declared)
	local names = {}
	for name in pairs(declared) do names[#names + 1] = name end
	table.sort(names)
	for _, name in ipairs(names) do
		local ok, err = set.add(declared[name], name, "outputs")
		if not ok then return nil, err end
	end
	return true
end

local function flat_routes(set, routes)
	local list = {}
	for i, r in ipairs(routes) do
		local names, err = set.names(r.to, ("routes[%d].to"):format(i))
		if not names then return nil, err end
		list[i] = { logger = r.logger, lowest = r.lowest, highest = r.highest, where = r.where, outputs = names }
	end
	return list
end

--- Settings for C of a state, and its set of outputs; nil, err.
local function build(new, set)
	local ok, err = declare(set, new.declared)
	if not ok then return nil, err end
	local s = { outputs = {}, loggers = {}, max_record = new.max_record }
	s.loggers[1], err = flat_logger(set, ROOT, new.root)
	if err then return nil, err end
	for name, opts in pairs(new.loggers) do
		local flat
		flat, err = flat_logger(set, name, opts)
		if not flat then
			err.message = ("logger '%s': %s"):format(name, err.message)
			return nil, err
		end
		s.loggers[#s.loggers + 1] = flat
	end
	s.routes, err = flat_routes(set, new.routes)
	if err then return nil, err end
	for i, out in ipairs(set.list) do
		s.outputs[i] = { name = out.name, output = not out.formatter and out.handle or nil, format = out.format, human = out.human,
			colour = out.colour, level = out.level, where = out.where, metadata = out.metadata }
	end
	if new.listener then s.outputs[#s.outputs + 1] = { name = "\0listener", always = true } end
	local redact = new.redact or {}
	s.redact, s.scan, s.secret, s.pii, s.key = redact.redact, redact.scan, redact.secret, redact.pii, redact.key
	s.durations = new.durations == false and {} or new.durations or DURATIONS
	s.duration_ms = new.duration_ms
	return s
end

local refresh_all

--- Puts a new state in place, or changes nothing: true or nil, err.
local function apply(new, op)
	local set = outputs.set(standing.byname)
	local fine, settings, err = pcall(build, new, set)
	local ok
	if not fine then
		set.undo()
		error(settings, 0)
	end
	if settings then ok, err = core.log_configure(settings) end
	if not ok then
		set.undo()
		return nil, E.is(err) and E.at(err, { op = op }) or err
	end
	local old = standing
	standing, state, configured = set, new, true
	deliver.outputs = {}
	for i, out in ipairs(set.list) do
		if not out.handle or out.formatter then deliver.outputs[i] = out end
	end
	if new.listener then deliver.outputs[#set.list + 1] = { fn = function(_, record) new.listener(record) end } end
	deliver.patterns = new.redact and new.redact.patterns or {}
	core.log_modes(next(deliver.outputs) ~= nil, next(deliver.processors) ~= nil or #deliver.patterns > 0)
	for name, out in pairs(old.byname) do
		if set.byname[name] ~= out and out.handle then out.handle:close() end
	end
	refresh_all()
	return true
end

local function changed(changes)
	local new = {}
	for k, v in pairs(state) do new[k] = v end
	for k, v in pairs(changes) do new[k] = v end
	return new
end

--- Without a configuration records go to the console.
local function ensure()
	if configured then return end
	local ok, err = apply(changed{ root = { level = default_level(), format = default_format(), outputs = state.root.outputs or "console" } }, "configure")
	if not ok then
		io.stderr:write("zbz: log: ", tostring(err), "\n")
		assert(apply(changed{ root = { outputs = "console" } }, "configure"))
	end
end

-- ---- loggers ------------------------------------------------------------------------------------------------------------------

---@class zbz.Logger
local Logger = {}
local classes = {} -- by name: {handle=, methods=, events=}

local is_jit = rawget(_G, "jit") ~= nil

local function bit_set(mask, i) return math.floor(mask / 2 ^ i) % 2 == 1 end

--- caller and traceback are the binding's business: the nearest ancestor that says something.
local function habit(name, option)
	for _ = 1, 64 do
		local opts = name == ROOT and state.root or state.loggers[name]
		if opts and opts[option] ~= nil then return opts[option] end
		if name == ROOT then return nil end
		name = opts and opts.parent or name:match("^(.*)%.[^%.]*$") or ROOT
	end
end

local function refresh(class)
	local mask = core.log_mask(class.handle)
	local traceback = habit(class.name, "traceback")
	if traceback == true then traceback = "error" end
	core.log_habits(class.handle, habit(class.name, "caller") and true or false, traceback and core.log_level(traceback) or 0)
	for i, level in ipairs(LEVELS) do class.methods[level] = bit_set(mask, i) and core.log_methods[level] or noop end
	for event in pairs(class.events) do event.set(bit_set(mask, event.level)) end
	if class.name == ROOT then
		for i, level in ipairs(LEVELS) do M[level] = bit_set(mask, i) and class.plain[i] or noop end
	end
end

function refresh_all()
	for _, class in pairs(classes) do refresh(class) end
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
	classes[name] = class
	refresh(class)
	return class
end

local LOGGER = { level = true, format = true, outputs = true, output = true, parent = true, sampling = true, rate_limit = true, dedup = true,
	caller = true, traceback = true }

local function check_habits(opts, level)
	if opts.traceback ~= nil and type(opts.traceback) ~= "boolean" then
		local ok, err = rules.level(opts.traceback, "traceback")
		if not ok then return nil, err end
	end
	if opts.caller ~= nil and type(opts.caller) ~= "boolean" then error("zbz: log: caller: expects true or false", level + 1) end
	return true
end

--- A named logger; the same name gives the same one, options given again take the place of the former ones.
---@param name string
---@param opts table?  level, format, outputs, parent, sampling, rate_limit, dedup, caller, traceback
---@return zbz.Logger?, zbz.Error?
local function logger(name, opts, level)
	if type(name) ~= "string" then error("zbz: log.logger: expects a name, got " .. type(name), level + 1) end
	if #name > 255 then error("zbz: log.logger: a name has at most 255 bytes", level + 1) end
	ensure()
	if opts ~= nil then
		O.check(opts, LOGGER, "a logger", level + 1)
		local ok, err = check_habits(opts, level + 1)
		if not ok then return nil, err end
		local all = O.copy(state.loggers)
		all[name] = O.copy(opts)
		ok, err = apply(name == ROOT and changed{ root = O.copy(opts) } or changed{ loggers = all }, "logger")
		if not ok then return nil, err end
	end
	return class_of(name).handle
end
function M.logger(name, opts) return both(logger(name, opts, 2)) end

local function name_of(l, op, level)
	local ok, name = pcall(core.log_name, l)
	if not ok then error(("zbz: %s: a logger expected, got %s (call it with a colon)"):format(op, type(l)), level + 1) end
	return name
end

--- Changes some options of a logger: set{level="debug"}; others stay.
local function set_option(name, option, v, op)
	if name == ROOT then
		local root = O.copy(state.root)
		root[option] = v
		return both(apply(changed{ root = root }, op))
	end
	local all = O.copy(state.loggers)
	all[name] = O.copy(all[name])
	all[name][option] = v
	return both(apply(changed{ loggers = all }, op))
end

--- At run time, for this logger and those that inherit from it.
---@return boolean?, zbz.Error?
function Logger:set_level(level) return set_option(name_of(self, "set_level", 2), "level", level, "set_level") end
function Logger:set_format(format) return set_option(name_of(self, "set_format", 2), "format", format, "set_format") end
---@return string
function Logger:level() return select(2, core.log_mask(self)) end
---@return string
function Logger:name() return core.log_name(self) end
--- Would a record of this level reach an output?
---@return boolean
function Logger:enabled(level)
	local rank = core.log_level(level)
	return rank and bit_set(core.log_mask(self), rank) or false
end
--- A logger below this one: ("a"):logger("b") is "a.b".
function Logger:logger(name, opts)
	local own = name_of(self, "logger", 2)
	return both(logger(own == ROOT and name or own .. "." .. name, opts, 2))
end

-- ---- bound events --------------------------------------------------------------------------------------------------------------

local function event(handle, level, msg, ...)
	if type(msg) == "table" then
		local opts = msg
		for k in pairs(opts) do
			if type(k) ~= "number" and k ~= "level" then error("zbz: event: unknown option '" .. tostring(k) .. "'; known: level", level + 1) end
		end
		local rank = core.log_level(opts.level or "info")
		if type(rank) ~= "number" or rank > #LEVELS then error("zbz: event: unknown level '" .. tostring(opts.level) .. "'", level + 1) end
		local unpack = table.unpack or unpack -- luacheck: ignore 143
		return rank, core.log_event(handle, rank, unpack(opts))
	end
	return 3, core.log_event(handle, 3, msg, ...)
end

--- On LuaJIT a call of C ends a trace: there a disabled event must not be one.
local function switchable(class, rank, emit)
	if not is_jit then return emit end
	local now = emit
	local function fn(...) return now(...) end
	local entry = { level = rank, set = function(on) now = on and emit or noop end }
	class.events[entry] = true
	entry.set(bit_set(core.log_mask(class.handle), rank))
	M.keep[fn] = entry -- as long as the program has the function
	return fn
end
M.keep = setmetatable({}, { __mode = "k" })

--- A function of the values of some fields, their names compiled once:
---   local ev = l:event("user action", "user_id", "action");  ev(id, "login")
---   local ev = l:event{ level = "warn", "disk is filling", "path", "free" }
---@return fun(...)
function Logger:event(msg, ...)
	local class = class_of(name_of(self, "event", 2))
	return switchable(class, event(self, 2, msg, ...))
end

-- ---- the module's own calls ---------------------------------------------------------------------------------------------------

local function root() ensure(); return class_of(ROOT).handle end

--- Before the first use nothing is open: these open the default and step aside.
for _, level in ipairs(LEVELS) do
	M[level] = function(...)
		root()
		return M[level](...)
	end
end

--- A logger with further fields on every record. traceparent (W3C) becomes trace_id and span_id.
---@return zbz.Logger
function M.with(fields, more)
	if fields == M then fields = more end
	return root():with(fields)
end
function M.event(...)
	local first = ...
	if first == M then return root():event(select(2, ...)) end
	return root():event(...)
end
function M.set_level(level) root(); return both(set_option(ROOT, "level", level, "set_level")) end
function M.set_format(format) root(); return both(set_option(ROOT, "format", format, "set_format")) end
function M.level() return root():level() end
function M.enabled(level) return root():enabled(level) end

-- ---- configuration ------------------------------------------------------------------------------------------------------------

local CONFIGURE = { outputs = true, output = true, loggers = true, routes = true, redact = true, durations = true, duration_format = true,
	max_record = true, name = true }
for k in pairs(LOGGER) do CONFIGURE[k] = true end

local function read_routes(list, level)
	if type(list) ~= "table" then error("zbz: log.routes: expects a table, got " .. type(list), level + 1) end
	local flat = {}
	for i, r in ipairs(rules.route_list(list)) do
		local one, err = rules.route(r, i, level + 1)
		if not one then return nil, err end
		flat[i] = one
	end
	return flat
end

--- Root options of `opts`, and the outputs that are declared by name.
local function split_outputs(opts, new)
	local root_opts = {}
	for k in pairs(LOGGER) do root_opts[k] = opts[k] end
	local list = {}
	if type(opts.outputs) == "table" and opts.outputs.type == nil then
		for i, x in ipairs(opts.outputs) do list[i] = x end
		for name, x in pairs(opts.outputs) do
			if type(name) == "string" then new.declared[name] = x end
		end
		root_opts.outputs = list
	end
	if root_opts.outputs == nil and root_opts.output == nil then root_opts.outputs = "console" end
	if root_opts.level == nil then root_opts.level = default_level() end
	if root_opts.format == nil then root_opts.format = default_format() end
	return root_opts
end

local function read_misc(opts, new, level)
	local err
	if opts.routes ~= nil then
		new.routes, err = read_routes(opts.routes, level + 1)
		if err then return nil, err end
	end
	if opts.redact ~= nil then
		if opts.redact == false then new.redact = nil
		else
			new.redact, err = rules.redaction(opts.redact, level + 1)
			if err then return nil, err end
		end
	end
	if opts.duration_format ~= nil then
		if opts.duration_format ~= "text" and opts.duration_format ~= "ms" then return fail("duration_format", "expects \"text\" or \"ms\"") end
		new.duration_ms = opts.duration_format == "ms"
	end
	if opts.durations ~= nil and opts.durations ~= false and type(opts.durations) ~= "table" then
		return fail("durations", "expects a list of names, or false")
	end
	new.durations = opts.durations
	if opts.max_record ~= nil then
		local size, why = core.size(opts.max_record)
		if not size then return fail("max_record", tostring(why)) end
		new.max_record = size
	end
	return true
end

local function configure(opts, level)
	O.check(opts, CONFIGURE, "log.configure", level + 1)
	local new = changed{ declared = {}, routes = {} }
	new.max_record, new.duration_ms = nil, nil
	local ok, err = check_habits(opts, level + 1)
	if not ok then return nil, err end
	new.root = split_outputs(opts, new)
	ok, err = read_misc(opts, new, level + 1)
	if not ok then return nil, E.at(err, { op = "configure" }) end
	if opts.loggers ~= nil then
		if type(opts.loggers) ~= "table" then return fail("loggers", "expects a table of options by name") end
		new.loggers = O.copy(state.loggers)
		for name, lopts in pairs(opts.loggers) do
			O.check(lopts, LOGGER, "a logger", level + 1)
			new.loggers[name] = O.copy(lopts)
		end
	end
	ok, err = apply(new, "configure")
	if not ok then return nil, err end
	class_of(ROOT)
	return true
end

--- Sets the root logger, the outputs, and optionally loggers, routes and redaction, all at once or not at all.
--- outputs: those in the list get what no route takes; those under a name only what loggers and routes send them.
---@param opts table
---@return boolean?, zbz.Error?
function M.configure(opts)
	if type(opts) ~= "table" then error("zbz: log.configure: expects a table, got " .. type(opts), 2) end
	return both(configure(opts, 2))
end

local function preset(defaults, opts)
	local all = O.copy(defaults)
	for k, v in pairs(opts or {}) do all[k] = v end
	return both(configure(all, 3))
end
--- Everything from debug on, readable, with the place of each call.
function M.development(opts) return both(preset({ level = "debug", format = "console", caller = true, traceback = "error", outputs = "console" }, opts)) end
--- JSON from info on; what is called password, token and the like is masked.
function M.production(opts)
	return both(preset({ level = "info", format = "json", outputs = "console", redact = { keys = rules.SENSITIVE, scan = { "card" } } }, opts))
end

--- Declares outputs by name, beside those there are: { audit = { type = "file", path = "audit.log" } }. false takes one away.
---@return boolean?, zbz.Error?
function M.outputs(map)
	if type(map) ~= "table" then error("zbz: log.outputs: expects a table of outputs by name, got " .. type(map), 2) end
	ensure()
	local declared = O.copy(state.declared)
	for name, x in pairs(map) do
		if type(name) ~= "string" then error("zbz: log.outputs: outputs have names here", 2) end
		declared[name] = x or nil
	end
	return both(apply(changed{ declared = declared }, "outputs"))
end

--- Replaces the routes: a list { {logger="system-*", level=">=error", where={...}, to="name"}, ... }, or { [logger] = output }.
--- What a route takes goes where it says and not to the logger's own outputs.
---@return boolean?, zbz.Error?
function M.routes(list)
	ensure()
	local flat, err = read_routes(list, 2)
	if not flat then return nil, E.at(err, { op = "routes" }) end
	return both(apply(changed{ routes = flat }, "routes"))
end

--- Replaces the redaction; false: none. { "password", "*_token", scan={"ssn","card","email"}, mask_ip=true, pattern="sk%-%w+",
--- hash={"user"}, partial={"phone"}, key="...", secret="mask", pii="hash" }
---@return boolean?, zbz.Error?
function M.redact(opts)
	if opts ~= false and type(opts) ~= "table" then error("zbz: log.redact: expects a table or false, got " .. type(opts), 2) end
	ensure()
	local new, err = changed{}, nil
	new.redact = nil
	if opts then
		new.redact, err = rules.redaction(opts, 2)
		if err then return nil, err end
	end
	return both(apply(new, "redact"))
end

local KINDS = { "string", "number", "boolean", "table", "error", "secret", "pii", "time", "duration", "bytes" }
--- fn(value, name) -> value sees every field of that type before any output does; nil takes it away. A processor that fails hides the value.
function M.processor(kind, fn)
	local known = {}
	for _, k in ipairs(KINDS) do known[k] = true end
	if not known[kind] then error("zbz: log.processor: " .. O.unknown("type", kind, O.copy(KINDS)), 2) end
	if fn ~= nil and type(fn) ~= "function" then error("zbz: log.processor: expects a function, got " .. type(fn), 2) end
	ensure()
	deliver.processors[kind] = fn
	return both(apply(changed{}, "processor"))
end
---@return string[] the types that have one
function M.processors()
	local list = {}
	for kind in pairs(deliver.processors) do list[#list + 1] = kind end
	table.sort(list)
	return list
end

--- fn(record) hears every record that its logger lets pass, redacted: {time=, level=, logger=, message=, fields={}}. nil: nobody.
function M.on_event(fn)
	if fn ~= nil and type(fn) ~= "function" then error("zbz: log.on_event: expects a function, got " .. type(fn), 2) end
	ensure()
	local new = changed{}
	new.listener = fn
	return both(apply(new, "on_event"))
end

-- ---- running it -----------------------------------------------------------------------------------------------------------------

local function each_output(op, deadline, level)
	ensure()
	local ms = O.duration_arg(deadline == nil and 5 or deadline, "deadline", level + 1)
	local ends, first = core.mono() + ms, nil
	for _, out in ipairs(standing.list) do
		if out.handle then
			local ok, err = out.handle[op](out.handle, math.max(0, ends - core.mono()))
			if not ok and not first then first = E.at(err, { op = op, output = out.name }) end
		end
	end
	if first then return nil, first end
	return true
end

--- Waits until everything logged so far has been written, at most `deadline` (5 seconds).
---@return boolean?, zbz.Error?
function M.flush(deadline)
	for _, class in pairs(classes) do core.log_settle(class.handle) end
	return both(each_output("flush", deadline, 2))
end
--- After logrotate has moved the files.
---@return boolean?, zbz.Error?
function M.reopen(deadline) return both(each_output("reopen", deadline, 2)) end

--- The lines of an output of type memory, and forgets them.
---@return string[]?, zbz.Error?
function M.drain(name)
	local out = standing.byname[name or "memory"]
	if not out or not out.handle then return E.fail("invalid_argument", "no output is named '" .. tostring(name or "memory") .. "'", { op = "drain" }) end
	for _, class in pairs(classes) do core.log_settle(class.handle) end
	local text, err = out.handle:read(true)
	if not text then return nil, err end
	local list = {}
	for line in text:gmatch("([^\n]*)\n") do list[#list + 1] = line end
	return list
end

--- What happened: records by level, what was kept back and why, and of each output what it says.
function M.stats()
	ensure()
	local s = core.log_stats()
	s.outputs = {}
	for _, out in ipairs(standing.list) do
		s.outputs[out.name] = out.handle and out.handle:stats() or { calls = true }
		s.outputs[out.name].type = out.spec.type
	end
	s.functions = { calls = deliver.counts.calls, errors = deliver.counts.errors, last_error = deliver.last_error and tostring(deliver.last_error) }
	return s
end

--- What is set, secrets aside.
function M.config()
	ensure()
	local out = { level = root():level(), outputs = {}, routes = #state.routes, loggers = {} }
	for _, o in ipairs(standing.list) do out.outputs[o.name] = o.spec.type end
	for name in pairs(state.loggers) do out.loggers[#out.loggers + 1] = name end
	table.sort(out.loggers)
	return out
end

---@return string[] the types of outputs there are
function M.types()
	local list = core.log_types()
	list[#list + 1] = "function"
	table.sort(list)
	return list
end

--- Writes what dead processes of an output left behind, without opening it for logging; the number of records.
---@return integer?, zbz.Error?
function M.recover(spec, deadline)
	if type(spec) ~= "table" then error("zbz: log.recover: expects the options of an output, got " .. type(spec), 2) end
	return both(core.log_recover(spec, O.duration_arg(deadline == nil and 60 or deadline, "deadline", 2)))
end

--- Flushes and closes the outputs; the next record opens the default ones again. Loggers stay.
function M.close(deadline)
	if not configured then return true end
	local ok, err = M.flush(deadline)
	state = { declared = {}, root = {}, loggers = {}, routes = {} }
	deliver.processors = {}
	apply(changed{ root = { outputs = {} } }, "close")
	configured = false
	for _, level in ipairs(LEVELS) do
		M[level] = function(...)
			root()
			return M[level](...)
		end
	end
	return both(ok, err)
end

core.log_calls{ deliver = deliver.deliver, process = deliver.process, misuse = function(what)
	M.error("a logger was called without a colon", { text = tostring(what) })
end }

return M
