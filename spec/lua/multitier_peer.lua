-- One of two processes that change the same keys through caches with a local tier: writes and reads at random, then tells what it
-- sees. Run by multitier_spec.lua: URL FOLDER NAME WRITES L1
local zbz = require("zbz")

local M = { KEYS = 200 }

function M.open(url, l1)
	return assert(zbz.cache.new{ provider = "multitier", key_prefix = "race:", default_ttl = 0, serializer = "string", l1 = l1 or "memory:",
		l2 = { provider = "redis", url = url } })
end

local function random(seed)
	return function(n)
		seed = (seed * 16807) % 2147483647
		return seed % n
	end
end

--- `writes` of them, and about as many reads.
function M.work(cache, name, writes)
	local draw = random(#name * 7919 + name:byte(1))
	for i = 1, writes do
		local key, what = "k" .. draw(M.KEYS), draw(10)
		if what == 0 then
			assert(cache:delete(key))
		elseif what == 1 then
			assert(cache:set_multi{ [key] = name .. i, ["k" .. draw(M.KEYS)] = name .. i })
		else
			assert(cache:set(key, name .. i))
		end
		cache:get("k" .. draw(M.KEYS))
		if what == 2 then cache:get_multi{ key, "k" .. draw(M.KEYS), "k" .. draw(M.KEYS) } end
	end
end

--- Reads all keys over and over until fn(): what is promoted while the other one still writes must not stay if it is old.
function M.read_until(cache, fn)
	return require("zbz.testkit").eventually(function()
		for i = 0, M.KEYS - 1 do cache:get("k" .. i) end
		return fn()
	end, 60)
end

--- Everything told before the mark was changed has been heard once the change of the mark is.
function M.settle(cache, value)
	return require("zbz.testkit").eventually(function() return cache:get("mark") == value end, 20)
end

--- Key by key: what the cache answers, and how many of the answers came from its local tier.
function M.view(cache)
	local seen, local_ones = {}, 0
	for i = 0, M.KEYS - 1 do
		local v, info = cache:get_with("k" .. i)
		seen[i + 1] = tostring(v)
		if info and info.tier == "l1" then local_ones = local_ones + 1 end
	end
	return table.concat(seen, " "), local_ones
end

local function exists(path)
	local f = io.open(path)
	if f then f:close() end
	return f ~= nil
end

local function write(path, text)
	local f = assert(io.open(path .. ".part", "w"))
	f:write(text)
	f:close()
	assert(os.rename(path .. ".part", path))
end

function M.main(url, dir, name, writes, l1)
	local cache = M.open(url, l1)
	cache:get("mark")
	write(dir .. "/" .. name .. ".ready", "")
	assert(require("zbz.testkit").eventually(function() return exists(dir .. "/go") end, 20))
	M.work(cache, name, tonumber(writes))
	cache:get("mark")
	write(dir .. "/" .. name .. ".done", "")
	assert(M.read_until(cache, function() return exists(dir .. "/look") end))
	assert(M.settle(cache, "settled"))
	local seen, local_ones = M.view(cache)
	write(dir .. "/" .. name .. ".view", seen .. "\n" .. local_ones)
	cache:close()
end

if arg and arg[0] and arg[0]:find("multitier_peer", 1, true) then M.main((table.unpack or unpack)(arg, 1, 5)) end -- luacheck: ignore 113
return M
