-- Watches in every host that is no nginx: zbz.run and zbz.fd of a script, luv, cqueues. Callbacks and sources may yield where calls may.
local assert = require("luassert")
local zbz = require("zbz")
local core = require("zbz.core")
local proc = require("spec.services.proc")
local support = require("spec.lua.watch_support")
local write = support.write

describe("watch hosts", function()
	local dir, source, errors

	before_each(function()
		dir, errors = proc.folder(), support.catch_errors()
		source = assert(zbz.watch.file(dir))
		write(dir .. "/n.json", "1")
	end)
	after_each(function()
		assert(zbz.use("plain"))
		zbz.on_error = nil
		proc.remove(dir)
		assert.are.same({}, errors)
	end)

	describe("plain", function()
		it("delivers in zbz.run, until it is stopped", function()
			local w
			w = assert(zbz.watch.sync(source, "n.json", function(old, new)
				if old then
					if new == 3 then zbz.stop() else write(dir .. "/n.json", tostring(new + 1)) end
				else
					write(dir .. "/n.json", "2")
				end
			end, { debounce = "5ms" }))
			assert.is_true(zbz.run(20))
			assert.are.equal(3, w:value())
			w:stop()
			assert.is_false(zbz.run(0.05))
		end)

		it("makes zbz.fd readable", function()
			local w = assert(zbz.watch.sync(source, "n.json", nil, { debounce = "5ms" }))
			local fd = assert(zbz.fd())
			zbz.poll(0)
			write(dir .. "/n.json", "2")
			local have, uv = pcall(require, "luv")
			if not have then return pending("luv is not installed, nothing else here polls a descriptor") end
			local readable = false
			local poll = uv.new_poll(fd)
			poll:start("r", function()
				readable = true
				poll:stop()
			end)
			local timer = uv.new_timer()
			timer:start(20000, 0, function() poll:stop() end)
			while not readable and poll:is_active() do uv.run("once") end
			poll:close()
			timer:close()
			uv.run("nowait")
			assert.is_true(readable)
			assert.is_true(zbz.poll(0) >= 1)
			assert.are.equal(2, w:value())
			w:stop()
		end)
	end)

	describe("luv", function()
		local have, uv = pcall(require, "luv")
		if not have then
			print("SKIP watch host: luv is not installed")
			it("needs luv", function() pending("luv is not installed") end)
			return
		end

		local function sleep(ms)
			local co, timer = coroutine.running(), uv.new_timer()
			timer:start(ms, 0, function()
				timer:close()
				assert(coroutine.resume(co))
			end)
			coroutine.yield()
		end

		-- Runs fn in a coroutine and the loop until it has ended.
		local function go(fn)
			local ok, err
			coroutine.wrap(function() ok, err = xpcall(fn, debug.traceback) end)()
			while ok == nil do uv.run("once") end
			assert(ok, err)
		end

		local function await(fn)
			for _ = 1, 4000 do
				if fn() then return true end
				sleep(5)
			end
		end

		before_each(function() assert(zbz.use("luv", uv)) end)

		it("delivers on the loop; callbacks may yield, and come one at a time", function()
			go(function()
				local seen, inside, most = {}, 0, 0
				local w = assert(zbz.watch.sync(source, "n.json", function(_, new)
					inside = inside + 1
					most = math.max(most, inside)
					sleep(20)
					seen[#seen + 1] = new
					inside = inside - 1
				end, { debounce = "1ms" }))
				for i = 2, 6 do
					write(dir .. "/n.json", tostring(i))
					sleep(15)
				end
				assert.is_true(await(function() return seen[#seen] == 6 end))
				assert.are.equal(1, most)
				for i = 2, #seen do assert.is_true(seen[i] > seen[i - 1]) end
				w:stop()
			end)
		end)

		it("lets a source written in Lua yield", function()
			go(function()
				local value, changed = 1, nil
				local lua = { get = function()
					sleep(10)
					return tostring(value)
				end, subscribe = function(_, _, cb)
					changed = cb
					return true
				end }
				local w = assert(zbz.watch.sync(lua, "n.json", nil, { debounce = "1ms" }))
				assert.are.equal(1, w:value())
				value = 2
				changed()
				assert.is_true(await(function() return w:value() == 2 end))
				w:stop()
			end)
		end)

		it("begins outside a coroutine on files; they are here", function()
			local w = assert(zbz.watch.sync(source, "n.json", nil, { debounce = "1ms" }))
			assert.are.equal(1, w:value())
			write(dir .. "/n.json", "2")
			go(function() assert.is_true(await(function() return w:value() == 2 end)) end)
			w:stop()
			local cache = assert(zbz.cache.new{ provider = "redis" })
			local none, err = zbz.watch.sync(assert(zbz.watch.redis(cache)), "k")
			assert.is_nil(none)
			assert.are.equal("unsupported", err.code)
			cache:close()
		end)

		it("holds no loop open", function()
			local w = assert(zbz.watch.sync(source, "n.json"))
			uv.run()
			w:stop()
			uv.run()
		end)
	end)

	describe("cqueues", function()
		local have, cqueues = pcall(require, "cqueues")
		if not have then
			print("SKIP watch host: cqueues is not installed")
			it("needs cqueues", function() pending("cqueues is not installed") end)
			return
		end

		it("delivers in threads of the controller", function()
			local cq = cqueues.new()
			assert(zbz.use("cqueues", cq))
			local w, failed
			cq:wrap(function()
				w = assert(zbz.watch.sync(source, "n.json", function(old, new)
					cqueues.sleep(0.01)
					if new == 3 then zbz.stop() else write(dir .. "/n.json", tostring(new + 1)) end
					failed = old and old + 1 ~= new
				end, { debounce = "1ms" }))
			end)
			assert.is_true(zbz.run(20))
			assert.are.equal(3, w:value())
			assert.is_false(failed)
			w:stop()
		end)
	end)

	it("leaves no thread, descriptor or message behind", function()
		local function files() return tonumber((proc.output("ls /proc/" .. proc.output("echo $PPID") .. "/fd | wc -l"))) end
		local function round()
			local list = {}
			for i = 1, 20 do list[i] = assert(zbz.watch.sync(source, "n.json", nil, { debounce = "1ms" })) end
			write(dir .. "/n.json", tostring(math.random(1e6)))
			zbz.poll(0.05)
			for i = 1, 20 do list[i]:stop() end
			collectgarbage()
		end
		round()
		local before = files()
		for _ = 1, 5 do round() end
		assert.is_true(files() <= before, files() .. " descriptors, before " .. before)
		zbz.poll(0)
		local flying, waiting, subscribed = core.under_way()
		assert.are.equal(0, flying)
		assert.are.equal(0, waiting)
		assert.is_false(subscribed)
	end)
end)
