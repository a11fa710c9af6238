-- The memory provider from Lua: 100 000 keys of 13 bytes, values of 100 bytes.
local zbz = require("zbz")
local bench = require("spec.bench.bench")
local floor = require("floor")

local COUNT, LENGTH, N = 100000, 1000000, 1000000
local cache = assert(zbz.cache.new { provider = "memory", max_size = "256MB" })
local t = cache:table("bench", { serializer = "bytes", ttl = "1h" })
local has_lru, lru = pcall(require, "resty.lrucache")
lru = has_lru and lru.new(COUNT * 2) or nil

for _, kind in ipairs { "zipf", "uniform" } do
	local keys, sequence = bench.keys(COUNT, LENGTH, kind)
	local plain, value = {}, ("v"):rep(87)
	for _, k in ipairs(keys) do
		local v = k .. value
		t:set(k, v)
		floor.put(k, v)
		plain[k] = { v, os.time() + 3600 }
		if lru then lru:set(k, v, 3600) end
	end
	local now = os.time()

	local get = {
		{ name = "C function: hash, find, push (the floor)", n = N, run = function(n)
			local f = floor.get
			for i = 1, n do local _ = f(sequence[i]) end
		end },
		{ name = "zbz table get", n = N, run = function(n)
			for i = 1, n do local _ = t:get(sequence[i]) end
		end },
		{ name = "Lua table with an expiry check", n = N, run = function(n)
			for i = 1, n do
				local e = plain[sequence[i]]
				local _ = e and e[2] > now and e[1]
			end
		end },
	}
	if lru then
		get[#get + 1] = { name = "lua-resty-lrucache get", n = N, run = function(n)
			for i = 1, n do local _ = lru:get(sequence[i]) end
		end }
	end
	bench.compare("memory get, " .. kind, get)

	local v = ("w"):rep(100)
	local set = {
		{ name = "C function: hash, find, replace (the floor)", n = N, run = function(n)
			local f = floor.put
			for i = 1, n do f(sequence[i], v) end
		end },
		{ name = "zbz table set", n = N, run = function(n)
			for i = 1, n do t:set(sequence[i], v) end
		end },
		{ name = "Lua table with an expiry", n = N, run = function(n)
			for i = 1, n do plain[sequence[i]] = { v, now + 3600 } end
		end },
	}
	if lru then
		set[#set + 1] = { name = "lua-resty-lrucache set", n = N, run = function(n)
			for i = 1, n do lru:set(sequence[i], v, 3600) end
		end }
	end
	bench.compare("memory set, " .. kind, set)
end
