-- The log inside nginx: from every phase, by several workers, into one file; nothing lost over reloads and kills.
local assert = require("luassert")
local nginx = require("spec.services.nginx")
local proc = require("spec.services.proc")

local have, why = nginx.available()
if not have then
	print("SKIP nginx: " .. why)
	describe("nginx", function() it("needs nginx", function() pending(why) end) end)
	return
end

local INIT = [[
	zbz = require("zbz")
	assert(zbz.log.configure{ level = "info", redact = { "password" }, outputs = { { type = "file", path = "%s/app.log", ring = "%s/rings" },
		note = { type = "file", path = "%s/note.log", ring = "%s/rings" } } })
	assert(zbz.log.routes{ { logger = "note", to = "note" } })
	log = zbz.log.logger("web")
	A, B = { type = "file", path = "%s/a.log", ring = "%s/rings" }, { type = "file", path = "%s/b.log", ring = "%s/rings" }
	RA, RB = { type = "file", path = "%s/ra.log", ring = "%s/rings" }, { type = "file", path = "%s/rb.log", ring = "%s/rings" }
	served = log:event("served", "phase", "worker", "n")
	log:info("phase", { phase = "init" })
]]
local HTTP = [[
	init_worker_by_lua_block {
		log:info("phase", { phase = "init_worker", worker = ngx.worker.id() })
		ngx.timer.at(0, function() log:info("phase", { phase = "timer", worker = ngx.worker.id() }) end)
	}
	exit_worker_by_lua_block { log:info("phase", { phase = "exit_worker", worker = ngx.worker.id() }) }
	upstream lua { server 0.0.0.1; balancer_by_lua_block {
		log:info("phase", { phase = "balancer" }); require("ngx.balancer").set_current_peer("127.0.0.1", ngx.var.server_port) } }
]]
local SERVER = [[
	location = /phases {
		set_by_lua_block $x { log:info("phase", { phase = "set" }); return "x" }
		rewrite_by_lua_block { log:info("phase", { phase = "rewrite" }) }
		access_by_lua_block { log:info("phase", { phase = "access", password = "hunter2" }) }
		content_by_lua_block { log:info("phase", { phase = "content" }); ngx.print("ok") }
		header_filter_by_lua_block { log:info("phase", { phase = "header_filter" }) }
		body_filter_by_lua_block { if ngx.arg[2] then served("body_filter", ngx.worker.id(), 1) end }
		log_by_lua_block { log:with{ uri = ngx.var.uri }:info("phase", { phase = "log" }) }
	}
	location = /balance { proxy_pass http://lua/alive; }
	location = /many { content_by_lua_block {
		for i = 1, 200 do served("many", ngx.worker.id(), i) end
		ngx.print(ngx.worker.pid()) } }
	location = /note { content_by_lua_block { zbz.log.logger("note"):info("n"); ngx.print(tostring(zbz.log.flush(5))) } }
	location = /swap { content_by_lua_block {
		local function outputs(to)
			return { level = "info", outputs = { to == "a" and A or B },
				redact = { "password" }, routes = { { logger = "routed", to = to == "a" and "ra" or "rb" } } }
		end
		local function configure(to)
			local opts = outputs(to)
			opts.outputs.ra, opts.outputs.rb = RA, RB
			return assert(zbz.log.configure(opts))
		end
		local said, stop, n = 0, false, 0
		local function flood(me)
			local l = zbz.log.logger(me % 2 == 0 and "routed" or "plain")
			local ev, i = l:with{ bound = me }:event("swap", "key"), 0
			while not stop do
				i = i + 1
				ev(me .. "-" .. i)
				l:info("swap", { key = me .. "+" .. i })
				said = said + 2
				if i % 5 == 0 then ngx.sleep(0.001) end
			end
		end
		local threads = {}
		configure("b")
		for me = 1, 8 do threads[me] = ngx.thread.spawn(flood, me) end
		for i = 1, 1000 do
			configure(i % 2 == 0 and "a" or "b")
			if i % 3 == 0 then ngx.sleep(0.001) end
		end
		stop = true
		for me = 1, 8 do ngx.thread.wait(threads[me]) end
		assert(zbz.log.flush(5))
		ngx.print(said)
	} }
	location = /level { content_by_lua_block {
		ngx.print(tostring(log:set_level("error")), log:level()); log:info("no"); log:set_level("info") } }
]]

local function lines(path)
	local t = {}
	local f = io.open(path)
	for l in (f and f:lines() or function() end) do t[#t + 1] = l end
	if f then f:close() end
	return t
end

describe("the log in nginx", function()
	local dir, web
	local function count(pattern)
		local n = 0
		for _, l in ipairs(lines(dir .. "/app.log")) do
			if l:find(pattern, 1, true) then n = n + 1 end
		end
		return n
	end
	local function await(pattern, n)
		assert.is_true(proc.wait_until(("[ \"$(grep -c '%s' %s/app.log)\" -ge %d ]"):format(pattern, dir, n), 15),
			pattern .. " came " .. count(pattern) .. " times")
	end

	setup(function()
		dir = proc.folder()
		proc.output("mkdir " .. dir .. "/rings")
		web = nginx.start{ workers = 2, init = (INIT:gsub("%%s", dir)), server = SERVER, http = HTTP }
	end)
	teardown(function()
		web.stop()
		proc.remove(dir)
	end)

	it("takes records in every phase", function()
		assert.are.equal("ok", (select(2, web.get("/phases"))))
		assert.are.equal("alive", (select(2, web.get("/balance"))))
		for _, phase in ipairs{ "init", "init_worker", "timer", "set", "rewrite", "access", "content", "header_filter",
			"body_filter", "log", "balancer" } do
			await('"phase":"' .. phase .. '"', 1)
		end
		assert.are.equal(2, count('"phase":"init_worker"'))
		assert.are.equal(0, count("hunter2"))
		assert.are.same({}, web.errors())
	end)

	it("has one file for all workers, every line whole, each worker's in order", function()
		local pids, before = {}, count('"phase":"many"')
		for _, pid in ipairs(web.many(40, "/many")) do pids[pid] = true end
		await('"phase":"many"', before + 40 * 200)
		assert.are.equal(before + 40 * 200, count('"phase":"many"'))
		assert.is_truthy(next(pids, next(pids)), "only one worker answered")
		for _, l in ipairs(lines(dir .. "/app.log")) do assert.is_truthy(l:find('^{"time":.*}$'), l) end
	end)

	it("has a ring of each worker's own", function()
		local rings = {}
		for _, pid in ipairs(web.workers()) do
			local mine = proc.output(("ls -l /proc/%d/fd | grep -o '%s/rings/.*/ring[.0-9a-f]*' | sort -u"):format(pid, dir))
			local n = 0
			for ring in mine:gmatch("[^\n]+") do
				assert.is_nil(rings[ring])
				rings[ring], n = true, n + 1
			end
			assert.is_true(n >= 1, "worker " .. pid)
		end
	end)

	it("flushes and routes, and changes levels per worker", function()
		assert.are.equal("true", (select(2, web.get("/note"))))
		assert.are.equal(1, #lines(dir .. "/note.log"))
		assert.are.equal("trueerror", (select(2, web.get("/level"))))
	end)

	it("is configured 1000 times while light threads log: each record goes to the outputs of one configuration, once", function()
		local own = nginx.start{ workers = 1, init = (INIT:gsub("%%s", dir)), server = SERVER, http = HTTP }
		local _, said = own.get("/swap", 60)
		local bad = own.errors()
		own.stop()
		assert.are.same({}, bad)
		assert.is_true(tonumber(said) > 1000, said)
		local seen, n, by = {}, 0, {}
		for _, name in ipairs{ "a", "b", "ra", "rb" } do
			by[name] = 0
			for _, l in ipairs(lines(dir .. "/" .. name .. ".log")) do
				local key, logger = l:match('"key":"([^"]+)"'), l:match('"logger":"(%l+)"')
				if not key then
					assert.is_truthy(l:find("exit_worker", 1, true), l)
				else
					assert.is_nil(seen[key])
					assert.are.equal(#name == 2 and "routed" or "plain", logger)
					seen[key], n, by[name] = true, n + 1, by[name] + 1
				end
			end
			assert.is_true(by[name] > 0)
		end
		assert.are.equal(tonumber(said), n)
	end)

	it("loses nothing when a worker is killed, or all are replaced", function()
		local before = count('"phase":"many"')
		web.many(10, "/many")
		for _, pid in ipairs(web.workers()) do proc.signal(pid, "KILL") end
		assert.is_true(proc.wait_port(web.port, 10))
		web.many(10, "/many")
		web.reload()
		web.many(10, "/many")
		await('"phase":"exit_worker"', 2)
		await('"phase":"many"', before + 30 * 200)
		assert.are.equal(before + 30 * 200, count('"phase":"many"'))
	end)
end)
