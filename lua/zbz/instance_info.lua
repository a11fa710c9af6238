--- What a cache tells of itself and of its provider: counters, abilities, options, health.
local core = require("zbz.core")
local I = require("zbz.instance")
local O = require("zbz.options")
local host = require("zbz.host")

---@class zbz.Cache
local Cache = I.Cache
local closed = I.closed

local SUMS = { "hits", "misses", "sets", "deletes", "errors", "lost_writes", "loads", "load_failures", "waits", "stale_served", "fenced",
	"lock_waits", "unlocked" }

--- Sums over the tables of this cache, those closed since too, and what the provider tells of itself. In an event loop also the writes
--- queued where nothing can wait, of all caches: queued_writes (under way), queue_failed, queue_refused.
---@return zbz.CacheStats?, zbz.Error?
function Cache:stats()
	if self.closed then return closed(self, "stats") end
	local past = self.past
	local s = { provider = self:provider_name(), tables = 0 }
	local kept = past.l1_hits -- hits of tables with l1; a layer with a tier of that name tells its own
	for _, name in ipairs(SUMS) do s[name] = past[name] or 0 end
	local function add(t)
		local n = t:counters()
		if n.l1_hits then kept = (kept or 0) + n.l1_hits end
		for _, name in ipairs(SUMS) do s[name] = s[name] + (n[name] or 0) end
		if (n.last_access or 0) > (s.last_access or 0) then s.last_access = n.last_access end
	end
	for _, t in pairs(self.tables) do
		add(t.handle)
		s.tables = s.tables + 1
	end
	if self.root_ then add(self.root_) end
	s.uptime = math.max((core.wall() - self.created) / 1000, 0)
	local writes = host.queue()
	if writes then s.queued_writes, s.queue_failed, s.queue_refused = writes.queued, writes.failed, writes.refused end
	for name, v in pairs(self:provider_stats() or {}) do
		if s[name] == nil then s[name] = v end
	end
	if s.l1_hits == nil then s.l1_hits = kept end
	if self.core then s.provider_counters = self.core:provider_counters() end
	return s
end

--- What the provider tells of itself: keys memory connections evictions expired retries, where known.
---@return table?, zbz.Error?
function Cache:provider_stats()
	if self.closed then return closed(self, "stats") end
	if not self.core then return self.owner.store:stats() end
	return self.core:provider_stats()
end

--- Does the provider answer? unavailable, timeout, denied.
---@param deadline zbz.Duration?
---@return true?, zbz.Error?
function Cache:ping(deadline)
	if self.closed then return closed(self, "ping") end
	local ms = O.duration_arg(deadline, "deadline", "ping", 2)
	if not self.core then return self.owner.store:ping() end
	return self.core:ping(ms)
end

--- The backend's own version text.
---@return string?, zbz.Error?
function Cache:version()
	if self.closed then return closed(self, "version") end
	if not self.core then return self.owner.store:version() end
	return self.core:version()
end

--- The store in use, closed again by the caller when it is the core's.
---@param fn fun(store: any): any, any
---@return any, any
function Cache:with_store(fn)
	if not self.core then return fn(self.owner.store) end
	local store, err = self.core:store()
	if not store then return nil, err end
	local out, why = fn(store)
	store:close()
	return out, why
end

--- What the provider can do, with its limits.
---@return zbz.Capabilities?, zbz.Error?
function Cache:capabilities()
	if self.closed then return closed(self, "capabilities") end
	return self:with_store(function(store) return store:caps() end)
end

--- Is that among its capabilities?
---@param what string  "incr" "keys" "native" ...
---@return boolean
function Cache:supports(what)
	local caps = self:capabilities()
	return caps ~= nil and caps[what] == true
end

--- Name of the provider at the bottom of the layers.
---@return string
function Cache:provider_name() return self.kind_ end

---@return boolean
function Cache:is_closed() return self.closed end
---@return number seconds
function Cache:default_ttl() return self.base.ttl_ms / 1000 end
---@return string
function Cache:key_prefix() return self.key_prefix_ end
---@return string
function Cache:prefix() return self.key_prefix_ end

--- Every option in force: the provider's (secrets "***"), then the cache's own.
---@return table?, zbz.Error?
function Cache:config()
	if self.closed then return closed(self, "config") end
	local out, err = self:with_store(function(store) return store:config() end)
	if not out then return nil, err end
	out.provider = self:with_store(function(store) return store:ops_name() end)
	out.key_prefix, out.default_ttl, out.serializer = self.key_prefix_, self:default_ttl(), self.base.serializer.name
	if self.base.deadline_ms then out.deadline = self.base.deadline_ms / 1000 end
	return out
end

--- Provider, serializer and configuration, for people.
---@return table?, zbz.Error?
function Cache:info()
	if self.closed then return closed(self, "info") end
	local names = {}
	for name in pairs(self.tables) do names[#names + 1] = name end
	table.sort(names)
	return {
		name = self.name, provider = self:provider_name(), capabilities = self:capabilities(), key_prefix = self.key_prefix_,
		default_ttl = self:default_ttl(), tables = names, config = self:config(),
		serializer = { name = self.base.serializer.name, content_type = self.base.serializer.content_type },
	}
end

--- One ping, and what it tells.
---@return zbz.Health
function Cache:health() return require("zbz.health")(self) end

--- Details of one key (without the cache's prefix) on providers that tell; nil: there is no such key.
---@param key string
---@return table?, zbz.Error?
function Cache:inspect(key)
	if type(key) ~= "string" then error("zbz: inspect: the key must be a string, got " .. type(key), 2) end
	if self.closed then return closed(self, "inspect") end
	if not self.core then return self.owner.store:inspect(self.key_prefix_ .. key) end
	return self.core:inspect(self.key_prefix_ .. key)
end
