-- Every ```lua block of the README is a program and runs; every file and make target it names exists; what is generated is up to date.
-- With the argument "write" it writes the generated parts instead.
local passed, failed = 0, 0
local function check(ok, text)
	if ok then passed = passed + 1 else failed = failed + 1; print("FAIL " .. text) end
end
local function read(path)
	local f <close> = assert(io.open(path))
	return f:read("a")
end

local function generated(cmd)
	local p = assert(io.popen(cmd))
	local out = p:read("a")
	assert(p:close() and #out > 0, cmd .. " failed")
	return (out:gsub("\n+$", ""))
end

local text = read("README.md")
if arg[1] == "write" then
	text = text:gsub("(<!%-%- generated: (.-) %-%->\n).-(\n<!%-%- end %-%->)", function(head, cmd, tail)
		return head .. generated(cmd) .. tail
	end)
	local f <close> = assert(io.open("README.md", "w"))
	f:write(text)
	os.exit(true)
end
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
for path in text:gmatch("%]%((%a[%w_/.-]+)%)") do
	local f = io.open(path)
	check(f ~= nil, "README links to " .. path .. ", which does not exist")
	if f then f:close() end
end
-- What is generated is what the tools say now; `make readme` writes it.
for cmd, there in text:gmatch("<!%-%- generated: (.-) %-%->\n(.-)\n<!%-%- end %-%->") do
	check(there == generated(cmd), "the README's part made by " .. cmd .. " is out of date: make readme")
end

print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0, true)
