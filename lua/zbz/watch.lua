--- zbz.watch: values that follow their source.
---
---   local w = zbz.watch.sync(zbz.watch.file("/etc/app"), "app.json", function(old, new, changed) ... end, { schema = ... })
local E = require("zbz.error")
local I = require("zbz.instance")
local O = require("zbz.options")
local core = require("zbz.core")
local handle = require("zbz.watch.handle")
local parser = require("zbz.watch.parser")
local schema = require("zbz.schema")
local sources = require("zbz.watch.source")

---@class zbz.watch
local M = {}

local MAX_SIZE, DEADLINE_MS = 10 * 1024 * 1024, 5000

---@class zbz.LuaSource
---@field get fun(self, key: string): any, any  bytes (or any value, taken as it is); nil: there is none; nil, err
---@field subscribe nil|fun(self, key: string, changed: fun()): any, any  an id; changed() says "look again". Without it: polled
---@field unsubscribe nil|fun(self, id: any)
---@field name string|(fun(self): string)|nil  for messages

---@class zbz.WatchOptions
---@field schema table|zbz.Schema|nil  what the value must look like (zbz.schema)
---@field parser string|function?   "json" "lua" "text" "bytes", a registered one, or fn(bytes, key); default: by the key's extension
---@field validate function?        fn(value) -> true, or false, why
---@field debounce zbz.Duration?   the pause between reads while changes keep coming; default 100ms, 0: none
---@field poll zbz.Duration?       the longest time between two looks; default 2s where nobody tells of changes, else 60s
---@field max_size zbz.Size?       of the value; default 10MB, at most 1GB
---@field deadline zbz.Duration?   of one read; default 5s
---@field skip_initial boolean?     the first value is there in value(), without a call
---@field allow_empty boolean?      an empty value is a value, not a file half written
local OPTIONS = { schema = true, parser = true, validate = true, debounce = true, poll = true, max_size = true, deadline = true,
	skip_initial = true, allow_empty = true }

--- Milliseconds of an option; nil, err for a wrong one.
local function duration(opts, name, level)
	local ms, err = O.duration(opts, name, level + 1, "zbz: sync: ")
	if err then return nil, err end
	if ms and opts[name] == math.huge then return E.fail("invalid_config", name .. ": must end", { option = name }) end
	return ms
end

local function size(opts)
	if opts.max_size == nil then return MAX_SIZE end
	local n, why = core.size(opts.max_size)
	if not n or n < 1 or n > 2 ^ 30 then
		return E.fail("invalid_config", "max_size: " .. (why or "from 1 byte to 1GB"), { option = "max_size" })
	end
	return n
end

--- The options as the handle wants them, or nil, err.
local function read(source, key, fn, opts, level)
	local spec = { source = source, key = key, fn = fn, made = core.mono(), validate = opts.validate }
	local err, debounce
	if opts.validate ~= nil and type(opts.validate) ~= "function" then
		error("zbz: sync: validate: expects a function, got " .. type(opts.validate), level + 1)
	end
	for _, name in ipairs({ "skip_initial", "allow_empty" }) do
		if opts[name] ~= nil and type(opts[name]) ~= "boolean" then
			error(("zbz: sync: %s: expects true or false, got %s"):format(name, type(opts[name])), level + 1)
		end
		spec[name] = opts[name] or false
	end
	if opts.schema ~= nil then spec.schema = schema.compile(nil, opts.schema, level + 2) end
	spec.parser, err = parser.find(opts.parser, key, level + 1)
	if not spec.parser then return nil, err end
	spec.max_size, err = size(opts)
	if not spec.max_size then return nil, err end
	spec.deadline_ms, err = duration(opts, "deadline", level + 1)
	if err then return nil, err end
	spec.poll_ms, err = duration(opts, "poll", level + 1)
	if err then return nil, err end
	debounce, err = duration(opts, "debounce", level + 1)
	if err then return nil, err end
	spec.deadline_ms = spec.deadline_ms ~= 0 and spec.deadline_ms or DEADLINE_MS
	if debounce == 0 then debounce = -1 end
	spec.core_options = { debounce = debounce, poll = spec.poll_ms, deadline = spec.deadline_ms, max_size = spec.max_size,
		allow_empty = spec.allow_empty }
	return spec
end

local function sync(source, key, fn, opts, level)
	source = sources.of(source, level + 1)
	if type(key) ~= "string" then error("zbz: sync: the key must be a string, got " .. type(key), level + 1) end
	if fn ~= nil and type(fn) ~= "function" then error("zbz: sync: expects a function, got " .. type(fn), level + 1) end
	opts = O.check(opts, OPTIONS, "sync", level + 1)
	if key == "" then return E.fail("invalid_key", "the key is empty", { op = "sync" }) end
	local spec, err = read(source, key, fn, opts, level + 1)
	if not spec then return nil, E.at(err, { op = "sync", key = key }) end
	return handle.new(spec)
end

--- Reads the key, gives its value to fn(nil, value, {}) before it returns, and from then on calls fn(old, new, changed) once for every
--- change; `changed` lists the paths that differ. An equal value never calls back; an invalid one keeps the last good one, w:error()
--- tells, zbz.on_error is told once. nil, err when there is no valid first value: unavailable, decode, type_mismatch, too_large, denied,
--- invalid_key, invalid_config.
---@param source zbz.Source|table  zbz.watch.file(dir), zbz.watch.redis(cache), or a table with get (and subscribe, unsubscribe, name)
---@param key string
---@param fn fun(old: any, new: any, changed: string[])?
---@param opts zbz.WatchOptions?
---@return zbz.Watch?, zbz.Error?
function M.sync(source, key, fn, opts)
	local w, err = sync(source, key, fn, opts, 2)
	return w, err
end

--- Files of a directory; keys are paths below it. Editor saves, exchanged links (Kubernetes ConfigMaps) and a directory that is removed
--- and made anew are followed. It need not be there yet; invalid_config for an empty name.
---@param dir string
---@param opts { polling: boolean? }?  polling: never ask the system to tell of changes, only look
---@return zbz.Source?, zbz.Error?
function M.file(dir, opts)
	if type(dir) ~= "string" then error("zbz: file: expects a directory, got " .. type(dir), 2) end
	opts = O.check(opts, { polling = true }, "file", 2)
	if opts.polling ~= nil and type(opts.polling) ~= "boolean" then error("zbz: file: polling: expects true or false", 2) end
	local source, err = sources.file(dir, opts)
	return source, err
end

--- Keys of a cache, written below its key_prefix as cache:table and others write them: "users:123" is the key 123 of table users.
--- Redis tells of changes by itself; a cache on another provider is polled. closed for one that is.
---@param cache zbz.Cache
---@return zbz.Source?, zbz.Error?
function M.redis(cache)
	if not I.is(cache) then error("zbz: redis: expects a cache (zbz.cache.new{...}), got " .. type(cache), 2) end
	if cache.closed then return E.fail("closed", "the cache is closed", { op = "redis" }) end
	local source, err = sources.cache(cache)
	return source, err
end

--- A source written in Lua; sync takes the plain table, too.
---@param impl zbz.LuaSource
---@return zbz.Source
function M.source(impl) return sources.of(impl, 2) end

--- A parser for keys that end in `extension`: fn(bytes, key) -> value, or nil, why.
---@param extension string  ".toml"
---@param fn fun(bytes: string, key: string): any, any  the value; nil, why
function M.register_parser(extension, fn) parser.register(extension, fn, 2) end

--- Begins the watches that were made before this process was forked (in init_by_lua); they begin by themselves when first asked.
function M.start() handle.start_waiting() end

return M
