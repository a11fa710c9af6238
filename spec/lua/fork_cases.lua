-- A process forks with a cache in use: parent and child both go on. Run by faults_spec.lua where Lua itself can fork (LuaJIT's ffi)
-- and by spec/c/test_states.c, which lends its own system calls to Lua 5.4.
local zbz = require("zbz")
local core = require("zbz.core")

local M = {}

local function same(a, b, what)
	if a ~= b then error(("%s: %s instead of %s"):format(what, tostring(a), tostring(b)), 2) end
end

local function held(t, value)
	return coroutine.wrap(function()
		local v, err, how = t:fetch("held", function()
			coroutine.yield()
			return { value }
		end)
		assert(v, tostring(err))
		return v[1], how
	end)
end

-- What any program does with its cache, own connections and all.
local function work(cache, t, who, provider)
	assert(t:set(who, { who }))
	same(t:get(who)[1], who, "get")
	assert(t:set_multi{ [who .. 1] = 1, [who .. 2] = 2 })
	same(t:get_multi{ who .. 1, who .. 2 }[who .. 2], 2, "get_multi")
	same(assert(t:incr(who .. "n", 3)), 3, "incr")
	local n = 0
	local next_key = assert(t:keys(who .. "?"))
	while true do
		local key, err = next_key()
		if not key then
			assert(not err, tostring(err))
			break
		end
		assert(key:sub(1, #who) == who, key)
		n = n + 1
	end
	same(n, 3, "keys over " .. provider)
	assert(t:delete_multi{ who .. 1, who .. 2, who .. "n" })
	assert(cache:ping())
	local at = core.mono()
	same(zbz.poll(0.02), 0, "poll")
	assert(core.mono() - at >= 15, "poll does not wait")
	assert(core.fd() >= 0)
end

local function child(cache, t, leads, provider)
	same(t:get("k")[1], "parent", "what was there")
	local v, err, how = t:fetch("held", function() return { "child" } end)
	assert(v, tostring(err))
	same(v[1] .. " " .. how, "child loaded", "fetch of what the parent loads")
	same(leads(), "parent", "the parent's loader, run to its end in the child")
	same(t:get("held")[1], "child", "what the child has loaded")
	work(cache, t, "c", provider)
	assert(cache:close())
	collectgarbage()
end

--- sys: fork() -> pid, wait(pid) -> status, exit(code) at once. opts: of the cache.
function M.run(sys, opts)
	local cache = assert(zbz.cache.new(opts))
	local t = assert(cache:table("t", { serializer = "json", ttl = 60 }))
	local sub
	if opts.provider == "redis" then sub = assert(cache:native("redis"):subscribe("forked", function() end)) end
	core.fd()
	assert(t:set("k", { "parent" }))
	for _ = 1, 2 do
		t:delete("held")
		local leads = held(t, "parent")
		leads()
		io.stdout:flush()
		local pid = sys.fork()
		if pid == 0 then
			local ok, err = pcall(child, cache, t, leads, opts.provider)
			if not ok then io.stderr:write("child over ", tostring(opts.provider), ": ", tostring(err), "\n") end
			sys.exit(ok and 0 or 1)
		end
		same(sys.wait(pid), 0, "the child's status")
		same(leads(), "parent", "the load under way")
		work(cache, t, "p", opts.provider)
		same(t:get("k")[1], "parent", "what was there")
	end
	if sub then sub:close() end
	assert(t:clear())
	assert(cache:close())
end

return M
