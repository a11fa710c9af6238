-- Every ```lua block of the README is a program and runs; every file and make target it names exists.
local passed, failed = 0, 0
local function check(ok, text)
	if ok then passed = passed + 1 else failed = failed + 1; print("FAIL " .. text) end
end
local function read(path)
	local f <close> = assert(io.open(path))
	return f:read("a")
end

local text = read("README.md")
local dir = io.popen("mktemp -d"):read("l")
local n = 0
for block in text:gmatch("\n```lua\n(.-)\n```") do
	n = n + 1
	local path = dir .. "/block" .. n .. ".lua"
	do
		local f <close> = assert(io.open(path, "w"))
		f:write(block)
	end
	for _, lua in ipairs { "lua5.4", 'env LUA_CPATH="$LUAJIT_CPATH" luajit' } do
		local p = assert(io.popen(("cd %s && timeout 60 %s %s 2>&1 </dev/null"):format(dir, lua, path)))
		local out = p:read("a")
		local ok = p:close()
		check(ok, ("README block %d under %s:\n%s\n%s"):format(n, lua, block, out))
	end
end
check(n >= 5, "README holds only " .. n .. " Lua blocks")
os.execute("rm -rf " .. dir)

local makefile = read("Makefile")
for target in text:gmatch("`make (%l[%w-]*)") do
	check(makefile:find("\n" .. target:gsub("%-", "%%-") .. ":") or makefile:find("[ \n]" .. target:gsub("%-", "%%-") .. "[ :\n]"),
		"README names `make " .. target .. "`, which the Makefile lacks")
end
for path in text:gmatch("%((%a[%w_/.-]+)%)") do
	local f = io.open(path)
	check(f ~= nil, "README links to " .. path .. ", which does not exist")
	if f then f:close() end
end
-- The provider table is what conformance found, not what somebody remembers.
local p = assert(io.popen("lua5.4 spec/tools/provider_table.lua"))
local fresh = p:read("a")
check(p:close() and #fresh > 0 and text:find(fresh, 1, true) ~= nil, "the README's provider table differs from conformance:\n" .. fresh)

print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0, true)
