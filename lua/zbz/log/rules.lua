--- Routes, predicates and redaction: from what a program writes to the flat lists that C takes.
local core = require("zbz.core")
local E = require("zbz.error")
local O = require("zbz.options")

local M = {}

--- "warn" of "warning" in any case; nil, err naming the option.
---@return string?, zbz.Error?
function M.level(v, option)
	if type(v) ~= "string" then
		return E.fail("invalid_config", ("%s: expects the name of a level, got %s"):format(option, type(v)), { option = option })
	end
	local _, name = core.log_level(v)
	if type(name) ~= "string" then
		name.message, name.option = name.message:gsub("^level", option, 1), option
		return nil, name
	end
	return name
end

function M.format(v, option)
	if type(v) ~= "string" then
		return E.fail("invalid_config", ("%s: expects the name of a format, got %s"):format(option, type(v)), { option = option })
	end
	return core.log_format(v)
end

-- ---- predicates ------------------------------------------------------------------------------------------------------------

local OPERATORS = { [">="] = "ge", ["<="] = "le", ["!="] = "ne", [">"] = "gt", ["<"] = "lt", ["=="] = "eq" }
local RANGE = { min = true, max = true, exists = true }

local function text_condition(field, text)
	for _, sign in ipairs{ ">=", "<=", "!=", "==", ">", "<" } do
		if text:sub(1, #sign) == sign then
			local rest = text:sub(#sign + 1):match("^%s*(.-)%s*$")
			local n = tonumber(rest)
			if n == nil and (sign == "!=" or sign == "==") then return { field = field, op = OPERATORS[sign], value = rest } end
			if n == nil then return nil, ("'%s' is no number"):format(rest) end
			return { field = field, op = OPERATORS[sign], value = n }
		end
	end
	return { field = field, op = text:find("[%*%?%[]") and "glob" or "eq", value = text }
end

local function condition(field, v)
	local t = type(v)
	if t == "string" then return text_condition(field, v) end
	if v ~= v then return nil, "nothing equals NaN" end
	if t == "number" or t == "boolean" then return { field = field, op = "eq", value = v } end
	return nil, "expects text, a number, true or false, a list of them, or {min=, max=, exists=}, got " .. t
end

local function add_field(list, field, v)
	if type(v) ~= "table" then
		local c, why = condition(field, v)
		if not c then return why end
		list[#list + 1] = c
	elseif next(v) == nil then
		return "is an empty table: a list of values, or {min=, max=, exists=}"
	elseif v[1] ~= nil then
		local hole = O.overlooked(v)
		if hole then return hole end
		for i, one in ipairs(v) do
			local c, why = condition(field, one)
			if not c then return why end
			c.or_next = i < #v
			list[#list + 1] = c
		end
	else
		for name in pairs(v) do
			if not RANGE[name] then return O.unknown("predicate", name, { "min", "max", "exists" }) end
		end
		for name, op in pairs{ min = "ge", max = "le" } do
			if v[name] ~= nil then
				if type(v[name]) ~= "number" or v[name] ~= v[name] then return name .. " must be a number" end
				list[#list + 1] = { field = field, op = op, value = v[name] }
			end
		end
		if v.exists ~= nil and type(v.exists) ~= "boolean" then return "exists must be true or false" end
		if v.exists ~= nil then list[#list + 1] = { field = field, op = "exists", value = v.exists } end
	end
end

--- { status = ">=500", tenant = "acme*", vip = true, region = { "eu", "us" }, latency = { min = 1 } }, all of them;
--- or a function(fields, level, logger).
---@return table?, zbz.Error?
function M.where(v, option)
	local list = {}
	if v == nil then return list end
	if type(v) == "function" then return { { op = "given", fn = v, name = option } } end
	if type(v) ~= "table" then
		return E.fail("invalid_config", ("%s: expects a table of fields or a function, got %s"):format(option, type(v)), { option = option })
	end
	local names = {}
	for name in pairs(v) do
		if type(name) ~= "string" then
			return E.fail("invalid_config", option .. ": names of fields are strings", { option = option })
		end
		names[#names + 1] = name
	end
	table.sort(names)
	for _, name in ipairs(names) do
		local why = add_field(list, name, v[name])
		if why then return E.fail("invalid_config", ("%s: %s: %s"):format(option, name, why), { option = option }) end
	end
	return list
end

-- ---- routes ----------------------------------------------------------------------------------------------------------------

local ORDER = { "trace", "debug", "info", "warn", "error", "fatal" }
local RANK = {}
for i, name in ipairs(ORDER) do RANK[name] = i end

--- ">=error" and "error" from error on, ">warn", "<=info", "<info", "=debug".
local function level_range(text, option)
	if type(text) ~= "string" then
		return E.fail("invalid_config", ("%s: expects text such as \">=error\", got %s"):format(option, type(text)), { option = option })
	end
	local sign, word = text:match("^%s*([<>=]*)%s*(%a+)%s*$")
	local name, err = M.level(word or text, option)
	if not name then return nil, err end
	local rank = RANK[name]
	if not rank then return E.fail("invalid_config", option .. ": 'off' is no level of a record", { option = option }) end
	local low, high = 1, #ORDER
	if sign == "" or sign == ">=" then low = rank
	elseif sign == ">" then low = rank + 1
	elseif sign == "<=" then high = rank
	elseif sign == "<" then high = rank - 1
	elseif sign == "=" or sign == "==" then low, high = rank, rank
	else return E.fail("invalid_config", ("%s: '%s' is no comparison"):format(option, text), { option = option }) end
	if low > high or not ORDER[low] then
		return E.fail("invalid_config", ("%s: no level is '%s'"):format(option, text), { option = option })
	end
	return { lowest = low > 1 and ORDER[low] or nil, highest = high < #ORDER and ORDER[high] or nil }
end

local ROUTE = { logger = true, level = true, where = true, to = true }

--- One route in flat form, its targets still as written.
function M.route(r, i, level)
	local option = "routes[" .. tostring(i) .. "]"
	if type(r) ~= "table" then
		return E.fail("invalid_config", ("%s: expects {logger=, level=, where=, to=}, got %s"):format(option, type(r)), { option = "routes" })
	end
	O.check(r, ROUTE, "a route", level + 1)
	if r.to == nil or type(r.to) == "table" and next(r.to) == nil then
		return E.fail("invalid_config", option .. ": to: names no output", { option = "routes" })
	end
	if r.logger ~= nil and type(r.logger) ~= "string" then
		return E.fail("invalid_config", option .. ": logger: expects a name or a glob", { option = "routes" })
	end
	local flat, err = { logger = r.logger, to = r.to } -- luacheck: ignore 311
	if r.level ~= nil then
		local range
		range, err = level_range(r.level, option .. ".level")
		if not range then return nil, err end
		flat.lowest, flat.highest = range.lowest, range.highest
	end
	flat.where, err = M.where(r.where, option .. ".where")
	if not flat.where then return nil, err end
	return flat
end

--- Both forms as a list: { {logger=, to=}, ... } and { name = output, ... }.
---@return table?, zbz.Error?
function M.route_list(routes)
	local list, names = {}, {}
	local why = O.overlooked(routes, true)
	if why then return E.fail("invalid_config", "routes: " .. why, { option = "routes" }) end
	for _, r in ipairs(routes) do list[#list + 1] = r end
	for name in pairs(routes) do
		if type(name) == "string" then names[#names + 1] = name end
	end
	table.sort(names)
	for _, name in ipairs(names) do list[#list + 1] = { logger = name, to = routes[name] } end
	return list
end

-- ---- redaction --------------------------------------------------------------------------------------------------------------

local REDACT = { keys = true, scan = true, patterns = true, pattern = true, mask_ip = true, secret = true, pii = true, key = true,
	hash = true, partial = true, encrypt = true, encryption = true }
local SCAN = { ssn = 1, card = 2, email = 4 }
local HOW = { mask = "mask", redact = "mask", hash = "hash", partial = "partial", encrypt = "encrypt" }
--- What programs log by accident most often; part of production().
M.SENSITIVE = { "password", "passwd", "*_password", "secret", "*_secret", "token", "*_token", "authorization", "cookie", "set-cookie",
	"api_key", "apikey", "x-api-key", "private_key", "credit_card" }

local function fail(option, text)
	return E.fail("invalid_config", ("redact: %s: %s"):format(option, text), { option = option, op = "redact" })
end

--- One thing, or a list of them; and why that is none.
local function list_of(x)
	if type(x) ~= "table" then x = { x } end
	return x, O.overlooked(x)
end

local function add_keys(rules, keys, how)
	if keys == nil then return end
	if type(keys) ~= "table" and type(keys) ~= "string" then return "expects names, got " .. type(keys) end
	local list, why = list_of(keys)
	if why then return why end
	for _, key in ipairs(list) do
		if type(key) ~= "string" then return "names are strings" end
		rules[#rules + 1] = { key = key, how = how }
	end
end

local function add_scan(out, scan)
	if scan == nil then return end
	local list, why = list_of(scan)
	if why then return why end
	for _, name in ipairs(list) do
		if not SCAN[name] then return O.unknown("pattern", name, { "ssn", "card", "email" }) end
		out.scan = out.scan + (math.floor(out.scan / SCAN[name]) % 2 == 0 and SCAN[name] or 0)
	end
end

--- The position behind the set that begins at i; nil: it has no end.
local function behind_set(p, i)
	i = i + (p:sub(i + 1, i + 1) == "^" and 2 or 1)
	local first = i
	while i <= #p do
		local c = p:sub(i, i)
		if c == "]" and i > first then return i + 1 end
		i = i + (c == "%" and 2 or 1)
	end
end

--- Lua looks at a pattern only as far as a text leads it: one that raises at some other text would cost that record.
local function is_pattern(p)
	local i, open, closed = 1, 0, 0
	while i and i <= #p do
		local c, of = p:sub(i, i), p:sub(i + 1, i + 1)
		if c == "%" then
			local reference = tonumber(of)
			if of == "" or reference and (reference == 0 or reference > closed) then return false end
			if of == "b" and i + 3 > #p or of == "f" and p:sub(i + 2, i + 2) ~= "[" then return false end
			i = i + (of == "b" and 4 or 2)
		elseif c == "[" then
			i = behind_set(p, i)
		else
			if c == "(" then open = open + 1 elseif c == ")" then closed = closed + 1 end
			if closed > open or open > 32 then return false end
			i = i + 1
		end
	end
	return i ~= nil and open == closed
end

local function add_patterns(patterns, given)
	if given == nil then return end
	local list, why = list_of(given)
	if why then return why end
	for _, p in ipairs(list) do
		if type(p) ~= "string" or not is_pattern(p) then return "no Lua pattern: " .. tostring(p) end
		patterns[#patterns + 1] = p
	end
end

local function mode(v, option)
	if v == nil then return nil end
	if not HOW[v] then return fail(option, "expects mask, hash, partial or encrypt, got " .. tostring(v)) end
	return HOW[v]
end

--- {id=, key=}; C looks closer at both.
local function encryption(v, out, level)
	if v == nil then return true end
	if type(v) ~= "table" then return fail("encryption", "expects {id=, key=}, got " .. type(v)) end
	O.check(v, { id = true, key = true }, "encryption", level + 1)
	if type(v.id) ~= "string" or type(v.key) ~= "string" then return fail("encryption", "expects the text of a key and its id") end
	out.cipher_id, out.cipher_key = v.id, v.key
	return true
end

--- Flat: {redact={{key=,how=}}, scan=, secret=, pii=, key=, cipher_id=, cipher_key=, patterns={lua patterns}}
---@return table?, zbz.Error?
function M.redaction(opts, level)
	if type(opts) ~= "table" then
		return E.fail("invalid_config", "redact: expects a table or false, got " .. type(opts), { option = "redact" })
	end
	local named, list = {}, {}
	for k, v in pairs(opts) do
		if type(k) ~= "number" then named[k] = v else list[k] = v end
	end
	O.check(named, REDACT, "redact", level + 1)
	local out = { redact = {}, scan = 0, patterns = {} }
	local why
	for _, part in ipairs{ { "hash", opts.hash, "hash" }, { "partial", opts.partial, "partial" }, { "encrypt", opts.encrypt, "encrypt" },
		{ "keys", list, "mask", "the list: " }, { "keys", opts.keys, "mask" } } do
		why = add_keys(out.redact, part[2], part[3])
		if why then return fail(part[1], (part[4] or "") .. why) end
	end
	if opts.mask_ip then add_keys(out.redact, { "ip", "client_ip", "remote_addr" }, "ip") end
	why = add_scan(out, opts.scan == nil and opts.patterns or opts.scan)
	if why then return fail("scan", why) end
	why = add_patterns(out.patterns, opts.pattern)
	if why then return fail("pattern", why) end
	local err
	out.secret, err = mode(opts.secret, "secret")
	if err then return nil, err end
	out.pii, err = mode(opts.pii, "pii")
	if err then return nil, err end
	if opts.key ~= nil and (type(opts.key) ~= "string" or #opts.key < 16) then
		return fail("key", "expects text of at least 16 bytes")
	end
	out.key = opts.key
	local ok
	ok, err = encryption(opts.encryption, out, level + 1)
	if not ok then return nil, err end
	return out
end

return M
