-- Prints the README's provider table from what the conformance suite found (build/conformance/*.lua).
-- Usage: lua5.4 spec/tools/provider_table.lua
local dir = (os.getenv("B") or "build") .. "/conformance"

local ROWS = { -- result, title
	{ "memory", "`memory`" }, { "ristretto", "`ristretto`" }, { "shared", "`shared`" },
	{ "redis", "`redis`" }, { "memcached", "`memcached`" },
	{ "filesystem", "`filesystem`" }, { "multitier", "`multitier` over Redis" },
	{ "lua", "written in Lua, with all methods" }, { "lua-timeless", "written in Lua, with the least" },
}
local OPERATIONS = { "ttl", "expire", "add", "present", "version", "incr", "keys", "clear", "batch", "native" }

local function read(name)
	local chunk = loadfile(dir .. "/" .. name .. ".lua", "t", {})
	return chunk and chunk()
end

local function size(n)
	if not n or n >= 2 ^ 62 then return "memory" end
	for _, unit in ipairs({ { 2 ^ 30, "GB" }, { 2 ^ 20, "MB" }, { 2 ^ 10, "KB" } }) do
		if n >= unit[1] * 0.999 then return (("%.1f"):format(n / unit[1]):gsub("%.0$", "")) .. " " .. unit[2] end
	end
	return ("%d B"):format(n)
end

local function how(caps)
	local emulated, native, by_us, without = {}, {}, {}, {}
	for _, op in ipairs(caps.emulated or {}) do emulated[op] = true end
	for _, op in ipairs(OPERATIONS) do
		local list = not caps[op] and without or emulated[op] and by_us or native
		list[#list + 1] = op
	end
	local function text(list) return #list > 0 and table.concat(list, " ") or "-" end
	return text(native), text(by_us), text(without)
end

--- Cases passed of those that apply, bare and behind the fault layer.
local function cases(bare, layered)
	local function one(r) return ("%d/%d"):format(r.passed, r.passed + r.failed) end
	return layered and one(bare) .. ", behind `fault` " .. one(layered) or one(bare)
end

print("| provider | native | built from several steps | not there | TTL to | largest key, value | shared | conformance |")
print("|---|---|---|---|---|---|---|---|")
local missing = {}
for _, row in ipairs(ROWS) do
	local bare, layered = read(row[1]), read(row[1] .. "-behind-fault")
	if not bare or not bare.capabilities then
		missing[#missing + 1] = row[1]
	else
		local caps = bare.capabilities
		local native, by_us, without = how(caps)
		local ms = caps.ttl_resolution_ms or 1
		print(("| %s | %s | %s | %s | %s | %s, %s | %s | %s |"):format(row[2], native, by_us, without,
			ms >= 1000 and ("%g s"):format(ms / 1000) or ("%g ms"):format(ms), size(caps.max_key), size(caps.max_value),
			caps.shared and "yes" or "no", cases(bare, layered)))
	end
end
if #missing > 0 then
	io.stderr:write("no conformance results for: ", table.concat(missing, " "), "; run the conformance suites first\n")
	os.exit(1)
end
