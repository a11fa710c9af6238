--- Tables with `l1 = n`: each Lua state keeps up to n values decoded. The core knows of each whether it still is what the provider has
--- (a version word there, the expiry), so a hit is one look into a Lua table and that question, and no writer anywhere has to tell.
local core = require("zbz.core")
local A = require("zbz.arguments")
local Table = require("zbz.table").Table
local copy = require("zbz.copy")
local hit = require("zbz.ffi.doors").l1_hit or core.l1_hit

---@class zbz.L1Table : zbz.LuaTable
local L1 = {}
for name, fn in pairs(Table) do L1[name] = fn end
L1.__index = L1

local base_fetch = L1.fetch

-- ---- what is kept ----------------------------------------------------------------------------------------------------------------

--- One value. ready: `value` is it, to be copied by `copy` unless that is false; else it is still in `bytes`.
local function record(place, stamp) return { place = place, stamp = stamp, ready = false, value = false, copy = false, bytes = false } end

--- The place was another key's before.
local function claim(self, k, place)
	local index, before = self.index, self.keys[place]
	if before ~= nil and before ~= k then
		local e = index[before]
		if e and e.place == place then index[before] = nil end
	end
	self.keys[place] = k
end

--- Keeps what was just read; a table as its bytes, for the next reader to decode for good.
local function keep(self, k, place, stamp, bytes, v)
	local e = record(place, stamp)
	if type(v) == "table" then
		e.bytes = bytes
	else
		e.ready, e.value = true, v
	end
	self.index[k] = e
end

--- The value of a record whose hit was counted: the caller's own.
local function own(self, e, op, k)
	if e.ready then
		if e.copy then return e.copy(e.value) end
		return e.value
	end
	local v, err = self:take(op, k, e.bytes)
	if v == nil or not self.trees then return v, err end -- what a serializer in Lua makes is not ours to copy
	e.ready, e.value, e.bytes = true, v, false
	if type(v) ~= "table" then return v end
	e.copy = copy.copier(v)
	return e.copy(v)
end

--- nil, or the record of a value that is still good.
local function find(self, k)
	local e = self.index[k]
	if not e then return nil end
	if hit(self.bytes, e.place, e.stamp) then return e end
	self.index[k] = nil
end

-- ---- reads -----------------------------------------------------------------------------------------------------------------------

local function read(self, k, opts)
	A.key(k, "get", 2)
	local o = opts ~= nil and A.deadline(opts, "get", 2)
	local handle = self.bytes
	if not handle then error("zbz: get: the table is closed", 2) end
	if not self.env.l1 then return Table.get(self, k, opts) end
	local e = find(self, k)
	if e then
		local v, err = own(self, e, "get", k)
		if v == nil then return nil, err end
		return v
	end
	local bytes, state, _, _, place, stamp = handle:get_seen(k, o and o.deadline_ms or nil)
	if bytes == nil then
		if state == nil then return nil end
		state.op = "get"
		return nil, state
	end
	if place > 0 then claim(self, k, place) end
	local v, err = self:take("get", k, bytes)
	if v == nil then return nil, err end
	if place > 0 then keep(self, k, place, stamp, bytes, v) end
	return v
end

function L1:get(k, opts)
	local e = self.index[k]
	if e and opts == nil and e.ready and hit(self.bytes, e.place, e.stamp) then
		local copier = e.copy
		if copier then return copier(e.value) end
		return e.value
	end
	return read(self, k, opts)
end

local function times(self, e)
	local expire_at, stored_at = core.l1_times(self.bytes, e.place)
	local now = self.env.clock and self.env.clock:wall() or core.wall()
	return stored_at and math.max(now - stored_at, 0), expire_at and math.max(expire_at - now, 0)
end

--- What fetch looks at first.
function L1:entry(k, deadline_ms)
	if not self.env.l1 or not self.bytes then return Table.entry(self, k, deadline_ms) end
	local e = find(self, k)
	if e then
		local v, err = own(self, e, "fetch", k)
		if v == nil then return nil, nil, err end
		return v, "hit", times(self, e)
	end
	local bytes, state, age, left, place, stamp = self.bytes:get_seen(k, deadline_ms, true)
	if type(state) == "table" then
		state.op = "entry"
		return nil, nil, state
	end
	if state ~= "hit" and state ~= "stale" then return nil, state, age, left end
	if place > 0 then claim(self, k, place) end
	local v, err = self:take("fetch", k, bytes)
	if v == nil then return nil, nil, err end
	if place > 0 then keep(self, k, place, stamp, bytes, v) end
	return v, state, age, left
end

--- The hit without options and extra arguments; the rest is fetch as everywhere.
function L1:fetch(k, opts, loader, ...)
	local e = self.index[k]
	if e and e.ready and self.plain and type(opts) == "function" and loader == nil and select("#", ...) == 0
		and hit(self.bytes, e.place, e.stamp) then
		local copier = e.copy
		if copier then return copier(e.value), nil, "hit" end
		return e.value, nil, "hit"
	end
	return base_fetch(self, k, opts, loader, ...)
end

-- ---- life ------------------------------------------------------------------------------------------------------------------------

--- Nothing is kept any more.
function L1:forget()
	self.index, self.keys = {}, {}
	if self.bytes then core.l1_clear(self.bytes) end
end

function L1:close()
	self:forget()
	return Table.close(self)
end
L1.__close = L1.close

local M = {}

--- bytes: a handle over bytes that was opened with l1; env: see instance.lua.
function M.new(bytes, env)
	local o = env.fetch
	return setmetatable({ bytes = bytes, env = env, index = {}, keys = {}, trees = env.serializer.source == nil,
		plain = not o.refresh_at and (o.deadline_ms or 0) <= 0 }, L1)
end

return M
