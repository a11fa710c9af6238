--- Assertions of the test kit: they work under busted, in a plain script and in any other runner, by raising.
local E = require("zbz.error")
local O = require("zbz.options")

local M = {}

local function show(v)
	if type(v) == "string" then return ("%q"):format(#v > 60 and v:sub(1, 57) .. "..." or v) end
	if type(v) == "table" and not E.is(v) then
		local parts = {}
		for k, x in pairs(v) do parts[#parts + 1] = tostring(k) .. "=" .. (type(x) == "table" and "{...}" or show(x)) end
		table.sort(parts)
		return "{" .. table.concat(parts, ", ", 1, math.min(#parts, 8)) .. "}"
	end
	return tostring(v)
end

M.same = O.same

--- got equals wanted, tables by their content; on Lua 5.4 an integer is not a float.
function M.eq(got, wanted, what, level)
	local ok = M.same(got, wanted)
	if ok and math.type and type(got) == "number" then ok = math.type(got) == math.type(wanted) or got ~= math.floor(got) end
	if not ok then error(("%s: expected %s, got %s"):format(what or "value", show(wanted), show(got)), (level or 1) + 1) end
	return got
end

function M.truthy(v, what, err)
	if not v then error(("%s: expected something true, got %s%s"):format(what or "value", show(v), err and ", " .. tostring(err) or ""), 2) end
	return v
end

--- A number within [low, high].
function M.between(v, low, high, what)
	if type(v) ~= "number" or v < low or v > high then
		error(("%s: expected %s .. %s, got %s"):format(what or "value", tostring(low), tostring(high), show(v)), 2)
	end
	return v
end

--- The results of a call that must fail: nil and an error of that code.
function M.fails(code, v, err)
	if v ~= nil then error(("expected the failure %s, got %s"):format(code, show(v)), 2) end
	if not E.is(err) then error(("expected the failure %s, got the error %s"):format(code, show(err)), 2) end
	if err.code ~= code then error(("expected the failure %s, got %s"):format(code, tostring(err)), 2) end
	if tostring(err):find("[\r\n]") then error("the error's text has more than one line", 2) end
	return err
end

--- fn must raise, with this text in it.
function M.raises(text, fn, ...)
	local ok, err = pcall(fn, ...)
	if ok then error("expected an error with '" .. text .. "', nothing was raised", 2) end
	if not tostring(err):find(text, 1, true) then error(("expected an error with '%s', got '%s'"):format(text, tostring(err)), 2) end
	return err
end

--- A miss: nil and no error.
function M.miss(v, err)
	if v ~= nil then error("expected a miss, got " .. show(v), 2) end
	if err ~= nil then error("expected a miss, got " .. tostring(err), 2) end
end

return M
