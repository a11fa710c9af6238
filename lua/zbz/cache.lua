--- zbz.cache: instances, the default instance, providers, contracts and serializers.
local E = require("zbz.error")
local I = require("zbz.instance")
local O = require("zbz.options")
local P = require("zbz.provider")
local contract = require("zbz.contract")
local env = require("zbz.env")
local host = require("zbz.host")
local providers = require("zbz.providers")
local serializer = require("zbz.serializer")
require("zbz.instance_info")
require("zbz.swap")

---@class zbz.cache
local M = {}

local default

--- Two results, and no tail call: errors blame the caller by counting levels.
local function both(a, b) return a, b end

-- ---- instances ----------------------------------------------------------------------------------------------------------

--- An independent cache. opts: provider (a name with its options beside it, a URL, or a provider object), key_prefix,
--- default_ttl ("1h"), serializer ("json"), deadline; further defaults for its tables: stale_ttl neg_ttl refresh_at jitter lock.
---@param opts zbz.CacheOptions|string|zbz.Provider  a name or URL alone is a provider without options
---@return zbz.Cache?, zbz.Error?
function M.new(opts)
	if type(opts) == "string" or P.is(opts) then opts = { provider = opts } end
	local made, err = I.new(opts, 2)
	made, err = host.told(made, err and E.at(err, { op = "new" }))
	return made, err
end

--- configure(opts), or configure(provider, opts).
local function configure(provider, opts, level)
	if opts ~= nil or P.is(provider) or type(provider) == "string" then
		local all = O.copy(opts)
		if all.provider ~= nil then error("zbz: configure: the provider is given twice", level + 1) end
		all.provider = provider
		opts = all
	else
		opts = provider
	end
	local made, err = I.new(opts, level + 1)
	if not made then return host.told(nil, E.at(err, { op = "configure" })) end
	local before = default
	default = made
	if before then before:close() end
	return made
end

--- Makes the default cache. A former one is closed once the new one stands; a failure changes nothing.
---@param provider zbz.CacheOptions|string|zbz.Provider  the options, or the provider with its options after it
---@param opts zbz.CacheOptions?
---@return zbz.Cache?, zbz.Error?
function M.configure(provider, opts) return both(configure(provider, opts, 2)) end

--- The same from the environment: CACHE_PROVIDER (memory), CACHE_DEFAULT_TTL, CACHE_KEY_PREFIX, CACHE_SERIALIZATION, REDIS_URL,
--- MEMCACHED_SERVERS ...; the README lists all. get: instead of os.getenv.
---@param get (fun(name: string): string?)|table?
---@return zbz.Cache?, zbz.Error?
function M.configure_from_env(get)
	if type(get) == "table" then
		local values = get
		get = function(name) return values[name] end
	end
	local opts, err, from = env.read(get)
	if not opts then return nil, E.at(err, { op = "configure_from_env" }) end
	local made, why = configure(opts, nil, 2)
	if not made then return nil, env.explain(why, from) end
	return made
end

--- The default cache, or nil.
---@return zbz.Cache?
function M.default() return default end

--- Is there a default cache that is open?
---@return boolean
function M.is_configured() return default ~= nil and not default.closed end

local function not_configured(op)
	return E.fail("not_configured", "no default cache: call zbz.cache.configure first", { op = op })
end

--- A table of the default cache; nil, not_configured without one.
---@param name string
---@param opts zbz.TableOptions?
---@return zbz.Table?, zbz.Error?
function M.table(name, opts)
	if not M.is_configured() then return not_configured("table") end
	return default:table_at(name, opts, 2)
end

for _, op in ipairs({ "get", "set", "add", "delete", "exists", "ttl", "expire", "incr", "decr", "get_with", "get_multi", "set_multi",
	"delete_multi", "fetch", "fetch_multi", "keys", "invalidate", "get_raw", "set_raw", "warm", "get_struct", "set_struct",
	"get_struct_multi", "set_struct_multi", "clear", "stats", "ping", "version", "capabilities", "supports", "info", "config",
	"health", "inspect", "native", "swap_provider", "default_ttl", "key_prefix", "provider_name" }) do
	M[op] = function(...)
		if not M.is_configured() then return not_configured(op) end
		return default[op](default, ...)
	end
end

--- Closes the default cache; there is none afterwards.
---@return true?, zbz.Error?
function M.close()
	local before = default
	default = nil
	if before then return before:close() end
	return true
end

--- The table behind cache://NAME/...: one that is open already keeps its options.
---@param name string
---@param op string  for errors
---@return zbz.Table?, zbz.Error?
function M.table_for_uri(name, op)
	if not M.is_configured() then return not_configured(op) end
	local known = default.tables[name]
	if known then return known.handle end
	return default:table_at(name, nil, 4)
end

-- ---- providers ------------------------------------------------------------------------------------------------------------

--- Opens a provider that several caches may share. opts: its own, and key_prefix, deadline, clock for its raw operations.
---@param name string|table  a name, a URL, or { provider = name, ... }
---@param opts table?
---@return zbz.Provider?, zbz.Error?
function M.provider(name, opts)
	if opts ~= nil and type(opts) ~= "table" then error("zbz: provider: expects a table of options, got " .. type(opts), 2) end
	local made, err = providers.open(name, opts or {}, 2)
	made, err = host.told(made, err and E.at(err, { op = "provider" }))
	return made, err
end

---@return string[] names of all providers
function M.providers() return providers.names() end
--- { name=, layer=, summary=, options = { {name=, alias=, type=, default=, choices=, help=} ... } }; unknown_provider, or unsupported
--- where its library is not here.
---@param name string
---@return table?, zbz.Error?
function M.provider_info(name) return both(providers.info(name)) end
--- Makes a provider written in Lua known: factory(opts) gives it, or nil, err. options: the names that it takes; others raise then.
---@param name string
---@param factory fun(opts: table): zbz.LuaProvider?, any
---@param options string[]?
---@return true?, zbz.Error?
function M.register_provider(name, factory, options) return both(providers.register(name, factory, options)) end
--- Loads the plug-in or module of that name; unknown_provider, unsupported.
---@param name string
---@return true?, zbz.Error?
function M.load_provider(name) return both(providers.load(name)) end
--- Makes a serializer known by a name; invalid_config where another has it.
---@param name string
---@param s zbz.Serializer
---@return true?, zbz.Error?
function M.register_serializer(name, s) return both(serializer.register(name, s)) end
---@return string[] names of all serializers
function M.serializers() return serializer.names() end

-- ---- contracts --------------------------------------------------------------------------------------------------------------

--- A cache and one table in one step: keys under prefix .. key, prefix is name .. ":" unless given.
---@param name string
---@param provider string|zbz.Provider|zbz.CacheOptions
---@param opts zbz.TableOptions|table|nil  and key_prefix, alias
---@return zbz.Contract?, zbz.Error?
function M.contract(name, provider, opts) return both(host.told(contract.new(name, provider, opts, 2))) end
--- The contract that is registered under that alias, or nil.
---@param alias string
---@return zbz.Contract?
function M.lookup(alias) return contract.lookup(alias) end

--- A contract named after its provider: "redis-cache".
---@param provider string
---@param opts table?        of the provider
---@param table_opts table?  of the contract
---@return zbz.Contract?, zbz.Error?
function M.service(provider, opts, table_opts)
	if type(provider) ~= "string" then error("zbz: service: expects the name of a provider, got " .. type(provider), 2) end
	local spec = O.copy(opts)
	spec.provider = provider
	return both(contract.new(provider .. "-cache", spec, table_opts, 2))
end

local CONFIG = { name = true, provider = true, settings = true, config = true, key_prefix = true, default_ttl = true, ttl = true,
	serializer = true, serialization = true, schema = true, alias = true }

local function from_config(c, level)
	O.check(c, CONFIG, "from_config", level + 1)
	if type(c.name) ~= "string" then
		return E.fail("invalid_config", "name: a contract needs a name", { option = "name", op = "from_config" })
	end
	local spec = O.copy(c.settings or c.config)
	spec.provider = c.provider
	return both(contract.new(c.name, spec, { key_prefix = c.key_prefix, default_ttl = c.default_ttl, ttl = c.ttl,
		serializer = c.serializer, serialization = c.serialization, schema = c.schema, alias = c.alias }, level + 1))
end

--- A contract from { name=, provider=, settings={}, key_prefix=, default_ttl= }; what is absent keeps its default.
---@param c table
---@return zbz.Contract?, zbz.Error?
function M.from_config(c)
	if type(c) ~= "table" then error("zbz: from_config: expects a table, got " .. type(c), 2) end
	return both(from_config(c, 2))
end

--- All of a list, each registered under its name; one failure closes those made before.
---@param list table[]
---@return table<string, zbz.Contract>?, zbz.Error?
function M.load_all(list)
	if type(list) ~= "table" then error("zbz: load_all: expects a list, got " .. type(list), 2) end
	local made = {}
	for i, c in ipairs(list) do
		if type(c) ~= "table" then error(("zbz: load_all: entry %d must be a table, got %s"):format(i, type(c)), 2) end
	end
	for i, c in ipairs(list) do
		local one, err
		if made[c.name] then
			err = E.new("invalid_config", ("two entries are named '%s'"):format(c.name), { option = "name" })
		else
			one, err = from_config(c, 2)
		end
		if not one then
			for _, other in pairs(made) do other:close() end
			err.message = ("entry %d (%s): %s"):format(i, tostring(c.name), err.message)
			return nil, E.at(err, { op = "load_all" })
		end
		made[c.name] = one
	end
	for name, one in pairs(made) do one:register(name) end
	return made
end

--- A contract whose provider depends on the environment: for_env("users", { development = "memory", production = "redis://..." }).
--- The variable APP_ENV chooses (or ZBZ_ENV); development when neither is set.
---@param name string
---@param choices table<string, string|zbz.Provider|zbz.CacheOptions>
---@param opts table?
---@return zbz.Contract?, zbz.Error?
function M.for_env(name, choices, opts)
	if type(choices) ~= "table" then error("zbz: for_env: expects a table of providers by environment, got " .. type(choices), 2) end
	local which = os.getenv("APP_ENV") or os.getenv("ZBZ_ENV") or "development"
	local spec = choices[which]
	if spec == nil then
		local known = {}
		for k in pairs(choices) do known[#known + 1] = k end
		return E.fail("invalid_config", "APP_ENV: " .. O.unknown("environment", which, known), { option = "APP_ENV", op = "for_env" })
	end
	return both(contract.new(name, spec, opts, 2))
end

--- The older calling style over a provider or a cache.
---@param x zbz.Provider|zbz.Cache
---@return table
function M.legacy(x) return require("zbz.legacy").new(x) end

return M
