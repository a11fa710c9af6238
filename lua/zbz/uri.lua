--- zbz.uri("cache://users/123"): one entry of the default cache by address.
---
---   zbz.uri("cache://users/123"):get()          zbz.uri("cache://users/{id}"):with{ id = 5 }:set(user, "1h")
---   for key in zbz.uri("cache://users/*"):keys() do ... end
local E = require("zbz.error")

---@class zbz.Uri
local Uri = {}
Uri.__index = Uri

local M = {}

--- Parts between "{" and "}" filled in; missing ones raise.
---@param values table<string, any>
---@return zbz.Uri
function Uri:with(values)
	for name in self.text:gmatch("{([%w_]+)}") do
		if values[name] == nil then error(("zbz: uri: no value for {%s}"):format(name), 2) end
	end
	local text = self.text:gsub("{([%w_]+)}", function(name)
		return (tostring(values[name]):gsub("[%%/{}*?]", function(c) return ("%%%02X"):format(c:byte()) end))
	end)
	return M.new(text, 3)
end

function Uri:table_of(op)
	if self.key:find("{", 1, true) then error(("zbz: uri: '%s' has open places, fill them by with{}"):format(self.text), 3) end
	return require("zbz.cache").table_for_uri(self.resource, op)
end

for _, op in ipairs({ "get", "set", "delete", "exists", "ttl", "expire", "add", "incr", "decr", "fetch", "invalidate" }) do
	Uri[op] = function(self, ...)
		local t, err = self:table_of(op)
		if not t then return nil, err end
		if self.is_pattern then error(("zbz: uri: '%s' is a pattern"):format(self.text), 2) end
		return t[op](t, self.key, ...)
	end
end

--- An iterator over the keys that match.
---@return (fun(): string?, zbz.Error?)?, zbz.Error?
function Uri:keys()
	local t, err = self:table_of("keys")
	if not t then return nil, err end
	return t:keys(self.is_pattern and self.pattern or (self.key:gsub("[%*%?%[%]\\]", "\\%0")))
end

function Uri:__tostring() return self.text end

local function decode(text)
	return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

---@param text string
---@return zbz.Uri?, zbz.Error?
function M.new(text, level)
	if type(text) ~= "string" then error("zbz: uri: expects text, got " .. type(text), (level or 2) + 1) end
	local scheme, resource, rest = text:match("^(%a[%w%+%.%-]*)://([^/]+)/(.+)$")
	if not scheme then
		return E.fail("invalid_argument", ("uri: '%s' is not scheme://resource/id"):format(E.line(text, 100)), { op = "uri" })
	end
	if scheme ~= "cache" then
		return E.fail("unsupported", ("uri: the scheme '%s' is not served, only cache"):format(scheme), { op = "uri" })
	end
	return setmetatable({ text = text, resource = decode(resource), key = decode(rest), pattern = rest,
		is_pattern = rest:find("[%*%?]") ~= nil }, Uri)
end

return M
