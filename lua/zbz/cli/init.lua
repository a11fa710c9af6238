--- The command `zbz`: one file of lua/zbz/cli for each of its words.
local M = {}

local WORDS = { log = "zbz.cli.log" }

M.OK, M.FAILED, M.MISUSED = 0, 1, 2

function M.usage(text)
	io.stderr:write(text, "\n")
	return M.MISUSED
end

--- Runs the command; its exit status.
---@param args string[]
---@return integer
function M.main(args)
	local word = WORDS[args[1] or ""]
	if not word then return M.usage("usage: zbz log recover OUTPUT [OPTION=VALUE ...]") end
	return require(word)({ (table.unpack or unpack)(args, 2) }) -- luacheck: ignore 113
end

return M
