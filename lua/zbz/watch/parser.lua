--- From bytes to a value: by name, by the key's extension, or a function of the program's.
local core = require("zbz.core")
local E = require("zbz.error")
local O = require("zbz.options")
local sandbox = require("zbz.watch.sandbox")

local M = {}

local BOM = "\239\187\191"

--- What some editors put first.
local function without_bom(bytes) return bytes:sub(1, 3) == BOM and bytes:sub(4) or bytes end

local function text(bytes)
	bytes = without_bom(bytes)
	local ok, err = core.json_encode(bytes) -- the codec knows what UTF-8 is
	if not ok then return E.fail("decode", "text expected: " .. E.line(err.message, 200)) end
	return bytes
end

local parsers = {
	json = function(bytes) return core.json_decode(without_bom(bytes)) end,
	lua = function(bytes, key) return sandbox.eval(without_bom(bytes), key) end,
	text = text,
	bytes = function(bytes) return bytes end,
}
local extensions = { txt = "text", md = "text", conf = "text", cfg = "text", ini = "text", env = "text", bin = "bytes" }
local later = { yaml = true, yml = true, toml = true }

local function known()
	local names = {}
	for name in pairs(parsers) do names[#names + 1] = name end
	return names
end

--- fn(bytes, key) -> value, or nil, why; for keys that end in ".name", and for parser = "name".
function M.register(name, fn, level)
	if type(name) ~= "string" or not name:match("^%.?[%w_-]+$") then
		error("zbz: register_parser: expects an extension such as \".toml\"", level + 1)
	end
	if type(fn) ~= "function" then error("zbz: register_parser: expects a function, got " .. type(fn), level + 1) end
	parsers[name:gsub("^%.", ""):lower()] = fn
end

local function by_name(name)
	local fn = parsers[name] or parsers[extensions[name] or ""]
	if fn then return fn end
	if not later[name] then return E.fail("invalid_config", O.unknown("parser", name, known()), { option = "parser" }) end
	return E.fail("unsupported", ("there is no parser for %s in this version; zbz.watch.register_parser(\".%s\", fn) adds one")
		:format(name, name), { option = "parser" })
end

--- The parser for a key: the given one, else by the extension; keys without an extension are text.
---@param given string|function|nil
---@param key string
---@return (fun(bytes: string, key: string): any, any)?, zbz.Error?
function M.find(given, key, level)
	if type(given) == "function" then return given end
	if type(given) == "string" then return by_name(given:gsub("^%.", ""):lower()) end
	if given ~= nil then error("zbz: sync: parser: expects a name or a function, got " .. type(given), level + 1) end
	local extension = key:match("[^/]%.([%w_-]+)$")
	if not extension then return parsers.text end
	return by_name(extension:lower())
end

--- The value, or nil, err (code decode unless the parser says otherwise).
function M.run(fn, bytes, key)
	local ok, value, why = pcall(fn, bytes, key)
	if ok and value ~= nil then return value end
	if not ok then why = value end
	local err = E.wrap(why == nil and "the parser returned no value" or why, "decode", { key = key })
	err.op = "sync"
	return nil, err
end

return M
