-- One load among processes: four of them want the same report at once, one makes it. Runs itself four times.
local zbz = require("zbz")

local name = arg[1] or ("example" .. os.tmpname():match("%w+$")) -- of the segment that the processes share
local cache = assert(zbz.cache.new{ provider = "shared", name = name, size = "1MB" })
local reports = assert(cache:table("reports", { ttl = "1m", lock = "host", deadline = "10s" }))

if arg[1] then -- one of the four
	local report, err, how = reports:fetch("july", function()
		local asked = os.clock()
		while os.clock() - asked < 0.3 do end -- a slow query
		return { title = "July", by = arg[2] }
	end)
	io.write(report and report.title or tostring(err), " ", how, "\n")
	return
end

local lua, i = "lua", -1
while arg[i] do lua, i = arg[i], i - 1 end
local children, seen = {}, {}
for n = 1, 4 do children[n] = assert(io.popen(("%s %s %s process%d"):format(lua, arg[0], name, n))) end
for _, child in ipairs(children) do
	local line = child:read("*a")
	local how = assert(line:match("^July (%w+)"), line)
	seen[how == "loaded" and how or "shared"] = (seen[how == "loaded" and how or "shared"] or 0) + 1
	child:close()
end
print(("loaded once: %s, shared with %d others"):format(tostring(seen.loaded == 1), seen.shared or 0))
print("a stored report is there for all: " .. reports:get("july").title)
cache:close()
os.execute("rm -f /dev/shm/zbz-" .. name .. ".*")
