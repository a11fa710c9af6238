-- What the specs of the codecs share: equality in kind too, and what it means to come back or to be refused.
local assert = require("luassert")
local core = require("zbz.core")
local array_mt = core.array_mt
local kind = math.type or type

local M = {}

function M.array(t) return setmetatable(t, array_mt) end

-- Equal in kind too: 1 is not 1.0 on 5.4, -0.0 is not 0.0, NaN is NaN, an empty array is no empty object.
function M.same(a, b)
	if type(a) ~= type(b) then return false end
	if type(a) == "number" then
		if a ~= a then return b ~= b end
		return a == b and kind(a) == kind(b) and 1 / a == 1 / b
	end
	if type(a) ~= "table" then return a == b end
	if next(a) == nil and (getmetatable(a) == array_mt) ~= (getmetatable(b) == array_mt) then return false end
	for k, v in pairs(a) do
		if not M.same(v, b[k]) then return false end
	end
	for k in pairs(b) do
		if a[k] == nil then return false end
	end
	return true
end

-- The matchers of the test frame are slow, and these run a million times.
function M.check(ok, ...)
	if not ok then error(table.concat({ ... }, " "), 3) end
end

function M.comes_back(codec, v)
	local packed, err = core[codec .. "_encode"](v)
	M.check(packed, err and err.message)
	local back, err2 = core[codec .. "_decode"](packed)
	M.check(back ~= nil, err2 and err2.message)
	M.check(M.same(v, back), codec, "changed the value; bytes:", (packed:sub(1, 1000):gsub("[^ -~]", ".")))
	return packed
end

function M.refused(codec, text, pattern)
	local v, err = core[codec .. "_decode"](text)
	M.check(v == nil and err, codec, "accepted", text)
	M.check(err.code == "decode", "code", err.code)
	M.check(err.message:find(pattern or "at byte %d+"), "told:", err.message)
end

function M.unencodable(codec, v, path, pattern)
	local text, err = core[codec .. "_encode"](v)
	assert.is_nil(text)
	assert.equal("encode", err.code)
	assert.equal(path, err.field or "")
	assert.matches(pattern, err.message)
end

return M
