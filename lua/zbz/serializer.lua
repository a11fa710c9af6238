--- Serializers: a value to bytes and back. The native ones run in C; any other is a pair of Lua functions.
local core = require("zbz.core")
local E = require("zbz.error")
local O = require("zbz.options")

---@class zbz.Serializer
---@field encode fun(v: any): string?, any
---@field decode fun(s: string): any, any
---@field content_type string?
---@field name string?
---@field native string?   name of the codec in C, when it has one
---@field integers boolean? stores whole numbers as decimal digits, so that incr works

local M = {}

local function text_encode(v)
	if type(v) == "string" then return v end
	return E.fail("encode", "the serializer takes strings, got " .. type(v))
end
local function same(s) return s end

local registry = {
	json = { native = "json", encode = core.json_encode, decode = core.json_decode, content_type = "application/json",
		integers = true },
	msgpack = { native = "msgpack", encode = core.msgpack_encode, decode = core.msgpack_decode,
		content_type = "application/msgpack" },
	auto = { native = "auto", encode = core.auto_encode, decode = core.auto_decode,
		content_type = "application/x-zbz-auto", integers = true },
	string = { native = "string", encode = text_encode, decode = same, content_type = "text/plain", integers = true },
	bytes = { native = "bytes", encode = text_encode, decode = same, content_type = "application/octet-stream",
		integers = true },
}
local aliases = { raw = "bytes", messagepack = "msgpack", text = "string" }
for name, s in pairs(registry) do s.name = name end

--- Runs a Lua-defined function of a serializer; what it throws or wrongly returns becomes an error value.
local function guarded(fn, code, name, wants_string)
	return function(v)
		local ok, out, why = pcall(fn, v)
		if not ok then
			if E.is(out) then return nil, out end
			return E.fail(code, ("serializer '%s' failed: %s"):format(name, E.line(out, 300)), { cause = out })
		end
		if out == nil and why ~= nil then
			return nil, E.wrap(why, code)
		end
		if out == nil and not wants_string then return E.fail(code, ("serializer '%s' returned no value"):format(name)) end
		if wants_string and type(out) ~= "string" then
			return E.fail(code, ("serializer '%s' must return a string, got %s"):format(name, type(out)))
		end
		return out
	end
end

--- lua-cjson as it is: its own rules for numbers, sparse arrays and errors. Loaded when first asked for.
local function load_cjson()
	local ok, cjson = pcall(require, "cjson")
	if not ok then return E.fail("unsupported", "serializer 'cjson' needs lua-cjson (Debian package lua-cjson)") end
	registry.cjson = {
		name = "cjson", integers = true, content_type = "application/json",
		encode = guarded(cjson.encode, "encode", "cjson", true), decode = guarded(cjson.decode, "decode", "cjson", false),
	}
	return registry.cjson
end

--- A user's table {encode, decode} or {marshal, unmarshal} as a serializer; nil, err when it is none.
---@return zbz.Serializer?, zbz.Error?
function M.define(s, name)
	local encode, decode = s.encode or s.marshal, s.decode or s.unmarshal
	if type(encode) ~= "function" or type(decode) ~= "function" then
		return E.fail("invalid_config", "serializer: expects { encode = function, decode = function }", { option = "serializer" })
	end
	if s.content_type ~= nil and type(s.content_type) ~= "string" then
		return E.fail("invalid_config", "serializer: content_type must be text", { option = "serializer" })
	end
	name = name or s.name or "custom"
	return {
		name = name, integers = false,
		content_type = s.content_type or "application/octet-stream",
		encode = guarded(encode, "encode", name, true),
		decode = guarded(decode, "decode", name, false),
		source = s,
	}
end

--- By name ("json" ...), or a user's table.
---@return zbz.Serializer?, zbz.Error?
function M.find(x)
	if type(x) == "table" then return M.define(x) end
	if type(x) ~= "string" then
		return E.fail("invalid_config", "serializer: expects a name or a table, got " .. type(x), { option = "serializer" })
	end
	local name = aliases[x] or x
	if registry[name] then return registry[name] end
	if name == "cjson" then return load_cjson() end
	return E.fail("invalid_config", "serializer: " .. O.unknown("serializer", x, M.names()), { option = "serializer" })
end

--- Makes a serializer known by name. A name of our own cannot be taken; one of yours may be replaced by the same functions only.
---@param name string
---@param s table
---@return boolean?, zbz.Error?
function M.register(name, s)
	if type(name) ~= "string" or name == "" then error("register_serializer: expects a name", 3) end
	if type(s) ~= "table" then error("register_serializer: expects a table of functions", 3) end
	local known = registry[aliases[name] or name]
	if known or name == "cjson" then
		if known and known.source and O.same(known.source, s) then return true end
		return E.fail("invalid_config", ("serializer '%s' is registered already"):format(name), { option = "serializer" })
	end
	local made, err = M.define(s, name)
	if not made then return nil, err end
	registry[name] = made
	return true
end

function M.known(name) return registry[aliases[name] or name] ~= nil end

function M.names()
	local names = { "cjson" }
	for name in pairs(registry) do
		if name ~= "cjson" then names[#names + 1] = name end
	end
	table.sort(names)
	return names
end

--- Text that is valid UTF-8 (RFC 3629: no surrogates, no overlong forms, up to U+10FFFF).
---@return boolean
function M.is_utf8(s)
	local i, n = 1, #s
	while i <= n do
		local a = s:byte(i)
		if a < 0x80 then
			i = s:find("[\128-\255]", i) or n + 1
		else
			local b, c, d = s:byte(i + 1, i + 3)
			local function tail(x, low, high) return x and x >= (low or 0x80) and x <= (high or 0xBF) end
			if a >= 0xC2 and a <= 0xDF and tail(b) then i = i + 2
			elseif a >= 0xE0 and a <= 0xEF and tail(b, a == 0xE0 and 0xA0, a == 0xED and 0x9F) and tail(c) then i = i + 3
			elseif a >= 0xF0 and a <= 0xF4 and tail(b, a == 0xF0 and 0x90, a == 0xF4 and 0x8F) and tail(c) and tail(d) then i = i + 4
			else return false end
		end
	end
	return true
end

--- The string serializer that refuses bytes which are no UTF-8 (table option strict_utf8).
M.strict_string = {
	name = "string", integers = true, content_type = "text/plain; charset=utf-8", decode = same,
	encode = function(v)
		local s, err = text_encode(v)
		if not s then return nil, err end
		if not M.is_utf8(s) then return E.fail("encode", "the text is not valid UTF-8") end
		return s
	end,
}

return M
