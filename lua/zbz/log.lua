--- zbz.log: loggers by name, outputs by configuration.
---
---   zbz.log.configure{ level = "info", outputs = { { type = "console" } } }
---   zbz.log.info("user action", { action = "login" })
---   local audit = zbz.log.logger("user-events", { outputs = { { type = "file", path = "audit.log" } } })
local core = require("zbz.core")
local E = require("zbz.error")
local O = require("zbz.options")
local L = require("zbz.log.logger")
local S = require("zbz.log.state")
local deliver = require("zbz.log.deliver")
local metrics = require("zbz.log.metrics")
local outputs = require("zbz.log.outputs")
local rules = require("zbz.log.rules")
local values = require("zbz.log.values")
local words = require("zbz.log.words")

---@class zbz.log
local M = { secret = values.secret, pii = values.pii, time = values.time, duration = values.duration, ms = values.ms, bytes = values.bytes }

local fail = S.fail

--- No tail calls where a level is counted.
local function both(a, b) return a, b end

function L.on_root(level, fn) M[level] = fn end

--- A named logger; the same name gives the same one, options given again take the place of the former ones.
---@param name string
---@param opts table?  level, format, outputs, parent, sampling, rate_limit, dedup, caller, traceback
---@return zbz.Logger?, zbz.Error?
function M.logger(name, opts) return both(L.get(name, opts, 2)) end

-- ---- the module's own calls ---------------------------------------------------------------------------------------------------

local function root() return L.get(L.ROOT) end

--- Before the first use nothing is open: these open the default and step aside.
local function step_aside()
	for _, level in ipairs(L.LEVELS) do
		M[level] = function(...)
			root()
			return M[level](...)
		end
	end
end
step_aside()

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
function M.set_level(level) root(); return both(L.set_option(L.ROOT, "level", level, "set_level")) end
function M.set_format(format) root(); return both(L.set_option(L.ROOT, "format", format, "set_format")) end
function M.level() return root():level() end
function M.enabled(level) return root():enabled(level) end

-- ---- configuration ------------------------------------------------------------------------------------------------------------

local CONFIGURE = { outputs = true, output = true, loggers = true, routes = true, redact = true, durations = true, duration_format = true,
	max_record = true, development = true, console = true, flush_level = true }
for k in pairs(L.OPTIONS) do CONFIGURE[k] = true end

local function read_routes(list, level)
	if type(list) ~= "table" then error("zbz: log.routes: expects a table, got " .. type(list), level + 1) end
	local flat = {}
	local routes, why = rules.route_list(list)
	if not routes then return nil, why end
	for i, r in ipairs(routes) do
		local one, err = rules.route(r, i, level + 1)
		if not one then return nil, err end
		flat[i] = one
	end
	return flat
end

--- Root options of `opts`, and the outputs that are declared by name.
local function split_outputs(opts, new)
	local root_opts = {}
	for k in pairs(L.OPTIONS) do root_opts[k] = opts[k] end
	local list = {}
	if type(opts.outputs) == "table" and opts.outputs.type == nil then
		local why = O.overlooked(opts.outputs, true)
		if why then return fail("outputs", why) end
		for i, x in ipairs(opts.outputs) do list[i] = x end
		for name, x in pairs(opts.outputs) do
			if type(name) == "string" then new.declared[name] = x end
		end
		root_opts.outputs = list
	end
	if root_opts.outputs == nil and root_opts.output == nil then root_opts.outputs = "console" end
	if root_opts.level == nil then root_opts.level = S.default_level() end
	if root_opts.format == nil then root_opts.format = S.default_format() end
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
		if opts.duration_format ~= "text" and opts.duration_format ~= "ms" then
			return fail("duration_format", "expects \"text\" or \"ms\"")
		end
		new.duration_ms = opts.duration_format == "ms"
	end
	local hole = type(opts.durations) == "table" and O.overlooked(opts.durations)
	if hole then return fail("durations", hole) end
	for _, name in ipairs(type(opts.durations) == "table" and opts.durations or { opts.durations or nil }) do
		if type(opts.durations) ~= "table" or type(name) ~= "string" then
			return fail("durations", "expects a list of names, or false")
		end
	end
	new.durations = opts.durations
	if opts.flush_level ~= nil then
		new.flush_level, err = rules.level(opts.flush_level, "flush_level")
		if err then return nil, err end
	end
	if opts.max_record ~= nil then
		local size, why = core.size(opts.max_record)
		if not size then return fail("max_record", tostring(why)) end
		if size < 4096 or size > 1000 * 1024 then return fail("max_record", "expects 4KB to 1000KB, what a ring takes") end
		new.max_record = size
	end
	return true
end

local function configure(opts, level)
	if type(opts) == "table" then opts = words.spell_out(opts, level + 1) end
	O.check(opts, CONFIGURE, "log.configure", level + 1)
	local new = S.with{ declared = {}, routes = {} }
	new.max_record, new.duration_ms, new.flush_level = nil, nil, nil
	local ok, err = L.check_habits(opts, level + 1)
	if not ok then return nil, err end
	new.root, err = split_outputs(opts, new)
	if not new.root then return nil, E.at(err, { op = "configure" }) end
	ok, err = read_misc(opts, new, level + 1)
	if not ok then return nil, E.at(err, { op = "configure" }) end
	if opts.loggers ~= nil then
		if type(opts.loggers) ~= "table" then return fail("loggers", "expects a table of options by name") end
		new.loggers = O.copy(S.asked.loggers)
		for name, lopts in pairs(opts.loggers) do
			if type(name) ~= "string" then return fail("loggers", "names of loggers are text, got " .. type(name)) end
			if #name > 255 then return fail("loggers", "a name has at most 255 bytes") end
			O.check(lopts, L.OPTIONS, "a logger", level + 1)
			new.loggers[name] = O.copy(lopts)
		end
	end
	ok, err = S.apply(new, "configure")
	if not ok then return nil, err end
	root()
	return true
end

--- Sets the root logger, the outputs, and optionally loggers, routes and redaction, all at once or not at all.
--- outputs: those in the list get what no route takes; those under a name only what loggers and routes send them. Redaction stays
--- as it is unless it is given.
---@param opts table
---@return boolean?, zbz.Error?
function M.configure(opts)
	if type(opts) ~= "table" then error("zbz: log.configure: expects a table, got " .. type(opts), 2) end
	return both(configure(opts, 2))
end

local function preset(defaults, opts)
	if opts ~= nil and type(opts) ~= "table" then error("zbz: log: expects a table of options, got " .. type(opts), 3) end
	local all = O.copy(defaults)
	for k, v in pairs(opts or {}) do all[k] = v end
	return both(configure(all, 3))
end
--- Everything from debug on, readable, with the place of each call.
function M.development(opts)
	return both(preset({ development = true }, opts))
end
--- JSON from info on; what is called password, token and the like is masked.
function M.production(opts)
	local redact = { keys = rules.SENSITIVE, scan = { "card" } }
	return both(preset({ level = "info", format = "json", outputs = "console", redact = redact }, opts))
end

--- Declares outputs by name, beside those there are: { audit = { type = "file", path = "audit.log" } }. false takes one away.
---@return boolean?, zbz.Error?
function M.outputs(map)
	if type(map) ~= "table" then error("zbz: log.outputs: expects a table of outputs by name, got " .. type(map), 2) end
	S.ensure()
	local declared = O.copy(S.asked.declared)
	for name, x in pairs(map) do
		if type(name) ~= "string" then error("zbz: log.outputs: outputs have names here", 2) end
		declared[name] = x or nil
	end
	return both(S.apply(S.with{ declared = declared }, "outputs"))
end

--- Replaces the routes: a list { {logger="system-*", level=">=error", where={...}, to="name"}, ... }, or { [logger] = output }.
--- What a route takes goes where it says and not to the logger's own outputs.
---@return boolean?, zbz.Error?
function M.routes(list)
	S.ensure()
	local flat, err = read_routes(list, 2)
	if not flat then return nil, E.at(err, { op = "routes" }) end
	return both(S.apply(S.with{ routes = flat }, "routes"))
end

--- Replaces the redaction; false: none. { "password", "*_token", scan={"ssn","card","email"}, mask_ip=true, pattern="sk%-%w+",
--- hash={"user"}, partial={"phone"}, key="...", secret="mask", pii="hash" }
---@return boolean?, zbz.Error?
function M.redact(opts)
	if opts ~= false and type(opts) ~= "table" then error("zbz: log.redact: expects a table or false, got " .. type(opts), 2) end
	S.ensure()
	local new = S.with{}
	new.redact = nil
	if opts then
		local flat, err = rules.redaction(opts, 2)
		if not flat then return nil, err end
		new.redact = flat
	end
	return both(S.apply(new, "redact"))
end

--- For operators: the value behind "enc:KEYID:base64". `key` is the key, or keys by their ids. nil, err for a text that is damaged, or
--- was made with another key.
---@param text string
---@param key string|table<string, string>
---@return string?, zbz.Error?
function M.decrypt(text, key)
	if type(text) ~= "string" then error("zbz: log.decrypt: expects text, got " .. type(text), 2) end
	if type(key) == "table" then
		local id, err = core.log_sealed_with(text)
		if not id then return nil, err end
		if type(key[id]) ~= "string" then
			return E.fail("invalid_argument", ("decrypt: there is no key '%s'"):format(id), { op = "decrypt" })
		end
		key = key[id]
	end
	if type(key) ~= "string" then error("zbz: log.decrypt: expects a key, or keys by id, got " .. type(key), 2) end
	return both(core.log_unseal(text, key))
end

local KINDS = { "string", "number", "boolean", "table", "error", "secret", "pii", "time", "duration", "bytes" }
--- fn(value, name) -> value sees every field of that type before any output does; nil takes it away. One that fails hides the value.
function M.processor(kind, fn)
	local known = {}
	for _, k in ipairs(KINDS) do known[k] = true end
	if not known[kind] then error("zbz: log.processor: " .. O.unknown("type", kind, O.copy(KINDS)), 2) end
	if fn ~= nil and type(fn) ~= "function" then error("zbz: log.processor: expects a function, got " .. type(fn), 2) end
	S.ensure()
	deliver.processors[kind] = fn
	return both(S.apply(S.with{}, "processor"))
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
	S.ensure()
	local new = S.with{}
	new.listener = fn
	return both(S.apply(new, "on_event"))
end

-- ---- running it -----------------------------------------------------------------------------------------------------------------

local function each_output(op, deadline, level)
	S.ensure()
	local ms = O.duration_arg(deadline == nil and 5 or deadline, "deadline", op, level + 1)
	local ends, first = core.mono() + ms, nil
	for _, out in ipairs(S.standing.list) do
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
	L.settle()
	return both(each_output("flush", deadline, 2))
end
--- After logrotate has moved the files.
---@return boolean?, zbz.Error?
function M.reopen(deadline) return both(each_output("reopen", deadline, 2)) end

--- The lines of an output of type memory, and forgets them.
---@return string[]?, zbz.Error?
function M.drain(name)
	local out = S.standing.byname[name or "memory"]
	if not out or not out.handle then
		return E.fail("invalid_argument", "no output is named '" .. tostring(name or "memory") .. "'", { op = "drain" })
	end
	L.settle()
	local text, err = out.handle:read(true)
	if not text then return nil, err end
	local list = {}
	for line in text:gmatch("([^\n]*)\n") do list[#list + 1] = line end
	return list
end

--- What happened: records by level, what was kept back and why, and of each output what it says.
function M.stats()
	S.ensure()
	local s = core.log_stats()
	s.outputs = {}
	for _, out in ipairs(S.standing.list) do
		s.outputs[out.name] = out.handle and out.handle:stats() or { calls = true }
		s.outputs[out.name].type = out.spec.type
	end
	local shown, text = pcall(tostring, deliver.last_error)
	s.functions = { calls = deliver.counts.calls, errors = deliver.counts.errors,
		last_error = deliver.last_error ~= nil and (shown and text or "(an error that cannot be shown)") or nil }
	return s
end

--- The same as Prometheus reads it (text format 0.0.4; serve it as "text/plain; version=0.0.4"). Counted for the whole program: this
--- process, all that were forked from it or from its ancestors since zbz was loaded there, and all their threads and Lua states.
--- Counters never go down. Nothing of a record is in it, and no text of an error.
---@return string
function M.metrics() return metrics.text(S.standing.list) end

--- What is set, secrets aside.
function M.config()
	S.ensure()
	local out = { level = root():level(), outputs = {}, routes = #S.asked.routes, loggers = {} }
	for _, o in ipairs(S.standing.list) do out.outputs[o.name] = o.spec.type end
	for name in pairs(S.asked.loggers) do out.loggers[#out.loggers + 1] = name end
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
	if type(spec) ~= "table" and type(spec) ~= "string" then
		error("zbz: log.recover: expects the options of an output, got " .. type(spec), 2)
	end
	local ms = O.duration_arg(deadline == nil and 60 or deadline, "deadline", "log.recover", 2)
	local options, err = outputs.options(spec)
	if not options then return nil, E.at(err, { op = "recover" }) end
	return both(core.log_recover(options, ms))
end

--- Flushes and closes the outputs and forgets the configuration. Loggers stay, silent until the next one; a call of the module itself
--- opens the default again.
function M.close(deadline)
	if not S.configured then return true end
	L.settle()
	local ok, err = each_output("flush", deadline, 2)
	S.asked = { declared = {}, root = {}, loggers = {}, routes = {} }
	deliver.processors = {}
	S.apply(S.with{ root = { outputs = {} } }, "close")
	S.configured = false
	step_aside()
	return both(ok, err)
end

function deliver.report(name, text, failures)
	M.error("a predicate of the log failed", { predicate = name, error = text, failures = failures })
end

core.log_calls{ deliver = deliver.deliver, process = deliver.process, judge = deliver.judge, misuse = function(what)
	M.error("a logger was called without a colon", { text = tostring(what) })
end }

return M
