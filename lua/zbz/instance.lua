--- A cache: one provider, a key prefix, defaults, and the tables over it. The only real object of the API; the singleton
--- is one of these. What it tells of itself: instance_info.lua.
local core = require("zbz.core")
local E = require("zbz.error")
local LuaHandle = require("zbz.lua_handle")
local O = require("zbz.options")
local P = require("zbz.provider")
local T = require("zbz.table_options")
require("zbz.methods")
local backoff = require("zbz.backoff")
local lock = require("zbz.lock")
local l1 = require("zbz.l1") -- after the methods that it inherits
local lua_table = require("zbz.table")
local providers = require("zbz.providers")

---@class zbz.Cache: zbz.Values
---@field provider zbz.Provider  the provider in use; changes with swap_provider
local Cache = {}
Cache.__index = Cache
Cache.__name = "zbz.Cache"

local HOUR_MS = 3600 * 1000
--- Options of a cache; all others belong to its provider.
local OWN = { provider = true, key_prefix = true, default_ttl = true, ttl = true, serializer = true, serialization = true,
	deadline = true, clock = true, name = true, stale_ttl = true, neg_ttl = true, refresh_at = true, jitter = true, lock = true }

local function closed(self, op)
	return E.fail("closed", "the cache is closed", { op = op, provider = self.kind_ })
end

-- ---- making one ----------------------------------------------------------------------------------------------------------

--- { provider = { type=, config={} }, service = { default_ttl=, key_prefix=, serialization= } } in the usual shape.
local function flatten(opts)
	if type(opts.service) ~= "table" then return opts end
	local out = O.copy(opts, { service = true })
	for name, v in pairs(opts.service) do out[name] = v end
	return out
end

--- The provider of the options: opened by us, or the object that was given (owned false).
local function open_provider(opts, level)
	local spec, rest = opts.provider, O.copy(opts, OWN)
	if spec == nil then
		return E.fail("invalid_config", "provider: which one? known: " .. table.concat(providers.names(), " "), { option = "provider" })
	end
	if P.is(spec) then
		local name = next(rest)
		if name then
			local known = {}
			for k in pairs(OWN) do known[#known + 1] = k end
			error(O.unknown("option beside a provider object", name, known), level + 1)
		end
		local p, err = providers.open(spec, nil, level + 1)
		return p, err, false
	end
	if type(spec) ~= "string" and type(spec) ~= "table" then
		return E.fail("invalid_config", "provider: expects a name, a URL or a provider object, got " .. type(spec), { option = "provider" })
	end
	if type(spec) == "string" and not spec:find(":", 1, true) then
		local known, err, info = providers.option_names(spec)
		if not info then return nil, err end
		if known then
			local allowed = {}
			for name in pairs(known) do allowed[name] = true end
			if allowed.name then rest.name = opts.name end -- both the cache's and the provider's
			for name in pairs(OWN) do allowed[name] = true end
			O.check(rest, allowed, ("a cache on '%s'"):format(spec), level + 1)
			if known.name then rest.name = opts.name end -- of a shared segment, too
		end
	end
	rest.clock = opts.clock
	if spec == "multitier" and rest.prefix == nil then rest.prefix = opts.key_prefix end -- no keys but ours pass through
	local p, err = providers.open(spec, rest, level + 1)
	return p, err, true
end

--- The core's cache over a provider in C, or the owner record for one in Lua.
local function attach(self, p)
	if p.lua then
		self.owner = { store = p.store:ref(), closed = false }
		self.core = nil
		return true
	end
	local cache, err = core.new_cache(p.store, { key_prefix = self.key_prefix_, default_ttl = self.base.ttl_ms,
		deadline = self.base.deadline_ms, clock = self.clock })
	if not cache then return nil, err end
	self.core, self.owner = cache, nil
	return true
end

--- A new cache. Unknown options raise at `level`; wrong values are nil, err.
---@param opts zbz.CacheOptions
---@param level integer
---@return zbz.Cache?, zbz.Error?
function Cache.new(opts, level)
	level = level + 1
	if type(opts) ~= "table" then error("zbz: a cache is made from a table of options, got " .. type(opts), level) end
	opts = flatten(opts)
	local own = {}
	for name in pairs(T.KNOWN) do
		if OWN[name] then own[name] = opts[name] end
	end
	local base, err = T.read(own, { ttl_ms = HOUR_MS, serializer = require("zbz.serializer").find("json") }, "a cache", level)
	if not base then return nil, err end
	local prefix
	prefix, err = O.text(opts, "key_prefix", "")
	if err then return nil, err end
	local p, why, owned = open_provider(opts, level)
	if not p then return nil, why end
	local self = setmetatable({ provider = p, owns = owned, base = base, key_prefix_ = prefix, clock = opts.clock or p.clock,
		tables = {}, parted = {}, past = {}, -- the names and the counters of tables that were closed
		lua_tables = setmetatable({}, { __mode = "k" }), watches = setmetatable({}, { __mode = "k" }), closed = false,
		kind_ = p.kind_, name = opts.name, created = core.wall() }, Cache)
	local ok
	ok, err = attach(self, p)
	if not ok then
		if owned then p:close() end
		return nil, err
	end
	return self
end

-- ---- tables ----------------------------------------------------------------------------------------------------------------

--- What Lua keeps with a table: see fetch.lua and methods.lua.
local function make_env(self, name, o)
	return {
		cache = self, name = name, clock = self.clock, ttl_ms = o.ttl_ms, deadline_ms = o.deadline_ms, serializer = o.serializer,
		schema = o.schema, l1 = o.l1,
		fetch = { neg_ttl_ms = o.neg_ttl_ms, stale_ttl_ms = o.stale_ttl_ms, refresh_at = o.refresh_at, jitter = o.jitter, lock = o.lock,
			deadline_ms = o.deadline_ms },
		leading = setmetatable({}, { __mode = "v" }), refreshing = {}, backoff = backoff.new(), options = o,
	}
end

--- The handle over bytes, or over values when the codec is C's.
local function open_handle(self, env, prefix, codec)
	local o = env.options
	local envelope = (o.stale_ttl_ms or 0) > 0 or (o.neg_ttl_ms or 0) > 0
	if self.owner then
		if env.l1 then
			return E.fail("unsupported", "l1: a provider written in Lua cannot tell whether a kept value is still the present one",
				{ option = "l1", provider = self.kind_ })
		end
		return LuaHandle.new(self.owner, { name = env.name, prefix = prefix, ttl = o.ttl_ms, stale_ttl = o.stale_ttl_ms, envelope = envelope })
	end
	return core.new_table(self.core, { name = env.name, prefix = prefix, ttl = o.ttl_ms, deadline = o.deadline_ms,
		stale_ttl = o.stale_ttl_ms, envelope = envelope, codec = codec, env = env, l1 = env.l1 })
end

--- A table with an explicit key prefix.
---@param name string
---@param o table  options as table_options.lua reads them
---@param prefix string
---@return zbz.Table?, zbz.Error?
function Cache:open_table(name, o, prefix)
	local env = make_env(self, name, o)
	local wrong = lock.check(o.lock, name, self)
	if wrong then return nil, wrong end
	local native = o.serializer.native
	if native and not o.schema and not o.l1 and self.core then return open_handle(self, env, prefix, native) end
	local bytes, err = open_handle(self, env, prefix, "bytes")
	if not bytes then
		if o.l1 and err.code == "unsupported" then err.op, err.option, err.table = "table", "l1", name end
		return nil, err
	end
	local t = o.l1 and l1.new(bytes, env) or lua_table.new(bytes, env)
	env.prefix = prefix
	self.lua_tables[t] = true
	return t
end

--- The table of that name: keys lie under key_prefix .. name .. ":". The same name gives the same table; options that differ
--- from those it was made with raise.
---@param name string
---@param opts zbz.TableOptions?
---@return zbz.Table?, zbz.Error?
function Cache:table(name, opts) return self:table_at(name, opts, 2) end

--- The same; what is wrong raises at `level`.
---@param name string
---@param opts zbz.TableOptions?
---@param level integer
---@return zbz.Table?, zbz.Error?
function Cache:table_at(name, opts, level)
	if type(name) ~= "string" or name == "" then error("zbz: table: the name must be text", level) end
	if name:find(":", 1, true) then error(("zbz: table: the name '%s' must not hold ':'"):format(name), level) end
	if self.closed then return closed(self, "table") end
	local o, err = T.read(opts, self.base, ("table '%s'"):format(name), level)
	if not o then return nil, E.at(err, { op = "table", table = name }) end
	local known = self.tables[name]
	if known then
		local differs = T.conflict(opts, known.options, o)
		if differs then error(("zbz: table '%s' is open already with another %s"):format(name, differs), level) end
		return known.handle
	end
	local t
	t, err = self:open_table(name, o, self.key_prefix_ .. name .. ":")
	if not t then return nil, err end
	self.tables[name] = { handle = t, options = o }
	return t
end

--- The window of the cache itself: key_prefix .. key.
---@return zbz.Table?, zbz.Error?
function Cache:root()
	if self.closed then return closed(self, "get") end
	if not self.root_ then
		local t, err = self:open_table("", self.base, self.key_prefix_)
		if not t then return nil, err end
		self.root_ = t
	end
	return self.root_
end

for _, op in ipairs({ "get", "set", "add", "delete", "exists", "ttl", "expire", "incr", "decr", "get_with", "get_multi", "set_multi",
	"delete_multi", "fetch", "fetch_multi", "keys", "invalidate", "get_raw", "set_raw", "warm", "get_struct", "set_struct",
	"get_struct_multi", "set_struct_multi" }) do
	Cache[op] = function(self, ...)
		local t, err = self:root()
		if not t then return nil, E.at(err, { op = op }) end
		return t[op](t, ...)
	end
end

-- ---- the whole cache ---------------------------------------------------------------------------------------------------------

--- Removes this cache's keys and no others. With a key_prefix (or a provider of its own): all under it. Without, on a shared
--- server: the keys of the tables opened through this cache.
---@param opts zbz.ReadOptions?
---@return true?, integer|zbz.Error|nil removed_or_err
function Cache:clear(opts)
	if self.closed then return closed(self, "clear") end
	local caps = self:capabilities()
	if self.key_prefix_ ~= "" or (self.owns and caps and caps.exclusive) then
		local root, err = self:root()
		if not root then return nil, err end
		return root:clear(opts)
	end
	local total, tables = 0, {}
	for _, t in pairs(self.tables) do tables[#tables + 1] = t.handle end -- others may open tables while this one waits
	for name in pairs(self.parted) do
		if not self.tables[name] then tables[#tables + 1] = self:open_table(name, self.base, self.key_prefix_ .. name .. ":") end
	end
	for _, t in ipairs(tables) do
		local ok, n = t:clear(opts)
		if not ok then return nil, n end
		total = total + (n or 0)
	end
	return true, total
end

--- A table was closed: its name is free again, its keys are this cache's as before, and its counters stay in the sums.
---@param t zbz.LuaTable
function Cache:part(t)
	local name = t.env.name
	local known = self.tables[name]
	self.lua_tables[t] = nil
	if self.closed or not known or known.handle ~= t then return end
	self.tables[name], self.parted[name] = nil, true
	for counter, n in pairs(t:counters()) do
		if counter ~= "created_at" and counter ~= "last_access" then self.past[counter] = (self.past[counter] or 0) + n end
	end
end

--- The backend's own client. nil, provider_mismatch when the provider is of another kind.
---@param kind string?
---@return zbz.Native?, zbz.Error?
function Cache:native(kind)
	if self.closed then return closed(self, "native") end
	return require("zbz.native").open(self, kind)
end

--- What native handles send through.
---@param commands (string|number)[][]
---@param deadline_ms integer?
---@return any[]? replies, zbz.Error?
function Cache:command(commands, deadline_ms)
	if self.closed then return closed(self, "command") end
	if not self.core then return self.owner.store:command(commands) end
	return self.core:command(commands, deadline_ms)
end

---@param channels string[]
---@param is_pattern boolean
---@param fn fun(channel: string, payload: string?)
---@return zbz.Subscription?, zbz.Error?
function Cache:subscribe(channels, is_pattern, fn)
	if self.closed then return closed(self, "subscribe") end
	if not self.core then return self.provider:subscribe(channels, is_pattern, fn) end
	return self.core:subscribe(channels, is_pattern, fn)
end

--- Nothing that was kept of the provider counts any more, and nobody listens to the new one yet.
function Cache:forget()
	for t in pairs(self.lua_tables) do
		if t.forget then t:forget() end
	end
	for w in pairs(self.watches) do w:moved() end
end

--- Ends all calls under way, gives the provider back. Tables then answer `nil, closed`. Twice is fine.
---@return boolean?, zbz.Error?
function Cache:close()
	if self.closed then return true end
	self.closed = true
	local ok, err
	if self.core then
		ok, err = self.core:close()
		self:forget()
	else
		self.owner.closed = true
		ok, err = self.owner.store:close()
	end
	if self.owns then
		local fine, why = self.provider:close()
		if not fine then ok, err = nil, why end
	end
	return ok, err
end

function Cache:__tostring() return ("zbz.Cache on %s, prefix '%s'"):format(tostring(self.kind_), self.key_prefix_) end
Cache.__close = Cache.close

return { Cache = Cache, new = Cache.new, OWN = OWN, attach = attach, open_handle = open_handle, closed = closed,
	is = function(x) return getmetatable(x) == Cache end }
