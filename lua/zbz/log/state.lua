--- What is configured: everything as it was asked for, what stands of it, and the step from one to the next.
local core = require("zbz.core")
local E = require("zbz.error")
local O = require("zbz.options")
local deliver = require("zbz.log.deliver")
local metrics = require("zbz.log.metrics")
local outputs = require("zbz.log.outputs")
local rules = require("zbz.log.rules")

local M = {
	--- As it was written; a change makes a new one and puts it in place when it stands.
	asked = { declared = {}, root = {}, loggers = {}, routes = {} },
	--- The outputs that are open.
	standing = { byname = {}, list = {} },
	configured = false,
	--- Do functions in Lua take part in records?
	lua_looks = false,
	--- Called after every change.
	changed = function() end,
}

local ROOT = ""

function M.default_level() return os.getenv("LOG_LEVEL") or "info" end
function M.default_format()
	local f = os.getenv("LOG_FORMAT")
	return f ~= "" and f or nil
end

function M.fail(option, text) return E.fail("invalid_config", ("%s: %s"):format(option, text), { option = option }) end
local fail = M.fail

local DURATIONS = { "latency", "*_latency", "duration", "elapsed", "took" }

local function whole(v, least) return type(v) == "number" and v >= least and v < 2 ^ 53 and v % 1 == 0 end

local function limits(opts, out)
	local s = opts.sampling
	if s == false then out.sample_first = -1
	elseif s ~= nil then
		if type(s) ~= "table" then return fail("sampling", "expects {initial=, thereafter=}, got " .. type(s)) end
		for name in pairs(s) do
			if name ~= "initial" and name ~= "thereafter" then
				core.misuse("zbz: log: sampling: " .. O.unknown("option", name, { "initial", "thereafter" }))
			end
		end
		local first, after = s.initial or 100, s.thereafter or 0
		if not whole(first, 1) or not whole(after, 0) then
			return fail("sampling", "initial and thereafter are whole numbers, initial at least 1")
		end
		out.sample_first, out.sample_then = first, after
	end
	local r = opts.rate_limit
	if r == false then out.rate = -1
	elseif r ~= nil then
		local rate, burst = r, nil
		if type(r) == "table" then
			rate, burst = r.rate, r.burst
			for name in pairs(r) do
				if name ~= "rate" and name ~= "burst" then
					core.misuse("zbz: log: rate_limit: " .. O.unknown("option", name, { "rate", "burst" }))
				end
			end
		end
		if type(rate) == "string" then rate = tonumber((rate:match("^%s*(%d+)%s*/%s*s%s*$"))) end
		if not whole(rate, 1) or burst ~= nil and not whole(burst, 1) then
			return fail("rate_limit", "expects whole records a second: 100, \"100/s\" or {rate=, burst=}")
		end
		out.rate, out.burst = rate, burst
	end
	local d = opts.dedup
	if d == false then out.dedup_ms = -1
	elseif d ~= nil then
		if tostring(d):match("^%s*%-") then return fail("dedup", "a duration cannot be negative") end
		local ms, err = O.duration({ dedup = d == true and "1s" or d }, "dedup", 2)
		if err then return nil, err end
		if d == math.huge then return fail("dedup", "expects a time with an end: false turns it off") end
		out.dedup_ms = ms
	end
	return true
end

--- One logger's options as C takes them.
local function flat_logger(set, name, opts)
	local out, err = { name = name } -- luacheck: ignore 311
	if opts.level ~= nil then
		out.level, err = rules.level(opts.level, "level")
		if err then return nil, err end
	end
	if opts.format ~= nil then
		if type(opts.format) == "function" then return fail("format", "a function belongs to an output: outputs = { { ..., format = fn } }") end
		out.format, err = rules.format(opts.format, "format")
		if err then return nil, err end
	end
	if opts.parent ~= nil then
		if type(opts.parent) ~= "string" then return fail("parent", "expects the name of a logger") end
		out.parent = opts.parent
	end
	local own = opts.outputs
	if own == nil then own = opts.output
	elseif opts.output ~= nil then return fail("output", "is another word for outputs: give one of them")
	end
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

--- The conditions, with numbers in place of functions, which go to the list.
local function numbered(where, functions)
	local list = {}
	for i, c in ipairs(where) do
		if c.fn then
			functions[#functions + 1] = c
			c = { op = "given", value = #functions - 1 }
		end
		list[i] = c
	end
	return list
end

local function flat_routes(set, routes, functions)
	local list = {}
	for i, r in ipairs(routes) do
		local names, err = set.names(r.to, ("routes[%d].to"):format(i))
		if not names then return nil, err end
		list[i] = { logger = r.logger, lowest = r.lowest, highest = r.highest, where = numbered(r.where, functions), outputs = names }
	end
	return list
end

--- Nobody may be an ancestor of its own.
local function check_parents(loggers)
	for name, opts in pairs(loggers) do
		local at, hops = opts.parent, 0
		while at and at ~= ROOT and hops < 1000 do
			if at == name then return fail("parent", ("'%s' would inherit from itself"):format(name)) end
			at, hops = loggers[at] and loggers[at].parent or at:match("^(.*)%.[^%.]*$"), hops + 1
		end
	end
	return true
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
	ok, err = check_parents(new.loggers)
	if not ok then return nil, err end
	s.functions = {}
	s.routes, err = flat_routes(set, new.routes, s.functions)
	if err then return nil, err end
	for i, out in ipairs(set.list) do
		s.outputs[i] = { name = out.name, output = not out.formatter and out.handle or nil, format = out.format, human = out.human,
			colour = out.colour, level = out.level, where = numbered(out.where, s.functions), metadata = out.metadata }
	end
	if new.listener then s.outputs[#s.outputs + 1] = { name = "", always = true } end
	local redact = new.redact or {}
	s.redact, s.scan, s.secret, s.pii, s.key = redact.redact, redact.scan, redact.secret, redact.pii, redact.key
	s.cipher_id, s.cipher_key = redact.cipher_id, redact.cipher_key
	s.durations = new.durations == false and {} or new.durations or DURATIONS
	s.duration_ms = new.duration_ms
	return s
end

--- Puts a new state in place, or changes nothing: true or nil, err.
function M.apply(new, op)
	local set = outputs.set(M.standing.byname, new.flush_level)
	local fine, settings, err = pcall(build, new, set)
	local ok
	if not fine then
		set.undo()
		error(settings, 0)
	end
	if settings then
		fine, ok, err = pcall(core.log_configure, settings)
		if not fine then ok, err = E.fail("invalid_config", (tostring(ok):gsub("^zbz: log: ", ""))) end
	end
	if not ok then
		set.undo()
		return nil, E.is(err) and E.at(err, { op = op }) or err
	end
	local old = M.standing
	M.standing, M.asked, M.configured = set, new, true
	deliver.outputs = {}
	for i, out in ipairs(set.list) do
		if not out.handle or out.formatter then deliver.outputs[i] = out end
	end
	if new.listener then deliver.outputs[#set.list + 1] = { fn = function(_, record) new.listener(record) end } end
	deliver.predicates = settings.functions
	deliver.max_record = new.max_record or 65536
	deliver.patterns = new.redact and new.redact.patterns or {}
	local own, processed = next(deliver.outputs) ~= nil, next(deliver.processors) ~= nil or #deliver.patterns > 0
	local judged = #settings.functions > 0
	core.log_modes(own, processed, judged)
	M.lua_looks = own or processed or judged
	local gone = {}
	for name, out in pairs(old.byname) do
		if set.byname[name] ~= out and out.handle then gone[#gone + 1] = out.handle end
	end
	for _, handle in ipairs(gone) do handle:leave() end -- all linger together
	for _, handle in ipairs(gone) do handle:close() end
	metrics.changed(set.byname)
	M.changed()
	return true
end

--- A copy of what was asked for, with some of it changed.
function M.with(changes)
	local new = {}
	for k, v in pairs(M.asked) do new[k] = v end
	for k, v in pairs(changes) do new[k] = v end
	return new
end

--- Without a configuration records go to the console.
function M.ensure()
	if M.configured then return end
	local root = { level = M.default_level(), format = M.default_format(), outputs = "console" }
	local ok, err = M.apply(M.with{ root = root }, "configure")
	if not ok then
		io.stderr:write("zbz: log: ", tostring(err), "\n")
		assert(M.apply(M.with{ root = { outputs = "console" } }, "configure"))
	end
end

return M

