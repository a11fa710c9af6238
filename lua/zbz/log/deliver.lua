--- What Lua does for a record itself: outputs that are functions, formatters that are functions, listeners, processors. All of it
--- runs in the call that logs, gets what redaction has left, and never lets an error out.
local core = require("zbz.core")
local values = require("zbz.log.values")

local M = { outputs = {}, processors = {}, patterns = {}, predicates = {}, counts = { calls = 0, errors = 0 }, last_error = nil,
	max_record = 65536 }

local NAMES = { "time", "level", "logger", "message", "truncated" }
local KNOWN = {}
for _, name in ipairs(NAMES) do KNOWN[name] = true end

--- The record as a table: {time=, level=, logger=, message=, fields={}}.
local function record_of(line, level, logger)
	local flat = core.json_decode(line) or {}
	local r = { time = flat.time, level = level, logger = logger, message = flat.message, truncated = flat.truncated, fields = {} }
	for k, v in pairs(flat) do
		if not KNOWN[k] then r.fields[k] = v end
	end
	return r
end

local function attempt(fn, ...)
	M.counts.calls = M.counts.calls + 1
	local ok, result = pcall(fn, ...)
	if ok then return true, result end
	M.counts.errors = M.counts.errors + 1
	M.last_error = result
	return false
end

--- One line, whatever a formatter made of it.
local function text_of(formatter, record)
	local text = formatter(record)
	if type(text) ~= "string" then error("a formatter returned a " .. type(text) .. " in place of text") end
	if #text > M.max_record then error(("a formatter returned %d bytes, more than max_record"):format(#text)) end
	return core.log_line(text)
end

--- nil when the formatter fails, or makes more than a record may have: the record is then written as JSON, rather than lost.
local function formatted(formatter, record)
	local ok, text = attempt(text_of, formatter, record)
	return ok and text or nil
end

--- What travels beside the text (trace_id and the like): texts by name, nil for none. It was redacted with the record.
local function labels_of(out, fields)
	local map
	for _, name in ipairs(out.metadata) do
		local v = fields[name]
		if type(v) == "string" or type(v) == "number" or type(v) == "boolean" then
			map = map or {}
			map[name] = type(v) == "number" and v % 1 == 0 and math.abs(v) < 2^53 and ("%d"):format(v) or tostring(v)
		end
	end
	return map and core.msgpack_encode(map)
end

local delivering, processing = false, false

--- Of a record that one of these functions makes itself, without an end otherwise: formatters leave it as JSON, functions do not get it.
local function deliver_inner(line, level, logger, list)
	for _, i in ipairs(list) do
		local out = M.outputs[i]
		if out and out.target then core.log_append(out.target, level, logger, line) end
	end
end

local function deliver_all(line, level, logger, list)
	local record
	for _, i in ipairs(list) do
		local out = M.outputs[i]
		if out then
			record = record or record_of(line, level, logger)
			local text = out.formatter and formatted(out.formatter, record) or line
			if out.target then
				core.log_append(out.target, level, logger, text, labels_of(out, record.fields))
			else
				attempt(out.fn, text, record)
			end
		end
	end
end

--- Called by C after the other outputs: the line as JSON, and the numbers of the outputs that are ours.
function M.deliver(line, level, logger, list)
	if delivering then return deliver_inner(line, level, logger, list) end
	delivering = true
	local ok, err = pcall(deliver_all, line, level, logger, list)
	delivering = false
	if not ok then error(err, 0) end
end

-- ---- predicates --------------------------------------------------------------------------------------------------------------

local REPORT_EVERY = 1000

--- Tells of a predicate that has failed: once, and then seldom. Set by zbz.log.
function M.report() end

local function failed(p)
	p.failures = (p.failures or 0) + 1
	if p.failures % REPORT_EVERY ~= 1 then return end
	local told, text = pcall(tostring, M.last_error)
	pcall(M.report, p.name, told and text or "(an error that cannot be shown)", p.failures)
end

--- A copy, or a predicate could change what is written.
local function seen_by_predicates(fields, bound)
	local out = bound or {}
	local kind = values.kind(fields)
	if kind == "table" then
		for k, v in next, fields do out[k] = v end
	elseif fields ~= nil then
		out[kind == "error" and "error" or "value"] = fields
	end
	return out
end

--- Called by C before a record when predicates are functions: answers the sum of 2^(i-1) of those that hold, among those that were
--- asked for in the same way. One that fails holds: a record rather goes where it need not than nowhere.
function M.judge(asked, fields, bound, level, logger)
	local answers, view = 0, seen_by_predicates(fields, bound)
	for i, p in ipairs(M.predicates) do
		local bit = 2 ^ (i - 1)
		if math.floor(asked / bit) % 2 == 1 then
			local ok, yes = attempt(p.fn, view, level, logger)
			if not ok then failed(p) end
			if yes or not ok then answers = answers + bit end
		end
	end
	return answers
end

-- ---- processors ----------------------------------------------------------------------------------------------------------------

local function scrub(text)
	for _, p in ipairs(M.patterns) do text = text:gsub(p, "***") end
	return text
end

local DEEPEST, MOST = 12, 1024 -- C shows less of a table than that

--- A name without what must not be seen; of several that have become one each stays.
local function scrub_name(out, k)
	if type(k) ~= "string" or #M.patterns == 0 then return k end
	local name = scrub(k)
	if out[name] == nil then return name end
	for i = 2, MOST do
		local another = name .. "#" .. i
		if out[another] == nil then return another end
	end
	return name
end

--- A table inside a field with its texts scrubbed; what has a type (a secret above all) stays what it is. Never raises.
local function scrub_inside(v, seen, depth)
	local kind, mt = values.kind(v), debug.getmetatable(v)
	if kind == "string" then return scrub(v) end
	if kind ~= "table" and kind ~= "error" then return v end
	if seen[v] then return "(cycle)" end
	if depth > DEEPEST then return "(too deep)" end
	if kind == "table" and type(mt) == "table" and rawget(mt, "__tostring") ~= nil then
		local ok, text = pcall(tostring, v)
		return ok and type(text) == "string" and scrub(text) or "(its __tostring failed)"
	end
	local out, n = {}, 0
	seen[v] = true
	for k, x in next, v do
		n = n + 1
		if n > MOST then break end
		out[scrub_name(out, k)] = scrub_inside(x, seen, depth + 1)
	end
	seen[v] = nil
	if kind == "error" or mt == core.array_mt then return setmetatable(out, mt) end
	return out
end

local function processed(key, v)
	local kind, inner = values.kind(v)
	local fn = M.processors[kind]
	if fn and not processing then -- what a processor logs is not processed, but scrubbed
		processing = true
		local ok, made = attempt(fn, inner, key)
		processing = false
		if not ok then return "(a processor failed)" end
		v = made
		kind = values.kind(v)
	end
	if kind == "string" or #M.patterns > 0 then return scrub_inside(v, {}, 1) end
	return v
end

local function process_fields(fields)
	local kind = values.kind(fields)
	if fields == nil then return nil end
	if kind ~= "table" then return { [kind == "error" and "error" or "value"] = processed("value", fields) } end
	local out = {}
	for k, v in next, fields do out[scrub_name(out, k)] = processed(k, v) end
	return out
end

--- Called by C before a record when there are processors: the message and the fields, the place of the call and the traceback, and
--- what they become.
function M.process(message, fields, caller, traceback)
	return scrub(message), process_fields(fields), caller and scrub(caller), traceback and scrub(traceback)
end

return M
