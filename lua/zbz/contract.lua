--- A contract: a cache and one table in one step. Keys lie under prefix .. key; every table method is a method of it.
---
---   local users = zbz.cache.contract("users", p):with_key_prefix("user:"):with_default_ttl("2h"):with_serializer("msgpack")
---   users:register("primary-cache");  users:set("42", { id = 42 })
local E = require("zbz.error")
local I = require("zbz.instance")
local O = require("zbz.options")
local P = require("zbz.provider")
local T = require("zbz.table_options")

---@class zbz.Contract : zbz.Table
---@field provider zbz.Provider
local Contract = {}
local MT = { __name = "zbz.Contract" }

local OPTIONS = { key_prefix = true, prefix = true, alias = true, clock = true }
for name in pairs(T.KNOWN) do OPTIONS[name] = true end

local aliases = {}

--- The table, made on first use, and anew after a with_*.
---@return zbz.Table?, zbz.Error?
function Contract:handle()
	if self.table_ then return self.table_ end
	if self.cache_.closed then return E.fail("closed", "the contract is closed", { table = self.name_ }) end
	local o, err = T.read(self.opts, self.cache_.base, ("contract '%s'"):format(self.name_), 4)
	if not o then return nil, err end
	local t
	t, err = self.cache_:open_table(self.name_, o, self.cache_.key_prefix_)
	if not t then return nil, err end
	self.cache_.tables[self.name_] = { handle = t, options = o }
	self.table_ = t
	return t
end

for _, op in ipairs({ "get", "set", "add", "delete", "exists", "ttl", "expire", "incr", "decr", "get_with", "get_multi", "set_multi",
	"delete_multi", "fetch", "fetch_multi", "keys", "clear", "invalidate", "get_raw", "set_raw", "warm", "stats", "get_struct", "set_struct",
	"get_struct_multi", "set_struct_multi" }) do
	Contract[op] = function(self, ...)
		local t, err = self:handle()
		if not t then return nil, E.at(err, { op = op }) end
		return t[op](t, ...)
	end
end

for _, op in ipairs({ "ping", "version", "capabilities", "supports", "native", "swap_provider", "provider_name", "config", "health" }) do
	Contract[op] = function(self, ...) return self.cache_[op](self.cache_, ...) end
end

--- A change of one option: checked at once, in force from the next call on.
local function with(self, name, value, level)
	local opts = O.copy(self.opts)
	opts[name] = value
	local o, err = T.read(opts, self.cache_.base, ("contract '%s'"):format(self.name_), level + 1)
	if not o then error(err, level + 1) end
	self.opts, self.table_ = opts, nil
	return self
end

--- Chainable; a wrong value raises.
---@param ttl zbz.Ttl
---@return zbz.Contract
function Contract:with_default_ttl(ttl) return (with(self, "ttl", ttl, 2)) end
---@param s string|zbz.Serializer
---@return zbz.Contract
function Contract:with_serializer(s) return (with(self, "serializer", s, 2)) end
---@param s table|string|zbz.Schema
---@return zbz.Contract
function Contract:with_schema(s) return (with(self, "schema", s, 2)) end
---@param prefix string
---@return zbz.Contract
function Contract:with_key_prefix(prefix)
	if type(prefix) ~= "string" then error("zbz: with_key_prefix: expects text, got " .. type(prefix), 2) end
	self.cache_.key_prefix_, self.cache_.root_, self.table_ = prefix, nil, nil
	return self
end

--- Makes it known by an alias. The alias of a contract of the same name stays as it is; one of another name is replaced and
--- that contract closed.
---@param alias string
---@return zbz.Contract
function Contract:register(alias)
	if type(alias) ~= "string" or alias == "" then error("zbz: register: the alias must be text", 2) end
	local before = aliases[alias]
	if before and before ~= self then
		if before.name_ == self.name_ then return self end
		before:close()
	end
	aliases[alias] = self
	self.registered, self.alias = true, alias
	return self
end

---@return boolean
function Contract:is_registered() return self.registered end
---@return string
function Contract:name() return self.name_ end
---@return string
function Contract:prefix() return self.cache_.key_prefix_ end

--- name provider key_prefix default_ttl serializer alias registered
---@return table?, zbz.Error?
function Contract:info()
	local t, err = self:handle()
	if not t then return nil, err end
	local out = t:info()
	out.name, out.key_prefix, out.default_ttl = self.name_, self.cache_.key_prefix_, out.ttl
	out.alias, out.registered = self.alias, self.registered
	return out
end

--- An independent service of the same contract: shares the provider, has its own counters.
---@return zbz.Contract?, zbz.Error?
function Contract:cache()
	local M = require("zbz.contract")
	local opts = O.copy(self.opts)
	opts.key_prefix, opts.clock = self.cache_.key_prefix_, self.cache_.clock
	local made, err = M.new(self.name_, self.provider, opts, 2)
	return made, err
end

---@return boolean?, zbz.Error?
function Contract:close()
	for alias, contract in pairs(aliases) do
		if contract == self then aliases[alias] = nil end
	end
	self.registered, self.alias = false, nil
	return self.cache_:close()
end

function MT.__index(self, name)
	if name == "provider" then return rawget(self, "cache_").provider end
	return Contract[name]
end
function MT.__tostring(self) return ("zbz.Contract %s on %s"):format(self.name_, tostring(self.cache_.kind_)) end
MT.__close = Contract.close

local M = {}

--- name, provider (name, URL, object, or { provider=, ... }), opts: key_prefix (default name .. ":") and the options of a table.
---@param name string
---@param provider string|zbz.Provider|zbz.CacheOptions
---@param opts table?
---@param level integer
---@return zbz.Contract?, zbz.Error?
function M.new(name, provider, opts, level)
	if type(name) ~= "string" or name == "" then error("zbz: contract: the name must be text", level + 1) end
	opts = O.check(opts, OPTIONS, ("contract '%s'"):format(name), level + 1)
	local prefix = opts.key_prefix
	if prefix == nil then prefix = opts.prefix end
	local spec = type(provider) == "table" and not P.is(provider) and provider or { provider = provider }
	local all = O.copy(spec)
	all.key_prefix, all.clock = prefix == nil and name .. ":" or prefix, opts.clock
	if all.provider == "multitier" and all.prefix == nil then all.prefix = "" end -- the key prefix may still change
	local cache, err = I.new(all, level + 1)
	if not cache then return nil, E.at(err, { op = "contract", table = name }) end
	local own = O.copy(opts, { key_prefix = true, prefix = true, alias = true, clock = true })
	local self = setmetatable({ name_ = name, cache_ = cache, opts = own, registered = false }, MT)
	local t
	local o, wrong = T.read(self.opts, cache.base, ("contract '%s'"):format(name), level + 1)
	if o then t, wrong = self:handle() end
	if not t then
		cache:close()
		return nil, E.at(wrong, { op = "contract", table = name })
	end
	if opts.alias then self:register(opts.alias) end
	return self
end

--- The contract of that alias, or nil.
---@param alias string
---@return zbz.Contract?
function M.lookup(alias) return aliases[alias] end
function M.is(x) return getmetatable(x) == MT end

return M
