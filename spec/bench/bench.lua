-- Side by side measurement: the contestants take turns in every round, the median over the rounds counts, and what is
-- reported is the ratio to the first one (whose own time is shown for orientation only).
local bench = {}

local function median(t)
	table.sort(t)
	local n = #t
	return n % 2 == 1 and t[(n + 1) / 2] or (t[n / 2] + t[n / 2 + 1]) / 2
end

--- contestants: { {name=, run=function(n) end [, n=operations a run [, per=operations one of them stands for]]}, ... }
---@param title string
---@param contestants table[]
---@param opts {rounds:integer?, clock:(fun():number)?} clock in seconds; default os.clock (CPU time)
---@return table<string, number> seconds per operation by name
function bench.compare(title, contestants, opts)
	opts = opts or {}
	local clock = opts.clock or os.clock
	local times = {}
	for i, c in ipairs(contestants) do
		times[i] = {}
		c.run(math.max(1, math.floor(c.n / 10)))
	end
	for _ = 1, opts.rounds or 7 do
		for i, c in ipairs(contestants) do
			collectgarbage()
			collectgarbage()
			local began = clock()
			c.run(c.n)
			table.insert(times[i], (clock() - began) / c.n / (c.per or 1))
		end
	end
	print(("\n%s (%s)"):format(title, jit and "LuaJIT" or _VERSION))
	local base, result = nil, {}
	for i, c in ipairs(contestants) do
		local m = median(times[i])
		base = base or m
		result[c.name] = m
		print(("  %-52s %9.1f ns   %6.2fx"):format(c.name, m * 1e9, m / base))
	end
	return result
end

--- Key sequences over `count` keys: uniform, or zipf with exponent 0.99. Deterministic.
---@return string[] keys, string[] sequence
function bench.keys(count, length, kind)
	local state = 42
	local function random() -- a small multiplicative generator: the same numbers on every Lua
		state = (state * 16807) % 2147483647
		return state / 2147483647
	end
	local keys, sequence = {}, {}
	for i = 1, count do keys[i] = ("key:%09d"):format(i * 7919 % 1000000007) end
	if kind == "uniform" then
		for i = 1, length do sequence[i] = keys[1 + math.floor(random() * count)] end
		return keys, sequence
	end
	local sums, sum = {}, 0
	for i = 1, count do
		sum = sum + 1 / i ^ 0.99
		sums[i] = sum
	end
	for i = 1, length do
		local x, low, high = random() * sum, 1, count
		while low < high do
			local mid = math.floor((low + high) / 2)
			if sums[mid] < x then low = mid + 1 else high = mid end
		end
		sequence[i] = keys[(low * 7919) % count + 1]
	end
	return keys, sequence
end

return bench
