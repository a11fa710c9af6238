-- What the specs of zbz.core share: handles over the memory provider, and the two ways to be refused.
local assert = require("luassert")
local core = require("zbz.core")

local M = { exact = math.type ~= nil } -- Lua 5.4: 64-bit integers
local NONE = {}

function M.memory(opts, clock)
	local config = { provider = "memory" }
	for k, v in pairs(opts or NONE) do config[k] = v end
	return assert(core.open_store(config, clock))
end

--- opts: store, clock, prefix, ttl (ms)
function M.cache_of(opts)
	opts = opts or NONE
	return assert(core.new_cache(opts.store or M.memory(nil, opts.clock),
		{ key_prefix = opts.prefix or "app:", default_ttl = opts.ttl, clock = opts.clock }))
end

--- opts: as cache_of, or cache; table = options of the table itself
function M.table_of(codec, opts)
	opts = opts or NONE
	local t = { name = "t", codec = codec or "bytes" }
	for k, v in pairs(opts.table or NONE) do t[k] = v end
	return assert(core.new_table(opts.cache or M.cache_of(opts), t))
end

--- fn(...) raises a readable text that holds `part`.
function M.raises(part, fn, ...)
	local ok, err = pcall(fn, ...)
	assert.is_false(ok)
	assert.is_string(err)
	assert.truthy(err:find(part, 1, true), ("%q does not hold %q"):format(err, part))
	assert.truthy(err:find("zbz: ", 1, true), err)
end

--- The results are nil and an error of that code; returns the error.
function M.fails(code, v, err)
	assert.is_nil(v)
	assert.is_table(err)
	assert.equal(code, err.code)
	assert.is_string(err.message)
	assert.is_boolean(err.retryable)
	assert.equal(core.error_mt, getmetatable(err))
	return err
end

return M
