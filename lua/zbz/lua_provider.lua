--- A provider written in Lua, made safe to call: what it throws or returns becomes a value or an error of ours.
---
--- A provider is a table of methods over full keys and byte strings (ttl in seconds, 0: no expiry; a miss is nil, a failure nil, err):
---   get(self, key) -> bytes [, nil, { ttl = seconds, version = text }]      set(self, key, bytes, ttl) -> true
---   delete(self, key) -> true
--- and, where it can:
---   exists(self, key)  ttl(self, key) -> seconds, math.huge or nil  expire(self, key, ttl) -> true or nil
---   add(self, key, bytes, ttl) -> true or false    replace(self, key, bytes, ttl) -> true or false    (atomic)
---   cas(self, key, bytes, ttl, version) -> true or false    incr(self, key, delta, initial, ttl) -> integer    (atomic)
---   get_multi(self, keys) -> map    set_multi(self, { {key=,value=,ttl=} ... })    delete_multi(self, keys)
---   keys(self, prefix) -> iterator or list    clear(self, prefix) -> number removed
---   ping(self)  version(self)  stats(self) -> { keys=, memory=, connections= }  inspect(self, key)  command(self, words)  close(self)
--- A deadline of a call is the provider's own affair: zbz cannot interrupt Lua.
--- Fields: no_expiry = true when it cannot expire entries (zbz then keeps the end of life inside the value), max_key, max_value,
--- ttl_resolution (seconds), shared = true when other processes see the entries, exclusive = true when nothing else lives in it.
local core = require("zbz.core")
local E = require("zbz.error")

---@class zbz.LuaStore
---@field name string
---@field impl table
local Store = {}
Store.__index = Store

local MANDATORY = { "get", "set", "delete" }

--- Calls a method of the provider. Returns its results, or nil and an error.
local function finish(self, op, ok, a, b, c)
	if not ok then
		if E.is(a) then return nil, E.at(a, { op = op, provider = self.name }) end
		return E.fail("unavailable", ("the provider's %s failed: %s"):format(op, E.line(a, 300)),
			{ op = op, provider = self.name, cause = a })
	end
	if a == nil and b ~= nil then return nil, E.wrap(b, "unavailable", { op = op, provider = self.name }) end
	return a, nil, c
end

function Store:call(op, ...)
	if self.closed_ then return E.fail("closed", "the provider is closed", { op = op, provider = self.name }) end
	local fn = self.impl[op]
	if not fn then return E.fail("unsupported", ("provider '%s' has no %s"):format(self.name, op), { op = op, provider = self.name }) end
	return finish(self, op, pcall(fn, self.impl, ...))
end

function Store:has(op) return type(self.impl[op]) == "function" end

--- The result of a call that must be of one type; another one is the provider's mistake.
function Store:wrong(op, got, wanted)
	return E.fail("corrupt", ("the provider's %s returned %s instead of %s"):format(op, type(got), wanted),
		{ op = op, provider = self.name })
end

function Store:caps()
	local impl = self.impl
	local sealed = impl.no_expiry and true or false
	local caps = {
		ttl = self:has("ttl") or sealed, expire = self:has("expire") or sealed, add = self:has("add"), present = self:has("replace"),
		version = self:has("cas"), incr = self:has("incr"), keys = self:has("keys"), clear = self:has("clear") or self:has("keys"),
		native = self:has("command"), batch = self:has("get_multi"), emulated = {}, inline = false,
		shared = impl.shared and true or false, unsigned_incr = impl.unsigned_incr and true or false,
		exclusive = impl.exclusive and true or false, lock = impl.shared and "host" or "process", lock_wake = true,
		ttl_resolution_ms = math.floor((impl.ttl_resolution or 0.001) * 1000 + 0.5),
		max_key = impl.max_key or 65536, max_value = impl.max_value or 2 ^ 30,
	}
	if sealed then caps.emulated = { "ttl", "expire" } end
	if not self:has("clear") and self:has("keys") then caps.emulated[#caps.emulated + 1] = "clear" end
	return caps
end

local SECRETS = { "pass", "pwd", "secret", "token", "auth", "credential", "apikey", "api_key", "private_key", "access_key" }
local function is_secret(name)
	name = tostring(name):lower()
	for _, word in ipairs(SECRETS) do
		if name:find(word, 1, true) then return true end
	end
	return name == "key"
end

--- The password of a URL as "***".
local function without_password(text)
	return (text:gsub("(%a[%w+.-]*://[^/@%s]-:)[^/%s]*@", "%1***@"))
end

function Store:ops_name() return self.name end
function Store:kind() return self.name end
function Store:config()
	local out = { provider = self.name }
	for name, v in pairs(self.options) do
		if type(v) ~= "table" and type(v) ~= "function" then out[name] = is_secret(name) and "***" or without_password(tostring(v)) end
	end
	return out
end

--- The same in every process that opens it with the same options.
function Store:identity()
	local words = {}
	for name, v in pairs(self.options) do
		if type(v) ~= "table" and type(v) ~= "function" then words[#words + 1] = tostring(name) .. "=" .. tostring(v) end
	end
	table.sort(words)
	return "lua:" .. self.name .. "\0" .. table.concat(words, "\0")
end

--- One more user of the store; each calls close once.
function Store:ref()
	self.refs = self.refs + 1
	return self
end

--- The last user's close closes the provider: true, or nil and what its close said.
function Store:close()
	if self.closed_ then return true end
	self.refs = self.refs - 1
	if self.refs > 0 then return true end
	local ok, err = true, nil
	if self:has("close") then
		local result
		result, err = self:call("close")
		if result == nil and err then ok = nil end
	end
	self.closed_ = true
	return ok, err
end
function Store:closed() return self.closed_ end

function Store:clock_wall() return self.clock and self.clock:wall() or core.wall() end
function Store:clock_mono() return self.clock and self.clock:mono() or core.mono() end

function Store:ping()
	if self.closed_ then return E.fail("closed", "the provider is closed", { op = "ping", provider = self.name }) end
	if not self:has("ping") then return true end
	local ok, err = self:call("ping")
	if not ok then
		return nil, err or E.new("unavailable", "the provider answered the ping with " .. tostring(ok), { provider = self.name })
	end
	return true
end

--- The backend's own version text; ours when it has none.
function Store:version()
	if not self:has("version") then return core.VERSION end
	return self:call("version")
end

function Store:stats()
	if not self:has("stats") then return {} end
	local told, err = self:call("stats")
	if told == nil then return nil, err end
	if type(told) ~= "table" then return self:wrong("stats", told, "a table") end
	return told
end

function Store:inspect(full) return self:call("inspect", full) end

--- A list of replies, null for none.
function Store:command(commands)
	local out = {}
	for i, words in ipairs(commands) do
		local reply, err = self:call("command", words)
		if reply == nil and err then return nil, err end
		out[i] = reply == nil and core.null or reply
	end
	return out
end

local M = { Store = Store }

--- Wraps what a factory made.
---@return zbz.LuaStore?, zbz.Error?
function M.open(name, impl, options, clock)
	if type(impl) ~= "table" then
		return E.fail("invalid_config", ("provider '%s': its factory returned %s instead of a table of methods"):format(name, type(impl)),
			{ provider = name })
	end
	for _, op in ipairs(MANDATORY) do
		if type(impl[op]) ~= "function" then
			return E.fail("invalid_config", ("provider '%s': the method %s is missing (get, set and delete are needed)"):format(name, op),
				{ provider = name })
		end
	end
	return setmetatable({ name = name, impl = impl, options = options or {}, clock = clock, refs = 1, closed_ = false,
		flights = core.flights() }, Store)
end

---@return boolean
function M.is(x) return getmetatable(x) == Store end

return M
