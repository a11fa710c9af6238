-- What LuaJIT's compiler does while a function runs; for specs under LuaJIT only.
local assert = require("luassert")
local jit = rawget(_G, "jit")
local util = require("jit.util")
local traceerr = require("jit.vmdef").traceerr

local M = {}

--- Not that something cannot be compiled: recording began at the wrong end of a loop, and begins again.
M.RETRIED = { ["leaving loop in root trace"] = true, ["inner loop in root trace"] = true }

--- How many traces end how, and every abort with its place, but for those in `but` and in busted itself.
function M.of(fn, but)
	local links, aborts = {}, {}
	local function note(what, trace, func, pc, why, detail)
		if what == "stop" then
			local link = util.traceinfo(trace).linktype
			links[link] = (links[link] or 0) + 1
		elseif what == "abort" then
			local at, text = util.funcinfo(func, pc), traceerr[why] or tostring(why)
			if not but[text] and not (at.source or ""):find("/busted/", 1, true) then
				aborts[#aborts + 1] = ("%s: %s (%s)"):format(at.loc or "?", text, tostring(detail))
			end
		end
	end
	jit.attach(note, "trace")
	local ok, err = pcall(fn)
	jit.attach(note)
	assert(ok, err)
	return links, aborts
end

--- The same with nothing compiled before.
function M.anew(fn, but)
	jit.flush()
	return M.of(fn, but)
end

--- Compiled anew, fn becomes a loop, without an abort or a way through the C API.
function M.compile(fn, but)
	local links, aborts = M.anew(fn, but)
	assert.are.same({}, aborts)
	assert.is_nil(links.stitch)
	assert.is_true((links.loop or 0) >= 1)
end

return M
