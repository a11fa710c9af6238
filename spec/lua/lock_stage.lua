-- A stage for lock_*_spec.lua: a folder, some processes (lock_child.lua), and a cache of this process on the same entries.
local zbz = require("zbz")
local proc = require("spec.services.proc")

local B = os.getenv("B") or "build"
local ROOT = proc.output("pwd")
local lib = B:sub(1, 1) == "/" and B or ROOT .. "/" .. B
local LUAS = {
	{ "env", "LUA_CPATH=" .. lib .. "/lua54/?.so;;", "lua5.4" },
	{ "env", "LUA_CPATH=" .. lib .. "/luajit/?.so;;", "luajit" },
}
if os.getenv("ASAN_PRELOAD") or not select(2, proc.output("command -v luajit")) then LUAS[2] = LUAS[1] end

-- Lua text of a flat table.
local function text(t)
	local words = {}
	for k, v in pairs(t) do
		if type(v) == "table" then
			local list = {}
			for i, w in ipairs(v) do list[i] = ("%q"):format(w) end
			v = "{" .. table.concat(list, ",") .. "}"
		else
			v = type(v) == "string" and ("%q"):format(v) or tostring(v)
		end
		words[#words + 1] = ("[%q]=%s"):format(k, v)
	end
	return "{" .. table.concat(words, ",") .. "}"
end

local slurp = proc.read

local Stage = {}
Stage.__index = Stage

local stages = 0
local function stage(opts, lock, table_opts)
	local s = setmetatable({ dir = proc.folder(), opts = opts, table_opts = { lock = lock, ttl = 60 }, pids = {}, n = 0 }, Stage)
	for k, v in pairs(table_opts or {}) do s.table_opts[k] = v end
	assert(select(2, proc.output("mkfifo " .. s.dir .. "/go")))
	stages = stages + 1 -- a lock may outlive its case
	s.opts.key_prefix = ("locks%d:"):format(stages)
	s.cache = assert(zbz.cache.new(opts))
	s.t = assert(s.cache:table("t", s.table_opts))
	return s
end

function Stage:start(name, how, table_opts)
	local argv, own = {}, {}
	for k, v in pairs(self.table_opts) do own[k] = v end
	for k, v in pairs(table_opts or {}) do own[k] = v end
	self.n = self.n + 1
	for _, w in ipairs(LUAS[self.n % 2 + 1]) do argv[#argv + 1] = w end
	for _, w in ipairs({ "spec/lua/lock_child.lua", self.dir, name, text(self.opts), text(own), text(how or {}) }) do argv[#argv + 1] = w end
	self.pids[name] = proc.spawn(argv, self.dir .. "/log." .. name)
end

function Stage:await(test, what)
	if proc.wait_until("cd " .. self.dir .. " && " .. test, 20) then return end
	error(what .. " does not happen:\n" .. proc.output("cd " .. self.dir .. "; ls; tail -n 8 log.* out.* loads 2>/dev/null"), 3)
end
function Stage:await_load(n) self:await(("test $(cat loads 2>/dev/null | wc -l) -ge %d"):format(n or 1), "a load") end
function Stage:await_waits(n) self:await(("test $(ls | grep -c ^waits.) -ge %d"):format(n or 1), "waiting") end
function Stage:await_out(name) self:await("test -f out." .. name, "the end of " .. name) end
--- Lets the loaders that wait go on, and those that come.
function Stage:go() self.pids.go = proc.spawn({ "sh", "-c", "while :; do echo > " .. self.dir .. "/go; done" }) end

--- value, error code, how, time of the end, loads without a lock; of the last fetch.
function Stage:out(name, line)
	local n, found = 0, nil
	for l in (slurp(self.dir .. "/out." .. name) or ""):gmatch("[^\n]+") do
		n = n + 1
		if not line or n == line then found = l end
	end
	local v, code, how, at, unlocked = assert(found, "no result of " .. name):match("^(.-)|(.-)|(.-)|(.-)|(.-)$")
	return v, code, how, tonumber(at), tonumber(unlocked)
end
function Stage:loads()
	local list = {}
	for l in (slurp(self.dir .. "/loads") or ""):gmatch("[^\n]+") do list[#list + 1] = l end
	return list
end
function Stage:ended(name) return tonumber(slurp(self.dir .. "/ended." .. name)) end

function Stage:close()
	for _, pid in pairs(self.pids) do proc.signal(pid, "KILL") end
	self.cache:clear()
	self.cache:close()
	proc.remove(self.dir)
end

return stage
