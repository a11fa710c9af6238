--- swap_provider: ping the new one, switch, drain, close the old one. A failure before the switch changes nothing; one after it is
--- reported with err.switched.
local E = require("zbz.error")
local I = require("zbz.instance")
local O = require("zbz.options")
local P = require("zbz.provider")
local providers = require("zbz.providers")

---@class zbz.Cache
local Cache = I.Cache
local OPTIONS = { deadline = true }

--- Tables whose values pass through C cannot follow to a provider written in Lua.
local function fast_table(self)
	for name, t in pairs(self.tables) do
		if type(t.handle) == "userdata" then return name end
	end
	if type(self.root_) == "userdata" then return "" end
	return nil
end

--- Gives every table written in Lua a handle on the new provider; its counters go on.
local function rebind(self)
	for t in pairs(self.lua_tables) do
		if t.bytes then
			local sums = t:counters()
			t.env.l1 = nil -- kept values do not follow to another kind of provider
			local bytes, err = I.open_handle(self, t.env, t.env.prefix, "bytes")
			if not bytes then return nil, err end
			t.bytes, t.base = bytes, sums
			if t.forget then t:forget() end
		end
	end
	return true
end

local function finish(self, p, owned, old_close)
	local old, owned_before = self.provider, self.owns
	if self.closed then -- while the call waited: that has closed the old one
		old_close()
		return E.fail("closed", "the cache was closed meanwhile")
	end
	self.provider, self.owns, self.kind_ = p, owned, p.kind_
	self:forget()
	local ok, err = old_close()
	if owned_before then
		local fine, why = old:close()
		if not fine then ok, err = nil, why end
	end
	if ok then return true end
	local failure = E.new("unavailable", "the new provider is in use; the old one failed to close: " .. E.line(err, 200),
		{ op = "swap_provider", provider = old.kind_, cause = err })
	failure.switched = true
	return nil, failure
end

--- Within the core: it pings, switches and drains itself.
local function swap_core(self, p, owned, deadline)
	local ok, err = self.core:swap(p.store, deadline)
	if ok then return finish(self, p, owned, function() return true end) end
	if err.code ~= "timeout" or not err.message:find("^switched") then return nil, err end
	err.switched = true
	finish(self, p, owned, function() return true end)
	return nil, err
end

--- From or to a provider written in Lua.
local function swap_lua(self, p, owned)
	local ok, err = p:ping()
	if not ok then return nil, err end
	if self.closed then return E.fail("closed", "the cache was closed meanwhile") end
	local before = { core = self.core, owner = self.owner }
	ok, err = I.attach(self, p)
	if ok then
		ok, err = rebind(self)
		if not ok then
			if self.core then self.core:close() else self.owner.store:close() end
			self.core, self.owner = before.core, before.owner
			rebind(self)
			return nil, err
		end
	end
	if not ok then return nil, err end
	return finish(self, p, owned, function()
		if before.core then
			before.core:close()
			return true
		end
		before.owner.closed = true
		return before.owner.store:close()
	end)
end

--- Replaces the provider under a cache in use: pings the new one, switches, drains, closes the old one. A failure before the switch changes
--- nothing; one after it has err.switched. locked: another swap is under way.
---@param spec string|zbz.Provider|table  a name, URL, provider object, or { provider = name, ... }
---@param opts zbz.ReadOptions?
---@return true?, zbz.Error?
function Cache:swap_provider(spec, opts)
	O.check(opts, OPTIONS, "swap_provider", 2)
	local deadline = O.duration_arg(opts and opts.deadline, "deadline", "swap_provider", 2)
	if self.closed then return E.fail("closed", "the cache is closed", { op = "swap_provider" }) end
	if spec == nil then error("zbz: swap_provider: which provider?", 2) end
	if self.swapping then return E.fail("locked", "another swap of this cache is under way", { op = "swap_provider" }) end
	local p, err = providers.open(spec, {}, 2)
	if not p then return nil, E.at(err, { op = "swap_provider" }) end
	local owned = not P.is(spec)
	local ok
	local fast = p.lua and fast_table(self)
	self.swapping = true
	if fast then
		ok, err = nil, E.new("unsupported", ("a provider written in Lua cannot replace one in C while the table '%s' is open"):format(fast),
			{ op = "swap_provider", provider = p.name_ })
	elseif self.core and not p.lua then
		ok, err = swap_core(self, p, owned, deadline)
	else
		ok, err = swap_lua(self, p, owned)
	end
	self.swapping = nil
	if ok then return true end
	if owned and self.provider ~= p then p:close() end
	return nil, E.at(err, { op = "swap_provider" })
end

return Cache
