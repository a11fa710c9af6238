--- The methods that every table has, whoever made it: added to the C handles and to the tables written in Lua.
local core = require("zbz.core")
local A = require("zbz.arguments")
local E = require("zbz.error")
local F = require("zbz.fetch")
local O = require("zbz.options")
local multi = require("zbz.fetch_multi")
local schema = require("zbz.schema")
local Lua = require("zbz.table").Table

---@class zbz.Values
local Methods = {}

local function env_of(t)
	if type(t) == "table" then return t.env end
	return core.env(t)
end

--- The same, of one that must not be closed; raises for who called `op`.
local function env_for(t, op)
	if type(t) == "table" and not t.bytes then error(("zbz: %s: the table is closed"):format(op), 3) end
	return env_of(t)
end

--- Get or compute: `value, nil, how`; how is hit, stale, loaded, negative or waited. A miss that the loader confirms is nil.
--- The loader gets the extra arguments, or the key when there are none; it returns value [, opts], nil, or nil, err.
---@param k string
---@param opts zbz.FetchOptions|function  may be left out
---@param loader fun(...): any, table|any  value [, {ttl=, store=false}]; nil; or nil, err: the code is loader then
---@param ... any
---@return any value
---@return zbz.Error? err
---@return "hit"|"stale"|"loaded"|"negative"|"waited"|nil how
function Methods:fetch(k, opts, loader, ...)
	A.key(k, "fetch", 2)
	local env = env_for(self, "fetch")
	if type(opts) == "function" then
		if type(loader) == "table" and select("#", ...) == 0 and F.looks_like_options(loader) then
			opts, loader = loader, opts
			return Methods.fetch(self, k, opts, loader)
		end
		local o = env.fetch
		if loader == nil and select("#", ...) == 0 then return F.call(self, env, k, o, opts, 0, {}) end
		return F.call(self, env, k, o, opts, select("#", ...) + 1, { loader, ... })
	end
	if type(loader) ~= "function" then error("zbz: fetch: the loader must be a function, got " .. type(loader), 2) end
	local o, err = F.read_options(opts, env, 2)
	if not o then return nil, E.at(err, { key = k }) end
	return F.call(self, env, k, o, loader, select("#", ...), { ... })
end

--- The map of all keys there are or that the loader found; it is called once with the list of the missing ones.
---@param keys string[]
---@param opts zbz.FetchOptions|function  may be left out
---@param loader fun(missing: string[]): table<string, any>
---@return table<string, any>? map
---@return zbz.Error? err
---@return table<string, zbz.Error>? errs
function Methods:fetch_multi(keys, opts, loader)
	A.keys(keys, "fetch_multi", 2)
	local env = env_for(self, "fetch_multi")
	if type(opts) == "function" then opts, loader = loader, opts end
	if type(loader) ~= "function" then error("zbz: fetch_multi: the loader must be a function, got " .. type(loader), 2) end
	local o, err = F.read_options(opts, env, 2)
	if not o then return nil, err end
	return multi.call(self, env, keys, o, loader)
end

--- Fills the table from an iterator of `key, value [, ttl]`, or from a map, a hundred at a time. The number stored.
---@param source table<string, any>|fun(state: any, k: any): string?, any, zbz.Ttl?
---@param state any  these two: as for a generic for
---@param start any
---@return integer? stored
---@return zbz.Error? err
---@return integer? stored_before_it
function Methods:warm(source, state, start)
	local iterate, s, k = source, state, start
	if type(source) == "table" then iterate, s, k = pairs(source) end
	if type(iterate) ~= "function" then error("zbz: warm: expects an iterator or a map, got " .. type(source), 2) end
	local batch, n, stored = {}, 0, 0
	local function flush()
		if n == 0 then return true end
		local ok, err, errs = self:set_multi(batch)
		if not ok then return nil, err end
		stored = stored + n
		for _, failure in pairs(errs or {}) do
			stored, err = stored - 1, failure
		end
		batch, n = {}, 0
		return err == nil, err
	end
	while true do
		local v, ttl
		k, v, ttl = iterate(s, k)
		if k == nil then break end
		A.key(k, "warm", 2)
		if v == nil then error(("zbz: warm: the value of '%s' is nil"):format(E.line(k, 100)), 2) end
		batch[k], n = ttl ~= nil and core.item(v, { ttl = ttl }) or v, n + 1
		if n >= 100 then
			local ok, err = flush()
			if not ok then return nil, err, stored end
		end
	end
	local ok, err = flush()
	if not ok then return nil, err, stored end
	return stored
end

--- Counters of this table (hits misses sets deletes errors lost_writes loads load_failures waits stale_served fenced lock_waits
--- unlocked uptime last_access), and what the provider tells of the whole store (provider keys memory connections evictions expired).
---@return zbz.TableStats
function Methods:stats()
	local env = env_for(self, "stats")
	local s = self:counters()
	local now = (env.clock and env.clock:wall() or core.wall()) / 1000
	s.provider = env.cache:provider_name()
	if s.created_at then s.uptime = math.max(now - s.created_at, 0) end
	for name, v in pairs(env.cache:provider_stats() or {}) do
		if s[name] == nil then s[name] = v end
	end
	return s
end

--- As cache:table was given it.
---@return string
function Methods:name() return env_of(self).name end

--- Name, prefix, TTL in seconds, serializer, schema, provider.
---@return table
function Methods:info()
	local env = env_for(self, "info")
	return {
		name = env.name, prefix = self:prefix(), ttl = env.ttl_ms / 1000, serializer = env.serializer.name,
		content_type = env.serializer.content_type, schema = env.schema and (env.schema.name or true) or nil,
		provider = env.cache:provider_name(), deadline = env.deadline_ms and env.deadline_ms / 1000 or nil,
		stale_ttl = env.fetch.stale_ttl_ms and env.fetch.stale_ttl_ms / 1000 or nil,
		neg_ttl = env.fetch.neg_ttl_ms and env.fetch.neg_ttl_ms / 1000 or nil, l1 = env.l1,
	}
end

--- `opts.schema` of the *_struct calls must be the table's own.
local function same_schema(self, op, k, opts)
	if type(opts) ~= "table" or opts.schema == nil then return opts end
	local env = env_of(self)
	local wanted = schema.compile(opts.schema, nil, 4)
	if env.schema and (env.schema.node == wanted.node or O.same(env.schema.source, wanted.source)) then
		return (O.copy(opts, { schema = true }))
	end
	local own = env.schema and (env.schema.name or "its own schema") or "no schema"
	return nil, E.new("type_mismatch", ("table '%s' holds %s, not %s"):format(env.name, own, wanted.name or "the schema asked for"),
		{ op = op, table = env.name, key = k, provider = env.cache:provider_name() })
end

--- get; { schema = } among the options must be the table's own, else nil, type_mismatch.
---@param k string
---@param opts table?  zbz.ReadOptions, and schema
---@return any value
---@return zbz.Error? err
function Methods:get_struct(k, opts)
	local rest, err = same_schema(self, "get_struct", k, opts)
	if err then return nil, err end
	return self:get(k, rest)
end

--- set, likewise.
---@param k string
---@param v any
---@param how table|zbz.Ttl|nil  zbz.WriteOptions, and schema
---@return boolean? stored
---@return zbz.Error? err
function Methods:set_struct(k, v, how)
	local rest, err = same_schema(self, "set_struct", k, how)
	if err then return nil, err end
	return self:set(k, v, rest)
end

--- get_multi, likewise.
---@param keys string[]
---@param opts table?
---@return table<string, any>? map
---@return zbz.Error? err
---@return table<string, zbz.Error>? errs
function Methods:get_struct_multi(keys, opts)
	local rest, err = same_schema(self, "get_struct_multi", nil, opts)
	if err then return nil, err end
	return self:get_multi(keys, rest)
end

--- set_multi, likewise.
---@param map table<string, any>
---@param how table|zbz.Ttl|nil
---@return true?
---@return zbz.Error? err
---@return table<string, zbz.Error>? errs
function Methods:set_struct_multi(map, how)
	local rest, err = same_schema(self, "set_struct_multi", nil, how)
	if err then return nil, err end
	return self:set_multi(map, rest)
end

for name, fn in pairs(Methods) do
	core.table_methods[name] = fn
	Lua[name] = fn
end

require("zbz.ffi.doors").install()

return { env_of = env_of, Methods = Methods }
