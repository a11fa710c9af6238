-- One process of lock_spec.lua: fetches one key and writes down what came of it.
--   arg: dir, name, "{ options of the cache }", "{ options of the table }", "{ how the loader behaves }"
-- In dir: `loads` gets a line for each run of a loader; `waits.NAME` appears when this process begins to wait for another; the
-- loader reads the pipe `go` before it ends; `out.NAME` is the result.
local dir, name = arg[1], arg[2]
local function read(text) return assert((loadstring or load)("return " .. text))() end -- luacheck: ignore 113
local cache_opts, table_opts, how = read(arg[3]), read(arg[4]), read(arg[5])

local zbz = require("zbz")
local core = require("zbz.core")
local K, L = require("zbz.lock"), require("zbz.load")

local function put(file, text)
	local f = assert(io.open(dir .. "/.new." .. file, "w"))
	f:write(text)
	f:close()
	assert(os.rename(dir .. "/.new." .. file, dir .. "/" .. file))
end

local wait = L.wait
function L.wait(...)
	put("waits." .. name, "")
	return wait(...)
end
if how.lease_ms then K.LEASE_MS = how.lease_ms end

local function loader()
	local f = assert(io.open(dir .. "/loads", "a"))
	f:write(name, "\n")
	f:close()
	if not how.quick then assert(io.open(dir .. "/go")):read("*l") end
	put("ended." .. name, ("%.3f"):format(core.mono()))
	if how.throws then error("boom") end
	if how.fails then return nil, "down" end
	return how.value
end

local cache, why = zbz.cache.new(cache_opts)
local t
if cache then t, why = cache:table("t", table_opts) end
if not t then error(tostring(why)) end
local function say(v, err, by)
	return ("%s|%s|%s|%.3f|%d"):format(tostring(v), err and err.code or "nil", tostring(by), core.mono(), t:stats().unlocked)
end
local lines = {}
for i = 1, how.times or 1 do
	if how.keys then
		local map, err, errs = t:fetch_multi(how.keys, function(missing)
			local out, v = {}, loader()
			for _, k in ipairs(missing) do out[k] = v .. k end
			return out
		end)
		lines[i] = say(map and map[how.keys[1]], err or errs and select(2, next(errs)))
	else
		lines[i] = say(t:fetch("k", loader))
	end
end
put("out." .. name, table.concat(lines, "\n"))
