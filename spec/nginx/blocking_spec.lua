-- No call holds up the worker: Redis stands still for two seconds, every kind of call is begun, and other pages go on.
local assert = require("luassert")
local nginx = require("spec.services.nginx")
local redis = require("spec.services.redis")
local support = require("spec.nginx.support")
local body = support.body

local INIT = [[
	zbz = require("zbz")
	local function patient(more)
		local o = { url = "%s", timeout = "30s", read_timeout = "30s", pool_size = 50 }
		for k, v in pairs(more or {}) do o[k] = v end
		return o
	end
	local function open() return assert(zbz.cache.new(patient{ provider = "redis", key_prefix = "b:" })) end
	local function provider() return assert(zbz.cache.provider("redis", patient())) end
	local main = open()
	t = main:table("t", { ttl = "1h" })
	local l = main:table("l", { serializer = { encode = function(v) return v end, decode = function(s) return s end } })
	local function busy(cache) -- a call under way, which closing has to wait for
		return ngx.thread.spawn(function() cache:ping() end)
	end
	prepared = {}
	prepare = {
		close = function() return open() end,
		close_provider = function() return provider() end,
		swap = function() return open() end,
		unsubscribe = function() return assert(main:native("redis"):subscribe("news", function() end)) end,
	}
	kinds = {
		get = function() return t:get("k") end, set = function() return t:set("k", "v") end, lua_table = function() return l:set("k", "v") end,
		get_multi = function() return t:get_multi{ "k", "z" } end, set_multi = function() return t:set_multi{ k = "v" } end,
		incr = function() return t:incr("n") end, expire = function() return t:expire("k", 60) end,
		fetch = function() return t:fetch("f", function() return 1 end) end,
		keys = function() local n = 0; for _ in t:keys() do n = n + 1 end; return n > 0 end,
		clear = function() return main:table("empty"):clear() end,
		clear_all = function() return zbz.cache.new(patient{ provider = "redis", key_prefix = "empty:" }):clear() end,
		ping = function() return main:ping() end, stats = function() return main:stats() end, version = function() return main:version() end,
		health = function() return main:health().status ~= "unhealthy" end,
		command = function() return main:native("redis"):command("PING") end,
		pipeline = function() return #main:native("redis"):pipeline({ "PING" }, { "PING" }) == 2 end,
		subscribe = function() return main:native("redis"):subscribe("more", function() end) end,
		unsubscribe = function(s) return s:close() end,
		open = function() return open() end, provider_ping = function() return provider():ping() end,
		close = function(c) busy(c) return c:close() end,
		close_provider = function(p) ngx.thread.spawn(function() p:ping() end) return p:close() end,
		swap = function(c) busy(c) return c:swap_provider(provider(), { deadline = "30s" }) end,
		swap_spec = function() return open():swap_provider(patient{ provider = "redis" }) end,
		configure = function()
			zbz.cache.configure(patient{ provider = "redis" })
			zbz.cache.ping()
			return zbz.cache.configure{ provider = "memory" }
		end,
		collect = function() -- handles nobody closed, with a call under way
			local c = open()
			assert(ngx.thread.kill(busy(c)))
			c = nil -- luacheck: ignore
			collectgarbage() collectgarbage()
			return true
		end,
	}
]]

local SERVER = [[
	location = /names { content_by_lua_block { for name in pairs(kinds) do ngx.say(name) end } }
	location = /prepare { content_by_lua_block {
		for name, fn in pairs(prepare) do prepared[name] = fn() end
		assert(t:set("k", "v"))
		ngx.print("ok") } }
	location = /call { content_by_lua_block {
		local name = ngx.var.arg_kind
		local ok, err = kinds[name](prepared[name])
		ngx.print(ok and "done" or tostring(err)) } }
	location = /page { content_by_lua_block { ngx.print("page") } }
	location = /left { content_by_lua_block {
		collectgarbage()
		local flying, undrained = require("zbz.core").under_way()
		ngx.print(flying, " ", undrained) } }
]]

if support.missing("nginx blocking", { describe, it, pending }) then return end

describe("nginx, with Redis standing still for two seconds", function()
	local server, web

	setup(function()
		server = redis.start()
		web = nginx.start{ init = INIT:format(server.url), server = SERVER }
	end)
	teardown(function()
		web.stop()
		server.stop()
	end)

	it("answers other pages whatever call is under way", function()
		local kinds = {}
		for name in body(web, "/names"):gmatch("%S+") do kinds[#kinds + 1] = name end
		table.sort(kinds)
		assert.is_true(#kinds > 20)
		assert.are.equal("ok", body(web, "/prepare"))
		server.pause()
		local began, calls = support.now(), {}
		for _, kind in ipairs(kinds) do
			calls[kind] = support.background(web, "/call?kind=" .. kind, kind)
			local worst = support.slowest(web, "/page", 3)
			assert.is_true(worst < 0.4, ("%s held the worker up for %.2f s"):format(kind, worst))
		end
		while support.now() - began < 2 do assert.is_true(support.slowest(web, "/page", 5) < 0.4) end
		for _, kind in ipairs(kinds) do
			local waits = kind ~= "open" and kind ~= "collect"
			if kind ~= "unsubscribe" then assert.are.equal(waits, calls[kind].running(), kind .. ": " .. calls[kind].answer()) end
		end
		server.resume()
		for _, kind in ipairs(kinds) do
			assert.is_true(calls[kind].finished(10), kind .. " does not end")
			assert.are.equal("done", calls[kind].answer(), kind)
		end
		assert.are.same({}, web.errors())
		support.eventually("0 0", function() return body(web, "/left") end)
	end)
end)
