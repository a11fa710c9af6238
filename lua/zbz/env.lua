--- configure_from_env: what the environment says about the cache.
local E = require("zbz.error")
local core = require("zbz.core")
local providers = require("zbz.providers")

local M = {}

--- Variable, option, and for which provider (nil: the cache itself). The first of two variables for one option wins.
M.VARIABLES = {
	{ "CACHE_DEFAULT_TTL", "default_ttl" }, { "CACHE_TTL", "default_ttl" },
	{ "CACHE_KEY_PREFIX", "key_prefix" }, { "CACHE_PREFIX", "key_prefix" },
	{ "CACHE_SERIALIZATION", "serializer" }, { "CACHE_SERIALIZER", "serializer" },
	{ "CACHE_DEADLINE", "deadline" },
	{ "REDIS_URL", "url", "redis" }, { "REDIS_HOST", "host", "redis" }, { "REDIS_PORT", "port", "redis" },
	{ "REDIS_DATABASE", "database", "redis" }, { "REDIS_DB", "database", "redis" }, { "REDIS_USERNAME", "username", "redis" },
	{ "REDIS_PASSWORD", "password", "redis" }, { "REDIS_POOL_SIZE", "pool_size", "redis" },
	{ "REDIS_MAX_RETRIES", "max_retries", "redis" }, { "REDIS_READ_TIMEOUT", "read_timeout", "redis" },
	{ "REDIS_WRITE_TIMEOUT", "write_timeout", "redis" }, { "REDIS_ENABLE_PIPELINING", "enable_pipelining", "redis" },
	{ "REDIS_ENABLE_SSL", "enable_ssl", "redis" },
	{ "MEMCACHED_SERVERS", "servers", "memcached" }, { "MEMCACHED_TIMEOUT", "timeout", "memcached" },
	{ "MEMCACHED_MAX_IDLE_CONNS", "max_idle_conns", "memcached" },
	{ "MEMORY_CACHE_MAX_SIZE", "max_size", "memory" }, { "MEMORY_CACHE_CLEANUP_INTERVAL", "cleanup_interval", "memory" },
	{ "MEMORY_CACHE_EVICTION", "eviction", "memory" },
	{ "FILESYSTEM_CACHE_DIR", "base_dir", "filesystem" }, { "FILESYSTEM_CACHE_PERMISSIONS", "permissions", "filesystem" },
}

--- Those of the cache itself, where a negative one raises when it stands in a program.
local DURATIONS = { default_ttl = true, deadline = true }

--- Settings that only the environment gives, so that a program need not repeat them.
local DEFAULTS = { filesystem = { base_dir = "/tmp/zbz-cache" }, memory = { cleanup_interval = "2m" } }

--- host:port and bare hosts as URLs.
local function redis_url(text)
	if text:find("://", 1, true) then return text end
	return "redis://" .. text
end

--- The options of zbz.cache.new from the environment; nil, err. get(name) reads a variable (os.getenv).
---@param get (fun(name: string): string?)?
---@return table?, zbz.Error?
function M.read(get)
	get = get or os.getenv
	local function var(name)
		local v = get(name)
		if v ~= nil and v:match("^%s*$") then return nil end
		return v
	end
	local provider = var("CACHE_PROVIDER") or "memory"
	local opts, from = { provider = provider }, {}
	local scheme = provider:match("^(%a[%w%+%.%-]*):")
	local known, err, info = providers.option_names(scheme and (core.scheme(scheme) or scheme) or provider)
	if not info and not scheme then
		err.message = "CACHE_PROVIDER: " .. err.message
		return nil, err
	end
	if info and not scheme then
		for name, v in pairs(DEFAULTS[info.name] or {}) do opts[name] = v end
	end
	for _, row in ipairs(M.VARIABLES) do
		local name, option, kind = row[1], row[2], row[3]
		local v = var(name)
		local ours = kind == nil or (info and (info.name == kind or provider == kind) and (not known or known[option]))
		if scheme and option == "url" then ours = false end -- CACHE_PROVIDER is one already
		if v and ours and not from[option] then
			if DURATIONS[option] and v:match("^%s*%-") then
				return E.fail("invalid_config", ("%s: a duration cannot be negative (got %s, from %s)"):format(option, v, name), { option = option })
			end
			if name == "REDIS_URL" then v = redis_url(v) end
			opts[option], from[option] = v, name
		end
	end
	return opts, nil, from
end

--- Names the variable behind an error's option.
function M.explain(err, from)
	local name = E.is(err) and err.option and from[err.option]
	if name then err.message = ("%s (from %s)"):format(err.message, name) end
	return err
end

return M
