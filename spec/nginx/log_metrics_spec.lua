-- log.metrics() in nginx: any worker answers for all of them, also for those that have been killed or replaced.
local assert = require("luassert")
local exposition = require("spec.tools.exposition")
local nginx = require("spec.services.nginx")
local proc = require("spec.services.proc")
local support = require("spec.nginx.support")

if support.missing("log.metrics in nginx", { describe, it, pending }) then return end

local INIT = [[
	zbz = require("zbz")
	assert(zbz.log.configure{ level = "debug", outputs = { { type = "file", path = "%s/app.log", ring = "%s/rings" } } })
	log = zbz.log.logger("web")
	served = log:event("served", "n")
	log:info("init")
]]
local SERVER = [[
	location = /metrics { default_type "text/plain; version=0.0.4"; content_by_lua_block { ngx.print(zbz.log.metrics()) } }
	location = /many { content_by_lua_block {
		for i = 1, 100 do served(i) end
		for i = 1, 10 do log:error("bad", { n = i }) end
		log:debug("done", { list = { 1 } })
		zbz.log.flush(5)
		ngx.print(ngx.worker.pid()) } }
]]

describe("log.metrics in nginx", function()
	local dir, web, last
	local function read()
		local status, body, head = web.get("/metrics")
		assert.are.equal(200, status)
		assert.is_truthy(head:find("Content-Type: text/plain; version=0.0.4", 1, true), head)
		body = body .. "\n" -- which the shell has taken
		local by = exposition.read(body)
		for k, v in pairs(last or {}) do
			if k:find("_total", 1, true) then assert.is_true(by[k] >= v, k) end
		end
		last = by
		return by, body
	end
	local function file(level)
		return tonumber((proc.output(("grep -c '\"level\":\"%s\"' %s/app.log"):format(level, dir))))
	end
	local function agrees()
		for _ = 1, 8 do -- some of them by each worker
			local by = read()
			local all = 0
			for _, level in ipairs{ "debug", "info", "error" } do
				local n = file(level)
				assert.are.equal(n, by[('zbz_log_lines_total{level="%s"}'):format(level)])
				assert.are.equal(n, by[('zbz_log_output_records_total{output="file",level="%s"}'):format(level)])
				all = all + n
			end
			assert.are.equal(all, by['zbz_log_output_written_total{output="file"}'])
		end
	end
	local function log_some()
		local pids, n = {}, 0
		for _ = 1, 10 do
			for _, pid in ipairs(web.many(8, "/many")) do
				if not pids[pid] then pids[pid], n = true, n + 1 end
			end
			if n > 1 then break end
		end
		assert.is_true(n > 1, "only one worker answered")
	end

	setup(function()
		dir = proc.folder()
		proc.output("mkdir " .. dir .. "/rings")
		web = nginx.start{ workers = 2, init = (INIT:gsub("%%s", dir)), server = SERVER }
	end)
	teardown(function()
		web.stop()
		proc.remove(dir)
	end)

	it("equals the lines of the file, of all workers", function()
		log_some()
		agrees()
		local said = exposition.promtool(select(2, read()))
		if said then assert.are.equal("", said) end
		assert.are.same({}, web.errors())
	end)

	it("still does when workers have been killed", function()
		for _, pid in ipairs(web.workers()) do proc.signal(pid, "KILL") end
		assert.is_true(proc.wait_port(web.port, 10))
		log_some()
		agrees()
	end)

	it("and after a reload", function()
		local old = web.workers()
		web.reload()
		for _, pid in ipairs(old) do assert.is_true(proc.wait_until("! kill -0 " .. pid .. " 2>/dev/null", 20)) end
		log_some()
		agrees()
	end)
end)
