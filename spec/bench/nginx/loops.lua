-- What runs inside the workers (init_worker): each contestant over the same keys, all workers at once, in rounds; the medians go into a
-- file. See workers.lua.
local cjson = require("cjson.safe")
local ffi = require("ffi")
local lrucache = require("resty.lrucache")
local bench = require("spec.bench.bench")
local zbz = require("zbz")

local ngx = rawget(_G, "ngx")
local M = {}

local KEYS, OPS, ROUNDS = 100000, 2 ^ 18, 7
local SMALL = { id = 7, name = "Alice", roles = { "admin", "staff" }, limits = { day = 100, hour = 10 }, active = true }

ffi.cdef("typedef struct zbz_bench_time { long s, ns; } zbz_bench_time; int clock_gettime(int, zbz_bench_time *);")
local time = ffi.new("zbz_bench_time")
local function now()
	ffi.C.clock_gettime(1, time) -- CLOCK_MONOTONIC
	return tonumber(time.s) + tonumber(time.ns) / 1e9
end

local dict, board, workers
local shared, shared_json, lru, lru_ttl

function M.init()
	local function segment(zone)
		local options = { zone = zone, size = "48MB", entry_size = "128B" }
		return assert(zbz.cache.new{ provider = assert(zbz.cache.provider("shared", options)) })
	end
	local cache, behind_l1 = segment("dictionary"), segment("behind_l1") -- the first holds what the dictionary holds, and no more
	shared = {
		get = assert(cache:table("plain", { serializer = "bytes", ttl = 0 })),
		l1 = assert(behind_l1:table("l1", { serializer = "bytes", ttl = 0, l1 = KEYS * 2 })),
		l1_ttl = assert(behind_l1:table("l1_ttl", { serializer = "bytes", ttl = "1h", l1 = KEYS * 2 })),
	}
	shared_json = assert(cache:table("json", { serializer = "json", ttl = 0, l1 = KEYS * 2 }))
end

-- Everybody is here, at this point of this name.
local function meet(name)
	board:incr(name, 1, 0)
	while board:get(name) < workers do end
end

local function fill(keys)
	local v = ("v"):rep(92)
	for i, k in ipairs(keys) do
		local value = ("%08d"):format(i) .. v
		assert(dict:set(k, value))
		assert(shared.get:set(k, value))
		assert(shared.l1:set(k, value))
		assert(shared.l1_ttl:set(k, value))
		if i <= 10000 then
			assert(dict:set("json:" .. k, cjson.encode(SMALL)))
			assert(shared_json:set(k, SMALL))
		end
	end
end

local function loader() error("a miss") end
local result = {} -- luacheck: ignore 241 (what nobody keeps LuaJIT would not make)

--- A loop of its own for every contestant and turn: what the compiler has learnt of one says nothing of another.
local function loop(expression, n, ...)
	local text = ("local result, n, a, b, c = ... return function() for i = 1, n do result[1] = %s end end"):format(expression)
	return { loadstring(text)(result, n, ...), n } -- luacheck: ignore 113
end

local function contests(kind, sequence, few)
	local prefixed = {}
	for i, k in ipairs(few) do prefixed[i] = "json:" .. k end
	local n, m = #sequence, #few
	local function gets(from) return loop("a:get(b[i])", n, from, sequence) end
	return {
		{ title = "shared get of 100 bytes, 100k keys, " .. kind,
			{ "ngx.shared.DICT with lua-resty-core", gets(dict) },
			{ "zbz shared", gets(shared.get) } },
		{ title = "a value in the worker, 100k keys, " .. kind,
			{ "lua-resty-lrucache", gets(lru) },
			{ "zbz L1 hit", gets(shared.l1) } },
		{ title = "a value in the worker with a TTL, 100k keys, " .. kind,
			{ "lua-resty-lrucache", gets(lru_ttl) },
			{ "zbz L1 hit", gets(shared.l1_ttl) } },
		{ title = "a small table, 10k keys, " .. kind,
			{ "cjson.decode of ngx.shared.DICT:get", loop("c(a:get(b[i]))", m, dict, prefixed, cjson.decode) },
			{ "zbz fetch, L1 hit", loop("a:fetch(b[i], c)", m, shared_json, few, loader) } },
	}
end

local function median(list)
	table.sort(list)
	return list[math.ceil(#list / 2)]
end

local function run_contest(contest, at)
	local times = {}
	for round = 0, ROUNDS do -- the first warms up, and fills what is the worker's own
		for i, c in ipairs(contest) do
			collectgarbage()
			collectgarbage()
			meet(("%s:%d:%d"):format(at, round, i))
			local began = now()
			c[2][1]()
			if round > 0 then
				times[i] = times[i] or {}
				table.insert(times[i], (now() - began) / c[2][2])
			end
		end
	end
	for i in ipairs(contest) do board:incr(("%s:sum:%d"):format(at, i), median(times[i]), 0) end
	meet(at .. ":end")
end

--- In init_worker; `file`: where worker 0 writes what was measured; `part`: of the titles wanted.
function M.run(file, part)
	dict, board, workers = ngx.shared.bench, ngx.shared.board, ngx.worker.count()
	lru, lru_ttl = assert(lrucache.new(KEYS * 2)), assert(lrucache.new(KEYS * 2))
	local out = {}
	for _, kind in ipairs{ "zipf", "uniform" } do
		local keys, sequence = bench.keys(KEYS, OPS, kind)
		if ngx.worker.id() == 0 and kind == "zipf" then fill(keys) end
		meet(kind .. ":filled")
		for _, k in ipairs(keys) do
			lru:set(k, dict:get(k))
			lru_ttl:set(k, dict:get(k), 3600)
		end
		local few = {}
		for i = 1, 2 ^ 16 do few[i] = keys[(tonumber(sequence[i]:match("%d+")) % 10000) + 1] end
		for i, contest in ipairs(contests(kind, sequence, few)) do
			local at = kind .. i
			if contest.title:find(part, 1, true) then
				run_contest(contest, at)
				out[#out + 1] = contest.title
				for j, c in ipairs(contest) do
					out[#out + 1] = ("\t%s\t%.1f"):format(c[1], board:get(("%s:sum:%d"):format(at, j)) / workers * 1e9)
				end
			end
		end
	end
	if ngx.worker.id() ~= 0 then return end
	local f = assert(io.open(file .. ".part", "w"))
	f:write(table.concat(out, "\n"), "\n")
	f:close()
	os.rename(file .. ".part", file)
end

return M
