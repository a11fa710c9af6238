-- Several workers: reloads under load, connections of each its own, forks, a pool that is exhausted.
local assert = require("luassert")
local nginx = require("spec.services.nginx")
local proc = require("spec.services.proc")
local redis = require("spec.services.redis")
local support = require("spec.nginx.support")
local body, eventually = support.body, support.eventually

if support.missing("nginx workers", { describe, it, pending }) then return end

local INIT = [[
	zbz = require("zbz")
	cache = assert(zbz.cache.configure{ provider = "redis", url = "%s", key_prefix = "w:" })
	t = assert(zbz.table("t", { ttl = "1h" }))
	small = assert(zbz.cache.new{ provider = "redis", url = "%s", key_prefix = "w:", pool_size = 1 })
]]

local SERVER = [[
	location = /fill { content_by_lua_block { for i = 1, 50 do assert(t:set("k" .. i, "value of k" .. i)) end ngx.print("filled") } }
	location = /get { content_by_lua_block {
		local v, err = t:get("k" .. ngx.var.arg_i)
		ngx.print(v == "value of k" .. ngx.var.arg_i and "right" or "wrong: " .. tostring(v or err)) } }
	location = /loop { content_by_lua_block {
		local right = 0
		for _ = 1, 1500 do
			if t:get("k1") == "value of k1" then right = right + 1 end
		end
		ngx.print(right, " ", ngx.timer.pending_count() < 10, " ", ngx.timer.running_count()) } }
	location = /who { content_by_lua_block { t:get("k1") ngx.print(ngx.worker.pid()) } }
	location = /yielding { content_by_lua_block { ngx.print((t:fetch("y", function() ngx.sleep(0.7) return "loaded" end))) } }
	location = /slow { content_by_lua_block { small:native("redis"):command("BLPOP", "nobody", "1") ngx.print("slow") } }
	location = /small { content_by_lua_block {
		local v, err = small:table("t"):get("k1", ngx.var.arg_d and { deadline = ngx.var.arg_d })
		ngx.print(tostring(v or err)) } }
]]

describe("nginx with four workers", function()
	local server, web

	setup(function()
		server = redis.start()
		web = nginx.start{ init = INIT:format(server.url, server.url), server = SERVER, workers = 4 }
		assert.are.equal("filled", body(web, "/fill"))
	end)
	teardown(function()
		web.stop()
		server.stop()
	end)
	after_each(function() assert.are.same({}, web.errors()) end)

	--- Asks until every worker has answered, each over its own connection.
	local function meet_all()
		local met, n = {}, 0
		for _ = 1, 400 do
			for _, pid in ipairs(web.many(8, "/who")) do
				if not met[pid] then met[pid], n = true, n + 1 end
			end
			if n == 4 then return end
		end
		error("only " .. n .. " workers answer")
	end
	local function clients() return server.cli("CLIENT LIST | grep -v cmd=client | grep -o ' addr=[^ ]*'") end

	it("keeps its waker after a reload, and one timer for it", function()
		assert.are.equal("1500 true 1", body(web, "/loop"))
		local old = web.workers()
		web.reload()
		for _, pid in ipairs(old) do assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(pid), 10)) end
		assert.are.equal("1500 true 1", body(web, "/loop"))
	end)

	it("has connections of each worker's own, and none of an old one after a reload", function()
		meet_all()
		local before, old = clients(), web.workers()
		local _, n = before:gsub("addr=", "")
		assert.is_true(n >= 4, n .. " connections of 4 workers")
		assert.is_true(web.reload())
		for _, pid in ipairs(old) do assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(pid), 2), "an old worker stays") end
		eventually("", clients)
		meet_all()
		for addr in clients():gmatch("addr=%S+") do assert.is_nil(before:find(addr .. "\n", 1, true)) end
	end)

	it("loses no request of eight clients over five reloads, and ends old workers in a second", function()
		local load = ([[for i in $(seq 60); do b=$(curl -s -m 10 '%s/get?i='$((i %% 50 + 1))); echo "$b"; done]]):format(web.url)
		local files = {}
		for i = 1, 8 do
			files[i] = web.dir .. "/load" .. i
			proc.spawn({ "sh", "-c", load }, files[i])
		end
		for _ = 1, 5 do
			local old = web.workers()
			assert.is_true(web.reload())
			for _, pid in ipairs(old) do assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(pid), 5), "an old worker stays") end
		end
		for i = 1, 8 do
			assert.is_true(proc.wait_until("test $(wc -l < " .. files[i] .. ") -ge 60", 60))
			assert.are.equal("60 right", (proc.output("sort " .. files[i] .. " | uniq -c"):gsub("^%s+", "")))
		end
	end)

	it("took no worker more than a second from the signal to its end", function()
		local told, n = {}, 0
		local function seconds(h, m, sec) return (h * 60 + m) * 60 + sec end
		for h, m, sec, pid, what in web.log():gmatch("(%d%d):(%d%d):(%d%d) %[notice%] (%d+)#%d+: (%a+)") do
			if what == "gracefully" then
				told[pid] = told[pid] or seconds(h, m, sec)
			elseif what == "exit" and told[pid] then
				n = n + 1
				assert.is_true((seconds(h, m, sec) - told[pid]) % 86400 <= 1, pid)
			end
		end
		assert.is_true(n >= 20, n .. " workers")
	end)

	it("lets a loader that yields end across a reload, and the old worker a second after it", function()
		local slow = support.background(web, "/yielding", "yielding")
		eventually("1", function() return server.cli("EXISTS w:t:y") end)
		local old = web.workers()
		assert.is_true(web.reload())
		assert.is_true(slow.finished(5))
		local ended = support.now()
		assert.are.equal("loaded", slow.answer())
		for _, pid in ipairs(old) do assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(pid), 3), "an old worker stays") end
		assert.is_true(support.now() - ended < 1.2)
		assert.are.equal("loaded", body(web, "/yielding"))
	end)
end)

describe("nginx with a pool of one connection", function()
	local server, web

	setup(function()
		server = redis.start()
		web = nginx.start{ init = INIT:format(server.url, server.url), server = SERVER }
		assert.are.equal("filled", body(web, "/fill"))
	end)
	teardown(function()
		web.stop()
		server.stop()
	end)

	it("waits for a connection of a pool that is exhausted, as long as the deadline lets it", function()
		local slow = support.background(web, "/slow", "slow")
		proc.output("sleep 0.2")
		local answer = body(web, "/small?d=100ms")
		assert.truthy(answer:find("^timeout: all 1 connections of the pool are in use"), answer)
		assert.are.equal("value of k1", body(web, "/small"))
		assert.is_true(slow.finished(5))
	end)
end)

describe("nginx with a connection from before the fork", function()
	local server, web

	setup(function()
		server = redis.start()
		-- The master opens connections: as a plain program, which is what nobody should do.
		web = nginx.start{ server = SERVER, workers = 2, init = INIT:format(server.url, server.url) .. [[
			assert(zbz.use("plain"))
			for i = 1, 50 do assert(t:set("k" .. i, "value of k" .. i)) end
			assert(cache:native("redis"):pipeline({ "PING" }, { "PING" }))
			assert(zbz.use("nginx"))
		]] }
	end)
	teardown(function()
		web.stop()
		server.stop()
	end)

	it("gives each worker its own: all answers are right", function()
		local script = ([[for c in 1 2 3 4 5 6; do
			(for i in $(seq 50); do b=$(curl -s -m 10 "%s/get?i=$i"); echo "$b"; done) &
		done; wait]]):format(web.url)
		assert.are.equal("300 right", (proc.output("(" .. script .. ") | sort | uniq -c"):gsub("^%s+", "")))
		assert.are.same({}, web.errors())
	end)
end)

describe("nginx with lua_code_cache off, and Redis standing still", function()
	local server, web

	setup(function()
		server = redis.start()
		web = nginx.start{ http = "lua_code_cache off;", server = ([[location = /once { content_by_lua_block {
			local zbz = require("zbz")
			local t = assert(zbz.cache.new{ provider = "redis", url = "%s" }):table("t")
			ngx.thread.spawn(function() t:get("k") end)
			local v, err = t:get("k", { deadline = "100ms" })
			ngx.print(tostring(v or err and err.code))
			ngx.eof()
			ngx.exit(200) } }]]):format(server.url) }
	end)
	teardown(function()
		server.resume()
		web.stop()
		server.stop()
	end)

	it("closes the state of a request without waiting for its calls", function()
		assert.are.equal("nil", body(web, "/once"))
		server.pause()
		for _ = 1, 5 do
			assert.are.equal("timeout", body(web, "/once"))
			assert.is_true(support.slowest(web, "/alive", 2) < 0.4)
		end
		server.resume()
		assert.are.equal("nil", body(web, "/once"))
		assert.is_nil(web.log():find("[error]", 1, true))
	end)
end)
