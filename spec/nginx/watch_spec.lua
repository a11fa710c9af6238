-- Watches inside real nginx workers: begun in init, in init_worker and in a request; over files, a Redis and a source in Lua.
local assert = require("luassert")
local nginx = require("spec.services.nginx")
local proc = require("spec.services.proc")
local redis = require("spec.services.redis")
local support = require("spec.lua.watch_support")
local write = support.write

local have, why = nginx.available()
if not have then
	print("SKIP nginx watch: " .. why)
	describe("nginx watch", function() it("needs nginx", function() pending(why) end) end)
	return
end

local WORKERS = 4

local INIT = [[
	zbz = require("zbz")
	dir = "%s"
	files = assert(zbz.watch.file(dir))
	local url = "%s"
	cache = assert(zbz.cache.new{ provider = "redis", url = url, key_prefix = "app:" })
	tiers = assert(zbz.cache.new{ provider = "multitier", key_prefix = "app:", l1 = "shared:", l2 = { provider = "redis", url = url } })
	calls = { init = 0, worker = 0, redis = 0 }
	early = assert(zbz.watch.sync(files, "app.json", function() calls.init = calls.init + 1 end))
	early_state, early_value = early:state(), early:value().n
]]

local WORKER = [[
	worker_watch = assert(zbz.watch.sync(files, "app.json", function(old)
		if old then ngx.sleep(0.001) end
		calls.worker = calls.worker + 1
	end))
	redis_watch = assert(zbz.watch.sync(assert(zbz.watch.redis(cache)), "n.json", function(old)
		if old then assert(cache:table("seen"):incr(tostring(ngx.worker.id()))) end
		calls.redis = calls.redis + 1
	end))
	tiers_watch = assert(zbz.watch.sync(assert(zbz.watch.redis(tiers)), "n.json"))
	tiers_mode = tiers_watch:mode()
]]

local SERVER = [[
	location = /tiers { content_by_lua_block { ngx.print(tiers_mode) } }
	location = /early { content_by_lua_block { ngx.print(early_state, " ", early_value, " ", early:state(), " ", early:value().n) } }
	location = /state { content_by_lua_block {
		ngx.print(ngx.worker.pid(), " ", early:value().n, " ", calls.init, " ", worker_watch:value().n, " ", calls.worker, " ",
			redis_watch:value(), " ", calls.redis, " ", (worker_watch:mode()), " ", (redis_watch:mode())) } }
	location = /request { content_by_lua_block {
		local value, changed = 1, nil
		local w = assert(zbz.watch.sync({ get = function() ngx.sleep(0.01); return tostring(value) end,
			subscribe = function(_, _, cb) changed = cb; return 1 end }, "n.json", nil, { debounce = "1ms" }))
		value = 2
		changed()
		for _ = 1, 500 do if w:value() == 2 then break end ngx.sleep(0.01) end
		w:stop()
		local other = assert(zbz.watch.sync(files, "app.json"))
		ngx.print(w:value(), " ", w:state(), " ", other:value().n)
		other:stop() } }
	location = /log { content_by_lua_block { ngx.print("ok") } log_by_lua_block {
		local w, err = zbz.watch.sync(assert(zbz.watch.redis(cache)), "n.json"); logged = w == nil and err.code } }
	location = /logged { content_by_lua_block { ngx.print(logged) } }
	location = /killed { content_by_lua_block {
		local core = require("zbz.core")
		local function open() return select(3, core.under_way()) end
		local th = ngx.thread.spawn(function() assert(zbz.watch.sync(assert(zbz.watch.redis(cache)), "n.json", nil, { deadline = "2s" })) end)
		ngx.sleep(0.05)
		local waited = core.under_way() > 0
		ngx.thread.kill(th)
		for _ = 1, 100 do
			ngx.sleep(0.05)
			collectgarbage()
			if not open() and core.under_way() == 0 then break end
		end
		ngx.print(tostring(waited), " ", tostring(open()), " ", (core.under_way())) } }
	location = /lazy { content_by_lua_block { ngx.print(early:state()) } }
]]

local function body(web, path)
	local _, text = web.get(path)
	return text
end

-- Asks until every worker has answered with what check(fields) accepts; the last answers by pid.
local function every_worker(web, n, check)
	local good, last = {}, {}
	for _ = 1, 100 do
		for _, line in ipairs(web.many(16, "/state")) do
			local f = {}
			for word in line:gmatch("%S+") do f[#f + 1] = tonumber(word) or word end
			last[f[1]] = line
			good[f[1]] = check(f) or nil
		end
		local count = 0
		for _ in pairs(good) do count = count + 1 end
		if count == n then return last end
	end
	local lines = {}
	for _, line in pairs(last) do lines[#lines + 1] = line end
	error("not every worker: " .. table.concat(lines, "\n"), 2)
end

describe("nginx watch", function()
	local server, web, dir

	setup(function()
		server, dir = redis.start(), proc.folder()
		proc.output("chmod 755 " .. dir)
		write(dir .. "/app.json", '{"n":1}')
		server.cli("SET app:n.json 1")
		web = nginx.start{ init = INIT:format(dir, server.url), http = "init_worker_by_lua_block { " .. WORKER .. " }", server = SERVER,
			workers = WORKERS }
	end)
	teardown(function()
		web.stop()
		server.stop()
		proc.remove(dir)
	end)
	after_each(function() assert.are.same({}, web.errors()) end)

	it("is told of keys below a cache of two tiers from the first look on", function()
		assert.are.equal("native", (select(2, web.get("/tiers"))))
	end)

	it("reads in init, and watches in every worker", function()
		assert.truthy(body(web, "/early"):find("^waiting 1 active 1$"))
	end)

	it("calls back once in every worker, within a second", function()
		every_worker(web, WORKERS, function(f) return f[3] == 1 and f[5] == 1 and f[7] == 1 end)
		for round = 2, 4 do
			write(dir .. "/app.json", ('{"n":%d}'):format(round))
			server.cli("SET app:n.json " .. round)
			proc.output("sleep 1")
			every_worker(web, WORKERS, function(f)
				assert.are.equal("watched", f[8])
				assert.are.equal("native", f[9])
				return f[2] == round and f[3] == round and f[4] == round and f[5] == round and f[6] == round and f[7] == round
			end)
		end
		for id = 0, WORKERS - 1 do assert.are.equal("3", server.cli("GET app:seen:" .. id)) end
	end)

	it("works in a request, with a source that yields", function()
		assert.are.equal("2 stopped 4", body(web, "/request"))
	end)

	it("leaves no watch behind when the light thread that begins one is killed", function()
		local one = nginx.start{ init = INIT:format(dir, server.url):gsub("\n\tearly[^\n]*", ""), server = SERVER }
		server.pause()
		local pid = proc.spawn({ "curl", "-s", "-m", "10", one.url .. "/killed" }, one.dir .. "/killed")
		assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(pid), 10))
		server.resume()
		assert.are.equal("true false 0", proc.output("cat " .. one.dir .. "/killed"))
		one.stop()
	end)

	it("says so where nothing can wait", function()
		local one = nginx.start{ init = INIT:format(dir, server.url), server = SERVER }
		assert.are.equal("ok", body(one, "/log"))
		assert.are.equal("unsupported", body(one, "/logged"))
		assert.are.same({}, one.errors())
		one.stop()
	end)

	it("lets workers go within a second at a reload, the second time, too", function()
		for _ = 1, 3 do
			local old = web.workers()
			assert.is_true(web.reload())
			for _, worker in ipairs(old) do
				assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(worker), 1), "an old worker stays")
			end
			assert.truthy(body(web, "/early"):find("active 4", 1, true))
			every_worker(web, WORKERS, function(f) return f[4] == 4 and f[6] == 4 end)
		end
		write(dir .. "/app.json", '{"n":5}')
		every_worker(web, WORKERS, function(f) return f[2] == 5 and f[4] == 5 end)
	end)
end)

describe("nginx watch with lua_code_cache off", function()
	it("reads for every request, and leaves nothing behind", function()
		local dir = proc.folder()
		proc.output("chmod 755 " .. dir)
		write(dir .. "/app.json", '{"n":1}')
		local web = nginx.start{ http = "lua_code_cache off;", server = ([[location = /n { content_by_lua_block {
			local zbz = require("zbz")
			local w = assert(zbz.watch.sync(assert(zbz.watch.file("%s")), "app.json"))
			ngx.print(w:value().n) } }]]):format(dir) }
		local function files() return tonumber((proc.output("ls /proc/" .. web.workers()[1] .. "/fd | wc -l"))) end
		for _ = 1, 5 do assert.are.equal("1", body(web, "/n")) end
		local before = files()
		write(dir .. "/app.json", '{"n":2}')
		for _ = 1, 40 do assert.are.equal("2", body(web, "/n")) end
		assert.is_true(proc.wait_until(("[ $(ls /proc/%d/fd | wc -l) -le %d ]"):format(web.workers()[1], before + 3), 5))
		local old = web.workers()[1]
		assert.is_true(web.reload())
		assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(old), 3), "the old worker stays")
		for _, line in ipairs(web.errors()) do assert.truthy(line:find("lua_code_cache is off", 1, true), line) end
		web.stop()
		proc.remove(dir)
	end)
end)
