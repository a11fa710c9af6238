-- Watches in every host that is no nginx: zbz.run and zbz.fd of a script, and the loops. Callbacks and sources may yield where calls may.
local assert = require("luassert")
local zbz = require("zbz")
local core = require("zbz.core")
local loops = require("spec.lua.host_loops")
local proc = require("spec.services.proc")
local services = require("spec.services.redis")
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

	-- What holds in every loop; callbacks and sources may yield in all of them.
	local function cases(loop, name)
		local hearing = loops.hearing(loop)
		local go, idle = loops.go(hearing), loops.idle(hearing)
		local server, cache, rest

		setup(function()
			server = services.start()
			cache = assert(zbz.cache.new{ provider = "redis", url = server.url })
			rest = loops.rest(loop, cache)
		end)
		teardown(function()
			cache:close()
			server.stop()
		end)
		before_each(function() assert(zbz.use(name, loop.object)) end)

		local function await(fn)
			for _ = 1, 4000 do
				if fn() then return true end
				rest(0.005)
			end
		end

		it("delivers on the loop; callbacks may yield, and come one at a time", function()
			go(1, function()
				local seen, inside, most = {}, 0, 0
				local w = assert(zbz.watch.sync(source, "n.json", function(_, new)
					inside = inside + 1
					most = math.max(most, inside)
					rest(0.02)
					seen[#seen + 1] = new
					inside = inside - 1
				end, { debounce = "1ms" }))
				for i = 2, 6 do
					write(dir .. "/n.json", tostring(i))
					rest(0.015)
				end
				assert.is_true(await(function() return seen[#seen] == 6 end))
				assert.are.equal(1, most)
				for i = 2, #seen do assert.is_true(seen[i] > seen[i - 1]) end
				w:stop()
			end)
		end)

		it("lets a source written in Lua yield", function()
			go(1, function()
				local value, changed = 1, nil
				local lua = { get = function()
					rest(0.01)
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
			go(1, function() assert.is_true(await(function() return w:value() == 2 end)) end)
			w:stop()
			local none, err = zbz.watch.sync(assert(zbz.watch.redis(cache)), "k")
			assert.is_nil(none)
			assert.are.equal("unsupported", err.code)
		end)

		it("follows a key of a cache, told by the server", function()
			server.cli("SET n.json 1")
			local w
			go(1, function()
				w = assert(zbz.watch.sync(assert(zbz.watch.redis(cache)), "n.json", nil, { debounce = "1ms" }))
				assert.are.equal("native", (w:mode()))
				server.cli("SET n.json 2")
				assert.is_true(await(function() return w:value() == 2 end))
			end)
			w:stop()
			idle(0.02)
		end)

		it("delivers in zbz.run, until a callback stops it", function()
			local w, failed
			loop.spawn(function()
				w = assert(zbz.watch.sync(source, "n.json", function(old, new)
					rest(0.01)
					if new == 3 then zbz.stop() else write(dir .. "/n.json", tostring(new + 1)) end
					failed = old and old + 1 ~= new
				end, { debounce = "1ms" }))
			end)
			assert.is_true(zbz.run(20))
			assert.are.equal(3, w:value())
			assert.is_false(failed)
			w:stop()
		end)

		it("delivers in zbz.poll", function()
			local w = assert(zbz.watch.sync(source, "n.json", nil, { debounce = "1ms" }))
			zbz.poll(0)
			write(dir .. "/n.json", "2")
			local till = core.mono() + 20000
			repeat local n = zbz.poll(5) until w:value() == 2 or n == 0 or core.mono() > till
			assert.are.equal(2, w:value())
			w:stop()
		end)

		it("holds no loop open", function()
			if not loop.until_idle then return end
			local w = assert(zbz.watch.sync(source, "n.json"))
			loop.until_idle()
			w:stop()
			loop.until_idle()
		end)
	end

	for _, name in ipairs({ "luv", "cqueues", "copas" }) do loops.describe(name, cases) end

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
		local left = files()
		for _ = 1, 250 do -- the thread that ends a watch closes what it had
			if left <= before then break end
			zbz.poll(0.02)
			left = files()
		end
		assert.is_true(left <= before, left .. " descriptors, before " .. before)
		zbz.poll(0)
		local flying, waiting, subscribed = core.under_way()
		assert.are.equal(0, flying)
		assert.are.equal(0, waiting)
		assert.is_false(subscribed)
	end)
end)
