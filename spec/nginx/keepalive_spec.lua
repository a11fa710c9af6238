-- Clients that keep their connections while nginx is told to reload again and again: every request is answered, by a connection that nginx
-- has not closed or announced to close, and old workers are gone within a second of their last answer.
local assert = require("luassert")
local nginx = require("spec.services.nginx")
local proc = require("spec.services.proc")
local redis = require("spec.services.redis")
local support = require("spec.nginx.support")

if support.missing("nginx keep-alive", { describe, it, pending }) then return end
if not select(2, proc.output("lua5.4 -e 'require(\"luv\")' 2>&1")) then
	print("SKIP nginx keep-alive: the client needs lua-luv")
	describe("nginx keep-alive", function() it("needs lua-luv", function() pending("lua-luv is not installed") end) end)
	return
end

local INIT = [[
	zbz = require("zbz")
	cache = assert(zbz.cache.configure{ provider = "redis", url = "%s", key_prefix = "k:" })
	t = assert(zbz.table("t"))
	assert(zbz.log.configure{ outputs = { { type = "file", path = "%s/app.log", ring = "%s" } } })
	log = zbz.log.logger("web")
	served = log:event("served", "worker")
]]
local SERVER = [[
	keepalive_requests 1000000;
	location = /redis { content_by_lua_block {
		local ok, err = t:set("a", ngx.worker.pid())
		local v = t:get("a")
		assert(ok and v, tostring(err))
		local body = ngx.worker.pid() .. " redis"
		ngx.header["Content-Length"] = #body
		ngx.print(body) }
		log_by_lua_block { served(ngx.worker.pid()); t:incr("requests") } }
	location = /fetch { content_by_lua_block {
		local v, err = t:fetch("f" .. math.random(20), { ttl = "20ms" }, function() ngx.sleep(0.005); return "x" end)
		assert(v == "x", tostring(err))
		local body = ngx.worker.pid() .. " fetch"
		ngx.header["Content-Length"] = #body
		ngx.print(body) }
		log_by_lua_block { served(ngx.worker.pid()); t:incr("requests") } }
	location = /slow { content_by_lua_block {
		log:info("begun")
		ngx.sleep(1.5)
		assert(t:get("a"))
		local body = ngx.worker.pid() .. " slow"
		ngx.header["Content-Length"] = #body
		ngx.print(body) }
		log_by_lua_block { served(ngx.worker.pid()); t:incr("requests") } }
]]

describe("keep-alive clients over reloads", function()
	local server, web, dir, clients

	setup(function()
		dir = proc.folder()
		server = redis.start()
		web = nginx.start{ workers = 2, init = INIT:format(server.url, dir, dir), server = SERVER }
		assert.are.equal(200, (web.get("/redis")))
	end)
	teardown(function()
		if clients then proc.kill(clients) end
		web.stop()
		server.stop()
		proc.remove(dir)
	end)

	local function start(n, ...)
		clients = proc.spawn({ "lua5.4", "spec/nginx/keepalive_client.lua", tostring(web.port), tostring(n), ... }, dir .. "/clients")
	end
	local function report()
		proc.signal(clients, "TERM")
		assert.is_true(proc.wait_until(("! kill -0 %d"):format(clients), 20))
		clients = nil
		local text = proc.output("cat " .. dir .. "/clients")
		local r = { text = text, last = {} }
		for name, n in text:gmatch("(%l+)\t(%d+)\n") do r[name] = tonumber(n) end
		for pid, at in text:gmatch("last (%d+)\t([%d.]+)") do r.last[tonumber(pid)] = tonumber(at) end
		assert.are.equal(0, r.failed, text)
		return r
	end
	local function log_lines() return tonumber((proc.output("grep -c served " .. dir .. "/app.log"))) end

	--- Reloads; when each of the old workers had gone.
	local function reload(gone)
		local old = web.workers()
		assert.is_true(web.reload())
		for _, pid in ipairs(old) do
			assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(pid), 15), "an old worker stays")
			gone[pid] = support.now()
		end
	end

	it("fails none of their requests, and is rid of old workers at once", function()
		support.eventually("1", function() return server.cli("GET k:t:requests") end) -- of the setup
		local before = 1
		local gone, logged = {}, log_lines()
		start(8, "/redis", "/fetch")
		assert.is_true(proc.wait_until(("[ \"$(grep -c served %s/app.log)\" -ge %d ]"):format(dir, logged + 100), 10))
		for _ = 1, 8 do reload(gone) end
		local r = report()
		assert.is_true(r.answered > 200 and r.announced > 0, r.text)
		for pid, at in pairs(gone) do
			if r.last[pid] then assert.is_true(at - r.last[pid] < 1, ("%d stayed for %.3f s"):format(pid, at - r.last[pid])) end
		end
		support.eventually(tostring(before + r.answered), function() return server.cli("GET k:t:requests") end)
		assert.is_true(proc.wait_until(("[ \"$(grep -c served %s/app.log)\" -ge %d ]"):format(dir, logged + r.answered), 10))
		assert.are.equal(logged + r.answered, log_lines())
		assert.are.same({}, web.errors())
	end)

	it("lets a slow request end in its old worker, and that one then", function()
		local gone = {}
		start(4, "/slow")
		assert.is_true(proc.wait_until(("[ \"$(grep -c begun %s/app.log)\" -ge 4 ]"):format(dir), 10))
		reload(gone)
		local r = report()
		local seen = 0
		for pid, at in pairs(gone) do
			if r.last[pid] then
				seen = seen + 1
				assert.is_true(at - r.last[pid] < 1, ("%d stayed for %.3f s"):format(pid, at - r.last[pid]))
			end
		end
		assert.is_true(seen > 0 and r.announced > 0 and r.idle == 0, r.text)
		assert.are.same({}, web.errors())
	end)
end)
