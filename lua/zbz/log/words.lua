--- Words of log.configure that stand for several options, development and console; and one of other loggers that has no use here.
local O = require("zbz.options")

local M = {}

--- The console beside the outputs there are, whatever form they have.
local function and_console(x)
	if type(x) == "string" then return x .. "+console" end
	if type(x) ~= "table" or x.type ~= nil or x.fn ~= nil or type(x.set) == "function" then return { x, "console" } end
	local list = O.copy(x)
	list[#list + 1] = "console"
	return list
end

local DEVELOPMENT = { level = "debug", format = "console", caller = true, traceback = "error" }

function M.spell_out(opts, level)
	for _, name in ipairs{ "development", "console" } do
		if opts[name] ~= nil and type(opts[name]) ~= "boolean" then
			error(("zbz: log.configure: %s: expects true or false, got %s"):format(name, type(opts[name])), level + 1)
		end
	end
	if opts.buffer_size ~= nil then
		error("zbz: log.configure: buffer_size: records wait in the outputs' rings, which have bytes: give outputs ring_size", level + 1)
	end
	local out = O.copy(opts)
	for k, v in pairs(opts.development and DEVELOPMENT or {}) do
		if out[k] == nil then out[k] = v end
	end
	local key = opts.outputs == nil and opts.output ~= nil and "output" or "outputs"
	if opts.console and opts[key] ~= nil then out[key] = and_console(opts[key]) end
	if opts.console == false and opts[key] == nil then out.outputs = {} end
	return out
end

return M
