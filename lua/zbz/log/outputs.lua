--- Outputs: from what a program writes to opened ones. An output keeps its handle as long as its options stay the same.
local core = require("zbz.core")
local E = require("zbz.error")
local O = require("zbz.options")
local rules = require("zbz.log.rules")

local M = {}

--- Options of the front; all others belong to the output's type.
local OURS = { name = true, level = true, format = true, filter = true, where = true, color = true, colour = true, metadata = true,
	options = true, target = true, rotate = true, fn = true, max_size = true, max_files = true, max_age = true, gzip = true }
local FUNCTION = { type = true, fn = true, name = true, level = true, format = true, filter = true, where = true }
local ROTATE = { size = "rotate_size", every = "rotate_every", time = "rotate_every", keep = "keep", keep_for = "keep_for",
	compress = "compress" }
local ALIAS = { max_size = "rotate_size", max_files = "keep", max_age = "keep_for", gzip = "compress" }
local ALLOWED = { auto = true, always = true, never = true }

local function fail(option, text) return E.fail("invalid_config", ("%s: %s"):format(option, text), { option = option }) end

local function is_file(x) return io.type and io.type(x) == "file" end

--- The short forms: "console", "file:app.log", "app.log", a function, an open file, a table.
---@return table? spec, zbz.Error?
local function spell_out(x, option)
	if type(x) == "function" then return { type = "function", fn = x } end
	if is_file(x) then
		return { type = "function", fn = function(line) x:write(line); x:flush() end, name = nil }
	end
	if type(x) == "string" then
		local kind, rest = x:match("^(%l[%w_]*):(.+)$")
		if kind == "file" then return { type = "file", path = rest, name = x } end
		if kind then return fail(option, ("'%s': only files have a short form; write a table {type=\"%s\", ...}"):format(x, kind)) end
		if x:find("[/%.]") then return { type = "file", path = x, name = x } end
		return { type = x, name = x }
	end
	if type(x) ~= "table" then
		return fail(option, "expects the name of an output, a path, a function or a table of options, got " .. type(x))
	end
	if type(x.set) == "function" and x.type == nil then
		return fail(option, "a bucket written in Lua is no output; write {type=\"storage\", bucket={provider=\"filesystem\", base_dir=...}}")
	end
	local spec = O.copy(x, { options = true, target = true })
	for k, v in pairs(type(x.options) == "table" and x.options or {}) do
		if spec[k] == nil then spec[k] = v end
	end
	if x.target ~= nil and spec.type == "file" and spec.path == nil then spec.path = x.target end
	if spec.fn ~= nil and spec.type == nil then spec.type = "function" end
	if type(spec.type) ~= "string" then return fail(option, "type: names the kind of output, such as \"file\" or \"console\"") end
	return spec
end

local function in_nginx()
	local ngx = rawget(_G, "ngx")
	return type(ngx) == "table" and type(ngx.get_phase) == "function"
end

--- Static labels of Loki: {app = "x"} as {"app=x"}, in the order of their names.
local function labels_of(labels)
	local list = {}
	for k, v in pairs(labels) do
		if type(k) == "string" and type(v) ~= "string" and type(v) ~= "number" then
			return fail("labels", ("the value of '%s' must be text, got %s"):format(k, type(v)))
		end
		list[#list + 1] = type(k) == "string" and k .. "=" .. v or v
	end
	table.sort(list, function(a, b) return tostring(a) < tostring(b) end)
	return list
end

--- Names of fields as Loki can hold them; `.` and `-` become `_` on the way.
local function metadata_of_loki(names)
	for _, name in ipairs(names) do
		if not name:match("^[%a_][%w_.%-]*$") then
			return fail("metadata", ("'%s' is no name that Loki takes: letters, digits, _ . -, no digit first"):format(name))
		end
	end
	return true
end

--- An object is as large and as old as its batch.
local OBJECTS = { size = "batch_size", every = "batch_wait", time = "batch_wait" }

--- What C opens: without the front's options, nested ones flat.
local function for_core(spec)
	local out = {}
	for k, v in pairs(spec) do
		if not OURS[k] then out[k] = v end
	end
	for k, to in pairs(ALIAS) do
		if spec[k] ~= nil and out[to] == nil then out[to] = spec[k] end
	end
	if spec.type == "file" and out.early == nil and in_nginx() and ngx.get_phase() == "init" then out.early = true end -- luacheck: ignore 113
	if spec.rotate ~= nil then
		if type(spec.rotate) ~= "table" then return fail("rotate", "expects {size=, every=, keep=}, got " .. type(spec.rotate)) end
		for k, v in pairs(spec.rotate) do
			if not ROTATE[k] then
				core.misuse("zbz: output: rotate: " .. O.unknown("option", k, { "size", "every", "keep", "keep_for", "compress" }))
			end
			if spec.type == "storage" and OBJECTS[k] then
				return fail("rotate", ("%s: an object ends with its batch; write %s="):format(k, OBJECTS[k]))
			end
			out[ROTATE[k]] = v
		end
	end
	if type(spec.labels) == "table" then
		local list, err = labels_of(spec.labels)
		if not list then return nil, err end
		out.labels = list
	end
	if type(out.compress) == "boolean" then out.compress = out.compress and "gzip" or "none" end
	return out
end

local function colour(spec)
	local v = spec.color == nil and spec.colour or spec.color
	if v == true then v = "always" elseif v == false then v = "never" end
	v = v or "auto"
	if not ALLOWED[v] then return fail("color", "expects auto, always or never, got " .. tostring(v)) end
	if v ~= "auto" then return v == "always" and 1 or 0 end
	if (os.getenv("NO_COLOR") or "") ~= "" or spec.type ~= "console" or spec.format == "text" then return 0 end
	return core.log_isatty(spec.stream == "stderr" and 2 or 1) and 1 or 0
end

--- The front's part of a spec, checked: level, format, filter, colour.
local function front(spec, out)
	local err
	if spec.level ~= nil then
		out.level, err = rules.level(spec.level, "level")
		if err then return nil, err end
	end
	if type(spec.format) == "function" then
		out.formatter = spec.format
	elseif spec.format ~= nil then
		out.format, err = rules.format(spec.format, "format")
		if err then return nil, err end
	end
	out.where, err = rules.where(spec.filter or spec.where, "filter")
	if err then return nil, err end
	local paint
	paint, err = colour(spec)
	if err then return nil, err end
	out.colour = paint == 1
	out.human = spec.type == "console"
	if spec.metadata ~= nil and type(spec.metadata) ~= "table" then
		return fail("metadata", "expects a list of names, got " .. type(spec.metadata))
	end
	out.metadata = spec.metadata or (spec.type == "loki" or spec.type == "syslog") and { "trace_id", "span_id" } or {}
	local why = O.overlooked(out.metadata)
	if why then return fail("metadata", why) end
	for _, name in ipairs(out.metadata) do
		if type(name) ~= "string" then return fail("metadata", "expects names of fields") end
	end
	if #out.metadata > 16 then return fail("metadata", ("%d names, at most 16 travel with a record"):format(#out.metadata)) end
	if spec.type == "loki" then return metadata_of_loki(out.metadata) end
	return true
end

--- Opens one; `spec` as spelled out. A Lua function has no ring: it runs in the call that logs.
local function open(name, spec)
	local out = { name = name, spec = spec }
	local ok, err = front(spec, out)
	if not ok then return nil, err end
	if spec.type == "function" then
		for k in pairs(spec) do
			if not FUNCTION[k] then
				core.misuse("zbz: output: " .. O.unknown("option of a function's output", k, { "fn", "name", "level", "format", "filter" }))
			end
		end
		if type(spec.fn) ~= "function" then return fail("fn", "an output of type function needs one") end
		out.fn = spec.fn
		return out
	end
	local options
	options, err = for_core(spec)
	if not options then return nil, err end
	options.account = options.account or (name:gsub("%z", "\\0"))
	out.handle, err = core.log_output(options)
	if not out.handle then return nil, err end
	if in_nginx() then out.handle:never_wait(true) end
	if out.formatter then out.target = out.handle end
	return out
end

--- The options of an output, as it may be written in a configuration, for C alone.
---@return table?, zbz.Error?
function M.options(x)
	local spec, err = spell_out(x, "recover")
	if not spec then return nil, err end
	return for_core(spec)
end

--- A set of outputs under construction: takes what it can from the one before.
---@param before table<string, table>
---@param flush_level string?  of outputs that do not say it themselves
function M.set(before, flush_level)
	local self = { byname = {}, list = {}, opened = {} }

	local function unique(base)
		local name, n = base, 1
		while self.byname[name] do n = n + 1; name = base .. "#" .. n end
		return name
	end

	--- Declares one; its name, or nil, err. `name` given: under that one.
	function self.add(x, name, option, prefix)
		local spec, err = spell_out(x, option)
		if not spec then return nil, err end
		if spec.flush_level == nil and spec.type ~= "function" then spec.flush_level = flush_level end
		name = name or spec.name
		if name == nil then name = unique((prefix or "") .. spec.type) end
		if type(name) ~= "string" or name == "" then return fail(option, "name: expects text") end
		local known = self.byname[name]
		if known then
			if O.same(known.spec, spec) then return name end
			return fail(option, ("two outputs are named '%s'"):format(name))
		end
		local out = before[name]
		if not out or not O.same(out.spec, spec) then
			out, err = open(name, spec)
			if not out then
				if E.is(err) then err.message = ("output '%s': %s"):format(name, err.message) end
				return nil, err
			end
			self.opened[#self.opened + 1] = out
		end
		self.byname[name] = out
		self.list[#self.list + 1] = out
		return name
	end

	--- Names of outputs, as a logger or a route gives them: a name, "a+b", a list of such or of descriptions.
	function self.names(x, option, prefix)
		if type(x) == "string" then
			if self.byname[x] then return { x } end
			if x:find("+", 1, true) then
				local list = {}
				for word in x:gmatch("[^+]+") do list[#list + 1] = word end
				x = list
			end
		end
		if type(x) ~= "table" or x.type ~= nil or x.fn ~= nil or type(x.set) == "function" then x = { x } end
		local out, why = {}, O.overlooked(x)
		if why then return fail(option, why) end
		for _, one in ipairs(x) do
			local name, err
			if type(one) == "string" and (self.byname[one] or not (one:find("[:/%.]") or self.is_type(one))) then
				if not self.byname[one] then
					local known = {}
					for n in pairs(self.byname) do known[#known + 1] = n end
					if #known == 0 then known = { "console", "memory", "null", "syslog" } end
					return fail(option, O.unknown("output", one, known))
				end
				name = one
			else
				name, err = self.add(one, nil, option, prefix)
				if not name then return nil, err end
			end
			out[#out + 1] = name
		end
		return out
	end

	--- Is it the name of a kind that needs nothing more?
	function self.is_type(word) return word == "console" or word == "null" or word == "memory" or word == "syslog" end

	--- Gives back what was opened for a configuration that did not come to be.
	function self.undo()
		for _, out in ipairs(self.opened) do
			if out.handle then out.handle:close() end
		end
	end

	return self
end

return M
