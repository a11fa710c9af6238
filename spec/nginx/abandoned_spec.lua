-- What is left of calls whose client, light thread or worker has gone: nothing.
local assert = require("luassert")
local nginx = require("spec.services.nginx")
local proc = require("spec.services.proc")
local redis = require("spec.services.redis")
local support = require("spec.nginx.support")
local body, eventually = support.body, support.eventually

if support.missing("nginx abandoned", { describe, it, pending }) then return end

local INIT = [[
	zbz = require("zbz")
	cache = assert(zbz.cache.configure{ provider = "redis", url = "%s", key_prefix = "a:", pool_size = 6 })
	t = assert(zbz.table("t", { ttl = "1h" }))
	local function slow() ngx.sleep(30) return "late" end
	local function quick() return "quick" end
	function lead(k, o) return t:fetch(k, o or {}, slow) end
	function follow(k)
		ngx.update_time()
		local began = ngx.now()
		local v, err, how = t:fetch(k, quick)
		ngx.update_time()
		return ("%%s %%s %%s"):format(tostring(v), how or tostring(err), ngx.now() - began < 1.2 and "soon" or ngx.now() - began)
	end
	leaders = {}
]]

local SERVER = [[
	lua_check_client_abort on;
	location = /lead { content_by_lua_block { ngx.print(tostring(lead(ngx.var.arg_k))) } }
	location = /lead_many { content_by_lua_block {
		t:fetch_multi({ ngx.var.arg_k, "beside" }, function() ngx.sleep(30) return {} end) } }
	location = /lead_locked { content_by_lua_block { lead(ngx.var.arg_k, { lock = "host" }) } }
	location = /follow { content_by_lua_block { ngx.print(follow(ngx.var.arg_k)) } }
	location = /thread { content_by_lua_block {
		leaders[1] = ngx.thread.spawn(function() lead(ngx.var.arg_k) end)
		ngx.sleep(0.3)
		assert(ngx.thread.kill(leaders[1]))
		ngx.sleep(0.05)
		ngx.print("killed") } }
	location = /thread_bounded { content_by_lua_block { -- its loader has a light thread of its own
		local th = ngx.thread.spawn(function() lead(ngx.var.arg_k, { deadline = "20s" }) end)
		ngx.sleep(0.3)
		assert(ngx.thread.kill(th))
		ngx.print("killed") } }
	location = /request { content_by_lua_block { -- the leader is a light thread of a request whose client goes away
		ngx.thread.spawn(function() lead(ngx.var.arg_k) end)
		ngx.sleep(30) } }
	location = /exit { content_by_lua_block {
		ngx.thread.spawn(function() ngx.sleep(0.3) ngx.exit(500) end)
		lead(ngx.var.arg_k) } }
	location = /on_abort { content_by_lua_block {
		assert(ngx.on_abort(function() aborted = true ngx.exit(499) end))
		lead(ngx.var.arg_k) } }
	location = /slow { content_by_lua_block { cache:native("redis"):command("BLPOP", "nobody", "0.3") ngx.print("done") } }
	location = /listing { content_by_lua_block { for _ in t:keys() do ngx.sleep(30) end ngx.print("done") } }
	location = /forever { content_by_lua_block {
		ngx.update_time()
		local began = ngx.now()
		local v, err = t:fetch("forever", { deadline = "300ms" }, function() ngx.sleep(100) end)
		ngx.update_time()
		ngx.print(tostring(v), " ", err.code, " ", ngx.now() - began < 1 and "soon" or ngx.now() - began) } }
	location = /forever_many { content_by_lua_block {
		local v, err = t:fetch_multi({ "x", "y" }, { deadline = "300ms" }, function() ngx.sleep(100) end)
		ngx.print(tostring(v), " ", err.code) } }
	location = /nested { content_by_lua_block { -- within a loader in a light thread of its own
		local v, err = t:fetch("outer", { deadline = "2s" }, function()
			local inner = assert(t:fetch("inner", { deadline = "1s" }, function() ngx.sleep(0.01) return "in" end))
			local _, stuck = t:fetch("outer", { deadline = "1s" }, function() return "never" end)
			return inner .. " " .. stuck.code
		end)
		ngx.print(v) } }
	location = /premature { content_by_lua_block {
		assert(ngx.timer.at(1000, function(premature) if premature then assert(t:set("premature", "yes")) end end))
		ngx.print("armed") } }
	location = /under_way { content_by_lua_block {
		collectgarbage() collectgarbage()
		local flying, undrained = require("zbz.core").under_way()
		ngx.print(flying, " ", undrained) } }
	location = /connections { content_by_lua_block { ngx.print(cache:stats().connections) } }
]]

describe("nginx, what was abandoned", function()
	local server, web

	setup(function()
		server = redis.start()
		web = nginx.start{ init = INIT:format(server.url), server = SERVER }
	end)
	teardown(function()
		web.stop()
		server.stop()
	end)
	after_each(function()
		eventually("0 0", function() return body(web, "/under_way") end)
		local open = body(web, "/connections")
		assert.is_true(tonumber(open) <= 6, open .. " connections")
		assert.are.equal(open, server.cli("CLIENT LIST | grep -c -v cmd=client"))
		assert.are.same({}, web.errors())
	end)

	--- The leader of a key goes away by `gone`; who waits for it, and who comes later, has a value within about a second.
	local function waiters_go_on(key, path, gone)
		local leader = support.background(web, path .. "?k=" .. key, "leader-" .. key)
		eventually("1", function() return server.cli("EXISTS a:t:" .. key) end) -- its lease
		local first = support.background(web, "/follow?k=" .. key, "first-" .. key)
		local second = support.background(web, "/follow?k=" .. key, "second-" .. key)
		proc.output("sleep 0.1")
		assert.is_true(first.running())
		gone(leader)
		local how = {}
		for _, one in ipairs{ first, second } do
			assert.is_true(one.finished(5), "a waiter stays")
			local v, by, when = one.answer():match("^(%S+) (%S+) (%S+)")
			assert.are.equal("quick", v)
			assert.are.equal("soon", when)
			how[by] = (how[by] or 0) + 1
		end
		assert.is_true(how.loaded >= 1)
		assert.are.equal("quick hit soon", body(web, "/follow?k=" .. key))
	end

	it("a leader whose client has gone", function() waiters_go_on("client", "/lead", function(l) l.abort() end) end)
	it("a leader of several keys", function() waiters_go_on("many", "/lead_many", function(l) l.abort() end) end)
	it("a leader that holds a lock among processes", function() waiters_go_on("locked", "/lead_locked", function(l) l.abort() end) end)
	it("a leader whose light thread was killed", function() waiters_go_on("thread", "/thread", function() end) end)
	it("a leader that was killed, and its loader in a light thread of its own", function()
		local request
		waiters_go_on("bounded", "/thread_bounded", function(l) request = l end)
		assert.is_true(request.finished(3), "the loader goes on")
	end)
	it("a leader whose light thread went with its request", function() waiters_go_on("request", "/request", function(l) l.abort() end) end)
	it("a leader whose request ended by ngx.exit", function() waiters_go_on("exit", "/exit", function() end) end)
	it("a leader that ends itself by ngx.on_abort", function() waiters_go_on("on_abort", "/on_abort", function(l) l.abort() end) end)

	it("leaders again and again, when all of this is compiled", function()
		for round = 1, 6 do
			local leaders, followers = {}, {}
			for i = 1, 10 do
				local key = ("%d.%d"):format(round, i)
				leaders[i] = support.background(web, "/request?k=" .. key, "leader-" .. key)
				eventually("1", function() return server.cli("EXISTS a:t:" .. key) end)
				followers[i] = support.background(web, "/follow?k=" .. key, "follower-" .. key)
			end
			for _, l in ipairs(leaders) do l.abort() end
			for i, f in ipairs(followers) do assert.is_true(f.finished(10), ("round %d: waiter %d stays"):format(round, i)) end
		end
	end)

	it("waiters that have gone", function()
		local leader = support.background(web, "/lead?k=alone", "leader-alone")
		eventually("1", function() return server.cli("EXISTS a:t:alone") end)
		for i = 1, 5 do support.background(web, "/follow?k=alone", "gone" .. i).abort() end
		leader.abort()
		local answer = body(web, "/follow?k=alone")
		assert.truthy(answer:find("^quick %a+ soon$"), answer)
	end)

	it("slow calls and listings whose clients have gone", function()
		body(web, "/follow?k=listed")
		for i = 1, 20 do
			support.background(web, i % 2 == 0 and "/slow" or "/listing", "slow" .. i).abort()
		end
		assert.are.equal("done", body(web, "/slow"))
	end)

	it("a loader that never returns, where there is a deadline", function()
		local both = { support.background(web, "/forever", "f1"), support.background(web, "/forever", "f2") }
		local codes = {}
		for _, one in ipairs(both) do -- the one ran it, the other waited for it
			assert.is_true(one.finished(3))
			codes[one.answer():match("^nil (%a+) soon$")] = true
		end
		assert.is_true(codes.timeout)
		assert.are.equal("quick loaded soon", body(web, "/follow?k=forever"))
		assert.are.equal("nil timeout", body(web, "/forever_many"))
		assert.are.equal("in locked", body(web, "/nested"))
	end)

	it("timers that fire before their time, when the worker ends", function()
		assert.are.equal("armed", body(web, "/premature"))
		local old = web.workers()[1]
		web.reload()
		assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(old), 2), "the old worker stays")
		assert.are.equal('"yes"', server.cli("GET a:t:premature"))
	end)

	it("calls under way for nobody, when the worker ends", function()
		local old = web.workers()[1]
		server.pause()
		for i = 1, 5 do support.background(web, "/follow?k=stuck" .. i, "stuck" .. i).abort() end
		local began = support.now()
		web.reload()
		assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(old), 3), "the old worker stays")
		assert.is_true(support.now() - began < 2)
		server.resume()
	end)
end)
