--- Tables with `l1 = n`: each Lua state keeps up to n values decoded. The core knows of each whether it still is what the provider has
--- (a version word there, the expiry), so a hit is one look into a Lua table and that question, and no writer anywhere has to tell.
local core = require("zbz.core")
local A = require("zbz.arguments")
local Table = require("zbz.table").Table
local copy = require("zbz.copy")
local doors = require("zbz.ffi.doors")

--- Is what is kept at that place still good? Counts a hit.
local hit = doors.l1_hit or function(self, place) return core.l1_hit(self.bytes, place, self.stamps[place]) end
local generation_of = doors.l1_generation or function() return 0 end
local face = doors.l1_face or function() end

---@class zbz.L1Table : zbz.LuaTable
local L1 = {}
for name, fn in pairs(Table) do L1[name] = fn end
L1.__index = L1

local base_fetch = L1.fetch

-- ---- what is kept ----------------------------------------------------------------------------------------------------------------

-- index[k] is the place of a key, key_at[i] the key of a place and stamps[i] its stamp; given counts places that were given. slots[4i]
-- is what is kept there, slots[4i + 1] when it expires (wall ms, or infinite), slots[4i + 2] the address of its word over four, or 0,
-- and slots[4i + 3] what that holds (side by side: one line of a processor's cache). What is kept is the value itself, or for tables {
-- false, bytes } until somebody reads it again, and then a mould (see copy.lua).

--- The place was another key's before.
local function keep(self, k, what, place, stamp, word, seq, expire_at)
	local generation = generation_of(self)
	if generation ~= self.generation then
		self.index, self.key_at, self.stamps, self.slots, self.generation = {}, {}, {}, {}, generation
	end
	local index, key_at, slots = self.index, self.key_at, self.slots
	local before, at = key_at[place], 4 * place
	if before ~= nil and index[before] == place then index[before] = nil end
	slots[at], slots[at + 1], slots[at + 2], slots[at + 3] = what, expire_at, word / 4, seq
	key_at[place], self.stamps[place] = k, stamp
	index[k] = place
	self.given = self.given + 1
end

local teach

--- Keeps what was just read; a table as its bytes, for the next reader to decode for good. A serializer in Lua may have closed the table
--- or swapped the provider before this is called: then nothing is to be kept.
local function keep_read(self, k, v, bytes, ...)
	if type(v) == "table" then v = { false, bytes } end
	keep(self, k, v, ...)
	if teach and type(v) ~= "table" then teach(self, k) end
end

--- What is kept, its hit counted, as the caller's own.
local function own(self, i, what, op, k)
	if type(what) ~= "table" then return what end
	local make = what[1]
	if make then return make(what) end
	local v, err = self:take(op, k, what[2])
	if v == nil or not self.trees or type(v) ~= "table" then return v, err end -- what a serializer in Lua makes is not ours to copy
	local mould = copy.mould(v)
	if self.slots[4 * i] == what then self.slots[4 * i] = mould end
	return mould[1](mould)
end

--- The place of a value that is still good, and the value; or nil.
local function find(self, k)
	local i = self.index[k]
	if not i then return nil end
	if hit(self, i) then return i, self.slots[4 * i] end
	self.index[k] = nil
	if self.key_at[i] == k then self.slots[4 * i] = false end
end

-- ---- reads -----------------------------------------------------------------------------------------------------------------------

local function read(self, k, opts)
	A.key(k, "get", 2)
	local o = opts ~= nil and A.deadline(opts, "get", 2)
	local handle = self.bytes
	if not handle then error("zbz: get: the table is closed", 2) end
	if not self.env.l1 then return Table.get(self, k, opts) end
	local i, what = find(self, k)
	if i then
		local v, err = own(self, i, what, "get", k)
		if v == nil then return nil, err end
		return v
	end
	local bytes, state, _, _, place, stamp, word, seq, expire_at = handle:get_seen(k, o and o.deadline_ms or nil)
	if bytes == nil then
		if state == nil then return nil end
		state.op = "get"
		return nil, state
	end
	local v, err = self:take("get", k, bytes)
	if v == nil then return nil, err end
	if place > 0 and self.bytes == handle then keep_read(self, k, v, bytes, place, stamp, word, seq, expire_at) end
	return v
end

function L1:get(k, opts)
	local i = self.index[k]
	if i and opts == nil then
		local what = self.slots[4 * i]
		if type(what) ~= "table" then
			if hit(self, i) then return what end
		else
			local make = what[1]
			if make and hit(self, i) then return make(what) end
		end
	end
	return read(self, k, opts)
end

local function times(self, place)
	local expire_at, stored_at = core.l1_times(self.bytes, place)
	local now = self.env.clock and self.env.clock:wall() or core.wall()
	return stored_at and math.max(now - stored_at, 0), expire_at and math.max(expire_at - now, 0)
end

--- What fetch looks at first.
function L1:entry(k, deadline_ms)
	if not self.env.l1 or not self.bytes then return Table.entry(self, k, deadline_ms) end
	local i, what = find(self, k)
	if i then
		local v, err = own(self, i, what, "fetch", k)
		if v == nil then return nil, nil, err end
		return v, "hit", times(self, i)
	end
	local handle = self.bytes
	local bytes, state, age, left, place, stamp, word, seq, expire_at = handle:get_seen(k, deadline_ms, true)
	if type(state) == "table" then
		state.op = "entry"
		return nil, nil, state
	end
	if state ~= "hit" and state ~= "stale" then return nil, state, age, left end
	local v, err = self:take("fetch", k, bytes)
	if v == nil then return nil, nil, err end
	if place > 0 and self.bytes == handle then keep_read(self, k, v, bytes, place, stamp, word, seq, expire_at) end
	return v, state, age, left
end

--- The hit without options and extra arguments; the rest is fetch as everywhere.
function L1:fetch(k, opts, loader, ...)
	local i = self.index[k]
	if i and self.plain and type(opts) == "function" and loader == nil and select("#", ...) == 0 then
		local what = self.slots[4 * i]
		if type(what) ~= "table" then
			if hit(self, i) then return what, nil, "hit" end
		else
			local make = what[1]
			if make and hit(self, i) then return make(what), nil, "hit" end
		end
	end
	return base_fetch(self, k, opts, loader, ...)
end

-- LuaJIT compiles what it meets first, and with a miss, which calls C, a trace of `get` would end: loops link to such a one, where
-- they take in one that returns. So it meets hits first, of the first value that is kept.
if doors.l1_teach then
	function teach(self, k)
		teach = nil
		doors.l1_teach(self, L1.get, k)
	end
end

-- ---- life ------------------------------------------------------------------------------------------------------------------------

--- Nothing is kept any more; of a table whose provider cannot tell (after a swap) nothing will be.
function L1:forget()
	self.index, self.key_at, self.stamps, self.slots = {}, {}, {}, {}
	if not self.env.l1 then face(self) end
	if self.bytes then core.l1_clear(self.bytes) end
end

function L1:close()
	self:forget()
	face(self)
	return Table.close(self)
end
L1.__close = L1.close

local M = {}

--- bytes: a handle over bytes that was opened with l1; env: see instance.lua.
function M.new(bytes, env)
	local o = env.fetch
	local self = { bytes = bytes, env = env, index = {}, key_at = {}, stamps = {}, slots = {}, given = 0, trees = env.serializer.source == nil,
		plain = not o.refresh_at and (o.deadline_ms or 0) <= 0 }
	face(self, bytes)
	self.generation = generation_of(self)
	return setmetatable(self, L1)
end

return M
