--- The options of a table: read once, checked, with the cache's defaults filled in.
local E = require("zbz.error")
local O = require("zbz.options")
local lock = require("zbz.lock")
local schema = require("zbz.schema")
local serializer = require("zbz.serializer")

local M = {}

local KNOWN = { ttl = true, default_ttl = true, serializer = true, serialization = true, schema = true, deadline = true, stale_ttl = true,
	neg_ttl = true, refresh_at = true, jitter = true, lock = true, strict_utf8 = true, l1 = true }
M.KNOWN = KNOWN

--- The serializer asked for, or the one registered under the schema's name, or the cache's.
local function pick_serializer(opts, compiled, base)
	local asked = opts.serializer
	if asked == nil then asked = opts.serialization end
	if asked == nil and compiled and compiled.name and serializer.known(compiled.name) then asked = compiled.name end
	local s, err
	if asked == nil then
		s = base.serializer
	else
		s, err = serializer.find(asked)
	end
	if not s then return nil, err end
	if opts.strict_utf8 then
		if s.name ~= "string" then
			return E.fail("invalid_config", "strict_utf8: only for the serializer 'string', this table has '" .. s.name .. "'",
				{ option = "strict_utf8" })
		end
		s = serializer.strict_string
	end
	return s
end

local MOST_PLACES = 10000000

--- Entries that each Lua state keeps decoded; nil for none.
local function places(n)
	if n == nil or n == 0 then return nil end
	if type(n) == "number" and n > 0 and n <= MOST_PLACES and n == math.floor(n) then return math.floor(n) end
	return E.fail("invalid_config", ("l1: expects a number of entries from 0 to %d, got %s"):format(MOST_PLACES,
		type(n) == "string" and ("%q"):format(n) or tostring(n)),
		{ option = "l1" })
end

local DURATIONS = { "deadline", "stale_ttl", "neg_ttl" }

--- The table's options over `base` (the cache's, in the same form). Unknown and negative ones raise at `level`.
---@return table?, zbz.Error?
function M.read(opts, base, what, level)
	O.check(opts, KNOWN, what, level + 1)
	opts = opts or {}
	local out, prefix = { given = opts }, ("zbz: %s: "):format(what)
	local ttl, err = O.duration(opts, opts.ttl ~= nil and "ttl" or "default_ttl", level + 1, prefix)
	if err then return nil, err end
	out.ttl_ms = ttl or base.ttl_ms
	for _, name in ipairs(DURATIONS) do
		local ms, wrong = O.duration(opts, name, level + 1, prefix)
		if wrong then return nil, wrong end
		out[name .. "_ms"] = ms or base[name .. "_ms"]
	end
	for _, name in ipairs({ "refresh_at", "jitter" }) do
		local v, wrong = O.fraction(opts, name, 0, 1)
		if wrong then return nil, wrong end
		out[name] = v or base[name]
	end
	out.lock = opts.lock or base.lock
	local wrong = lock.check(out.lock)
	if wrong then return nil, wrong end
	out.l1, err = places(opts.l1)
	if err then return nil, err end
	if opts.schema ~= nil then
		local ok, compiled = pcall(schema.compile, opts.schema)
		if not ok then error(compiled, level + 1) end
		out.schema = compiled
	end
	out.serializer, err = pick_serializer(opts, out.schema, base)
	if not out.serializer then return nil, err end
	return out
end

--- The first option given now that differs from what an open table has; nil when all agree.
function M.conflict(opts, have, now)
	for name in pairs(opts or {}) do
		local same
		if name == "ttl" or name == "default_ttl" then
			same = have.ttl_ms == now.ttl_ms
		elseif name == "serializer" or name == "serialization" or name == "strict_utf8" then
			same = have.serializer == now.serializer or O.same(have.serializer.source or have, now.serializer.source or now)
		elseif name == "schema" then
			same = have.schema ~= nil and (have.schema.node == now.schema.node or O.same(have.schema.source, now.schema.source))
		elseif have[name .. "_ms"] ~= nil or now[name .. "_ms"] ~= nil then
			same = have[name .. "_ms"] == now[name .. "_ms"]
		else
			same = have[name] == now[name]
		end
		if not same then return name end
	end
	return nil
end

return M
