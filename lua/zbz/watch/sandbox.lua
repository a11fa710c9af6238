--- A configuration file written in Lua, as data: text only (no bytecode), nothing to call, an end to its work. It returns a value, or
--- sets the fields of its environment: `port = 8080`.
local E = require("zbz.error")

local M = {}

local MAX_STEPS, STEP = 10000000, 100 -- instructions, and how many between two looks
local ROOM_KB, ROOM_PER_BYTE = 8 * 1024, 40 -- memory, looked at between instructions: no bound to the last byte
local MAX_DEPTH = 100

local jit = rawget(_G, "jit")

--- What a chunk may give: data, nested, without cycles.
local function check(v, path, depth, above)
	local kind = type(v)
	if kind == "string" or kind == "number" or kind == "boolean" then return nil end
	if kind ~= "table" then return ("%s is a %s, not data"):format(path, kind) end
	if above[v] then return path .. " holds itself" end
	if depth > MAX_DEPTH then return path .. " is nested too deep" end
	above[v] = true
	for k, x in pairs(v) do
		if type(k) ~= "string" and type(k) ~= "number" then return ("%s has a key that is a %s"):format(path, type(k)) end
		local why = check(x, path .. "." .. tostring(k), depth + 1, above)
		if why then return why end
	end
	above[v] = nil
end

--- Runs fn under a bound. Methods of strings are out of reach meanwhile: they could run for ever inside one instruction. Nobody else
--- runs in that time: fn has nothing that yields, and no finalizer comes.
local run_bounded
function run_bounded(fn, text)
	local steps, most = 0, collectgarbage("count") + ROOM_KB + #text * ROOM_PER_BYTE / 1024
	local step = text:find("..", 1, true) and 1 or STEP -- strings that are joined grow fast
	local strings = getmetatable("")
	local index = strings.__index
	local hook, mask, count = debug.gethook()
	if jit then jit.off(fn, true) end -- compiled code calls no hook
	collectgarbage("stop")
	strings.__index = nil
	debug.sethook(function()
		steps = steps + step
		local why = steps > MAX_STEPS and "it takes too many steps" or collectgarbage("count") > most and "it takes too much memory"
		if why and debug.getinfo(2, "f").func ~= run_bounded then error(why, 0) end -- the chunk has ended: let us put things back
	end, "", step)
	local ok, value = pcall(fn)
	debug.sethook(hook, mask, count)
	strings.__index = index
	collectgarbage("restart")
	return ok, value
end

--- The value of the chunk, or nil, err.
---@param text string
---@param name string for messages
---@return any, zbz.Error?
function M.eval(text, name)
	if text:sub(1, 1) == "\27" then return E.fail("decode", "compiled Lua is refused; text is expected") end
	local env = {}
	local fn, why = load(text, "=" .. name, "t", env)
	if not fn then return E.fail("decode", E.line(why, 300)) end
	local ok, value = run_bounded(fn, text)
	if not ok then return E.fail("decode", ("%s: %s"):format(name, E.line(value, 300))) end
	if value == nil then value = env end
	local wrong = check(value, "the value", 1, {})
	if wrong then return E.fail("decode", ("%s: %s"):format(name, wrong)) end
	return value
end

return M
