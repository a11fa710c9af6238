--- The rules of schemas: what a value of the right type must also satisfy.
local O = require("zbz.options")

local M = {}
local rules = {}

local function size_of(v)
	if type(v) == "string" or type(v) == "table" then return #v end
	return tonumber(v) or 0
end
local function unit(v) return type(v) == "string" and " bytes" or type(v) == "table" and " entries" or "" end

local function number_arg(name, arg)
	if type(arg) ~= "number" or arg ~= arg then return nil, ("rule '%s' expects a number"):format(name) end
	return true
end

function rules.min(v, arg) return size_of(v) >= arg, ("must be at least %s%s"):format(tostring(arg), unit(v)) end
function rules.max(v, arg) return size_of(v) <= arg, ("must be at most %s%s"):format(tostring(arg), unit(v)) end
function rules.len(v, arg)
	return type(v) ~= "number" and #v == arg, ("must have exactly %s%s"):format(tostring(arg), unit(v))
end
function rules.required(v) return v ~= "", "must not be empty" end

function rules.oneof(v, list)
	local names = {}
	for _, allowed in ipairs(list) do
		if v == allowed then return true end
		names[#names + 1] = tostring(allowed)
	end
	return false, "must be one of " .. table.concat(names, " ")
end

function rules.pattern(v, arg) return type(v) == "string" and v:find(arg) ~= nil, "does not match the pattern " .. arg end

local function host_ok(host)
	if #host > 253 or host == "" or host:find("..", 1, true) or host:sub(1, 1) == "." or host:sub(-1) == "." then return false end
	for label in host:gmatch("[^.]+") do
		if #label > 63 or not label:match("^%w[%w%-]*$") or label:sub(-1) == "-" then return false end
	end
	return true
end

--- A dotted local part of RFC 5321 without quoting, and a host with at least one dot.
function rules.email(v)
	if type(v) ~= "string" or #v > 254 then return false, "is no e-mail address" end
	local name, host = v:match("^([%w%.!#%$%%&'%*%+/=%?%^_`{|}~%-]+)@([%w%.%-]+)$")
	local ok = name and #name <= 64 and not name:find("..", 1, true) and name:sub(1, 1) ~= "." and name:sub(-1) ~= "."
		and host:find(".", 1, true) and host_ok(host)
	return ok and true or false, "is no e-mail address"
end

function rules.url(v)
	if type(v) ~= "string" or v:find("[%c%s]") then return false, "is no URL" end
	local scheme, rest = v:match("^(%a[%w%+%.%-]*)://(.+)$")
	if not scheme then return false, "is no URL" end
	local authority = rest:match("^[^/%?#]*"):gsub("^.*@", "")
	local host, port = "ipv6", authority:match("^%[[%x:%.]+%](.*)$")
	if not port then host, port = authority:match("^([^:]*)(.*)$") end
	return host_ok(host) and (port == "" or port:match("^:%d+$") ~= nil), "is no URL"
end

function rules.uuid(v)
	return type(v) == "string" and v:match("^" .. ("%x"):rep(8) .. "%-" .. (("%x"):rep(4) .. "%-"):rep(3) .. ("%x"):rep(12) .. "$") ~= nil,
		"is no UUID"
end

--- Luhn's check digit (US patent 2950048, ISO/IEC 7812-1).
function rules.card(v)
	local digits = type(v) == "string" and v:gsub("[ %-]", "") or ""
	if not digits:match("^%d+$") or #digits < 12 or #digits > 19 then return false, "is no card number" end
	local sum, double = 0, false
	for i = #digits, 1, -1 do
		local d = digits:byte(i) - 48
		if double then d = d * 2 > 9 and d * 2 - 9 or d * 2 end
		sum, double = sum + d, not double
	end
	return sum % 10 == 0, "is no card number"
end

function rules.ssn(v)
	local area, group, serial
	if type(v) == "string" then area, group, serial = v:match("^(%d%d%d)%-?(%d%d)%-?(%d%d%d%d)$") end
	return area ~= nil and area ~= "000" and area ~= "666" and area < "900" and group ~= "00" and serial ~= "0000",
		"is no social security number"
end

function rules.phone(v)
	local digits = type(v) == "string" and v:match("^%+?[%d %-%.%(%)]+$") and v:gsub("%D", "") or ""
	return #digits >= 7 and #digits <= 15, "is no phone number"
end

local checks_argument = { min = number_arg, max = number_arg, len = number_arg,
	oneof = function(_, arg) if type(arg) ~= "table" then return nil, "rule 'oneof' expects a list" end return true end,
	pattern = function(_, arg)
		if type(arg) ~= "string" or not pcall(string.find, "", arg) then return nil, "rule 'pattern' expects a Lua pattern" end
		return true
	end }

--- A rule with its argument as { name, check = fn(v) -> nil or reason }.
function M.compile(name, arg, path, bad)
	local fn = type(name) == "string" and rules[name]
	if not fn then
		local known = {}
		for k in pairs(rules) do known[#known + 1] = k end
		bad(O.unknown("rule", name, known), path)
	end
	if checks_argument[name] then
		local ok, why = checks_argument[name](name, arg)
		if not ok then bad(why, path) end
	end
	return { name = name, check = function(v)
		if arg == false then return nil end
		local ok, why = fn(v, arg)
		if ok then return nil end
		return why or ("breaks the rule '" .. name .. "'")
	end }
end

function M.add(name, fn)
	if type(name) ~= "string" or not name:match("^[%a_][%w_]*$") then error("schema.rule: expects a name", 3) end
	if type(fn) ~= "function" then error("schema.rule: expects a function", 3) end
	if name == "optional" or name == "rule" or name == "array" then error("schema.rule: the name '" .. name .. "' is taken", 3) end
	rules[name] = fn
end

return M
