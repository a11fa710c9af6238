--- fetch_multi: what is there comes in one batch, what is missing from one run of the loader, every key under its own
--- flight and fence.
local core = require("zbz.core")
local E = require("zbz.error")
local L = require("zbz.load")
local F = require("zbz.fetch")
local K = require("zbz.lock")

local M = {}

local item_mt = core.item_mt

--- The keys without repetition, in order.
local function distinct(keys)
	local seen, out = {}, {}
	for _, k in ipairs(keys) do
		if not seen[k] then seen[k], out[#out + 1] = true, k end
	end
	return out
end

--- A call of one key within the batch; shares options and deadline.
local function call_of(b, k)
	return setmetatable({ t = b.t, env = b.env, k = k, o = b.o, fresh = b.o.fresh or false, newer = b.o.fresh or false,
		deadline = b.deadline, down = b.down, serves_stale = (b.o.stale_ttl_ms or 0) > 0 }, F.Call)
end

--- What one get_multi finds; the rest is looked at one by one only where negatives and fallbacks can be.
local function look(b, keys)
	local missing = {}
	if b.o.fresh then
		for i, k in ipairs(keys) do missing[i] = call_of(b, k) end
		return missing
	end
	local left = b.deadline and math.max(b.deadline - L.mono(b.env), 1)
	local found, err = b.t:get_multi(keys, left and { deadline = left / 1000 } or nil)
	if not found then
		if err.code == "closed" or err.code == "invalid_key" then return nil, err end
		b.down, found = (err.code == "unavailable" or err.code == "timeout") and err or nil, {}
	end
	local looks = not b.down and ((b.o.neg_ttl_ms or 0) > 0 or (b.o.stale_ttl_ms or 0) > 0)
	for _, k in ipairs(keys) do
		if found[k] ~= nil then
			b.out[k], b.good = found[k], true
		else
			local call = call_of(b, k)
			local how, v
			if looks then how, v = call:look() end
			if how == "hit" then
				b.out[k], b.good = v, true
			elseif how == "negative" then
				b.good = true
			elseif how == "error" then
				b.errs[k] = v
			else
				missing[#missing + 1] = call
			end
		end
	end
	return missing
end

local function settle(b, call, v, err)
	if v ~= nil then
		b.out[call.k], b.good = v, true
	elseif err then
		b.errs[call.k] = err
	else
		b.good = true
	end
end

--- Takes the flights: those this call leads, and those others lead already.
local function take_flights(b, missing)
	local lead, follow = {}, {}
	for _, call in ipairs(missing) do
		local resting = call.has_fallback and b.env.backoff:resting(call.k, L.mono(b.env))
		if resting then
			settle(b, call, call:failed(resting))
		else
			local flight, seat = b.t:flight(call.k)
			if not flight then
				seat.op = "fetch_multi"
				b.errs[call.k] = seat
			else
				call.flight, call.seat = flight, seat
				local list = seat == "leads" and lead or follow
				list[#list + 1] = call
			end
		end
	end
	return lead, follow
end

local function finish_one(b, call, v)
	local env, loaded = b.env, { value = v }
	if type(v) == "table" and getmetatable(v) == item_mt then
		loaded.value, loaded.ttl_ms = v.value, v.ttl_ms
	end
	env.backoff:clear(call.k)
	if loaded.value ~= nil then
		settle(b, call, call:store_value(call.flight, call.lease_version, loaded))
	else
		settle(b, call, call:store_absence(call.flight, call.lease_version, loaded))
	end
end

local function fail_one(b, call, err)
	b.t:count("load_failures")
	call.outcome = "failed"
	call.flight:land("failed", err.message)
	local v, failure, how = call:failed(E.new(err.code, err.message, { cause = err.cause, traceback = err.traceback }))
	if how == "stale" then b.env.backoff:fail(call.k, L.mono(b.env), err) end
	settle(b, call, v, failure)
end

--- The loader of a batch as that of one key.
local function single(loader)
	return function(k)
		local map, why = loader({ k })
		if type(map) ~= "table" then return nil, why end
		return map[k]
	end
end

--- With a lock among processes: those whose lock is free, in the order of their keys, and no waiting meanwhile; and those that others
--- are loading.
local function take_locks(b, lead)
	if b.o.lock == nil or b.o.lock == "process" then return lead, {} end
	local free, busy, held, by_key = {}, {}, {}, {}
	table.sort(lead, function(x, y) return x.k < y.k end)
	for _, call in ipairs(lead) do
		if K.take(call) then
			free[#free + 1] = call
			if call.lock and not call.fresh then held[#held + 1], by_key[call.k] = call.k, call end
		else
			busy[#busy + 1] = call
		end
	end
	if #held == 0 then return free, busy end
	local left, out = b.deadline and math.max(b.deadline - L.mono(b.env), 1), {}
	local found = b.t:get_multi(held, left and { deadline = left / 1000 } or nil) or {} -- stored since the first look
	for _, call in ipairs(free) do
		local v = by_key[call.k] and found[call.k]
		if v ~= nil then
			settle(b, call, K.found(call, call.flight, v))
		else
			out[#out + 1] = call
		end
	end
	return out, busy
end

--- One run of the loader for all keys this call leads.
local function load(b, lead, loader)
	if #lead == 0 then return end
	local me, keys = L.running(), {}
	for i, call in ipairs(lead) do
		keys[i] = call.k
		if not call.down then call.lease_version = call:lease() end
		b.env.leading[call.k] = me
		b.t:count("loads")
	end
	local loaded, err = L.run(loader, keys, 0)
	for _, k in ipairs(keys) do b.env.leading[k] = nil end
	if loaded and loaded.value ~= nil and type(loaded.value) ~= "table" then
		loaded, err = nil, E.new("loader", "the loader must return a map of keys and values, got " .. type(loaded.value))
	end
	for _, call in ipairs(lead) do
		if loaded then
			finish_one(b, call, loaded.value and loaded.value[call.k])
		else
			fail_one(b, call, err)
		end
		K.leave(call)
	end
end

--- The keys that other processes were loading, one by one, when no lock is held any more.
local function load_late(b, busy, loader)
	for _, call in ipairs(busy) do
		call.loader, call.n, call.args = single(loader), 0, {}
		local v, err = call:lead(call.flight)
		settle(b, call, v, err)
	end
end

--- The keys others were loading: after our own are done, so that two batches cannot wait for each other.
local function wait(b, follow, loader)
	for _, call in ipairs(follow) do
		local done, v, err = call:follow(call.flight, call.seat)
		call.flight:leave()
		if not done then
			v, err = F.call(b.t, b.env, call.k, b.o, single(loader), 0, {})
		end
		settle(b, call, v, err)
	end
end

--- map, nil, errs; nil, err, errs when nothing came of it.
function M.call(t, env, keys, o, loader)
	keys = distinct(keys)
	local b = { t = t, env = env, o = o, out = {}, errs = {}, good = false }
	if #keys == 0 then return b.out end
	if o.deadline_ms and o.deadline_ms > 0 then b.deadline = L.mono(env) + o.deadline_ms end
	local missing, err = look(b, keys)
	if not missing then return nil, err end
	local lead, follow = take_flights(b, missing)
	local busy
	lead, busy = take_locks(b, lead)
	load(b, lead, loader)
	load_late(b, busy, loader)
	wait(b, follow, loader)
	local first = next(b.errs)
	if not first then return b.out end
	if not b.good then return nil, b.errs[first], b.errs end
	return b.out, nil, b.errs
end

return M
