-- What each phase of nginx can do: memory and shared answer everywhere; where nothing can wait, reads of Redis are refused by name of
-- the phase, and writes are queued, in order and in bounds, with a word about those that fail later.
local assert = require("luassert")
local nginx = require("spec.services.nginx")
local proc = require("spec.services.proc")
local redis = require("spec.services.redis")
local support = require("spec.nginx.support")
local body, eventually = support.body, support.eventually

if support.missing("nginx phases", { describe, it, pending }) then return end

local INIT = [[
	zbz = require("zbz")
	URL = "%s"
	cache = assert(zbz.cache.configure{ provider = "redis", url = URL, key_prefix = "p:" })
	t = assert(zbz.table("t"))
	lua_t = assert(zbz.table("lua", { schema = { n = "integer" } }))
	mem = assert(zbz.cache.new{ provider = "memory" }):table("m")
	sh = assert(zbz.cache.new{ provider = "shared", size = "1MB" }):table("s")
	seen = {}
	local function code(phase, v, err) -- the code, and that the message names the phase
		if v ~= nil or not err then return tostring(v) end
		return err.code .. (err.message:find("'" .. phase .. "'", 1, true) and "" or "(no phase)")
	end
	function probe(phase)
		local name = ngx.get_phase()
		local function tell(v, err) return code(name, v, err) end
		local loaded = 0
		local _, fetch_err = t:fetch("f", function() loaded = loaded + 1; return 1 end)
		local _, fresh_err = t:fetch("f", { fresh = true }, function() loaded = loaded + 1; return 1 end)
		local closing = zbz.cache.new{ provider = "redis", url = URL }
		seen[phase] = {
			name = name,
			mem = tostring(mem:set(phase, 1) and mem:get(phase)) .. tostring(mem:incr(phase)),
			sh = tostring(sh:set(phase, 1) and sh:get(phase)) .. tostring(sh:incr(phase)),
			get = tell(t:get("absent")), get_multi = tell(t:get_multi{ "absent" }), exists = tell(t:exists("absent")),
			keys = tell(t:keys()), ping = tell(cache:ping()), add = tell(t:add("add", 1)), clear = tell(cache:table("none"):clear()),
			fetch = fetch_err and fetch_err.code or "none", fresh = fresh_err and fresh_err.code or "none", loaded = loaded,
			only = tell(t:set("only", 1, { only = "absent" })), command = tell(cache:native("redis"):command("PING")),
			set = tell(t:set("set-" .. phase, 1)), lua_set = tell(lua_t:set("set-" .. phase, { n = 1 })),
			set_multi = tell(t:set_multi{ ["multi-" .. phase] = 1 }), delete = tell(t:delete("gone-" .. phase)),
			incr = tell(t:incr("incr-" .. phase, 5)), expire = tell(t:expire("old-" .. phase, 1000)),
			swap = tell(cache:swap_provider{ provider = "redis", url = URL }), close = tell(closing:close()),
		}
	end
	probe("init")
]]

local HTTP = [[
	init_worker_by_lua_block { probe("init_worker") }
	log_format short "$status";
	upstream chosen { server 0.0.0.1; balancer_by_lua_block {
		probe("balancer"); assert(require("ngx.balancer").set_current_peer("127.0.0.1", PORT)) } }
	server {
		listen 127.0.0.1:%d ssl;
		ssl_certificate %s; ssl_certificate_key %s;
		ssl_certificate_by_lua_block { probe("ssl_certificate") }
		location / { return 200 "tls"; }
	}
]]

local SERVER = [[
	set_by_lua_block $x { PORT = ngx.var.server_port; return 1 }
	location = /set { set_by_lua_block $y { probe("set"); return 1 } return 200 "ok"; }
	location = /rewrite { rewrite_by_lua_block { probe("rewrite") } content_by_lua_block { ngx.print("ok") } }
	location = /access { access_by_lua_block { probe("access") } content_by_lua_block { ngx.print("ok") } }
	location = /content { content_by_lua_block { probe("content"); ngx.print("ok") } }
	location = /header_filter { header_filter_by_lua_block { probe("header_filter") } return 200 "ok"; }
	location = /body_filter { body_filter_by_lua_block { if ngx.arg[2] then probe("body_filter") end } return 200 "ok"; }
	location = /log { log_by_lua_block { probe("log") } return 200 "ok"; }
	location = /balancer { proxy_pass http://chosen/alive; }
	location = /timer { content_by_lua_block {
		assert(ngx.timer.at(0, function() probe("timer") end))
		while not seen.timer do ngx.sleep(0.01) end
		ngx.print("ok") } }
	location = /required { content_by_lua_block {
		package.preload.inside = function() probe("required") return true end
		require("inside")
		ngx.print("ok") } }
	location = /seen { content_by_lua_block { ngx.print(tostring((seen[ngx.var.arg_phase] or {})[ngx.var.arg_what])) } }
	location = /flood { log_by_lua_block {
		refused, codes = 0, {}
		for i = 1, 9000 do
			local ok, err = t:set("flood-" .. i, i)
			if not ok then refused = refused + 1; codes[err.code] = true end
		end } return 200 "ok"; }
	location = /fail { log_by_lua_block { for i = 1, 5 do t:set("late-" .. i, i, { deadline = "50ms" }) end } return 200 "ok"; }
	location = /order { log_by_lua_block {
		local closing = assert(zbz.cache.new{ provider = "redis", url = URL, key_prefix = "c:" })
		local last = assert(closing:table("t"))
		for i = 1, 100 do
			t:set("last", i)
			lua_t:set("last", { n = i })
			t:set("key" .. i, 0); t:incr("key" .. i, i); t:expire("key" .. i, 1000)
			t:set_multi{ ["a" .. i] = 1, ["b" .. i] = 1 }
			t:delete_multi{ "a" .. i }; t:delete("b" .. i); t:set("b" .. i, 2)
			last:set("x", i)
		end
		order_closed = tostring(closing:close())
		t:set("done", 1)
	} return 200 "ok"; }
	location = /order_closed { content_by_lua_block { ngx.print(order_closed) } }
	location = /refused { content_by_lua_block { ngx.print(refused, " ", next(codes), " ", next(codes, (next(codes)))) } }
	location = /writes { content_by_lua_block {
		local w = require("zbz.host.loop").writes
		ngx.print(w.queued, " ", w.failed, " ", w.refused) } }
	location = /stats { content_by_lua_block {
		local s = cache:stats()
		ngx.print(s.queued_writes, " ", s.queue_failed, " ", s.queue_refused) } }
]]

local CAN_WAIT = { "rewrite", "access", "content", "timer", "ssl_certificate" }
local CANNOT_WAIT = { "init_worker", "set", "header_filter", "body_filter", "log", "balancer", "required" }

describe("nginx phases", function()
	local server, web, tls

	setup(function()
		server = redis.start()
		for _, list in ipairs{ CAN_WAIT, CANNOT_WAIT } do
			for _, phase in ipairs(list) do server.cli("SET p:t:old-" .. phase .. " 1") end
		end
		tls = proc.free_port()
		web = nginx.start{ init = INIT:format(server.url), http = HTTP:format(tls, server.cert, server.key), server = SERVER }
	end)
	after_each(function() server.resume() end)
	teardown(function()
		web.stop()
		server.stop()
	end)

	local function seen(phase, what) return body(web, ("/seen?phase=%s&what=%s"):format(phase, what)) end
	local function visit(phase)
		if phase == "ssl_certificate" then
			assert.are.equal("tls", (proc.output(("curl -sk -m 5 https://127.0.0.1:%d/"):format(tls))))
		elseif phase ~= "init" and phase ~= "init_worker" then
			assert.are.equal(200, (web.get("/" .. phase)))
		end
	end

	for _, phase in ipairs(CAN_WAIT) do
		it("waits in " .. phase, function()
			visit(phase)
			for what, wanted in pairs{ mem = "12", sh = "12", get = "nil", exists = "false", ping = "true", fetch = "none", fresh = "none",
				set = "true", lua_set = "true", set_multi = "true", delete = "true", incr = "5", expire = "true", command = "PONG",
				swap = "true", close = "true" } do
				assert.are.equal(wanted, seen(phase, what), phase .. " " .. what)
			end
			server.cli("DEL p:t:f p:t:add p:t:only")
			assert.are.same({}, web.errors())
		end)
	end

	for _, phase in ipairs(CANNOT_WAIT) do
		it("refuses reads and queues writes in " .. phase, function()
			visit(phase)
			assert.are.same({}, web.errors())
			eventually("true", function() return tostring(seen(phase, "name") ~= "nil") end)
			for what, wanted in pairs{ mem = "12", sh = "12", get = "unsupported", get_multi = "unsupported", exists = "unsupported",
				keys = "unsupported", ping = "unsupported", add = "unsupported", clear = "unsupported", fetch = "unsupported",
				fresh = "unsupported", loaded = "0", only = "unsupported", command = "unsupported", swap = "unsupported",
				set = "true", lua_set = "true", set_multi = "true", delete = "true", incr = "true", expire = "true", close = "true" } do
				local got = seen(phase, what)
				if phase == "required" then got = got:gsub("%(no phase%)", "") end -- there it is require() that is named
				assert.are.equal(wanted, got, phase .. " " .. what)
			end
			for _, key in ipairs{ "t:set-", "lua:set-", "t:multi-" } do
				eventually("1", function() return server.cli("EXISTS p:" .. key .. phase) end)
			end
			eventually("5", function() return server.cli("GET p:t:incr-" .. phase) end)
			eventually("true", function()
				local left = tonumber(server.cli("TTL p:t:old-" .. phase))
				return tostring(left > 0 and left <= 1000)
			end)
			assert.are.same({}, web.errors())
		end)
	end

	it("opens nothing in init", function()
		for what, wanted in pairs{ name = "init", mem = "12", sh = "12", get = "unsupported", set = "unsupported", incr = "unsupported",
			ping = "unsupported", fetch = "unsupported", close = "true" } do
			assert.are.equal(wanted, seen("init", what), what)
		end
	end)

	it("bounds the queue, counts what it refused, and loses nothing of the rest", function()
		server.pause()
		assert.are.equal(200, (web.get("/flood")))
		assert.are.equal((9000 - 8192) .. " unavailable nil", body(web, "/refused"))
		assert.are.equal("8192 0 " .. (9000 - 8192), body(web, "/writes"))
		server.resume()
		eventually("0 0 " .. (9000 - 8192), function() return body(web, "/writes") end, 500)
		assert.are.equal("0 0 " .. (9000 - 8192), body(web, "/stats"))
		assert.are.equal("8192", server.cli("EVAL \"return #redis.call('KEYS', 'p:t:flood-*')\" 0"))
		assert.are.same({}, web.errors())
	end)

	it("keeps the order of queued writes by key, and closes a cache after them", function()
		for _ = 1, 5 do
			server.cli("FLUSHALL")
			assert.are.equal(200, (web.get("/order")))
			eventually("0", function() return (body(web, "/writes"):match("^%d+")) end, 500)
			assert.are.same({}, web.errors())
			assert.are.equal("true", body(web, "/order_closed"))
			assert.are.equal("100", server.cli("GET p:t:last"))
			assert.are.equal('{"n":100}', server.cli("GET p:lua:last"))
			assert.are.equal("100", server.cli("GET c:t:x"))
			for i = 1, 100 do
				assert.are.equal(tostring(i), server.cli("GET p:t:key" .. i))
			end
			local facts = server.cli([[EVAL "local n = 0
				for i = 1, 100 do
					local ttl = redis.call('TTL', 'p:t:key' .. i)
					if redis.call('EXISTS', 'p:t:a' .. i) == 0 and redis.call('GET', 'p:t:b' .. i) == '2' and ttl > 900 then n = n + 1 end
				end
				return n" 0]])
			assert.are.equal("100", facts)
		end
		assert.are.same({}, web.errors())
	end)

	it("counts and reports queued writes that fail later", function()
		server.pause()
		assert.are.equal(200, (web.get("/fail")))
		eventually("0 5", function() return (body(web, "/writes"):match("^%d+ %d+")) end)
		server.resume()
		local bad = web.errors()
		assert.are.equal(1, #bad)
		assert.truthy(bad[1]:find("a queued write failed (1 since the last report)", 1, true), bad[1])
		assert.truthy(bad[1]:find("timeout", 1, true), bad[1])
	end)
end)
