--- fetch: get or compute. The core keeps flights, fences and envelopes; this file decides what to do next, so that a
--- loader may yield.
---
--- A loader gets the extra arguments of the call, or the key when there are none. It returns
---   value [, { ttl=, store=false }]     there is a value
---   nil [, nil, { ttl=, store=false }]  there is none; remembered for neg_ttl
---   nil, err                             it failed; so does throwing
local E = require("zbz.error")
local K = require("zbz.lock")
local L = require("zbz.load")
local O = require("zbz.options")
local host = require("zbz.host")
local unpack = table.unpack or unpack -- luacheck: ignore 113

local M = {}

local OPTIONS = { ttl = true, neg_ttl = true, stale_ttl = true, refresh_at = true, jitter = true, fresh = true, lock = true,
	deadline = true, tags = true }
local LEASE_MS = 30000
local UNREADABLE = { decode = true, corrupt = true, type_mismatch = true }
local MISUSE = { closed = true, invalid_key = true, invalid_argument = true, too_large = true, unsupported = true }
local ABANDONED = "abandoned" -- what waiters are told of a leader that ended without a result

--- A spread of TTLs: Park and Miller's minimal generator (1988), seeded by the clock, so that the program's own
--- sequence of math.random stays as it is.
local seed
local function random()
	seed = ((seed or (require("zbz.core").wall() % 2147483646 + 1)) * 16807) % 2147483647
	return seed / 2147483647
end

--- The options of one call over the table's own. Wrong ones raise; what is not built yet is an error value.
local function read_options(opts, env, level)
	local base = env.fetch
	if opts == nil then return base end
	O.check(opts, OPTIONS, "fetch", level + 1)
	if next(opts) == nil then return base end
	local o = {
		ttl_ms = O.duration_arg(opts.ttl, "ttl", "fetch", level + 1),
		neg_ttl_ms = O.duration_arg(opts.neg_ttl, "neg_ttl", "fetch", level + 1) or base.neg_ttl_ms,
		stale_ttl_ms = O.duration_arg(opts.stale_ttl, "stale_ttl", "fetch", level + 1) or base.stale_ttl_ms,
		deadline_ms = O.duration_arg(opts.deadline, "deadline", "fetch", level + 1) or base.deadline_ms,
		refresh_at = base.refresh_at, jitter = base.jitter, fresh = opts.fresh and true or false, lock = opts.lock or base.lock,
	}
	for _, name in ipairs({ "refresh_at", "jitter" }) do
		local v, err = O.fraction(opts, name, 0, 1)
		if err then error("zbz: fetch: " .. err.message, level + 1) end
		o[name] = v or o[name]
	end
	if opts.tags ~= nil then
		return E.fail("unsupported", "this version of zbz has no tags", { op = "fetch", table = env.name, option = "tags" })
	end
	local err = opts.lock ~= nil and K.check(o.lock, env.name, env.cache)
	if err then return nil, err end
	return o
end

-- ---- one call ------------------------------------------------------------------------------------------------------------

---@class zbz.FetchCall
---@field t table  ---@field env table  ---@field k string  ---@field o table
local Call = {}
Call.__index = Call

--- Milliseconds left for an operation on the provider; nil without a deadline.
function Call:left()
	if not self.deadline then return nil end
	return math.max(math.ceil(self.deadline - L.mono(self.env)), 1)
end

--- Looks what is there. Returns how, value when that ends the call.
function Call:look() return self:judge(self.t:entry(self.k, self:left())) end

--- The answer of entry. Sets self.fallback when the value may be served after a failure.
function Call:judge(v, state, age, left, version)
	self.state, self.version = nil, nil
	if state == nil and age ~= nil then return self:unreadable(age) end -- nil, nil, err
	self.state, self.version = state, version
	if state == "hit" then
		self:keep(v)
		if self.fresh then return nil end
		self:consider_refresh(age, left)
		return "hit", v
	elseif state == "negative" then
		if not self.fresh then return "negative" end
	elseif state == "stale" then
		self:keep(v)
	end
	return nil
end

function Call:keep(v) self.fallback, self.has_fallback = v, true end

--- A read that failed: misuse ends the call; unreadable bytes are loaded anew; an unreachable provider does not stop the loader.
function Call:unreadable(err)
	err.op = "fetch"
	if MISUSE[err.code] then return "error", err end
	if not UNREADABLE[err.code] then self.down = err end
	return nil
end

function Call:consider_refresh(age, left)
	local at = self.o.refresh_at
	if not at or not left or left == math.huge then return end
	local total = age and age + left or (self.o.ttl_ms or self.env.ttl_ms)
	local env, k, t, o, loader, n, args = self.env, self.k, self.t, self.o, self.loader, self.n, self.args
	if total <= 0 or total - left < at * total or env.refreshing[k] or env.backoff:resting(k, L.mono(env)) then return end
	local seen = self.version
	local refresh = function()
		env.refreshing[k] = nil
		M.call(t, env, k, setmetatable({ fresh = true, refresh_at = false, background = true, seen = seen }, { __index = o }), loader, n, args)
	end
	if host.defer(refresh) then env.refreshing[k] = true end
end

--- The end of a failed call: the stale value when there is one, else nil, err.
function Call:failed(err)
	E.at(err, { op = "fetch", table = self.env.name, key = self.k })
	if self.o.background then return nil, err end
	if self.fresh and not self.has_fallback and not self.down then self:look_for_fallback() end
	if not self.has_fallback or not self.serves_stale then return nil, err end
	self.t:count("stale_served")
	return self.fallback, nil, "stale", err
end

function Call:look_for_fallback()
	local v, state = self.t:entry(self.k, self:left())
	if state == "hit" or state == "stale" then self:keep(v) end
end

function Call:ttl(loaded)
	local ttl = loaded.ttl_ms or self.o.ttl_ms or self.env.ttl_ms
	if self.o.jitter and self.o.jitter > 0 and ttl > 0 then ttl = math.max(math.floor(ttl * (1 - self.o.jitter * random())), 1) end
	return ttl
end

--- Stores under the fence. A provider that cannot be reached costs what is left of the deadline, and the write.
function Call:commit(flight, lease, bytes, how)
	how.lease, how.deadline_ms = lease, self:left()
	if self.down then how.deadline_ms = math.min(how.deadline_ms or 100, 100) end
	return self.t:commit(flight, self.k, bytes, how)
end

function Call:store_value(flight, lease, loaded)
	local bytes, err = self.t:encode(loaded.value)
	self.outcome = bytes and "value" or "failed"
	if not bytes then
		flight:land("failed", err.message or tostring(err))
		err.op = "fetch"
		return nil, E.at(err, { op = "fetch", table = self.env.name, key = self.k })
	end
	if loaded.store ~= false then
		self:commit(flight, lease, bytes, { ttl_ms = self:ttl(loaded), stale_ttl_ms = self.o.stale_ttl_ms })
	end
	flight:land("value", bytes)
	return loaded.value, nil, "loaded"
end

--- There is no such thing: remembered for neg_ttl. Without one, a value kept as fallback must not come back.
function Call:store_absence(flight, lease, loaded)
	self.outcome = "negative"
	local ttl = loaded.ttl_ms or self.o.neg_ttl_ms or 0
	if ttl <= 0 and (self.has_fallback or self.state == "stale") then ttl = 1 end
	if ttl > 0 and loaded.store ~= false then
		self:commit(flight, lease, "", { ttl_ms = ttl, stale_ttl_ms = 0, negative = true })
	end
	flight:land("negative")
	return nil, nil, "loaded"
end

--- This call leads: it runs the loader, under the lock among processes where one is asked for, and tells everybody who waits.
function Call:lead(flight)
	local leading, k = self.env.leading, self.k
	local ended, value, err, how, reason
	self.flight = flight
	leading[k] = L.leads(self, Call.lead, { self })
	if self.o.lock ~= nil and self.o.lock ~= "process" then ended, value, err, how, reason = K.enter(self, flight) end
	if not ended then
		value, err, how, reason = self:load(flight)
		K.leave(self)
	end
	if leading[k] == self then leading[k] = nil end
	return value, err, how, reason
end

function Call:load(flight)
	local env, k, t = self.env, self.k, self.t
	local lease
	if not self.down then lease = self:lease() end
	t:count("loads")
	local loaded, err = L.run(self:patience(), self.loader, k, self.n, unpack(self.args, 1, self.n))
	if loaded then
		env.backoff:clear(k)
		if loaded.value ~= nil then return self:store_value(flight, lease, loaded) end
		return self:store_absence(flight, lease, loaded)
	end
	t:count("load_failures")
	self.outcome = "failed"
	flight:land("failed", err.message)
	local value, failure, how, reason = self:failed(err)
	if how == "stale" or self.o.background then env.backoff:fail(k, L.mono(env), err) end
	return value, failure, how, reason
end

--- What a loader may take: what is left; anew what the call may take where an unreachable provider has used that up.
function Call:patience()
	if not self.deadline then return nil end
	local left = self.deadline - L.mono(self.env)
	return left > 0 and left or self.o.deadline_ms
end

function Call:lease()
	local lease, err = self.t:lease(self.k, self.state, self.version, math.max(LEASE_MS, self.o.deadline_ms or 0), self:left())
	if lease == nil and err then self.down = err end
	return lease
end

--- This call waits for another's loader. Returns true, results... when that ends it; false to look again.
function Call:follow(flight, seat)
	self.t:count("waits")
	local ok, err = L.wait(flight, seat, self.k, self.env, self.deadline, L.leader(self.env, self.k))
	if not ok then return true, self:failed(err) end
	if self.newer then -- began before this call asked for something fresh
		self.newer = false
		return false
	end
	local how, result = flight:result()
	if how == "value" then
		local v, wrong = self.t:decode(result)
		if v == nil and wrong then return true, nil, wrong end
		return true, v, nil, "waited"
	elseif how == "negative" then
		return true, nil, nil, "waited"
	elseif how == "failed" and result ~= ABANDONED then
		return true, self:failed(E.new("loader", result or "the loader failed"))
	end
	return false
end

--- From the first look on: `how` and `v` are what it found.
function Call:run(how, v)
	local env, k = self.env, self.k
	self.serves_stale = (self.o.stale_ttl_ms or 0) > 0
	while true do
		if how == "error" then return nil, v end
		if how then return v, nil, how end
		if not self.fresh then
			local resting = self.has_fallback and env.backoff:resting(k, L.mono(env))
			if resting then return self:failed(resting) end
		end
		local flight, seat = self.t:flight(k)
		if not flight then
			seat.op = "fetch"
			return nil, seat
		end
		if seat == "leads" then return self:lead(flight) end
		local done, value, err, by, reason = self:follow(flight, seat)
		flight:leave()
		if done then return value, err, by, reason end
		if self.deadline and L.mono(env) >= self.deadline then
			return self:failed(E.new("timeout", "the deadline passed"))
		end
		if not self.fresh then how, v = self:look() end
	end
end

--- Runs a fetch whose options are read already.
function M.call(t, env, k, o, loader, n, args)
	local timed = o.deadline_ms and o.deadline_ms > 0
	local began = timed and L.mono(env)
	local v, state, age, left, version
	if o.fresh then
		local why = host.hindrance(t)
		if why then return E.fail("unsupported", why, { op = "fetch", table = env.name, key = k }) end
	else
		v, state, age, left, version = t:entry(k, timed and o.deadline_ms or nil)
		if state == "hit" and not o.refresh_at then return v, nil, "hit" end
	end
	return M.go_on(t, env, k, o, loader, n, args, timed and began + o.deadline_ms or nil, v, state, age, left, version)
end

--- The same from after the first look, whose answer (as of entry) comes last.
function M.go_on(t, env, k, o, loader, n, args, deadline, v, state, age, left, version)
	local call = setmetatable({ t = t, env = env, k = k, o = o, loader = loader, n = n, args = args, fresh = o.fresh or false,
		newer = o.fresh or false, deadline = deadline }, Call)
	if o.fresh then return call:run() end
	return call:run(call:judge(v, state, age, left, version))
end

--- Are these options that stand after the loader (the older order), and not a table meant for the loader?
function M.looks_like_options(x)
	if next(x) == nil or getmetatable(x) ~= nil then return false end
	for name in pairs(x) do
		if not OPTIONS[name] then return false end
	end
	return true
end

M.read_options = read_options
M.Call = Call
return M
