-- What specs of the log share.
local assert = require("luassert")
local core = require("zbz.core")
local log = require("zbz").log

local M = {}

--- The one record in the memory output `m`: decoded, and its line.
function M.one()
	local lines = assert(log.drain("m"))
	assert.are.equal(1, #lines)
	return assert(core.json_decode(lines[1])), lines[1]
end

return M
