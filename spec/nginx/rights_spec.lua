-- Log directories that only root may write to, as Debian's /var/log/nginx: the master opens what the workers, who are somebody else, write.
local assert = require("luassert")
local nginx = require("spec.services.nginx")
local proc = require("spec.services.proc")
local support = require("spec.nginx.support")

if support.missing("nginx rights", { describe, it, pending }) then return end

local NOBODY = "setpriv --reuid=nobody --regid=nogroup --clear-groups "

local function why_not()
	if proc.output("id -u") ~= "0" then return "only root can start workers of another user" end
	if not select(2, proc.output(NOBODY .. "test -r lua/zbz/init.lua")) then return "user nobody cannot read this directory" end
end
local why = why_not()
if why then
	print("SKIP nginx rights: " .. why)
	describe("nginx rights", function() it("needs two users", function() pending(why) end) end)
	return
end

local INIT = [[
	zbz = require("zbz")
	assert(zbz.log.configure{ level = "info", outputs = { { type = "file", name = "app", path = "DIR/logs/app.log", ring = "DIR/rings" },
		closed = { type = "file", path = "DIR/closed/app.log", ring = "DIR/rings" },
		small = { type = "file", path = "DIR/logs/small.log", ring = "DIR/rings", rotate = { size = "4KB", keep = 3 } } } })
	assert(zbz.log.routes{ { logger = "closed", to = "closed" }, { logger = "small", to = "small" } })
	log = zbz.log.logger("web")
	log:info("begun", { phase = "init" })
	served = log:event("served", "worker", "n")
]]
local SERVER = [[
	location = /many { content_by_lua_block {
		for i = 1, 200 do served(ngx.worker.pid(), i) end
		ngx.print(ngx.worker.pid()) } }
	location = /to { content_by_lua_block {
		local l = zbz.log.logger(ngx.var.arg_logger)
		for i = 1, 100 do l:info("one of many records, that are long enough to fill a small file soon", { i = i }) end
		ngx.print(tostring(zbz.log.flush(5))) } }
	location = /stats { content_by_lua_block {
		local s = zbz.log.stats().outputs[ngx.var.arg_output]
		ngx.print(tostring(s.last_error), " ", s.failures, " ", s.dropped_full + s.dropped_large + s.dropped_closed) } }
]]

local function count(path, pattern)
	return tonumber((proc.output(("cat %s 2>/dev/null | grep -c '%s'"):format(path, pattern or "served"))))
end

describe("a log directory of root's, workers of nobody's", function()
	local dir, web, logs, total

	setup(function()
		dir = proc.folder()
		logs, total = dir .. "/logs", 0
		proc.output(("chmod 755 %s; mkdir -m 755 %s %s/rings; mkdir -m 700 %s/closed; chmod 1777 %s/rings"):format(dir, logs, dir, dir, dir))
		web = nginx.start{ workers = 2, user = "nobody nogroup", init = INIT:gsub("DIR", dir), server = SERVER }
	end)
	teardown(function()
		web.stop()
		proc.remove(dir)
	end)

	local function many(n)
		assert.are.equal(n, #web.many(n, "/many"))
		total = total + n * 200
	end
	local function arrives(pattern)
		assert.is_true(proc.wait_until(("[ \"$(cat %s | grep -c served)\" -ge %d ]"):format(pattern, total), 15),
			("%d of %d"):format(count(pattern), total))
		assert.are.equal(total, count(pattern))
	end

	local function kill_workers()
		for _, pid in ipairs(web.workers()) do proc.signal(pid, "KILL") end
		assert.is_true(proc.wait_port(web.port, 10))
	end

	it("takes the records of all workers, and those of init", function()
		many(20)
		arrives(logs .. "/app.log")
		assert.are.equal(1, count(logs .. "/app.log", "begun"))
		assert.are.equal("root 640", (proc.output("stat -c '%U %a' " .. logs .. "/app.log")))
		assert.is_truthy(proc.output("ps -o user= -p " .. web.workers()[1]):find("nobody", 1, true))
		assert.are.same({}, web.errors())
	end)

	it("may be closed even to looks", function()
		assert.are.equal("true", support.body(web, "/to?logger=closed"))
		assert.are.equal("true", support.body(web, "/to?logger=closed"))
		assert.are.equal(200, count(dir .. "/closed/app.log", "one of many"))
	end)

	it("loses nothing when workers are killed, and when all are replaced", function()
		for _ = 1, 3 do
			many(10)
			kill_workers()
		end
		many(10)
		web.reload()
		many(10)
		arrives(logs .. "/app.log")
	end)

	it("follows logrotate that makes the new file for the workers", function()
		proc.output(("cd %s && mv app.log app.log.1 && install -o nobody -g nogroup -m 640 /dev/null app.log"):format(logs))
		many(10)
		arrives(logs .. "/app.log*")
		assert.are.equal(2000, count(logs .. "/app.log"))
	end)

	it("goes on in a file that was moved away, until the master is told", function()
		local before = proc.output(("cd %s && mv app.log app.log.2 && grep -c served app.log.2"):format(logs))
		kill_workers() -- those that come know of app.log.1 only
		many(5)
		arrives(logs .. "/app.log*")
		assert.are.equal(tonumber(before) + 1000, count(logs .. "/app.log.2"))
		local old = web.workers()
		web.reload()
		for _, pid in ipairs(old) do assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(pid), 10)) end
		many(5)
		arrives(logs .. "/app.log*")
		assert.are.equal(1000, count(logs .. "/app.log"))
	end)

	it("goes on in a file that it may not rotate, and says so", function()
		for _ = 1, 4 do assert.are.equal("true", support.body(web, "/to?logger=small")) end
		assert.are.equal(400, count(logs .. "/small.log*", "one of many"))
		assert.are.equal("small.log", (proc.output("cd " .. logs .. " && ls | grep small")))
		local seen = false
		for _ = 1, 20 do
			local said = support.body(web, "/stats?output=small")
			seen = seen or said:find("^rotating .*small.log.* 0 0$") ~= nil
			assert.is_truthy(said:find(" 0 0$"), said)
		end
		assert.is_true(seen)
	end)
end)
