-- zbz inside a real nginx worker, over a real Redis.
local assert = require("luassert")
local nginx = require("spec.services.nginx")
local proc = require("spec.services.proc")
local redis = require("spec.services.redis")

local have, why = nginx.available()
if not have then
	print("SKIP nginx: " .. why)
	describe("nginx", function() it("needs nginx", function() pending(why) end) end)
	return
end

local INIT = [[
	zbz = require("zbz")
	assert(zbz.cache.configure{ provider = "redis", url = "%s", key_prefix = "app:", pool_size = 20 })
	t = assert(zbz.table("t", { neg_ttl = "1m", stale_ttl = "1m" }))
	mem = assert(zbz.cache.new{ provider = "memory" }):table("m", { refresh_at = 0.1, ttl = "500ms" })
	loads = 0
	init_get = { t:get("k") }
	init_set = { t:set("k", 1) }
	init_mem = mem:set("k", "from init", 0)
	function say(v, err, how) ngx.print(tostring(v), "|", err and err.code or tostring(err), "|", tostring(how)) end
]]

local SERVER = [[
	location = /set { content_by_lua_block { say(t:set(ngx.var.arg_k, ngx.var.arg_v)) } }
	location = /get { content_by_lua_block { say(t:get(ngx.var.arg_k, ngx.var.arg_d and { deadline = ngx.var.arg_d })) } }
	location = /all { content_by_lua_block {
		local plain = zbz.table("plain")
		assert(plain:set("a", { 1, 2 })); assert(plain:get("a")[2] == 2); assert(plain:add("a", 1) == false)
		assert(plain:exists("a")); assert(plain:ttl("a") > 50); assert(plain:expire("a", 60)); assert(plain:incr("n", 5) == 5)
		local v, info = plain:get_with("a"); assert(v[1] == 1 and info.ttl > 50)
		assert(plain:set_multi{ x = 1, y = "two" }); assert(plain:get_multi{ "x", "y", "none" }.y == "two")
		local n = 0; for k in plain:keys() do n = n + 1 end; assert(n == 4, n)
		assert(plain:delete_multi{ "x", "y" }); assert(plain:delete("a")); assert(zbz.cache.default():ping())
		assert(zbz.cache.default():native("redis"):command("PING") == "PONG"); assert(plain:stats().hits > 0)
		local ok, removed = plain:clear(); assert(ok and removed == 1, removed)
		ngx.print("fine")
	} }
	location = /fetch { content_by_lua_block {
		say(t:fetch(ngx.var.arg_k, function() loads = loads + 1; ngx.sleep(0.2); return "loaded " .. loads end)) } }
	location = /throws { content_by_lua_block { say(t:fetch("throws", function() ngx.sleep(0.05); error("boom") end)) } }
	location = /phases {
		header_filter_by_lua_block {
			local v, err = t:get("k"); ngx.header["X-Filter"] = tostring(v) .. "|" .. err.code
			ngx.header["X-Mem"] = tostring(mem:set("p", "memory") and mem:get("p")) }
		body_filter_by_lua_block { if ngx.arg[2] then t:set("from-body-filter", "queued") end }
		log_by_lua_block {
			assert(t:set("from-log", "queued") == true); t:delete("delete-me"); assert(select(2, t:add("n", 1)).code == "unsupported") }
		content_by_lua_block {
			ngx.print(init_get[1] == nil and init_get[2].code, "|", init_set[2] and init_set[2].code, "|", tostring(init_mem), "|",
				tostring(mem:get("k"))) }
	}
	location = /refresh { content_by_lua_block {
		local n = 0
		local function load() n = n + 1; return n end
		mem:fetch("r", load); ngx.sleep(0.1); mem:fetch("r", load); ngx.sleep(0.05)
		ngx.print(mem:get("r")) } }
	location = /threads { content_by_lua_block {
		local list = {}
		local r = zbz.cache.default():native("redis")
		for i = 1, 16 do list[i] = ngx.thread.spawn(function() return r:command("BLPOP", "nobody" .. i, "0.3") end) end
		local began = ngx.now()
		for _, th in ipairs(list) do ngx.thread.wait(th) end
		ngx.update_time()
		ngx.print(ngx.now() - began < 1.2 and "overlap" or "serial") } }
	location = /killed { content_by_lua_block {
		local core = require("zbz.core")
		for i = 1, 5 do
			local th = ngx.thread.spawn(function() zbz.cache.default():native("redis"):command("BLPOP", "nobody" .. i, "0.2") end)
			ngx.sleep(0.01)
			assert(ngx.thread.kill(th))
		end
		local before = core.under_way()
		ngx.sleep(0.6)
		collectgarbage()
		local flying, waiting = core.under_way()
		ngx.print(before, " ", flying, " ", waiting) } }
	location = /listen { content_by_lua_block {
		heard = {}
		zbz.cache.default():native("redis"):subscribe("news", function(_, payload)
			ngx.sleep(0.001); heard[#heard + 1] = payload; t:set("heard", payload) end)
		ngx.print("ok") } }
	location = /heard { content_by_lua_block { ngx.print(#heard, " ", tostring(heard[1]), " ", tostring(t:get("heard"))) } }
	location = /pid { content_by_lua_block { ngx.print(ngx.worker.pid()) } }
]]

local function body(web, path, seconds)
	local _, text = web.get(path, seconds)
	return text
end

-- Asks again until the answer is `wanted`.
local function eventually(wanted, fn)
	local got
	for _ = 1, 100 do
		got = fn()
		if got == wanted then return end
		proc.output("sleep 0.02")
	end
	assert.are.equal(wanted, got)
end

describe("nginx", function()
	local server, web

	setup(function()
		server = redis.start()
		web = nginx.start{ init = INIT:format(server.url), server = SERVER }
	end)
	teardown(function()
		web.stop()
		server.stop()
	end)
	after_each(function() assert.are.same({}, web.errors()) end)

	it("answers every method from the content phase", function() assert.are.equal("fine", body(web, "/all")) end)

	it("sets and gets", function()
		assert.are.equal("true|nil|nil", body(web, "/set?k=a&v=hello"))
		assert.are.equal("hello|nil|nil", body(web, "/get?k=a"))
		assert.are.equal("nil|nil|nil", body(web, "/get?k=none"))
	end)

	it("runs one loader for concurrent requests, and it may yield", function()
		local hows, values = {}, {}
		for _, line in ipairs(web.many(20, "/fetch?k=single")) do
			local v, _, how = line:match("^(.-)|(.-)|(.-)$")
			hows[how], values[v] = (hows[how] or 0) + 1, true
		end
		assert.are.same({ ["loaded 1"] = true }, values)
		assert.are.equal(1, hows.loaded)
		assert.are.equal(19, (hows.waited or 0) + (hows.hit or 0))
		for _, line in ipairs(web.many(3, "/throws")) do assert.are.equal("nil|loader|nil", line) end
	end)

	it("tells what the phases that cannot wait get, and queues their writes", function()
		server.cli("SET app:t:delete-me 1")
		local _, text, head = web.get("/phases")
		assert.are.equal("unsupported|unsupported|true|from init", text)
		assert.truthy(head:find("X-Filter: nil|unsupported", 1, true), head)
		assert.truthy(head:find("X-Mem: memory", 1, true), head)
		eventually("1", function() return server.cli("EXISTS app:t:from-log") end)
		eventually("1", function() return server.cli("EXISTS app:t:from-body-filter") end)
		eventually("0", function() return server.cli("EXISTS app:t:delete-me") end)
	end)

	it("refreshes in the background", function() assert.are.equal("2", body(web, "/refresh")) end)

	it("waits for many slow commands at once", function() assert.are.equal("overlap", body(web, "/threads")) end)

	it("leaves nothing behind when light threads are killed", function()
		local before, flying, waiting = body(web, "/killed"):match("(%d+) (%d+) (%d+)")
		assert.is_true(tonumber(before) >= 1)
		assert.are.equal("0 0", flying .. " " .. waiting)
	end)

	it("keeps answering while redis is paused", function()
		server.pause()
		local slow = proc.spawn({ "curl", "-s", "-m", "10", web.url .. "/get?k=a" }, web.dir .. "/slow")
		local times = proc.output(("for i in $(seq 30); do curl -s -m 2 -o /dev/null -w '%%{http_code} %%{time_total}\\n' %s/alive; done")
			:format(web.url))
		local n = 0
		for code, seconds in times:gmatch("(%d+) ([%d.]+)") do
			n = n + 1
			assert.are.equal("200", code)
			assert.is_true(tonumber(seconds) < 0.5, "a constant page took " .. seconds .. " s")
		end
		assert.are.equal(30, n)
		assert.are.equal("nil|timeout|nil", body(web, "/get?k=b&d=200ms"))
		server.resume()
		assert.is_true(proc.wait_until("! kill -0 " .. slow, 5))
		assert.are.equal("hello|nil|nil", proc.output("cat " .. web.dir .. "/slow"))
	end)

	it("survives a restart of redis", function()
		server.restart()
		eventually("true|nil|nil", function() return body(web, "/set?k=back&v=1") end)
		assert.are.equal("1|nil|nil", body(web, "/get?k=back"))
	end)

	it("delivers messages in order, outside any request", function()
		assert.are.equal("ok", body(web, "/listen"))
		for i = 1, 20 do server.cli("PUBLISH news m" .. i) end
		eventually("20 m1 m20", function() return body(web, "/heard") end)
	end)
end)

describe("nginx reload", function()
	local server, web

	setup(function()
		server = redis.start()
		web = nginx.start{ init = INIT:format(server.url), server = SERVER, workers = 2 }
	end)
	teardown(function()
		web.stop()
		server.stop()
	end)

	it("ends old workers at once and loses no request under load", function()
		assert.are.equal("true|nil|nil", body(web, "/set?k=a&v=hello"))
		local load = ("seq 600 | xargs -P 8 -I{} curl -s -m 10 -o /dev/null -w '%%{http_code} %%{size_download}\\n' '%s/get?k=a'"):format(web.url)
		local pid = proc.spawn({ "sh", "-c", load }, web.dir .. "/load")
		for _ = 1, 3 do
			local old = web.workers()
			assert.is_true(web.reload())
			for _, worker in ipairs(old) do
				assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(worker), 3), "an old worker stays")
			end
		end
		assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(pid), 30))
		local codes = proc.output("sort " .. web.dir .. "/load | uniq -c")
		assert.are.equal("600 200 13", (codes:gsub("^%s+", "")))
		assert.are.same({}, web.errors())
	end)

	it("lets calls under way end first", function()
		local slow = proc.spawn({ "curl", "-s", "-m", "10", web.url .. "/fetch?k=across" }, web.dir .. "/slow")
		assert.is_true(proc.wait_until("grep -q . " .. web.dir .. "/slow || true", 1))
		web.reload()
		assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(slow), 5))
		assert.truthy(proc.output("cat " .. web.dir .. "/slow"):find("|loaded", 1, true))
	end)

	it("goes on after a worker was killed", function()
		local victim = tonumber((body(web, "/pid")))
		proc.signal(victim, "KILL")
		eventually("2", function() return tostring(#web.workers()) end)
		for _ = 1, 10 do assert.are.equal("hello|nil|nil", body(web, "/get?k=a")) end
	end)
end)

describe("nginx with lua_code_cache off", function()
	local server, web

	setup(function()
		server = redis.start()
		local open = ([[local zbz = require("zbz"); local t = assert(zbz.cache.new{ provider = "redis", url = "%s" }):table("t")]])
			:format(server.url)
		web = nginx.start{
			http = "lua_code_cache off;",
			server = ([[location = /once { content_by_lua_block { %s; assert(t:set("k", "v")); ngx.print(t:get("k")) }
				log_by_lua_block { %s; t:set("log", "v") } }]]):format(open, open),
		}
	end)
	teardown(function()
		web.stop()
		server.stop()
	end)

	it("makes a state for every request and leaves none behind", function()
		local function files() return tonumber((proc.output("ls /proc/" .. web.workers()[1] .. "/fd | wc -l"))) end
		for _ = 1, 5 do assert.are.equal("v", body(web, "/once")) end
		local before = files()
		for _ = 1, 60 do assert.are.equal("v", body(web, "/once")) end
		eventually("true", function() return tostring(files() <= before + 5) end)
		assert.are.equal("1", server.cli("EXISTS t:log"))
	end)
end)
