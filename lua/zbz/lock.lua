--- fetch with lock = "host" or "cluster": the leader of a flight takes a lock that other processes see, too, before it runs the loader.
---
--- Refused, it waits for the holder's end and looks at the entry again: a value there ends the call. What the holder could not store goes
--- along with the lock's release: "there is none", and "the loader failed". So one failure is one failure for all who waited for it, in
--- whatever process: each answers with its stale value (and rests) or with the error, and none of them runs the loader at once again.
--- A holder that died or was too slow tells nothing; then one of those who waited loads.
---
--- The lock saves work. That no older value survives a write is the fence's affair (see fetch.lua), with the lock as without.
local core = require("zbz.core")
local E = require("zbz.error")
local L = require("zbz.load")

local M = {
	LEASE_MS = 30000, -- how long a lock holds at most; the deadline when that is longer
}

local LAST_MS = 100 -- to give a lock back after the deadline
local LOST = { unavailable = true, timeout = true }

--- Which coroutine of this Lua state holds the lock of a full key.
local holders = setmetatable({}, { __mode = "v" })

local REACHES = { process = true, host = true, cluster = true }

--- nil, or why that lock cannot be had (on this cache, when one is given).
---@return zbz.Error?
function M.check(lock, name, cache)
	if lock == nil or lock == "process" then return nil end
	local at = { op = "fetch", table = name, option = "lock" }
	if not REACHES[lock] then
		return E.new("invalid_config", ("lock: expects \"process\", \"host\" or \"cluster\", got '%s'"):format(tostring(lock)), at)
	end
	local caps = cache and cache:capabilities()
	if not caps or not caps.shared then return nil end -- within one process the flight is all that is needed
	if lock == "cluster" and caps.lock == "cluster" then
		if caps.add and caps.version then return nil end
		return E.new("unsupported", ("lock = \"cluster\": provider '%s' cannot add a key only where it is absent"):format(
			cache:provider_name()), at)
	elseif lock == "cluster" and cache.owner then
		return E.new("unsupported", "lock = \"cluster\": a provider written in Lua is locked within the host at most", at)
	end
	local ok, err = core.lock_check()
	if not ok then return E.at(err, at) end
	return nil
end

local function lease_ms(call) return math.max(M.LEASE_MS, call.o.deadline_ms or 0) end

--- The deadline may have passed: a lock is given back all the same.
local function last_ms(call)
	if call.down then return LAST_MS end
	local left = call:left()
	return left and math.max(left, LAST_MS)
end

--- Loads without the lock that was asked for.
local function go_without(call, err)
	if err and LOST[err.code] then call.down = err end
	call.t:count("unlocked")
	return false
end

local function release(call, outcome)
	local lock = call.lock
	if not lock then return end
	call.lock = nil
	holders[call.full] = nil
	call.t:unlock(lock, outcome, last_ms(call))
	lock:close()
end

--- What the entry says now: how and value when that ends the call. A refresh in the background ends when somebody else has stored
--- something since it was called for; a caller who wants it fresh does not look.
local function look(call)
	local background = call.o.background
	if call.fresh and not background then return nil end
	local how, v = call:look()
	if not background then return how, v end
	if call.state == "hit" and call.version and call.version ~= call.o.seen then return "hit", call.fallback end
	return nil
end

--- Ends the call with what was found, for those who wait in this process, too.
local function settle(call, flight, how, v, waited)
	if how == "error" then
		flight:land("nothing")
		return nil, v
	end
	local bytes = how == "hit" and call.t:encode(v)
	if how == "negative" then
		flight:land("negative")
	elseif bytes then
		flight:land("value", bytes)
	else
		flight:land("nothing")
	end
	return v, nil, waited and "waited" or how
end

--- The end of a call that waited in vain. Its own deadline is not that of those who wait for it.
local function give_up(call, flight, err)
	flight:land("nothing")
	return call:failed(err)
end

--- Somebody else's loader failed: for this call, too.
local function share_failure(call, flight)
	local err = E.new("loader", "the loader failed in another process")
	flight:land("failed", err.message)
	local v, failure, how, reason = call:failed(err)
	if how == "stale" then call.env.backoff:fail(call.k, L.mono(call.env), err) end
	return v, failure, how, reason
end

--- Waits for the holder. True and the results when that ends the call; nil to try again.
local function wait(call, flight, lock, state, left)
	local env, now = call.env, L.mono(call.env)
	local till = left and now + left
	if call.deadline and (not till or call.deadline < till) then till = call.deadline end
	local leader = state == "waits_for_self" and holders[call.full] or nil
	local ok, err = L.wait(lock, state, call.k, env, till, leader)
	local late = call.deadline and L.mono(env) >= call.deadline
	if not ok and (late or err.code ~= "timeout") then return true, give_up(call, flight, err) end
	local how, v = look(call)
	if how then return true, settle(call, flight, how, v, true) end
	local outcome = lock:outcome()
	if call.fresh then return nil end -- another's load began before this call asked
	if outcome == "negative" then
		flight:land("negative")
		return true, nil, nil, "waited"
	elseif outcome == "failed" then
		return true, share_failure(call, flight)
	end
	return nil
end

--- One try. True when the call goes on, with the lock or without; else nil, and how to wait.
local function try(call, lock)
	local state, left = call.t:lock(lock, lease_ms(call), call:left())
	if state == "held" then
		call.lock = lock
		holders[call.full] = L.running()
		return true
	elseif state == nil or state == "none" then
		go_without(call, left)
		return true
	end
	return nil, state, left
end

--- Does this call need a lock among processes? The lock, or nil.
local function new_lock(call)
	local reach = call.o.lock
	if reach == nil or reach == "process" then return nil end
	if call.down then
		go_without(call)
		return nil
	end
	local lock, err = call.t:new_lock(call.k, reach)
	if lock == nil then go_without(call, err) end
	call.full = call.t:prefix() .. call.k
	return lock or nil
end

--- After the lock was taken: somebody may have stored between the first look and now.
local function look_again(call, flight, waited)
	if not call.lock then return nil end
	local how, v = look(call)
	if not how then return nil end
	release(call, "value")
	return true, settle(call, flight, how, v, waited)
end

--- Before a load. True and the call's results when there is nothing left to load; else call.lock is held, where one could be had.
function M.enter(call, flight)
	local lock = new_lock(call)
	if not lock then return nil end
	local waited = false
	while true do
		local go, state, left = try(call, lock)
		if go then return look_again(call, flight, waited) end
		if not waited then call.t:count("lock_waits") end
		waited = true
		local results = { wait(call, flight, lock, state, left) }
		if results[1] then return (table.unpack or unpack)(results, 1, 5) end -- luacheck: ignore 113
	end
end

--- After a load: call.outcome says how it ended.
function M.leave(call) release(call, call.outcome or "unknown") end

--- The end of a call that holds the lock and whose value is there.
function M.found(call, flight, v)
	release(call, "value")
	return settle(call, flight, "hit", v, false)
end

-- ---- many keys ---------------------------------------------------------------------------------------------------------------

--- One try and no waiting: true when the call may load now, false when somebody else has the lock.
function M.take(call)
	local lock = new_lock(call)
	if not lock then return true end
	if try(call, lock) then return true end
	lock:close()
	return false
end

return M
