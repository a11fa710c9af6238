-- What the conformance suite runs over, and where its results go: build/conformance/NAME.lua, one file a target.
local testkit = require("zbz.testkit")

local M = {}

local function text_of(v)
	if type(v) == "string" then return ("%q"):format(v) end
	if type(v) ~= "table" then return tostring(v) end
	local parts, keys = {}, {}
	for k in pairs(v) do keys[#keys + 1] = k end
	table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
	for _, k in ipairs(keys) do parts[#parts + 1] = ("[%s]=%s"):format(text_of(k), text_of(v[k])) end
	return "{" .. table.concat(parts, ",") .. "}"
end

local function record(result)
	local dir = (os.getenv("B") or "build") .. "/conformance"
	os.execute("mkdir -p " .. dir)
	local f = assert(io.open(dir .. "/" .. result.name:gsub("[^%w]+", "-") .. ".lua", "w"))
	f:write("return ", text_of(result), "\n")
	f:close()
end

--- Runs the suite. make(): options for zbz.cache.provider; virtual: on a clock that is moved by hand.
function M.bare(name, make, virtual)
	testkit.cache(make, { name = name, record = record, clock = virtual and testkit.clock() or nil })
end

--- The same, bare and behind the fault layer.
function M.run(name, make, virtual)
	M.bare(name, make, virtual)
	testkit.cache(function(clock)
		local spec, stop = make(clock) -- nil and the reason: skipped
		return spec and testkit.faulty(spec), stop
	end, { name = name .. " behind fault", record = record, clock = virtual and testkit.clock() or nil })
end

M.record = record
return M
