-- fetch: get, or compute once. Remembered absences, stale values after a failure, refresh ahead, and the fence.
local zbz = require("zbz")
local testkit = require("zbz.testkit") -- for its clock: time moves when this program says so

local clock = testkit.clock()
local cache = assert(zbz.cache.new{ provider = "memory", clock = clock })
local prices = cache:table("prices", { ttl = "10s", neg_ttl = "5s", stale_ttl = "1h", refresh_at = 0.8 })

local runs, broken = 0, false
local function load(key)
	runs = runs + 1
	if broken then return nil, "the shop does not answer" end
	if key == "unicorn" then return nil end -- there is none
	return { item = key, price = runs }
end
local function show(key)
	local v, err, how = prices:fetch(key, load)
	print(("%-8s %-9s %-8s %s"):format(key, v and "price " .. v.price or "nothing", how or "", err and tostring(err) or ""))
end

show("apple")                                  -- loaded
show("apple")                                  -- hit
show("unicorn")                                -- loaded: there is none
show("unicorn")                                -- negative: remembered for neg_ttl

clock:advance(8500)                            -- 85 % of the TTL: answered at once, refreshed by the next poll
show("apple")
zbz.poll(0)
show("apple")

clock:advance(11000)
broken = true
show("apple")                                  -- stale: the loader failed, the old value is better than nothing
show("pear")                                   -- an error: nothing to fall back to
broken = false
clock:advance(2000)
show("apple")                                  -- the loader has rested, it is tried again

print("\nA delete during a load wins over the load:")
prices:fetch("plum", function()
	prices:delete("plum")                       -- somebody sells the last one meanwhile
	return { item = "plum", price = 1 }
end)
print("plum is stored:", prices:exists("plum"), "fenced off:", prices:stats().fenced)
cache:close()
