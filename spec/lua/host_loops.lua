-- The loops that zbz runs in, each behind the same few functions, for cases that hold in all of them:
--   loop.object          what zbz.use takes; wrong ones raise
--   loop.blame           what an error says about a call where nothing can wait
--   loop.rest(seconds)   waits, inside a coroutine of the loop; nil where the loop itself has nothing for it: see M.rest
--   loop.spawn(fn)       runs fn in a coroutine of the loop, returned where it can be removed; errors are fn's business
--   loop.run(wanted)     runs the loop while wanted(), ten milliseconds at a time or less; seconds, longest standstill, turns
--   loop.hears           what nobody waits for (messages, watches) comes while the loop runs; else in zbz.run and zbz.poll only
--   loop.signals         zbz.run ends with a signal
--   loop.until_idle()    runs the loop until nothing holds it; nil where loops end otherwise
--   loop.lend(co, word)  runs a coroutine that the loop does not own until it yields `word`, and forgets it then
-- A loop that is not installed is nil.
local busted = require("busted")
local core = require("zbz.core")
local zbz = require("zbz")

local describe, it, pending = busted.describe, busted.it, busted.pending

local unpack = table.unpack or unpack -- luacheck: ignore 143

local M = {}

-- Runs step() while wanted().
local function steps(now, step, wanted)
	local began = now()
	local before, longest, turns = began, 0, 0
	while wanted() do
		step()
		local at = now()
		longest, before, turns = math.max(longest, at - before), at, turns + 1
		if at - began > 20 then error("the coroutines did not end", 4) end
	end
	return now() - began, longest, turns
end

-- In a coroutine of the loop: what the lent one yields goes on to the loop.
local function pass_on(loop, co, word)
	loop.spawn(function()
		local back = {}
		repeat
			local got = { coroutine.resume(co, unpack(back)) }
			if got[2] ~= word and coroutine.status(co) ~= "dead" then back = { coroutine.yield(unpack(got, 2)) } end
		until not got[1] or got[2] == word or coroutine.status(co) == "dead"
		co = nil -- luacheck: ignore 311
	end)
end

local function luv()
	local have, uv = pcall(require, "luv")
	if not have then return nil end
	local loop = { object = uv, blame = "coroutine", signals = true, hears = true }
	local function now() return uv.hrtime() / 1e9 end
	function loop.rest(seconds)
		local co, timer = coroutine.running(), uv.new_timer()
		timer:start(math.floor(seconds * 1000), 0, function()
			timer:close()
			assert(coroutine.resume(co))
		end)
		coroutine.yield()
	end
	function loop.spawn(fn) coroutine.wrap(fn)() end
	function loop.until_idle() uv.run() end
	loop.lend = coroutine.resume -- calls end by resuming the coroutine they were made in
	function loop.run(wanted)
		local timer = uv.new_timer()
		uv.update_time()
		timer:start(10, 10, function() end) -- the loop must not sleep longer than the case waits
		local seconds, longest, turns = steps(now, function() uv.run("once") end, wanted)
		timer:close()
		uv.run("nowait")
		return seconds, longest, turns
	end
	return loop
end

local function cqueues()
	local have, cq = pcall(require, "cqueues")
	if not have then return nil end
	local controller = cq.new()
	local loop = { object = controller, blame = "cq:wrap" }
	loop.rest = cq.sleep
	function loop.spawn(fn) controller:wrap(fn) end
	function loop.lend(co, word) pass_on(loop, co, word) end
	function loop.run(wanted) return steps(cq.monotime, function() assert(controller:step(0.01)) end, wanted) end
	return loop
end

-- Debian's copas (1.1.7), whose threads cannot sleep, or one whose threads can.
local function copas()
	package.path = package.path .. ";/usr/share/lua/5.1/?.lua" -- packaged for 5.1 and 5.2; its text is Lua for all
	package.loaded["socket.http"] = nil -- older ones want to be loaded first
	local have, module = pcall(require, "copas")
	local have_socket, socket = pcall(require, "socket")
	if not (have and have_socket) then return nil end
	local loop = { object = module, blame = "copas.addthread", hears = module.wakeup == nil }
	function loop.spawn(fn) return module.addthread(fn) end
	function loop.lend(co, word) pass_on(loop, co, word) end
	function loop.run(wanted) return steps(socket.gettime, function() module.step(0.01) end, wanted) end
	return loop
end

M.luv, M.cqueues, M.copas = luv(), cqueues(), copas()

local waits = 0

--- loop.rest, or a wait that there is wherever there is a cache on Redis.
function M.rest(loop, cache)
	return loop.rest or function(seconds)
		waits = waits + 1
		local v, err = cache:native("redis"):command("BLPOP", "nobody:" .. waits, tostring(seconds))
		assert(v == nil and err == nil, tostring(err))
	end
end

--- The loop, run so that messages come.
function M.hearing(loop)
	if loop.hears then return loop end
	local function run(wanted) return steps(function() return core.mono() / 1000 end, function() zbz.poll(0.01) end, wanted) end
	return setmetatable({ run = run }, { __index = loop })
end

--- go(n, fn): runs fn(i) in n coroutines of the loop until all have ended; what loop.run returns. Errors come out.
function M.go(loop)
	return function(n, fn)
		local left, errors = n, {}
		for i = 1, n do
			loop.spawn(function()
				local ok, err = xpcall(function() fn(i) end, debug.traceback)
				if not ok then errors[#errors + 1] = err end
				left = left - 1
			end)
		end
		local seconds, longest, turns = loop.run(function() return left > 0 end)
		if errors[1] then error(errors[1], 0) end
		return seconds, longest, turns
	end
end

--- idle(seconds): runs the loop that long.
function M.idle(loop)
	return function(seconds)
		local till = core.mono() + seconds * 1000
		return loop.run(function() return core.mono() < till end)
	end
end

--- A describe with cases(loop, name), or one pending case that says what is missing.
function M.describe(name, cases)
	if M[name] then return describe("host " .. name, function() cases(M[name], name) end) end
	print(("SKIP host %s: %s is not installed"):format(name, name))
	describe("host " .. name, function() it("needs " .. name, function() pending(name .. " is not installed") end) end)
end

return M
