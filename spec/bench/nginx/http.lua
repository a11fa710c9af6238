-- nginx under wrk: what a slow backend does to other pages, and Redis through zbz against lua-nginx-redis. The contestants take turns, a
-- second each; medians, and ratios of rates to the first of a row. Usage: ROUNDS=7 lua5.4 spec/bench/nginx/http.lua [workers]
local nginx = require("spec.services.nginx")
local proc = require("spec.services.proc")
local redis = require("spec.services.redis")

local ROUNDS = tonumber(os.getenv("ROUNDS") or 7)
local CONNECTIONS = 32

local INIT = [[
	local zbz = require("zbz")
	local cache = assert(zbz.cache.new{ provider = "redis", url = "%s", key_prefix = "b:" })
	t = assert(cache:table("t", { serializer = "bytes", ttl = "1h" }))
	r = assert(cache:native("redis"))
	keys, full = {}, {}
	for i = 1, 100 do keys[i] = "key:" .. i; full[i] = "b:t:" .. keys[i] end
	peer = require("nginx.redis")
	function with_peer(fn)
		local red = peer:new()
		red:set_timeout(1000)
		assert(red:connect("127.0.0.1", %d))
		local v = fn(red)
		red:set_keepalive(60000, 100)
		return v
	end
]]

local SERVER = [[
	keepalive_requests 1000000000;
	location = /fill { content_by_lua_block {
		for i = 1, 100 do assert(t:set(keys[i], ("v"):rep(100))) end
		assert(r:command("CONFIG", "SET", "hz", "500")) -- how often Redis looks for waits that have ended: ten times a second by itself
		ngx.print("filled") } }
	location = /const { content_by_lua_block { ngx.print("hello") } }
	location = /slow { content_by_lua_block { r:command("BLPOP", "nobody", "0.005"); ngx.print("slow") } }
	location = /peer_slow { content_by_lua_block {
		with_peer(function(red) return red:blpop("nobody", "0.005") end); ngx.print("slow") } }
	location = /get { content_by_lua_block { ngx.print(t:get("key:1")) } }
	location = /peer_get { content_by_lua_block { ngx.print(with_peer(function(red) return red:get("b:t:key:1") end)) } }
	location = /mget { content_by_lua_block {
		local found = t:get_multi(keys)
		ngx.print(#found["key:100"]) } }
	location = /peer_mget { content_by_lua_block { ngx.print(#with_peer(function(red) return red:mget(unpack(full)) end)[100]) } }
]]

local function wrk(web, path, connections, seconds)
	return ("wrk -t1 -c%d -d%ds http://127.0.0.1:%d%s"):format(connections, seconds, web.port, path)
end

local function rate(text)
	local n = tonumber(text:match("Requests/sec:%s+([%d.]+)"))
	assert(n and not text:find("Non%-2xx"), text)
	return n
end

local function median(list)
	table.sort(list)
	return list[(#list + 1) // 2]
end

--- rows: { { name, path [, beside = path with connections ] }, ... }
local function compare(web, title, contestants)
	local rates = {}
	for i in ipairs(contestants) do rates[i] = {} end
	for round = 0, ROUNDS do
		for i, c in ipairs(contestants) do
			local beside = c.beside and io.popen(wrk(web, c.beside, 4, 2))
			if beside then proc.output("sleep 0.3") end
			local got = rate((proc.output(wrk(web, c.path, c.connections or CONNECTIONS, 1))))
			if beside then beside:close() end
			if round > 0 then table.insert(rates[i], got) end -- the first warms up
		end
	end
	print("\n" .. title)
	local base
	for i, c in ipairs(contestants) do
		local m = median(rates[i])
		base = base or m
		print(("  %-52s %9.0f /s   %6.2fx"):format(c.name, m, m / base))
	end
	io.stdout:flush()
end

local function run(workers)
	local server = redis.start()
	local web = nginx.start{ workers = workers, log = "warn", init = INIT:format(server.url, server.port), server = SERVER }
	local ok, err = pcall(function()
		assert(select(2, web.get("/fill")) == "filled", web.log())
		local with = (" (%d worker%s, %d connections)"):format(workers, workers > 1 and "s" or "", CONNECTIONS)
		compare(web, "a constant page" .. with, {
			{ name = "alone", path = "/const" },
			{ name = "beside 5 ms backend calls on four connections", path = "/const", beside = "/slow" },
			{ name = "beside the same through lua-nginx-redis", path = "/const", beside = "/peer_slow" },
		})
		compare(web, "Redis GET of 100 bytes" .. with, {
			{ name = "lua-nginx-redis", path = "/peer_get" }, { name = "zbz", path = "/get" },
		})
		compare(web, "Redis MGET of 100 keys" .. with, {
			{ name = "lua-nginx-redis", path = "/peer_mget" }, { name = "zbz get_multi", path = "/mget" },
		})
	end)
	local bad = web.errors()
	web.stop()
	server.stop()
	assert(ok, err)
	assert(#bad == 0, bad[1])
end

for _, workers in ipairs(arg[1] and { math.tointeger(tonumber(arg[1])) } or { 1, 2 }) do run(workers) end
