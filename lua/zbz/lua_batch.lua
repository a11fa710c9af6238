--- Batches and listings of tables on providers written in Lua.
local core = require("zbz.core")
local A = require("zbz.arguments")
local E = require("zbz.error")
local Handle = require("zbz.lua_handle").Handle

function Handle:get_multi(keys, opts)
	A.keys(keys, "get_multi", 2)
	A.deadline(opts, "get_multi", 2)
	local store, err = self:store()
	if not store then return self:fail("get_multi", nil, err) end
	local out, errs, failed, total = {}, nil, 0, #keys
	if total == 0 then return out end
	local many
	if store:has("get_multi") then
		local full = {}
		for _, k in ipairs(keys) do
			local fine, wrong = self:begin("get_multi", k)
			if fine then
				full[#full + 1] = self.prefix_ .. k
			else
				errs, failed = errs or {}, failed + 1
				errs[k] = wrong
			end
		end
		if #full == 0 then return nil, errs[keys[1]], errs end
		local map, why = store:call("get_multi", full)
		if type(map) ~= "table" then
			return self:fail("get_multi", nil, why or select(2, store:wrong("get_multi", map, "a map")))
		end
		many = map
	end
	for _, k in ipairs(keys) do
		local value, wrong
		if errs and errs[k] then
			value = nil -- refused already
		elseif many then
			value, wrong = self:open_found(store, many[self.prefix_ .. k])
		else
			value, wrong = self:get(k)
		end
		if wrong then
			errs, failed = errs or {}, failed + 1
			errs[k] = E.at(wrong, { op = "get_multi", table = self.name, key = k })
		end
		out[k] = value
	end
	if failed == total and next(out) == nil then return nil, errs[keys[1]], errs end
	return out, nil, errs
end

--- One answer of the provider's own get_multi, counted.
function Handle:open_found(store, stored)
	if stored ~= nil then
		if type(stored) ~= "string" then return store:wrong("get_multi", stored, "bytes") end
		local value, entry = core.envelope_open(stored, store:clock_wall())
		if value == nil and E.is(entry) then return nil, entry end
		if not (entry.negative or entry.stale or entry.lease) then
			self.n.hits = self.n.hits + 1
			return value
		end
	end
	self.n.misses = self.n.misses + 1
	return nil
end

--- Value and write options of one entry of a map; items carry their own TTL.
local function open_item(v, how)
	if type(v) ~= "table" or getmetatable(v) ~= core.item_mt then return v, how end
	return v.value, { ttl_ms = v.ttl_ms or how.ttl_ms }
end

function Handle:set_multi(map, how)
	A.map(map, "set_multi", 2)
	how = A.ttl(how, "set_multi", 2)
	local errs, failed, total, first = nil, 0, 0, nil
	local store, err = self:store()
	if not store then return self:fail("set_multi", nil, err) end
	if store:has("set_multi") then return self:set_batch(store, map, how) end
	for k, v in pairs(map) do
		local value, own = open_item(v, how)
		total = total + 1
		local ok, why = self:put("set_multi", k, value, own)
		if not ok then
			errs, failed, first = errs or {}, failed + 1, first or why
			errs[k] = why
		end
	end
	if failed > 0 and failed == total then return nil, first, errs end
	return true, nil, errs
end

--- One entry as the provider's set_multi takes it; nil, err.
function Handle:batch_item(store, k, v, how)
	local value, own = open_item(v, how)
	local ok, err = self:begin("set_multi", k)
	if not ok then return nil, err end
	if type(value) ~= "string" then return self:fail("set_multi", k, E.new("encode", "expects bytes, got " .. type(value))) end
	local fits, wrong = self:check_size(store, "set_multi", k, value)
	if not fits then return nil, wrong end
	local sealed, ttl = self:seal(store, value, own)
	if not sealed then return self:fail("set_multi", k, ttl) end
	return { key = self.prefix_ .. k, value = sealed, ttl = ttl }
end

--- Through the provider's own set_multi: what it is given fails or stands together.
function Handle:set_batch(store, map, how)
	local list, errs, first = {}, nil, nil
	for k, v in pairs(map) do
		local item, err = self:batch_item(store, k, v, how)
		if not item then
			errs, first = errs or {}, first or err
			errs[k] = err
		end
		list[#list + 1] = item
	end
	if #list == 0 then
		if first then return nil, first, errs end
		return true
	end
	for _, item in ipairs(list) do store.flights:touch(item.key) end
	local ok, why = store:call("set_multi", list)
	if not ok then
		self:count_lost(why, #list)
		return self:fail("set_multi", nil, why or E.new("unavailable", "the provider did not store the values"))
	end
	self.n.sets = self.n.sets + #list
	return true, nil, errs
end

function Handle:delete_multi(keys, opts)
	A.keys(keys, "delete_multi", 2)
	A.deadline(opts, "delete_multi", 2)
	local store, err = self:store()
	if not store then return self:fail("delete_multi", nil, err) end
	if store:has("delete_multi") then
		local full = {}
		for i, k in ipairs(keys) do
			full[i] = self.prefix_ .. k
			store.flights:touch(full[i])
		end
		if #full == 0 then return true end
		local _, why = store:call("delete_multi", full)
		if why then return self:fail("delete_multi", nil, why) end
		self.n.deletes = self.n.deletes + #full
		return true
	end
	local errs, failed
	for _, k in ipairs(keys) do
		local ok, why = self:delete(k)
		if not ok then
			errs, failed = errs or {}, (failed or 0) + 1
			errs[k] = why
		end
	end
	if failed and failed == #keys then return nil, errs[keys[1]], errs end
	return true, nil, errs
end

--- The provider's keys as an iterator of full keys, or nil, err.
function Handle:listing(store, op)
	local list, err = store:call("keys", self.prefix_)
	if list == nil then return nil, err or E.new("corrupt", "the provider's keys returned nothing", { provider = store.name }) end
	if type(list) == "function" then return list end
	if type(list) ~= "table" then return store:wrong(op, list, "an iterator or a list") end
	local i = 0
	return function()
		i = i + 1
		return list[i]
	end
end

function Handle:keys(pattern, opts)
	if pattern ~= nil and type(pattern) ~= "string" then error("zbz: keys: the pattern must be a string, got " .. type(pattern), 2) end
	A.deadline(opts, "keys", 2)
	local store, err = self:begin("keys")
	if not store then return nil, err end
	if not store:has("keys") then
		local _, e = store:call("keys")
		return self:fail("keys", nil, e)
	end
	local next_key, why = self:listing(store, "keys")
	if not next_key then return self:fail("keys", nil, why) end
	local n, ended = #self.prefix_, false
	return function()
		while not ended do
			local ok, full = pcall(next_key)
			if not ok then
				ended = true
				return self:fail("keys", nil, E.wrap(full, "unavailable", { provider = store.name }))
			end
			if full == nil then
				ended = true
				return nil
			end
			if type(full) == "string" and #full > n and full:sub(1, n) == self.prefix_ then
				local key = full:sub(n + 1)
				if (pattern == nil or core.glob(pattern, key)) and (not store.impl.no_expiry or self:exists(key)) then return key end
			end
		end
		return nil
	end
end

function Handle:clear(opts)
	A.deadline(opts, "clear", 2)
	local store, err = self:begin("clear")
	if not store then return nil, err end
	if self.prefix_ == "" and not store.impl.exclusive then
		return self:fail("clear", nil, E.new("unsupported", "without a key prefix this would clear the whole store", { provider = store.name }))
	end
	store.flights:touch_prefix(self.prefix_)
	if store:has("clear") then
		local removed, why = store:call("clear", self.prefix_)
		if why then return self:fail("clear", nil, why) end
		return true, tonumber(removed)
	end
	if not store:has("keys") then
		local text = ("provider '%s' has neither clear nor keys"):format(store.name)
		return self:fail("clear", nil, E.new("unsupported", text, { provider = store.name }))
	end
	local next_key, why = self:listing(store, "clear")
	if not next_key then return self:fail("clear", nil, why) end
	local found = {}
	local fine, thrown = pcall(function()
		for full in next_key do
			if type(full) == "string" and full:sub(1, #self.prefix_) == self.prefix_ then found[#found + 1] = full end
		end
	end)
	if not fine then return self:fail("clear", nil, E.wrap(thrown, "unavailable", { provider = store.name })) end
	for _, full in ipairs(found) do
		local _, bad = store:call("delete", full)
		if bad then return self:fail("clear", nil, bad) end
	end
	return true, #found
end

return Handle
