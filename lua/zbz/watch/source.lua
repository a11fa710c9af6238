--- Where watched values come from. A source of the core reads and listens in C; one written in Lua is a table:
---   get(self, key) -> bytes (or any value, taken as it is); nil: there is none; nil, err
---   subscribe(self, key, changed) -> id    changed() says "look again"; optional: without it the source is polled
---   unsubscribe(self, id)                  optional
---   name                                   for messages; text, or a method
local core = require("zbz.core")
local E = require("zbz.error")

local M = {}

---@class zbz.Source
---@field name string
---@field core userdata?  a source of the core
---@field impl table?     or one in Lua
---@field cache zbz.Cache?  whose keys it reads
local Source = {}
Source.__index = Source

function Source:__tostring() return "zbz.Source " .. self.name end

---@return zbz.Source
function M.of_core(handle, name) return setmetatable({ core = handle, name = name }, Source) end

local function name_of(impl)
	local name = impl.name
	if type(name) == "function" then
		local ok, said = pcall(name, impl)
		name = ok and said
	end
	return type(name) == "string" and name or "lua"
end

--- A zbz.Source for what the program gave; raises for what is none.
---@return zbz.Source
function M.of(x, level)
	if getmetatable(x) == Source then return x end
	if type(x) ~= "table" or type(x.get) ~= "function" then
		error(("zbz: sync: expects a source (zbz.watch.file(dir), ... or a table with get), got %s"):format(type(x)), level + 1)
	end
	if x.subscribe ~= nil and type(x.subscribe) ~= "function" or x.unsubscribe ~= nil and type(x.unsubscribe) ~= "function" then
		error("zbz: sync: subscribe and unsubscribe of a source are functions", level + 1)
	end
	return setmetatable({ impl = x, name = name_of(x) }, Source)
end

--- One read of a source in Lua: value; nil when there is none; nil, err.
function M.get(self, key)
	local ok, value, why = pcall(self.impl.get, self.impl, key)
	if not ok then return nil, E.wrap(value, "unavailable", { op = "sync", provider = self.name, key = key }) end
	if value == nil and why ~= nil then return nil, E.wrap(why, "unavailable", { op = "sync", provider = self.name, key = key }) end
	return value
end

--- An id for unsubscribe, or nil when it only can be polled.
function M.subscribe(self, key, changed)
	if not self.impl.subscribe then return nil end
	local ok, id, why = pcall(self.impl.subscribe, self.impl, key, changed)
	if ok and id ~= nil then return id end
	return nil, E.wrap(ok and (why or "subscribe returned nothing") or id, "unavailable", { op = "sync", provider = self.name, key = key })
end

function M.unsubscribe(self, id)
	if id == nil or not self.impl.unsubscribe then return end
	local ok, err = pcall(self.impl.unsubscribe, self.impl, id)
	if not ok then require("zbz.host.loop").report(E.wrap(err, "unavailable", { op = "unsubscribe", provider = self.name })) end
end

--- Files of a directory.
---@return zbz.Source?, zbz.Error?
function M.file(dir, opts)
	local handle, err = core.open_source({ provider = "file", dir = dir, polling = opts and opts.polling })
	if not handle then return nil, E.at(err, { op = "file" }) end
	return M.of_core(handle, "file " .. dir)
end

--- Keys of a cache, below its prefix.
---@return zbz.Source?, zbz.Error?
function M.cache(cache)
	if not cache.core then
		return E.fail("unsupported", "a provider written in Lua tells no changes to other threads; watch it as a source of your own",
			{ op = "redis", provider = cache:provider_name() })
	end
	local handle, err = core.cache_source(cache.core)
	if not handle then return nil, E.at(err, { op = "redis" }) end
	local source = M.of_core(handle, "cache " .. cache:provider_name())
	source.cache = cache
	return source
end

return M
