-- The shared provider under nginx: one segment for all workers, over reloads, kills, damage and another size.
local assert = require("luassert")
local nginx = require("spec.services.nginx")
local proc = require("spec.services.proc")
local support = require("spec.nginx.support")
local body, eventually = support.body, support.eventually

if support.missing("nginx shared", { describe, it, pending }) then return end

local function init(opts)
	return ([[
		zbz = require("zbz")
		cache = assert(zbz.cache.new{ provider = assert(zbz.cache.provider("shared", { %s })) })
		t = assert(cache:table("t", { ttl = "1h", serializer = "bytes" }))
		function value(i) return (tostring(i) .. ","):rep(1 + i %% 40) end
	]]):format(opts)
end

local SERVER = [[
	location = /set { content_by_lua_block { ngx.print(tostring(t:set(ngx.var.arg_k, ngx.var.arg_v))) } }
	location = /get { content_by_lua_block { ngx.print(tostring(t:get(ngx.var.arg_k))) } }
	location = /incr { content_by_lua_block { ngx.print(cache:table("n", { serializer = "string" }):incr("n")) } }
	location = /fill { content_by_lua_block {
		for i = 1, 20000 do assert(t:set("k" .. i, value(i))) end
		local found, wrong = 0, 0
		for i = 1, 20000 do
			local v = t:get("k" .. i)
			if v then found = found + 1 end
			if v and v ~= value(i) then wrong = wrong + 1 end
		end
		local ok, err = t:set("large", ("x"):rep(1000000))
		ngx.print(found > 1000 and found < 20000, " ", wrong, " ", cache:stats().evictions > 0, " ", tostring(ok), " ", err.code) } }
	location = /check { content_by_lua_block { -- every value is whole, and every part can be written
		local found, wrong = 0, 0
		for i = 1, 2000 do
			local v = t:get("k" .. i)
			if v then found = found + 1 end
			if v and v ~= value(i) then wrong = wrong + 1 end
		end
		local written = 0
		for i = 2001, 2300 do
			if t:set("k" .. i, value(i)) and t:get("k" .. i) == value(i) then written = written + 1 end
		end
		ngx.print(found > 0, " ", wrong, " ", written) } }
	location = /wrong { content_by_lua_block {
		local wrong, ok = 0, 0
		for i = 1, 2000 do
			local v = t:get("k" .. i)
			if v and v ~= value(i) then wrong = wrong + 1 end
			if t:set("k" .. i, value(i)) then ok = ok + 1 end
		end
		ngx.print(wrong) } }
	location = /pid { content_by_lua_block { ngx.print(ngx.worker.pid()) } }
]]

-- Every worker but the first writes at full speed.
local WRITERS = [[
	init_worker_by_lua_block {
		if ngx.worker.id() == 0 then return end
		local function write()
			for _ = 1, 2000 do
				local i = math.random(2000)
				if i % 9 == 0 then t:delete("k" .. i) else t:set("k" .. i, value(i)) end
			end
			ngx.timer.at(0, write)
		end
		ngx.timer.at(0, write)
	}
]]

describe("nginx, the shared provider", function()
	local web, name
	local function file() return (proc.output("ls /dev/shm/zbz-" .. name .. ".* 2>/dev/null")) end -- the number of the layout ends it
	local function start(opts, more)
		more = more or {}
		more.init, more.server = init(opts), SERVER
		web = nginx.start(more)
		return web
	end

	before_each(function() name = "spec" .. proc.output("echo $$") .. "x" .. proc.free_port() end)
	after_each(function()
		if web then web.stop() end
		proc.output("rm -f /dev/shm/zbz-" .. name .. ".*")
	end)

	it("is one for all workers, and stays over a reload and a kill", function()
		start('size = "2MB"', { workers = 3 })
		local seen = {}
		for _, line in ipairs(web.many(30, "/incr")) do seen[line] = true end
		for i = 1, 30 do assert.is_true(seen[tostring(i)]) end
		assert.are.equal("true", body(web, "/set?k=a&v=kept"))
		local old = web.workers()
		web.reload()
		for _, pid in ipairs(old) do assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(pid), 3)) end
		assert.are.equal("kept", body(web, "/get?k=a"))
		proc.signal(tonumber((body(web, "/pid"))), "KILL")
		eventually("3", function() return tostring(#web.workers()) end)
		for _ = 1, 6 do assert.are.equal("kept", body(web, "/get?k=a")) end
	end)

	it("makes room when it is full, and refuses what can never fit", function()
		start('size = "1MB"')
		assert.are.equal("true 0 true nil too_large", body(web, "/fill", 30))
		assert.are.same({}, web.errors())
	end)

	it("refuses another size at a reload by name, and the old workers go on; a zone of another name is taken", function()
		start('size = "1MB", zone = "first"')
		assert.are.equal("true", body(web, "/set?k=a&v=kept"))
		local old = web.workers()
		web.reload{ init = init('size = "2MB", zone = "first"') }
		eventually("true", function() return tostring(web.log():find("the segment 'first' is in use with 1MB, not 2MB", 1, true) ~= nil) end)
		assert.are.same(old, web.workers())
		assert.are.equal("kept", body(web, "/get?k=a"))
		web.reload{ init = init('size = "2MB", zone = "second"') }
		assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(old[1]), 3))
		assert.are.equal("nil", body(web, "/get?k=a"))
		assert.are.equal("true", body(web, "/set?k=a&v=new"))
	end)

	it("keeps a named segment over a restart of nginx, and makes one of another version or with a damaged head anew", function()
		local opts = ('size = "1MB", name = "%s"'):format(name)
		start(opts)
		assert.are.equal("true", body(web, "/set?k=a&v=kept"))
		web.stop()
		start(opts)
		assert.are.equal("kept", body(web, "/get?k=a"))
		for _, at in ipairs{ 8, 0, 50 } do -- the number of the layout, the magic word, a secret
			web.stop()
			proc.output(("printf '\\377\\376' | dd of=%s bs=1 seek=%d conv=notrunc 2>&1"):format(file(), at))
			start(opts)
			assert.are.equal("nil", body(web, "/get?k=a"), "byte " .. at)
			assert.are.equal("true", body(web, "/set?k=a&v=kept"))
			assert.are.same({}, web.errors())
		end
	end)

	it("answers wrong nothing when the segment is damaged under it", function()
		start(('size = "1MB", name = "%s"'):format(name))
		assert.are.equal("0", body(web, "/wrong"))
		local pid = web.workers()[1]
		for round = 1, 8 do
			proc.output(("dd if=/dev/urandom of=%s bs=4096 seek=%d count=24 conv=notrunc 2>&1"):format(file(), 2 + round * 24))
			assert.are.equal("0", body(web, "/wrong", 30))
		end
		assert.are.same({ pid }, web.workers())
	end)

	it("stays whole while workers that write are killed", function()
		start('size = "1MB"', { workers = 3, http = WRITERS })
		eventually("true 0", function() return (body(web, "/check", 20) or ""):match("^%a+ %d+") end)
		local script = ([[
			n=0
			while [ $n -lt 100 ]; do
				for pid in $(pgrep -P %d); do
					[ $pid = %d ] || { kill -9 $pid 2>/dev/null && n=$((n + 1)); }
				done
			done
			echo $n]])
		local reader = web.workers()[1] -- worker 0 is the first that was started; it does not write, and is left alone
		assert.is_true(tonumber((proc.output(script:format(web.pid, reader)))) >= 100)
		assert.are.equal("true 0", (body(web, "/check", 20) or ""):match("^%a+ %d+"))
		web.reload{ http = "" } -- without the writers: nothing is in anybody's way
		assert.is_true(proc.wait_until(("! kill -0 %d 2>/dev/null"):format(reader), 5))
		for _ = 1, 5 do assert.are.equal("true 0 300", body(web, "/check", 20)) end
	end)
end)
