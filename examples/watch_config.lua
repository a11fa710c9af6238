-- Live configuration: a JSON file that may change at any time, checked, with the last good value kept; and a flag in a source of one's own.
local zbz = require("zbz")

local dir = os.tmpname()
os.remove(dir)
assert(os.execute("mkdir " .. dir))
local function save(text) -- as careful programs do it: a new file, then its name
	local f = assert(io.open(dir .. "/app.json.new", "w"))
	f:write(text)
	f:close()
	assert(os.rename(dir .. "/app.json.new", dir .. "/app.json"))
end
local function await(done)
	for _ = 1, 500 do
		if done() then return end
		zbz.poll(0.02)
	end
	error("nothing has changed")
end

zbz.on_error = function(err) print("refused: " .. err.message) end

save('{ "port": 8080, "features": { "dark": false } }')
local w = assert(zbz.watch.sync(zbz.watch.file(dir), "app.json", function(old, new, changed)
	if not old then return print("begin with port " .. new.port) end
	print("changed: " .. table.concat(changed, ", "))
end, { schema = { port = { "integer", min = 1, max = 65535 }, features = { ["*"] = "boolean" } } }))

save('{ "port": 8080, "features": { "dark": true, "beta": true } }')
await(function() return w:revision() == 2 end)
assert(w:value().features.beta == true)

save('{ "port": "http" }') -- a mistake: nothing happens, and the error stands until it is mended
await(function() return w:error() end)
assert(w:state() == "recovering" and w:value().port == 8080)

save('{ "port": 9090, "features": {} }')
await(function() return w:value().port == 9090 end)
assert(w:error() == nil)
w:stop()

-- Anything with get is a source; with subscribe it is not polled.
local flags = { value = "off", name = "flags" }
function flags:get() return self.value end
function flags:subscribe(_, changed)
	self.tell = changed
	return 1
end
local seen
local f = assert(zbz.watch.sync(flags, "night-mode", function(_, new) seen = new end))
flags.value = "on"
flags.tell()
await(function() return seen == "on" end)
print("night mode is " .. f:value())
f:stop()
os.execute("rm -r " .. dir)
