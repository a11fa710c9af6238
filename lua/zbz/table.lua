--- Tables whose values pass through Lua: those with a schema, with a serializer written in Lua, or on a provider written in Lua.
--- They answer exactly as the C handles do, over a handle of bytes.
local core = require("zbz.core")
local A = require("zbz.arguments")
local E = require("zbz.error")

---@class zbz.LuaTable : zbz.Table
local Table = {}
Table.__index = Table
Table.__name = "zbz.Table"

local item_mt = core.item_mt

--- Adds where it happened; the provider's own errors say it already.
function Table:at(err, op, k)
	if E.is(err) then err.op = op end -- a codec names itself
	return E.at(err, { op = op, table = self.env.name, key = k, provider = self.env.cache:provider_name() })
end

-- ---- values and bytes ------------------------------------------------------------------------------------------------

--- Bytes of a value, the schema checked first; nil, err before any I/O.
---@return string?, zbz.Error?
function Table:encode(v)
	local env = self.env
	if env.schema then
		local ok, err = env.schema:check(v)
		if not ok then return nil, err end
		v = env.schema:to_stored(v)
	end
	local bytes, err = env.serializer.encode(v)
	if bytes == nil then return nil, E.wrap(err, "encode") end
	return bytes
end

---@return any, zbz.Error?
function Table:decode(bytes)
	local env = self.env
	local v, err = env.serializer.decode(bytes)
	if v == nil and err ~= nil then return nil, E.wrap(err, "decode") end
	if env.schema and v ~= nil then
		v = env.schema:from_stored(v)
		local ok, wrong = env.schema:check(v, true)
		if not ok then
			wrong.message = "the stored value does not fit: " .. wrong.message
			return nil, wrong
		end
	end
	return v
end

--- A decoded value, or the error with its place.
function Table:take(op, k, bytes)
	local v, err = self:decode(bytes)
	if v == nil and err then return nil, self:at(err, op, k) end
	return v
end

local function open(self, op)
	local bytes = self.bytes
	if not bytes then error(("zbz: %s: the table is closed"):format(op), 3) end
	return bytes
end

-- ---- single keys -----------------------------------------------------------------------------------------------------

function Table:get(k, opts)
	A.key(k, "get", 2)
	A.deadline(opts, "get", 2)
	local bytes, err = open(self, "get"):get(k, opts)
	if bytes == nil then return nil, err end
	return self:take("get", k, bytes)
end

function Table:set(k, v, how)
	A.key(k, "set", 2)
	A.write(how, "set", 2)
	local handle = open(self, "set")
	if v == nil then error("zbz: set: the value is nil (delete removes a key)", 2) end
	local bytes, err = self:encode(v)
	if not bytes then return nil, self:at(err, "set", k) end
	return handle:set(k, bytes, how)
end

function Table:add(k, v, how)
	A.key(k, "add", 2)
	A.ttl(how, "add", 2)
	local handle = open(self, "add")
	if v == nil then error("zbz: add: the value is nil", 2) end
	local bytes, err = self:encode(v)
	if not bytes then return nil, self:at(err, "add", k) end
	return handle:add(k, bytes, how)
end

function Table:get_with(k, opts)
	A.key(k, "get_with", 2)
	A.deadline(opts, "get_with", 2)
	local bytes, info = open(self, "get_with"):get_with(k, opts)
	if bytes == nil then return nil, info end
	local v, err = self:take("get_with", k, bytes)
	if v == nil then return nil, err end
	return v, info
end

--- The methods that need no value: the key and options go to the handle as they are.
local function forward(op)
	Table[op] = function(self, k, ...)
		A.key(k, op, 2)
		return open(self, op)[op](self.bytes, k, ...)
	end
end

function Table:exists(k, opts)
	A.key(k, "exists", 2)
	A.deadline(opts, "exists", 2)
	return open(self, "exists"):exists(k, opts)
end

function Table:delete(k, opts)
	A.key(k, "delete", 2)
	A.deadline(opts, "delete", 2)
	return open(self, "delete"):delete(k, opts)
end

function Table:ttl(k, opts)
	A.key(k, "ttl", 2)
	A.deadline(opts, "ttl", 2)
	return open(self, "ttl"):ttl(k, opts)
end

function Table:invalidate(k, opts)
	A.key(k, "invalidate", 2)
	A.deadline(opts, "invalidate", 2)
	return open(self, "invalidate"):invalidate(k, opts)
end

function Table:get_raw(k, opts)
	A.key(k, "get_raw", 2)
	A.deadline(opts, "get_raw", 2)
	return open(self, "get_raw"):get_raw(k, opts)
end

function Table:set_raw(k, bytes, how)
	A.key(k, "set_raw", 2)
	A.ttl(how, "set_raw", 2)
	if type(bytes) ~= "string" then error("zbz: set_raw: the value must be a string, got " .. type(bytes), 2) end
	return open(self, "set_raw"):set_raw(k, bytes, how)
end

function Table:expire(k, ttl, opts)
	A.key(k, "expire", 2)
	A.deadline(opts, "expire", 2)
	if ttl == nil then error("zbz: expire: a TTL is needed", 2) end
	A.write(type(ttl) ~= "table" and ttl or false, "expire", 2)
	return open(self, "expire"):expire(k, ttl, opts)
end

local function count(self, op, k, n, opts)
	A.key(k, op, 2)
	if n ~= nil then A.integer(n, op, "n", 2) end
	A.incr(opts, op, 2)
	local handle = open(self, op)
	if not self.env.serializer.integers then
		return nil, self:at(E.new("unsupported", ("serializer '%s' does not store counters as digits"):format(self.env.serializer.name)), op, k)
	end
	if self.env.schema and self.env.schema.node.type ~= "integer" then
		return nil, self:at(E.new("type_mismatch", "the schema of the table is no integer"), op, k)
	end
	return handle[op](handle, k, n, opts)
end
function Table:incr(k, n, opts) return count(self, "incr", k, n, opts) end
function Table:decr(k, n, opts) return count(self, "decr", k, n, opts) end

-- ---- many keys -------------------------------------------------------------------------------------------------------

local function all_failed(keys, errs)
	for _, k in ipairs(keys) do
		if not errs[k] then return false end
	end
	return #keys > 0
end

function Table:get_multi(keys, opts)
	A.keys(keys, "get_multi", 2)
	A.deadline(opts, "get_multi", 2)
	local map, err, errs = open(self, "get_multi"):get_multi(keys, opts)
	if map == nil then return nil, err, errs end
	local out, good = {}, false
	for k, bytes in pairs(map) do
		local v, wrong = self:take("get_multi", k, bytes)
		if v == nil and wrong then
			errs = errs or {}
			errs[k] = wrong
		else
			out[k], good = v, true
		end
	end
	if errs and not good and all_failed(keys, errs) then return nil, errs[keys[1]], errs end
	return out, nil, errs
end

--- Encodes everything first: one bad value, and nothing is written.
function Table:set_multi(map, how)
	A.map(map, "set_multi", 2)
	A.ttl(how, "set_multi", 2)
	local handle = open(self, "set_multi")
	local out = {}
	for k, v in pairs(map) do
		local own
		if type(v) == "table" and getmetatable(v) == item_mt then own, v = v, v.value end
		local bytes, err = self:encode(v)
		if not bytes then return nil, self:at(err, "set_multi", k) end
		out[k] = own and setmetatable({ value = bytes, ttl_ms = own.ttl_ms }, item_mt) or bytes
	end
	return handle:set_multi(out, how)
end

function Table:delete_multi(keys, opts)
	A.keys(keys, "delete_multi", 2)
	A.deadline(opts, "delete_multi", 2)
	return open(self, "delete_multi"):delete_multi(keys, opts)
end

function Table:keys(pattern, opts)
	if pattern ~= nil and type(pattern) ~= "string" then error("zbz: keys: the pattern must be a string, got " .. type(pattern), 2) end
	A.deadline(opts, "keys", 2)
	return open(self, "keys"):keys(pattern, opts)
end

function Table:clear(opts)
	A.deadline(opts, "clear", 2)
	return open(self, "clear"):clear(opts)
end

-- ---- what fetch needs --------------------------------------------------------------------------------------------------

function Table:entry(k, deadline_ms)
	local bytes, state, age, left, version = open(self, "fetch"):entry(k, deadline_ms)
	if state ~= "hit" and state ~= "stale" then return bytes, state, age, left, version end
	local v, err = self:take("fetch", k, bytes)
	if v == nil and err then return nil, nil, err end
	return v, state, age, left, version
end

for _, op in ipairs({ "flight", "lease", "new_lock" }) do forward(op) end
function Table:lock(lock, lease_ms, deadline_ms) return open(self, "fetch"):lock(lock, lease_ms, deadline_ms) end
function Table:unlock(lock, outcome, deadline_ms) return open(self, "fetch"):unlock(lock, outcome, deadline_ms) end
function Table:commit(flight, k, bytes, o) return open(self, "fetch"):commit(flight, k, bytes, o) end
function Table:count(which) return open(self, "fetch"):count(which) end
--- Counters of this table; a swap of the provider does not begin them anew.
function Table:counters()
	local now, before = open(self, "stats"):counters(), self.base
	for name, v in pairs(before or {}) do
		if name == "created_at" then
			now[name] = v
		elseif name ~= "last_access" and type(v) == "number" then
			now[name] = (now[name] or 0) + v
		end
	end
	return now
end
function Table:prefix() return open(self, "prefix"):prefix() end
function Table:close()
	local bytes = self.bytes
	if not bytes then return end
	self.env.cache:part(self)
	self.bytes = nil
	if bytes.close then bytes:close() end
end
Table.__close = Table.close
function Table:__tostring() return ("zbz.Table %s"):format(self.env.name) end

local M = { Table = Table }

--- bytes: a handle over bytes (C, or zbz.LuaHandle); env: see instance.lua.
function M.new(bytes, env) return setmetatable({ bytes = bytes, env = env }, Table) end
function M.is(x) return getmetatable(x) == Table end

return M
