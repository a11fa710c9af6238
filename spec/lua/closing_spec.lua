-- A Lua state that ends: what finalizers do with handles after zbz itself has been closed.
local assert = require("luassert")

local SCRIPT = [[
local function finalizer(fn)
	if not newproxy then return setmetatable({}, { __gc = fn }) end
	local p = newproxy(true)
	getmetatable(p).__gc = fn
	return p
end
local t, made, l1
local function try(...)
	local ok, err = pcall(...)
	io.write(tostring(ok), " ", tostring(err):match("zbz: .*") or tostring(err), "\n")
end
OLD = finalizer(function() -- older than the module, so it is the last to go
	try(function() return t:get("k") end)
	for _, handle in ipairs({ made, l1 }) do
		try(function() return handle:get("k") end)
		try(function() return handle:fetch("k", function() return 1 end) end)
	end
	try(function() return require("zbz").cache.new("memory") end)
end)
local zbz = require("zbz")
local cache = assert(zbz.cache.new("memory"))
t = cache:table("t")
assert(t:set("k", "v"))
NEW = finalizer(function() -- has no finalizer called any more in Lua 5.4
	made = cache:table("made while closing", { serializer = "string" })
	l1 = cache:table("with l1", { l1 = 10 })
	assert(made:set("k", "v") and made:get("k") == "v")
	assert(l1:set("k", "v") and l1:fetch("k", error) == "v" and l1:fetch("k", error) == "v")
end)
]]

describe("a state that closes", function()
	it("answers errors, whatever its finalizers still ask", function()
		local path = os.tmpname()
		local f = assert(io.open(path, "w"))
		f:write(SCRIPT)
		f:close()
		local p = assert(io.popen((rawget(_G, "jit") and "luajit " or "lua5.4 ") .. path .. " 2>&1; echo status $?"))
		local out = p:read("*a")
		p:close()
		os.remove(path)
		local n = 0
		for line in out:gmatch("[^\n]+") do
			if line == "status 0" then break end
			assert.truthy(line:find("^false zbz: .*clos"), out)
			n = n + 1
		end
		assert.are.equal(6, n, out)
	end)
end)
