--- The window of a table on a provider written in Lua: the same methods over bytes as the C handle has.
local core = require("zbz.core")
local A = require("zbz.arguments")
local E = require("zbz.error")

---@class zbz.LuaHandle
local Handle = {}
Handle.__index = Handle

local function zero_counters(now)
	return { hits = 0, misses = 0, sets = 0, deletes = 0, errors = 0, lost_writes = 0, loads = 0, load_failures = 0, waits = 0,
		stale_served = 0, fenced = 0, lock_waits = 0, unlocked = 0, created_at = now / 1000, last_access = now / 1000 }
end

--- The store of this moment (a swap changes it), or nil, err.
function Handle:store()
	if self.owner.closed or not self.owner.store then
		return E.fail("closed", "the cache is closed", { table = self.name })
	end
	return self.owner.store
end

function Handle:fail(op, key, err)
	self.n.errors = self.n.errors + 1
	return nil, E.at(err, { op = op, table = self.name, key = key })
end

--- Begins a call: the store, after the key has been looked at.
function Handle:begin(op, key)
	local store, err = self:store()
	if not store then return self:fail(op, key, err) end
	self.n.last_access = store:clock_wall() / 1000
	if key == "" then return self:fail(op, key, E.new("invalid_key", "the key is empty", { provider = store.name })) end
	local max = store.impl.max_key or 65536
	if key and #self.prefix_ + #key > max then
		return self:fail(op, key, E.new("invalid_key", ("the key has %d bytes with its prefix, the provider takes %d")
			:format(#self.prefix_ + #key, max), { provider = store.name }))
	end
	return store
end

--- What stands under a key: bytes, entry, meta; nothing for a miss; nil, nil, nil, err for a failure.
function Handle:read(store, op, key)
	local stored, err, meta = store:call("get", self.prefix_ .. key)
	if stored == nil then return nil, nil, nil, err end
	if type(stored) ~= "string" then
		local _, wrong = store:wrong(op, stored, "bytes")
		return nil, nil, nil, wrong
	end
	local now = store:clock_wall()
	local value, entry = core.envelope_open(stored, now)
	if value == nil and E.is(entry) then return nil, nil, nil, entry end
	if entry.sealed and entry.expire_at and entry.expire_at > 0 and entry.expire_at <= now then
		entry.stale = true
		local keep = self.stale_ttl_ms or 0
		if store.impl.no_expiry and not entry.lease and entry.expire_at + keep <= now then return nil end
	end
	return value, entry, type(meta) == "table" and meta or {}
end

local function live(entry) return not (entry.negative or entry.stale or entry.lease) end

-- ---- reading --------------------------------------------------------------------------------------------------------

function Handle:get(k, opts)
	A.key(k, "get", 2)
	A.deadline(opts, "get", 2)
	local store, err = self:begin("get", k)
	if not store then return nil, err end
	local value, entry, _, wrong = self:read(store, "get", k)
	if wrong then return self:fail("get", k, wrong) end
	if entry and live(entry) then
		self.n.hits = self.n.hits + 1
		return value
	end
	self.n.misses = self.n.misses + 1
	return nil
end

--- Milliseconds left of an entry, math.huge for none, nil when the provider does not say.
function Handle:left(store, key, entry, meta)
	if entry.sealed then
		if not entry.expire_at or entry.expire_at <= 0 then return math.huge end
		return math.max(entry.expire_at - store:clock_wall(), 0)
	end
	if type(meta.ttl) == "number" then return meta.ttl * 1000 end
	if store.impl.no_expiry then return math.huge end
	if not store:has("ttl") then return nil end
	local seconds = store:call("ttl", self.prefix_ .. key)
	return type(seconds) == "number" and seconds * 1000 or nil
end

function Handle:entry(k)
	local store, err = self:begin("fetch", k)
	if not store then return nil, nil, err end
	local value, entry, meta, wrong = self:read(store, "fetch", k)
	if wrong then
		local _, e = self:fail("fetch", k, wrong)
		return nil, nil, e
	end
	if not entry then
		self.n.misses = self.n.misses + 1
		return nil, nil
	end
	local state = entry.lease and "lease" or entry.stale and "stale" or entry.negative and "negative" or "hit"
	if entry.negative and entry.stale then state = nil end
	local counter = (state == "hit" or state == "negative") and "hits" or "misses"
	self.n[counter] = self.n[counter] + 1
	if state == nil then return nil, nil end
	local age = entry.sealed and (entry.stored_at or 0) > 0 and store:clock_wall() - entry.stored_at or nil
	if state == "negative" or state == "lease" then value = nil end
	return value, state, age, self:left(store, k, entry, meta), meta.version
end

function Handle:get_with(k, opts)
	A.key(k, "get_with", 2)
	A.deadline(opts, "get_with", 2)
	local store, err = self:begin("get_with", k)
	if not store then return nil, err end
	local value, entry, meta, wrong = self:read(store, "get_with", k)
	if wrong then return self:fail("get_with", k, wrong) end
	if not entry or not live(entry) then
		self.n.misses = self.n.misses + 1
		return nil
	end
	self.n.hits = self.n.hits + 1
	local left = self:left(store, k, entry, meta)
	return value, {
		version = meta.version, ttl = left and left / 1000, stale = false,
		age = entry.sealed and (entry.stored_at or 0) > 0 and (store:clock_wall() - entry.stored_at) / 1000 or nil,
	}
end

function Handle:exists(k, opts)
	A.key(k, "exists", 2)
	A.deadline(opts, "exists", 2)
	local store, err = self:begin("exists", k)
	if not store then return nil, err end
	if store:has("exists") and not self.envelope and not store.impl.no_expiry then
		local found, why = store:call("exists", self.prefix_ .. k)
		if why then return self:fail("exists", k, why) end
		return found and true or false
	end
	local _, entry, _, wrong = self:read(store, "exists", k)
	if wrong then return self:fail("exists", k, wrong) end
	return entry ~= nil and live(entry)
end

function Handle:ttl(k, opts)
	A.key(k, "ttl", 2)
	A.deadline(opts, "ttl", 2)
	local store, err = self:begin("ttl", k)
	if not store then return nil, err end
	if not store:has("ttl") and not store.impl.no_expiry then
		local _, e = store:call("ttl", k)
		return self:fail("ttl", k, e)
	end
	local _, entry, meta, wrong = self:read(store, "ttl", k)
	if wrong then return self:fail("ttl", k, wrong) end
	if not entry or not live(entry) then return nil end
	local left = self:left(store, k, entry, meta)
	return left and left / 1000
end

-- ---- writing --------------------------------------------------------------------------------------------------------

--- Writes, in the way `how` asks: true, false when a condition did not hold, or nil, err.
function Handle:write(store, op, k, bytes, how)
	local fits, wrong = self:check_size(store, op, k, bytes)
	if not fits then return nil, wrong end
	local sealed, ttl = self:seal(store, bytes, how)
	if not sealed then return self:fail(op, k, ttl) end
	local method = how.only == "absent" and "add" or how.only == "present" and "replace" or how.if_version and "cas" or "set"
	local full = self.prefix_ .. k
	local ok, err
	if not how.flight then store.flights:touch(full) end
	if method == "cas" then
		ok, err = store:call("cas", full, sealed, ttl, how.if_version)
	elseif how.only and store:has(method) then
		ok, err = self:write_if(store, k, method, sealed, ttl)
	else
		ok, err = store:call(method, full, sealed, ttl)
	end
	if err then
		self:count_lost(err, 1)
		return self:fail(op, k, err)
	end
	if not ok then
		if method == "cas" then
			return self:fail(op, k, E.new("conflict", "another version stands there, or the key is gone", { provider = store.name }))
		elseif method == "set" then
			return self:fail(op, k, E.new("unavailable", "the provider did not store the value", { provider = store.name }))
		end
		return false
	end
	self.n.sets = self.n.sets + 1
	return true
end

function Handle:put(op, k, bytes, how)
	local store, err = self:begin(op, k)
	if not store then return nil, err end
	if type(bytes) ~= "string" then
		return self:fail(op, k, E.new("encode", "expects bytes, got " .. type(bytes)))
	end
	return self:write(store, op, k, bytes, how)
end

function Handle:set(k, bytes, how)
	A.key(k, "set", 2)
	return self:put("set", k, bytes, A.write(how, "set", 2))
end

function Handle:add(k, bytes, how)
	A.key(k, "add", 2)
	local w = A.ttl(how, "add", 2)
	w.only = "absent"
	return self:put("add", k, bytes, w)
end

function Handle:delete(k, opts)
	A.key(k, "delete", 2)
	A.deadline(opts, "delete", 2)
	local store, err = self:begin("delete", k)
	if not store then return nil, err end
	store.flights:touch(self.prefix_ .. k)
	local _, why = store:call("delete", self.prefix_ .. k)
	if why then return self:fail("delete", k, why) end
	self.n.deletes = self.n.deletes + 1
	return true
end

--- Stores an entry anew with another end of life, or marked stale. True, nil when there is none, or nil, err.
function Handle:reseal(store, op, k, value, entry, expire_at, stale)
	local out, err = core.envelope_seal({ expire_at = expire_at, stored_at = entry.stored_at or 0, negative = entry.negative, stale = stale },
		value)
	if not out then return self:fail(op, k, err) end
	local left = expire_at > 0 and math.max(expire_at - store:clock_wall(), 1) + (self.stale_ttl_ms or 0) or 0
	store.flights:touch(self.prefix_ .. k)
	local _, why = store:call("set", self.prefix_ .. k, out, left / 1000)
	if why then return self:fail(op, k, why) end
	return true
end

function Handle:expire(k, ttl, opts)
	A.key(k, "expire", 2)
	A.deadline(opts, "expire", 2)
	local ms = require("zbz.options").duration_arg(ttl, "ttl", "expire", 2)
	if not ms then error("zbz: expire: a TTL is needed", 2) end
	local store, err = self:begin("expire", k)
	if not store then return nil, err end
	local sealing = store.impl.no_expiry or self.envelope
	if not sealing and not store:has("expire") then
		local _, e = store:call("expire", k)
		return self:fail("expire", k, e)
	end
	if sealing then
		local value, entry, _, wrong = self:read(store, "expire", k)
		if wrong then return self:fail("expire", k, wrong) end
		if not entry or not live(entry) then return nil end
		return self:reseal(store, "expire", k, value, entry, ms > 0 and store:clock_wall() + ms or 0, false)
	end
	store.flights:touch(self.prefix_ .. k)
	local ok, why = store:call("expire", self.prefix_ .. k, ms / 1000)
	if why then return self:fail("expire", k, why) end
	return ok and true or nil
end

function Handle:incr(k, n, opts, op)
	op = op or "incr"
	A.key(k, op, 2)
	n = n == nil and 1 or A.integer(n, op, "n", 2)
	local o = A.incr(opts, op, 2)
	local store, err = self:begin(op, k)
	if not store then return nil, err end
	if self.envelope or not store:has("incr") then
		return self:fail(op, k, E.new("unsupported", self.envelope and "counters cannot live in a table that stores envelopes"
			or ("provider '%s' has no incr"):format(store.name), { provider = store.name }))
	end
	store.flights:touch(self.prefix_ .. k)
	local value, why = store:call("incr", self.prefix_ .. k, op == "decr" and -n or n, o.initial, (o.ttl_ms or self.ttl_ms) / 1000)
	if why then return self:fail(op, k, why) end
	if type(value) ~= "number" then
		local _, wrong = store:wrong(op, value, "a number")
		return self:fail(op, k, wrong)
	end
	return math.tointeger and math.tointeger(value) or value
end
function Handle:decr(k, n, opts) return self:incr(k, n, opts, "decr") end

function Handle:invalidate(k, opts)
	A.key(k, "invalidate", 2)
	A.deadline(opts, "invalidate", 2)
	local store, err = self:begin("invalidate", k)
	if not store then return nil, err end
	local value, entry, _, wrong = self:read(store, "invalidate", k)
	if wrong then return self:fail("invalidate", k, wrong) end
	if entry and entry.sealed and not entry.negative and not entry.lease then
		if entry.stale then return true end
		return self:reseal(store, "invalidate", k, value, entry, entry.expire_at or 0, true)
	end
	store.flights:touch(self.prefix_ .. k)
	local _, why = store:call("delete", self.prefix_ .. k)
	if why then return self:fail("invalidate", k, why) end
	return true
end

function Handle:get_raw(k, opts)
	A.key(k, "get_raw", 2)
	A.deadline(opts, "get_raw", 2)
	local store, err = self:begin("get_raw", k)
	if not store then return nil, err end
	if store.impl.no_expiry and not self.envelope then -- the envelope is ours, it stands for the expiry the provider lacks
		local value, entry, _, wrong = self:read(store, "get_raw", k)
		if wrong then return self:fail("get_raw", k, wrong) end
		return entry and live(entry) and value or nil
	end
	local stored, why = store:call("get", self.prefix_ .. k)
	if why then return self:fail("get_raw", k, why) end
	if stored ~= nil and type(stored) ~= "string" then
		local _, wrong = store:wrong("get_raw", stored, "bytes")
		return self:fail("get_raw", k, wrong)
	end
	return stored
end

function Handle:set_raw(k, bytes, how)
	A.key(k, "set_raw", 2)
	if type(bytes) ~= "string" then error("zbz: set_raw: the value must be a string, got " .. type(bytes), 2) end
	local w = A.ttl(how, "set_raw", 2)
	local store, err = self:begin("set_raw", k)
	if not store then return nil, err end
	local ttl = (w.ttl_ms or self.ttl_ms) / 1000
	if store.impl.no_expiry and not self.envelope then
		bytes, ttl = self:seal(store, bytes, w)
		if not bytes then return self:fail("set_raw", k, ttl) end
	end
	store.flights:touch(self.prefix_ .. k)
	local ok, why = store:call("set", self.prefix_ .. k, bytes, ttl)
	if not ok then return self:fail("set_raw", k, why or E.new("unavailable", "the provider did not store the value")) end
	return true
end

-- ---- what fetch needs ------------------------------------------------------------------------------------------------

function Handle:flight(k)
	local store, err = self:begin("fetch", k)
	if not store then return nil, err end
	return store.flights:flight(self.prefix_ .. k)
end

--- A provider written in Lua has the fence inside this Lua state only.
function Handle.lease() return nil end

function Handle:commit(flight, k, bytes, o)
	local store, err = self:begin("fetch", k)
	if not store then return nil, err end
	if flight:moved() then
		self:count("fenced")
		return false
	end
	return self:write(store, "fetch", k, bytes, { ttl_ms = o.ttl_ms, stale_ttl_ms = o.stale_ttl_ms, negative = o.negative, flight = flight })
end

--- Other processes are kept out within this host; false where none sees the entries.
function Handle:new_lock(k)
	local store, err = self:begin("fetch", k)
	if not store then return nil, err end
	return store.impl.shared and core.new_lock(store:identity(), self.prefix_ .. k) or false
end
function Handle.lock(_, lock, lease_ms) return lock:try(lease_ms) end
function Handle.unlock(_, lock, outcome) return lock:drop(outcome) end

function Handle:count(which) self.n[which] = self.n[which] + 1 end
function Handle:prefix() return self.prefix_ end
function Handle:counters()
	local out = {}
	for name, v in pairs(self.n) do out[name] = v end
	return out
end
function Handle.encode(_, v) return v end
function Handle.decode(_, s) return s end

local M = { Handle = Handle, live = live }

--- owner: { store = zbz.LuaStore, closed = boolean }; opts as core.new_table.
function M.new(owner, opts)
	local now = owner.store:clock_wall()
	return setmetatable({
		owner = owner, name = opts.name or "", prefix_ = opts.prefix, ttl_ms = opts.ttl or 0, stale_ttl_ms = opts.stale_ttl,
		envelope = opts.envelope or (opts.stale_ttl or 0) > 0, n = zero_counters(now),
	}, Handle)
end

return M
