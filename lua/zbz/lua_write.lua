--- What a write comes to on a provider written in Lua: its bytes, its size, its condition.
local core = require("zbz.core")
local E = require("zbz.error")
local LuaHandle = require("zbz.lua_handle")

local Handle, live = LuaHandle.Handle, LuaHandle.live
local ADD_TRIES = 16 -- how often a lost race is run again

--- The bytes to store and the TTL in seconds to give the provider.
function Handle:seal(store, bytes, how)
	local ttl = how.ttl_ms or self.ttl_ms
	local stale = how.stale_ttl_ms or self.stale_ttl_ms or 0
	local now = store:clock_wall()
	local sealed = how.negative or how.lease or self.envelope or stale > 0 or core.envelope_is(bytes)
	if store.impl.no_expiry and ttl > 0 then sealed = true end
	if not sealed then return bytes, ttl / 1000 end
	self.sealed = true
	local out, err = core.envelope_seal({ expire_at = ttl > 0 and now + ttl or 0, stored_at = now, negative = how.negative or false,
		lease = how.lease or false, stale = false }, bytes)
	if not out then return nil, err end
	return out, ttl > 0 and (ttl + stale) / 1000 or 0
end

--- Writes that an unreachable provider lost.
function Handle:count_lost(err, n)
	if err and (err.code == "unavailable" or err.code == "timeout") then self.n.lost_writes = self.n.lost_writes + n end
end

function Handle:check_size(store, op, k, bytes)
	local max = store.impl.max_value or 2 ^ 30
	if #bytes <= max then return true end
	return self:fail(op, k, E.new("too_large", ("the value has %d bytes, the provider takes %d"):format(#bytes, max),
		{ provider = store.name }))
end

--- "absent" and "present" mean what a program sees: a dead entry kept in an envelope is nothing. Returns the provider's answer to
--- the method; nil, err.
function Handle:write_if(store, k, method, sealed, ttl)
	local full, kept = self.prefix_ .. k, self.envelope or self.sealed or store.impl.no_expiry
	if method == "replace" and kept then
		local value, entry, _, wrong = self:read(store, "set", k)
		if wrong then return nil, wrong end
		if value == nil or not live(entry) then return false end
	end
	for _ = 1, ADD_TRIES do
		local ok, err = store:call(method, full, sealed, ttl)
		if err or ok or method ~= "add" then return ok, err end
		local value, entry, meta, wrong = self:read(store, "add", k)
		if wrong then return nil, wrong end
		if value ~= nil and live(entry) then return false end
		if value == nil then -- gone meanwhile, or only the provider does not know that it is dead
			if not store.impl.no_expiry then return false end
			local _, why = store:call("delete", full)
			if why then return nil, why end
		elseif store:has("cas") and meta.version then
			ok, err = store:call("cas", full, sealed, ttl, meta.version)
			if ok or err then return ok, err end
		else
			return store:call("set", full, sealed, ttl)
		end
	end
	return E.fail("conflict", "the key changes faster than it can be added", { provider = store.name })
end

return Handle
