-- The shared segment, the L1 over it and its counters in real nginx workers.
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
	cache = assert(zbz.cache.configure{ provider = "shared", size = "4MB", zone = "nginx" })
	t = assert(zbz.table("t", { l1 = 1000 }))
	plain = assert(zbz.table("plain"))
	t:set("early", { "from init" })
	t:get("early")
]]

local SERVER = [[
	location = /set { content_by_lua_block { ngx.print(tostring(t:set(ngx.var.arg_k, { v = ngx.var.arg_v }))) } }
	location = /delete { content_by_lua_block { ngx.print(tostring(t:delete(ngx.var.arg_k))) } }
	location = /get { content_by_lua_block {
		local seen
		for _ = 1, 3 do seen = t:get(ngx.var.arg_k) end
		ngx.print(seen and (seen.v or seen[1]) or "nil", " ", ngx.worker.pid(), " ", t:stats().l1_hits) } }
	location = /early { content_by_lua_block { ngx.print(t:get("early")[1], " ", t:fetch("early", error)[1]) }
		log_by_lua_block { assert(t:get("early")[1] == "from init") } }
	location = /doors { content_by_lua_block { ngx.print(tostring(require("zbz.ffi.doors").installed)) } }
	location = /expire { content_by_lua_block {
		t:set("short", { 1 }, 0.15); t:get("short"); t:get("short")
		local before = t:stats().l1_hits
		local there = t:get("short") ~= nil
		local ends = require("zbz.core").mono() + 200
		while require("zbz.core").mono() < ends do end -- no yield: the time that nginx knows stands still
		ngx.print(tostring(there), " ", t:stats().l1_hits - before, " ", tostring(t:get("short"))) } }
	location = /spin { content_by_lua_block {
		local f = io.open(ngx.config.prefix() .. "spin", "w"); f:write(ngx.worker.pid()); f:close()
		while true do for i = 1, 200 do t:set("k" .. i, { v = i }) end end } }
	location = /check { content_by_lua_block {
		local wrong, there = 0, 0
		for i = 1, 200 do
			if not t:get("k" .. i) then t:set("k" .. i, { v = i }) end
			t:get("k" .. i)
			local kept, raw = t:get("k" .. i), t:get_raw("k" .. i)
			if raw ~= (kept and '{"v":' .. kept.v .. '}') then wrong = wrong + 1 end
			if kept then there = there + 1 end
		end
		ngx.print(wrong, " ", there) } }
	location = /count { content_by_lua_block {
		assert(plain:get("k") == 1)
		ngx.print(ngx.worker.pid(), " ", cache:stats().provider_counters.this_process.hits) } }
	location = /fill { content_by_lua_block { plain:set("k", 1); ngx.print(cache:stats().provider_counters.total.hits) } }
	location = /total { content_by_lua_block { ngx.print(cache:stats().provider_counters.total.hits) } }
]]

local function body(web, path)
	local _, text = web.get(path)
	return text
end

describe("the L1 in nginx", function()
	local web
	setup(function() web = nginx.start{ init = INIT, server = SERVER, workers = 2 } end)
	teardown(function() web.stop() end)

	it("goes through the doors, also for what was kept before the fork", function()
		assert.are.equal("true", body(web, "/doors"))
		assert.are.equal("from init from init", body(web, "/early"))
		assert.are.same({}, web.errors())
	end)

	it("is never behind another worker", function()
		local pids, hits = {}, 0
		for i = 1, 40 do
			assert.are.equal("true", body(web, "/set?k=a&v=" .. i))
			for _, line in ipairs(web.many(4, "/get?k=a")) do
				local v, pid, n = line:match("^(%S+) (%d+) (%d+)$")
				assert.are.equal(tostring(i), v)
				pids[pid], hits = true, hits + tonumber(n)
			end
		end
		local n = 0
		for _ in pairs(pids) do n = n + 1 end
		assert.are.equal(2, n, "only one worker has answered")
		assert.is_true(hits > 0)
		assert.are.equal("true", body(web, "/delete?k=a"))
		for _, line in ipairs(web.many(6, "/get?k=a")) do assert.are.equal("nil", line:match("^%S+")) end
	end)

	it("sees the end of a value although the loop stood still", function()
		assert.are.equal("true 1 nil", body(web, "/expire"))
	end)

	it("holds nothing of what a killed worker was writing", function()
		for _ = 1, 4 do
			assert.are.equal("0 200", body(web, "/check"))
			os.remove(web.dir .. "/spin")
			proc.spawn({ "curl", "-s", "-m", "20", web.url .. "/spin" }, "/dev/null")
			assert.is_true(proc.wait_until("test -s " .. web.dir .. "/spin", 10))
			local victim = tonumber((proc.output("cat " .. web.dir .. "/spin")))
			assert.is_true(proc.kill(victim))
			for _, line in ipairs(web.many(4, "/check")) do assert.are.equal("0 200", line) end
		end
	end)
end)

describe("the L1 over a tier over Redis in nginx", function()
	it("answers where nothing can wait, and hears of changes by others", function()
		local server = redis.start()
		local web = nginx.start{ workers = 1, init = ([[
			zbz = require("zbz")
			local cache = assert(zbz.cache.new{ provider = "multitier", l1 = { provider = "memory" }, l2 = { provider = "redis", url = "%s" } })
			t = assert(cache:table("t", { l1 = 100 }))
			first = t:info().l1
		]]):format(server.url), server = [[
			location = /set { content_by_lua_block { ngx.print(tostring(t:set("k", { v = ngx.var.arg_v })), " ", first) } }
			location = /get {
				header_filter_by_lua_block { local v = t:get("k"); ngx.header["X-Value"] = v and v.v or "none" }
				content_by_lua_block {
					local v
					for _ = 1, 3 do v = t:get("k") end
					ngx.print(v.v, " ", t:fetch("k", error).v, " ", t:stats().l1_hits) } }
		]] }
		assert.are.equal("true 100", body(web, "/set?v=one"))
		local before = 0
		for _ = 1, 5 do
			local _, text, head = web.get("/get")
			local a, b, hits = text:match("^(%w+) (%w+) (%d+)$")
			assert.are.same({ "one", "one" }, { a, b })
			assert.truthy(head:find("X-Value: one", 1, true), head)
			before = tonumber(hits)
		end
		assert.is_true(before > 5, before .. " hits")
		server.cli([[SET t:k '{"v":"two"}']])
		local answer
		for _ = 1, 200 do -- Redis tells of it; when, it does not say
			answer = body(web, "/get")
			if answer:find("^two two") then break end
		end
		assert.truthy(answer:find("^two two"), answer)
		assert.are.same({}, web.errors())
		web.stop()
		server.stop()
	end)
end)

describe("the counters of the segment in nginx", function()
	it("add up over four workers to the number of requests", function()
		local web = nginx.start{ init = INIT, server = SERVER, workers = 4 }
		local before = tonumber(body(web, "/fill"))
		local most, requests, workers, sum = {}, 0, 0, 0
		for _ = 1, 12 do
			for _, line in ipairs(web.many(25, "/count")) do
				local pid, n = line:match("^(%d+) (%d+)$")
				requests = requests + 1
				most[pid] = math.max(most[pid] or 0, tonumber(n))
			end
		end
		for _, n in pairs(most) do workers, sum = workers + 1, sum + n end
		assert.are.equal(300, requests)
		assert.is_true(workers > 1)
		assert.are.equal(requests, tonumber(body(web, "/total")) - before)
		assert.are.equal(requests, sum)
		assert.are.same({}, web.errors())
		web.stop()
	end)
end)
