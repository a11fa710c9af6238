--- Provider objects: one opened provider (or stack of layers) that any number of caches may share, with raw operations
--- over full keys and bytes.
local core = require("zbz.core")
local E = require("zbz.error")
local LuaHandle = require("zbz.lua_handle")
local LuaProvider = require("zbz.lua_provider")
local O = require("zbz.options")
require("zbz.lua_batch")
require("zbz.lua_write")

---@class zbz.Provider
---@field lua boolean written in Lua
local Provider = {}
Provider.__index = Provider
Provider.__name = "zbz.Provider"

local M = { Provider = Provider }

---@param x any
---@return boolean
function M.is(x) return getmetatable(x) == Provider end

--- Wraps an opened store. opts: key_prefix for the raw operations, deadline, clock.
function M.wrap(store, opts)
	return setmetatable({ store = store, lua = LuaProvider.is(store), key_prefix = opts.key_prefix or "", deadline_ms = opts.deadline_ms,
		clock = opts.clock, name_ = store:ops_name(), kind_ = store:kind(), closed = false }, Provider)
end

local function closed(self, op)
	return E.fail("closed", "the provider is closed", { op = op, provider = self.name_ })
end

--- The window for raw operations, made on first use: prefix as configured, no TTL, bytes.
---@return zbz.Table?, zbz.Error?
function Provider:window()
	if self.raw then return self.raw end
	if self.closed then return closed(self) end
	if self.lua then
		self.owner = { store = self.store:ref(), closed = false }
		self.raw = LuaHandle.new(self.owner, { name = "", prefix = self.key_prefix, ttl = 0 })
		return self.raw
	end
	local cache, err = core.new_cache(self.store, { deadline = self.deadline_ms, clock = self.clock })
	if not cache then return nil, err end
	self.cache = cache
	self.raw, err = core.new_table(cache, { name = "", prefix = self.key_prefix, ttl = 0, codec = "bytes", env = { name = "" } })
	return self.raw, err
end

for _, op in ipairs({ "get", "set", "delete", "exists", "ttl", "expire", "get_multi", "set_multi", "delete_multi", "keys", "add",
	"incr", "decr", "get_with", "clear" }) do
	Provider[op] = function(self, ...)
		if self.closed then return closed(self, op) end
		local raw, err = self:window()
		if not raw then return nil, err end
		return raw[op](raw, ...)
	end
end

--- Registered name of the outermost layer or provider.
---@return string
function Provider:name() return self.name_ end

--- The cache handle behind calls on the whole provider; nil, err when closed or written in Lua.
local function handle(self, op)
	if self.closed then return closed(self, op) end
	local raw, err = self:window()
	if not raw then return nil, err end
	return self.cache
end

--- Does it answer? unavailable, timeout, denied.
---@return true?, zbz.Error?
function Provider:ping()
	if self.closed then return closed(self, "ping") end
	if self.lua then return self.store:ping() end
	local cache, err = handle(self, "ping")
	if not cache then return nil, err end
	return cache:ping()
end

--- The backend's own version text.
---@return string?, zbz.Error?
function Provider:version()
	if self.closed then return closed(self, "version") end
	if self.lua then return self.store:version() end
	local cache, err = handle(self, "version")
	if not cache then return nil, err end
	return cache:version()
end

--- What the provider tells of itself: keys memory connections evictions expired retries, where known.
---@return table?, zbz.Error?
function Provider:provider_stats()
	if self.closed then return closed(self, "stats") end
	if self.lua then return self.store:stats() end
	local cache, err = handle(self, "stats")
	if not cache then return nil, err end
	return cache:provider_stats()
end

--- Counters of the raw operations, and what the provider tells of itself.
---@return zbz.TableStats?, zbz.Error?
function Provider:stats()
	local told, err = self:provider_stats()
	if not told then return nil, err end
	local raw
	raw, err = self:window()
	if not raw then return nil, err end
	local s = raw:counters()
	for name, v in pairs(told) do
		if s[name] == nil then s[name] = v end
	end
	s.provider = self.name_
	s.uptime = math.max((self.clock and self.clock:wall() or core.wall()) / 1000 - (s.created_at or 0), 0)
	return s
end

--- Every option with its value in force; secrets as "***".
---@return table?, zbz.Error?
function Provider:config()
	if self.closed then return closed(self, "config") end
	local out, err = self.store:config()
	if not out then return nil, err end
	out.provider = self.name_
	return out
end

--- What it can do, with its limits.
---@return zbz.Capabilities?, zbz.Error?
function Provider:capabilities()
	if self.closed then return closed(self, "capabilities") end
	return self.store:caps()
end

--- Does it have that capability: "incr", "keys", "native" ...?
---@param what string
---@return boolean
function Provider:supports(what)
	local caps = self:capabilities()
	return caps ~= nil and caps[what] == true
end

--- Details of one entry of the memory provider: size, hits, age, idle time; nil: there is no such key.
---@param key string
---@return table?, zbz.Error?
function Provider:inspect(key)
	if type(key) ~= "string" then error("zbz: inspect: the key must be a string, got " .. type(key), 2) end
	if self.closed then return closed(self, "inspect") end
	if self.lua then return self.store:inspect(self.key_prefix .. key) end
	local cache, err = handle(self, "inspect")
	if not cache then return nil, err end
	return cache:inspect(self.key_prefix .. key)
end

--- The backend's own client; provider_mismatch, unsupported.
---@param kind string?
---@return zbz.Native?, zbz.Error?
function Provider:native(kind)
	if self.closed then return closed(self, "native") end
	return require("zbz.native").open(self, kind)
end

--- What native handles send through; changes with no swap, a provider object stays what it is.
---@param commands (string|number)[][]
---@param deadline_ms integer?
---@return any[]? replies, zbz.Error?
function Provider:command(commands, deadline_ms)
	if self.lua then return self.store:command(commands) end
	local cache, err = handle(self, "command")
	if not cache then return nil, err end
	return cache:command(commands, deadline_ms)
end

---@param channels string[]
---@param is_pattern boolean
---@param fn fun(channel: string, payload: string?)
---@return zbz.Subscription?, zbz.Error?
function Provider:subscribe(channels, is_pattern, fn)
	if self.lua then return E.fail("unsupported", "a provider written in Lua has no subscriptions", { provider = self.name_ }) end
	local cache, err = handle(self, "subscribe")
	if not cache then return nil, err end
	return cache:subscribe(channels, is_pattern, fn)
end

--- Name of the provider at the bottom of the layers.
---@return string
function Provider:provider_name() return self.kind_ end

--- One ping, and what it tells.
---@return zbz.Health
function Provider:health() return require("zbz.health")(self) end

--- Gives up this handle. Caches that share the provider keep it; the last user closes it. Twice is fine.
---@return boolean?, zbz.Error?
function Provider:close()
	if self.closed then return true end
	self.closed = true
	if self.lua then
		if self.owner then
			self.owner.closed = true
			self.owner.store:close()
		end
		return self.store:close()
	end
	local ok, err = true, nil
	if self.cache then ok, err = self.cache:close() end
	local fine, why = self.store:close()
	if not fine then return nil, why end
	return ok, err
end

function Provider:__tostring() return ("zbz.Provider %s"):format(self.name_) end
Provider.__close = Provider.close

--- Options of provider() that are not the provider's own.
local OWN = { key_prefix = true, deadline = true, clock = true }

--- Opens a provider from its resolved description; see providers.lua.
function M.open(open_store, opts, level)
	local prefix, err = O.text(opts, "key_prefix", "")
	if err then return nil, err end
	local deadline, wrong = O.duration(opts, "deadline", level + 1, "zbz: a provider: ")
	if wrong then return nil, wrong end
	local store
	store, err = open_store(O.copy(opts, OWN))
	if not store then return nil, err end
	return M.wrap(store, { key_prefix = prefix, deadline_ms = deadline, clock = opts.clock })
end

return M
