-- One load among the workers of an nginx, and between two of them.
local assert = require("luassert")
local nginx = require("spec.services.nginx")
local proc = require("spec.services.proc")
local redis = require("spec.services.redis")

local have, why = nginx.available()
if not have then
	print("SKIP nginx lock: " .. why)
	describe("nginx lock", function() it("needs nginx", function() pending(why) end) end)
	return
end

local INIT = [[
	zbz = require("zbz")
	local provider = %s
	local cache = assert(zbz.cache.new(provider))
	t = assert(cache:table("t", { lock = "%s", ttl = "1m", stale_ttl = "1m" }))
	local dir = "%s"
	local function exists(name)
		local f = io.open(dir .. "/" .. name)
		return f and f:close()
	end
	function load(k)
		local f = assert(io.open(dir .. "/loads", "a"))
		f:write(ngx.worker.pid(), "\n")
		f:close()
		ngx.sleep(0.4)
		while exists("hold") do ngx.sleep(0.01) end
		return "value of " .. k
	end
]]
local SERVER = [[
	location = /fetch { content_by_lua_block {
		local v, err, how = t:fetch(ngx.var.arg_k, load)
		ngx.say(v or err, "|", how, "|", ngx.worker.pid()) } }
	location = /slow { content_by_lua_block {
		local v, err, how = t:fetch(ngx.var.arg_k, function() load("x"); ngx.sleep(30) end)
		ngx.say(v or err, "|", how) } }
	location = /late { content_by_lua_block {
		local v, err, how = t:fetch(ngx.var.arg_k, { deadline = 0.2 }, load)
		ngx.say(v or err.code, "|", how) } }
	location = /log { content_by_lua_block { ngx.say("ok") } log_by_lua_block {
		local v, err = t:fetch("k-log", function() return 1 end)
		ngx.log(ngx.WARN, "in log: ", tostring(v), " ", err and err.code or "nil") } }
]]

local function add_cases(name, lock, make)
	describe(("nginx with lock = %q over %s"):format(lock, name), function()
		local web, dir, provider, stop
		setup(function()
			dir = proc.folder()
			provider, stop = make()
			web = nginx.start{ workers = 4, init = INIT:format(provider, lock, dir), server = SERVER }
		end)
		teardown(function()
			web.stop()
			stop()
			proc.remove(dir)
		end)
		local function loads() return tonumber((proc.output(("cat %s/loads 2>/dev/null | wc -l"):format(dir)))) end
		before_each(function() proc.output("rm -f " .. dir .. "/loads") end)

		it("calls upstream once for 200 requests at once", function()
			local hows, pids, n = {}, {}, 0
			for _, line in ipairs(web.many(200, "/fetch?k=one")) do
				local v, how, pid = line:match("^(.-)|(.-)|(.-)$")
				assert.are.equal("value of one", v, line)
				hows[how], pids[pid] = (hows[how] or 0) + 1, true
			end
			for _ in pairs(pids) do n = n + 1 end
			assert.are.equal(1, loads())
			assert.are.equal(1, hows.loaded)
			assert.is_true(n > 1, "all requests met one worker")
			assert.are.same({}, web.errors())
		end)

		it("keeps to the deadline of each", function()
			proc.output("touch " .. dir .. "/hold")
			local slow = proc.spawn({ "curl", "-s", "-m", "20", web.url .. "/fetch?k=two" }, dir .. "/slow")
			assert.is_true(proc.wait_until(("test -s %s/loads"):format(dir), 5))
			local codes = {}
			for _, line in ipairs(web.many(8, "/late?k=two")) do codes[line] = true end
			assert.are.same({ ["timeout|nil"] = true }, codes)
			proc.output("rm " .. dir .. "/hold")
			assert.is_true(proc.wait_until("! kill -0 " .. slow, 5))
			assert.are.equal(1, loads())
		end)

		it("lets old workers go at a reload", function()
			local old = web.workers()
			assert.is_true(web.reload())
			for _, worker in ipairs(old) do
				assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(worker), 5), "an old worker stays")
			end
			assert.are.equal("value of five|loaded", (select(2, web.get("/fetch?k=five")):match("^(.-|.-)|")))
		end)

		if name == "shared" then
			it("loads where nothing can wait, when the lock is free", function()
				assert.are.equal("ok", (select(2, web.get("/log"))))
				assert.is_true(proc.wait_until(("grep -q 'in log: 1 nil' %s/error.log"):format(web.dir), 5))
			end)
		end

		if lock == "host" then
			it("goes on after the worker that loads was killed", function()
				proc.spawn({ "curl", "-s", "-m", "20", web.url .. "/slow?k=three" }, "/dev/null")
				assert.is_true(proc.wait_until(("test -s %s/loads"):format(dir), 5))
				local victim = tonumber((proc.output("head -n 1 " .. dir .. "/loads")))
				local others = proc.spawn({ "sh", "-c", ("seq 20 | xargs -P 20 -I{} curl -s -m 15 '%s/fetch?k=three'"):format(web.url) },
					dir .. "/others")
				proc.signal(victim, "KILL")
				assert.is_true(proc.wait_until("! kill -0 " .. others, 15))
				local good = tonumber((proc.output(("grep -c '^value of three' %s/others"):format(dir))))
				assert.is_true(good > 0 and good <= 20) -- those that the killed worker had accepted are lost
				assert.are.equal(2, loads())
			end)
		end
	end)
end

local function shared() return '{ provider = "shared", zone = "locks", size = "4MB" }', function() end end
local function over_redis()
	local server = redis.start()
	return ('{ provider = "redis", url = "%s", pool_size = 50 }'):format(server.url), server.stop
end

add_cases("shared", "host", shared)
add_cases("shared", "cluster", shared)
add_cases("redis", "host", over_redis)
add_cases("redis", "cluster", over_redis)
