-- A local tier inside a real nginx: what it has is answered without a thread and without waiting, whatever Redis does.
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
	core = require("zbz.core")
	assert(zbz.cache.configure{ provider = "multitier", key_prefix = "app:", default_ttl = 0, serializer = "string", l1 = %s,
		l2 = { provider = "redis", url = "%s", read_timeout = "2s" } })
	t = assert(zbz.table("t", { stale_ttl = "1m" }))
	plain = assert(zbz.table("plain"))
	function say(v, err) ngx.print(tostring(v), "|", err and err.code or tostring(err)) end
	function submitted() return (select(4, core.under_way())) end
]]

local SERVER = [[
	location = /set { content_by_lua_block { say(plain:set(ngx.var.arg_k, ngx.var.arg_v)) } }
	location = /get { content_by_lua_block { say(plain:get(ngx.var.arg_k, { deadline = ngx.var.arg_d or 0 })) } }
	location = /tier { content_by_lua_block {
		local _, info = plain:get_with(ngx.var.arg_k); ngx.print(info and info.tier or "none") } }
	location = /warm { content_by_lua_block {
		for i = 1, 100 do
			local _, info = plain:get_with(ngx.var.arg_k)
			if info and info.tier == "l1" then return ngx.print("warm after ", i) end
			ngx.sleep(0.01)
		end
		ngx.print("never warm") } }
	location = /hits { content_by_lua_block {
		local before = submitted()
		for _ = 1, 100 do assert(plain:get("k") == "v") end
		assert(plain:exists("k") and plain:ttl("k") == math.huge and plain:get_raw("k") == "v")
		assert(plain:get_multi{ "k", "k" }.k == "v")
		local v, info = plain:get_with("k"); assert(info.tier == "l1")
		local v, _, how = plain:fetch("k", error); assert(v == "v" and how == "hit")
		local hits = submitted() - before
		assert(plain:get("absent") == nil)
		ngx.print(hits, " ", submitted() - before) } }
	location = /phases {
		header_filter_by_lua_block {
			local v, err = plain:get("absent")
			local w, _, how = plain:fetch("k", error)
			ngx.header["X-Hit"] = plain:get("k") .. " " .. plain:get_multi{ "k" }.k .. " " .. w .. " " .. how
			ngx.header["X-Miss"] = tostring(v) .. " " .. err.code }
		content_by_lua_block { ngx.print("ok") }
	}
	location = /stats { content_by_lua_block { ngx.print(zbz.cache.stats().channel) } }
	location = /pid { content_by_lua_block { ngx.print(ngx.worker.pid()) } }
]]

local function body(web, path, seconds)
	local _, text = web.get(path, seconds)
	return text
end

local function eventually(wanted, fn)
	local got
	for _ = 1, 200 do
		got = fn()
		if got == wanted then return end
		proc.output("sleep 0.02")
	end
	assert.are.equal(wanted, got)
end

describe("multitier in nginx", function()
	local server, web

	setup(function()
		server = redis.start()
		web = nginx.start{ init = INIT:format('"memory:"', server.url), server = SERVER }
	end)
	teardown(function()
		web.stop()
		server.stop()
	end)
	after_each(function() assert.are.same({}, web.errors()) end)

	it("answers hits of the local tier without a thread", function()
		assert.are.equal("true|nil", body(web, "/set?k=k&v=v"))
		assert.truthy(body(web, "/warm?k=k"):find("^warm after"))
		local hits, all = body(web, "/hits"):match("^(%d+) (%d+)$")
		assert.are.equal("0", hits) -- calls handed to the pool
		assert.are.equal("1", all) -- the one that was no hit
	end)

	it("answers them where nothing can wait", function()
		local _, text, head = web.get("/phases")
		assert.are.equal("ok", text)
		assert.truthy(head:find("X-Hit: v v v hit", 1, true), head)
		assert.truthy(head:find("X-Miss: nil unsupported", 1, true), head)
	end)

	it("hears of changes", function()
		server.cli("SET app:plain:k w")
		eventually("w|nil", function() return body(web, "/get?k=k") end)
	end)

	it("is not held up by a paused Redis, until the loss is noticed", function()
		assert.truthy(body(web, "/warm?k=k"):find("^warm after"))
		server.pause()
		local times = proc.output(("for i in $(seq 20); do curl -s -m 2 -w ' %%{time_total}\\n' '%s/get?k=k'; done"):format(web.url))
		local n = 0
		for answer, seconds in times:gmatch("(%S+) ([%d.]+)\n?") do
			n = n + 1
			assert.are.equal("w|nil", answer)
			assert.is_true(tonumber(seconds) < 0.5, "a hit took " .. seconds .. " s")
		end
		assert.are.equal(20, n)
		eventually("nil|timeout", function() return body(web, "/get?k=k&d=100ms") end)
		server.resume()
		eventually("w|nil", function() return body(web, "/get?k=k") end)
		assert.truthy(body(web, "/warm?k=k"):find("^warm after"))
	end)
end)

describe("multitier in nginx with workers that share the local tier", function()
	local server, web

	setup(function()
		server = redis.start()
		web = nginx.start{ init = INIT:format('{ provider = "shared", zone = "web", size = "4MB" }', server.url), server = SERVER, workers = 4 }
	end)
	teardown(function()
		web.stop()
		server.stop()
	end)

	it("stays honest over writes, a killed worker and a reload", function()
		local function all_say(want)
			eventually("40", function()
				local n = 0
				for _, line in ipairs(web.many(40, "/get?k=k")) do n = n + (line == want and 1 or 0) end
				return tostring(n)
			end)
		end
		for i = 1, 10 do
			assert.are.equal("true|nil", body(web, "/set?k=k&v=v" .. i))
			all_say("v" .. i .. "|nil")
			server.cli("SET app:plain:k r" .. i)
			all_say("r" .. i .. "|nil")
		end
		proc.signal(tonumber((body(web, "/pid"))), "KILL")
		server.cli("SET app:plain:k killed")
		all_say("killed|nil")
		web.reload()
		server.cli("SET app:plain:k reloaded")
		all_say("reloaded|nil")
		assert.truthy(body(web, "/warm?k=k"):find("^warm after"))
		assert.are.equal("tracking", body(web, "/stats"))
	end)
end)
