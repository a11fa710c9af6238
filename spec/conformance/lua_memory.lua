-- A provider written in Lua with everything a provider can have: the template for adapters.
local core = require("zbz.core")

local P = {}
P.__index = P

--- The live entry of a key, or nil.
function P:find(key)
	local e = self.data[key]
	if e and e.expire_at and e.expire_at <= self.now() then
		self.data[key] = nil
		return nil
	end
	return e
end

function P:put(key, bytes, ttl)
	self.version_ = self.version_ + 1
	self.data[key] = { bytes = bytes, version = tostring(self.version_), expire_at = ttl > 0 and self.now() + ttl or nil }
	return true
end

function P:left(e) return e.expire_at and e.expire_at - self.now() or math.huge end

function P:get(key)
	local e = self:find(key)
	if not e then return nil end
	return e.bytes, nil, { ttl = self:left(e), version = e.version }
end
function P:set(key, bytes, ttl) return self:put(key, bytes, ttl) end
function P:delete(key)
	self.data[key] = nil
	return true
end
function P:exists(key) return self:find(key) ~= nil end
function P:ttl(key)
	local e = self:find(key)
	return e and self:left(e)
end
function P:expire(key, ttl)
	local e = self:find(key)
	if not e then return nil end
	e.expire_at = ttl > 0 and self.now() + ttl or nil
	return true
end
function P:add(key, bytes, ttl) return not self:find(key) and self:put(key, bytes, ttl) end
function P:replace(key, bytes, ttl) return self:find(key) ~= nil and self:put(key, bytes, ttl) end
function P:cas(key, bytes, ttl, version)
	local e = self:find(key)
	return e ~= nil and e.version == version and self:put(key, bytes, ttl)
end
function P:incr(key, delta, initial, ttl)
	local e = self:find(key)
	if not e then
		local n = initial or delta
		self:put(key, ("%d"):format(n), ttl)
		return n
	end
	local n = e.bytes:match("^%-?%d+$") and tonumber(e.bytes)
	if not n then return nil, { code = "type_mismatch", message = "the value is no integer" } end
	e.bytes = ("%d"):format(n + delta)
	self.version_ = self.version_ + 1
	e.version = tostring(self.version_)
	return n + delta
end
function P:get_multi(keys)
	local out = {}
	for _, key in ipairs(keys) do
		local e = self:find(key)
		out[key] = e and e.bytes
	end
	return out
end
function P:set_multi(list)
	for _, item in ipairs(list) do self:put(item.key, item.value, item.ttl) end
	return true
end
function P:delete_multi(keys)
	for _, key in ipairs(keys) do self.data[key] = nil end
	return true
end
function P:keys(prefix)
	local out = {}
	for key in pairs(self.data) do
		if key:sub(1, #prefix) == prefix and self:find(key) then out[#out + 1] = key end
	end
	return out
end
function P:clear(prefix)
	local keys = self:keys(prefix)
	self:delete_multi(keys)
	return #keys
end
function P.ping() return true end
function P.version() return "1.0" end
function P:stats()
	local n = 0
	for _ in pairs(self.data) do n = n + 1 end
	return { keys = n }
end
function P:close() self.data = {} end

return function(opts)
	local clock = opts.clock
	local now = function() return (clock and clock:wall() or core.wall()) / 1000 end
	return setmetatable({ data = {}, version_ = 0, now = now, exclusive = true }, P)
end
