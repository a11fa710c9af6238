--- LuaJIT: get, get_raw and the hits of fetch on tables whose provider answers without waiting go through FFI, so that a loop over
--- them compiles. Whatever is not plain (options, wrong arguments, a provider that waits) goes the way of the methods in C; an error,
--- and a value that only a decoder can make, come from what the call has left.
local core = require("zbz.core")
local F = require("zbz.fetch")

local M = { installed = false }

local MISS, STRING, NUMBER, TRUE, FALSE, ELSEWHERE = 0, 1, 2, 3, 4, -1

local jit = rawget(_G, "jit")
local have, ffi = pcall(require, "ffi")
if not have or not jit or not jit.status() or not core.doors then -- interpreted, FFI is the slower way
	function M.install() return false end
	function M.remove() end
	return M
end

if not pcall(ffi.typeof, "zbz_door") then
	ffi.cdef([[
		typedef struct zbz_door { double serial, number; const char *p; uint32_t n; bool closed; } zbz_door;
		typedef struct zbz_l1_face {
			double hits; const volatile uint32_t *cache_epoch; uint8_t *used; uint32_t epoch, generation;
		} zbz_l1_face;
		typedef struct zbz_table_box { void *others[5]; zbz_l1_face *l1; } zbz_table_box;
		typedef struct zbz_table_shell { union { zbz_table_box *box; uint32_t there; }; } zbz_table_shell;
		typedef int32_t (*zbz_door_read)(void *self, const char *key, uint32_t n, zbz_door *door);
		typedef int32_t (*zbz_door_hit)(void *self, uint32_t place, uint32_t stamp, zbz_door *door);
		typedef struct zbz_door_time { long s, ns; } zbz_door_time;
		int zbz_door_clock(int, zbz_door_time *) __asm__("clock_gettime");
	]])
end

local function at(what, name) return ffi.cast(what, ffi.cast("uintptr_t", core.doors[name])) end

local door = at("zbz_door *", "door")
local door_get, door_get_raw, door_entry = at("zbz_door_read", "get"), at("zbz_door_read", "get_raw"), at("zbz_door_read", "entry")
local door_hit = at("zbz_door_hit", "l1_hit")
local methods, door_rest, env_of = core.table_methods, core.door_rest, core.env
local HANDLE = core.table_mt
local getmetatable, type, select, ffi_string = getmetatable, type, select, ffi.string

--- The methods in C, or what a host has made of them.
local behind = {}

local function is_handle(self) return type(self) == "userdata" and getmetatable(self) == HANDLE end

local TAUGHT = 200 -- more than the calls after which it begins
local SHELL = ffi.typeof("zbz_table_shell *")
local cast, tonumber = ffi.cast, tonumber
local C, time, REALTIME_COARSE, NEVER = ffi.C, ffi.new("zbz_door_time"), 5, math.huge
local words = ffi.new("const volatile uint32_t *") -- all there are: from address 0

--- Notes in an L1 what its C face is, or that it has none any more (handle nil): what is reached through it lives until the handle's
--- finalizer has run, which may be before that of another object that reads the table. `shell.there` tells then: half of an address, and
--- so a number, which costs no object.
function M.l1_face(self, handle)
	self.shell = handle and cast(SHELL, handle)
	self.face = handle and self.shell.box.l1
	self.used, self.cache_epoch = handle and self.face.used, handle and self.face.cache_epoch
end

--- The generation of an L1: what was kept in another is gone.
function M.l1_generation(self)
	return self.face and self.shell.there ~= 0 and not door.closed and self.face.generation or 0
end

local function ask(self, place, base)
	local stamp = self.stamps[place]
	if stamp == nil or not self.face then return false end -- forgotten, closed or swapped in the middle of a call
	if door_hit(self.bytes, place, stamp, door) == 0 then return false end
	self.slots[base + 3] = door.n
	return true
end

--- Wall milliseconds, of the clock that the core reads (csrc/base/clock.c).
local function wall()
	C.zbz_door_clock(REALTIME_COARSE, time)
	return tonumber(time.s) * 1000 + tonumber(time.ns) / 1e6
end

--- Is what is kept at that place (see zbz/l1.lua) still good? Where a word and the time tell, they are looked at from here: no call into
--- the core, so a processor has several such looks under way at once. A plain load, right where loads keep their order.
--- Once the time is known nothing here makes an object, interpreted neither: a finalizer that came might close the table, and the
--- addresses would be worth nothing.
function M.l1_hit(self, place)
	local base, expire_at = 4 * place, self.slots[4 * place + 1]
	if expire_at ~= NEVER then
		if not expire_at then return false end -- forgotten in the middle of a call
		local given = self.given
		local now = wall()
		if self.given ~= given then return false end -- a finalizer has read, and the place may be another value's
		if now >= expire_at then return ask(self, place, base) end
	end
	local slots, face = self.slots, self.face
	local word = slots[base + 2]
	if face and self.shell.there ~= 0 and not door.closed and word and word ~= 0
		and face.generation == self.generation and self.cache_epoch[0] == face.epoch
		and words[word] == slots[base + 3] then
		self.used[place - 1] = 1
		face.hits = face.hits + 1
		return true
	end
	return ask(self, place, base)
end

--- Calls fn(self, k), while it gives something, so often that LuaJIT compiles it; hits of this L1 are not counted.
function M.l1_teach(self, fn, k)
	local hits = self.face.hits
	for _ = 1, TAUGHT do
		if fn(self, k) == nil then break end
	end
	if self.face then self.face.hits = hits end
end
jit.off(M.l1_teach) -- or it would compile this loop, and not fn

if jit.arch ~= "x64" and jit.arch ~= "x86" then
	M.l1_teach = nil
	function M.l1_hit(self, place) return ask(self, place, 4 * place) end
end

--- What the call after `serial` left: a value of another kind, or an error. (A finalizer that ran since may have called, too: then
--- the answer is that one's, here and below, and the call is made again.)
local function rest(verb, self, k, serial)
	local fine, v, err = door_rest(self, k, serial + 1, verb)
	if not fine then return behind[verb](self, k) end
	if err ~= nil then return nil, err end
	return v
end

local function get(self, k, opts)
	if opts ~= nil or type(k) ~= "string" or not is_handle(self) then return behind.get(self, k, opts) end
	local serial = door.serial
	local what = door_get(self, k, #k, door)
	if what == STRING then
		local s = ffi_string(door.p, door.n)
		if door.serial == serial + 1 then return s end
	elseif what == MISS then
		return nil
	elseif what == NUMBER then
		local n = door.number
		if door.serial == serial + 1 then return n end
	elseif what == TRUE then
		return true
	elseif what == FALSE then
		return false
	elseif what ~= ELSEWHERE then
		return rest("get", self, k, serial)
	end
	return behind.get(self, k)
end

local function get_raw(self, k, opts)
	if opts ~= nil or type(k) ~= "string" or not is_handle(self) then return behind.get_raw(self, k, opts) end
	local serial = door.serial
	local what = door_get_raw(self, k, #k, door)
	if what == STRING then
		local s = ffi_string(door.p, door.n)
		if door.serial == serial + 1 then return s end
	elseif what == MISS then
		return nil
	elseif what ~= ELSEWHERE then
		return rest("get_raw", self, k, serial)
	end
	return behind.get_raw(self, k)
end

--- Which tables fetch without a deadline and without background refreshes; weak, and only a boolean, or nothing would ever go.
local plain = setmetatable({}, { __mode = "k" })

local function is_plain(self)
	local o = env_of(self).fetch
	local yes = not o.refresh_at and (o.deadline_ms or 0) <= 0
	plain[self] = yes
	return yes
end

local function fetch_rest(self, k, loader, serial)
	local fine, v, state, age, left, version = door_rest(self, k, serial + 1, "entry")
	if not fine then return behind.fetch(self, k, loader) end
	if state == "hit" then return v, nil, "hit" end
	local env = env_of(self)
	return F.go_on(self, env, k, env.fetch, loader, 0, {}, nil, v, state, age, left, version)
end

local function fetch(self, k, opts, loader, ...)
	if type(opts) ~= "function" or loader ~= nil or type(k) ~= "string" or not is_handle(self) or select("#", ...) > 0
		or not (plain[self] or plain[self] == nil and is_plain(self)) then
		return behind.fetch(self, k, opts, loader, ...)
	end
	local serial = door.serial
	local what = door_entry(self, k, #k, door)
	if what == STRING then
		local s = ffi_string(door.p, door.n)
		if door.serial == serial + 1 then return s, nil, "hit" end
	elseif what == NUMBER then
		local n = door.number
		if door.serial == serial + 1 then return n, nil, "hit" end
	elseif what == TRUE then
		return true, nil, "hit"
	elseif what == FALSE then
		return false, nil, "hit"
	elseif what ~= ELSEWHERE then
		return fetch_rest(self, k, opts, serial)
	end
	return behind.fetch(self, k, opts)
end

-- ---- in and out ----------------------------------------------------------------------------------------------------------------

local mine = { get = get, get_raw = get_raw, fetch = fetch }

--- Puts the doors in front of the methods of all tables. Hosts take them away while they change what is behind.
function M.install()
	if M.installed then return true end
	for name, fn in pairs(mine) do behind[name], methods[name] = methods[name], fn end
	M.installed = true
	return true
end

function M.remove()
	if not M.installed then return end
	for name in pairs(mine) do methods[name] = behind[name] end
	M.installed = false
end

return M
