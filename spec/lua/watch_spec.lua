-- zbz.watch over sources written in Lua: values, callbacks, errors, options.
local assert = require("luassert")
local zbz = require("zbz")
local core = require("zbz.core")
local support = require("spec.lua.watch_support")
local await, quiet, recorder = support.await, support.quiet, support.recorder
local box, fails = support.box, support.fails

describe("watch", function()
	local errors, watches
	local function sync(...)
		local w, err = zbz.watch.sync(...)
		if w then watches[#watches + 1] = w end
		return w, err
	end

	before_each(function() errors, watches = support.catch_errors(), {} end)
	after_each(function()
		for _, w in ipairs(watches) do w:stop() end
		zbz.on_error = nil
	end)

	local QUICK = { debounce = "5ms" }

	it("gives the first value before it returns, then every change once", function()
		local source, calls, fn = box('{"a":1,"b":{"c":[1,2,3]},"d":true}'), recorder()
		local w = assert(sync(source, "app.json", fn, QUICK))
		assert.are.same({ { nil, { a = 1, b = { c = { 1, 2, 3 } }, d = true }, {} } }, calls)
		source.put('{"a":1,"b":{"c":[1,5]},"e":{"f":1}}')
		assert.is_true(await(function() return #calls == 2 end))
		assert.are.same({ "b.c[2]", "b.c[3]", "d", "e" }, calls[2][3])
		assert.are.equal(3, calls[2][1].b.c[3])
		assert.are.same({ a = 1, b = { c = { 1, 5 } }, e = { f = 1 } }, w:value())
		assert.are.equal(2, w:revision())
		assert.are.equal("active", w:state())
		assert.is_true(w:alive())
		assert.is_true(w:age() < 20)
		assert.is_nil(w:error())
		assert.are.same({}, errors)
	end)

	it("never calls for an equal value, however it is written", function()
		local source, calls, fn = box('{"a":1,"b":[]}'), recorder()
		local w = assert(sync(source, "app.json", fn, QUICK))
		local gets = source.gets
		source.put('{ "b": [], "a": 1.0 }')
		assert.is_true(await(function() return source.gets > gets end))
		quiet(0.05)
		assert.are.equal(1, #calls)
		assert.are.equal(1, w:revision())
		source.put('{"a":1,"b":{}}') -- an array is no object
		assert.is_true(await(function() return #calls == 2 end))
		assert.are.same({ "b" }, calls[2][3])
	end)

	it("gives copies: what a caller changes leaks nowhere", function()
		local source = box('{"list":[1,2]}')
		local seen = {}
		local w = assert(sync(source, "app.json", function(old, new)
			seen[#seen + 1] = { old and old.list[1], new.list[1] }
			new.list[1] = "changed"
			if old then old.list[1] = "changed" end
		end, QUICK))
		w:value().list[1] = "changed"
		assert.are.equal(1, w:value().list[1])
		source.put('{"list":[7,2]}')
		assert.is_true(await(function() return #seen == 2 end))
		assert.are.same({ 1, 7 }, seen[2])
		assert.are.equal(7, w:value().list[1])
		-- a source may hand out a table, and go on changing it
		local config = { n = 1 }
		local tables = box(config)
		local t = assert(sync(tables, "table", nil, QUICK))
		config.n = 2
		assert.are.equal(1, t:value().n)
		tables.changed()
		assert.is_true(await(function() return t:value().n == 2 end))
	end)

	it("keeps the last good value while the new one is wrong, and takes the mended one as fast as any", function()
		local source, calls, fn = box('{"port":80}'), recorder()
		local w = assert(sync(source, "app.json", fn, { debounce = "5ms", schema = { port = "integer" } }))
		source.put('{"port":')
		assert.is_true(await(function() return w:error() ~= nil end))
		assert.are.equal("decode", w:error().code)
		assert.are.equal("recovering", w:state())
		source.changed()
		quiet(0.05)
		assert.are.equal(1, #errors) -- told once
		source.put('{"port":"x"}')
		assert.is_true(await(function() return w:error().code == "type_mismatch" end))
		assert.are.equal("port", w:error().field)
		assert.are.equal(2, #errors)
		source.put('{"port":80,"prot":81}') -- a name that the schema does not know
		assert.is_true(await(function() return w:error().field == "prot" end))
		assert.are.equal(80, w:value().port)
		assert.are.equal(1, #calls)
		local began = core.mono()
		source.put('{"port":81}')
		assert.is_true(await(function() return #calls == 2 end))
		assert.is_true(core.mono() - began < 2000)
		assert.are.equal(80, calls[2][1].port) -- old is the last good one
		assert.is_nil(w:error())
		source.put("[")
		assert.is_true(await(function() return w:error() end))
		source.put('{"port":81}') -- back to the good one: nothing to call for
		assert.is_true(await(function() return not w:error() end))
		assert.are.equal(2, #calls)
		assert.are.equal("active", w:state())
	end)

	it("asks validate last, and survives what it throws", function()
		local source = box('{"n":1}')
		local w = assert(sync(source, "app.json", nil, { debounce = "5ms", validate = function(v)
			if v.n == 3 then error("boom") end
			v.n = "mine" -- a copy
			return v.m ~= 2, "m must not be 2"
		end }))
		assert.are.equal(1, w:value().n)
		source.put('{"n":2,"m":2}')
		assert.is_true(await(function() return w:error() ~= nil end))
		assert.truthy(tostring(w:error()):find("m must not be 2", 1, true))
		source.put('{"n":3}')
		assert.is_true(await(function() return tostring(w:error()):find("boom", 1, true) ~= nil end))
		source.put('{"n":4}')
		assert.is_true(await(function() return w:value().n == 4 end))
		fails("type_mismatch", sync(box("1"), "n.json", nil, { validate = function() return false end }))
	end)

	it("tells of a source that fails, once, and goes on", function()
		local source, calls, fn = box("one"), recorder()
		local w = assert(sync(source, "key", fn, QUICK))
		source.put(nil, "no network")
		assert.is_true(await(function() return w:error() ~= nil end))
		assert.truthy(tostring(w:error()):find("no network", 1, true))
		assert.are.equal("unavailable", w:error().code)
		assert.are.equal("one", w:value())
		local gets = source.gets
		assert.is_true(await(function() return source.gets >= gets + 3 end)) -- with a back-off, by itself
		assert.are.equal(1, #errors)
		source.put("one")
		assert.is_true(await(function() return w:error() == nil end))
		assert.are.equal(1, #calls)
		source.put(nil) -- it is not there
		assert.is_true(await(function() return w:error() ~= nil end))
		source.put("two")
		assert.is_true(await(function() return #calls == 2 end))
		assert.is_nil(w:error())
		source.get = function() error("thrown") end
		source.changed()
		assert.is_true(await(function() return w:error() ~= nil end))
		assert.truthy(tostring(w:error()):find("thrown", 1, true))
	end)

	it("answers nil, err without a valid first value, and leaves nothing behind", function()
		fails("unavailable", sync(box(nil), "key"))
		fails("unavailable", sync(box(""), "key"))
		fails("decode", sync(box("{"), "a.json"))
		fails("type_mismatch", sync(box('{"a":1}'), "a.json", nil, { schema = { a = "string" } }))
		fails("too_large", sync(box("12345"), "key", nil, { max_size = 4 }))
		fails("invalid_key", sync(box("x"), ""))
		local source = box("{")
		fails("decode", sync(source, "a.json"))
		assert.is_nil(source.changed) -- unsubscribed
		assert.are.equal("", assert(sync(box(""), "key", nil, { allow_empty = true })):value())
		assert.are.equal("1234", assert(sync(box("1234"), "key", nil, { max_size = 4 })):value())
	end)

	it("reports what a callback throws, and lives on", function()
		local source, n = box("1"), 0
		assert(sync(source, "n.json", function()
			n = n + 1
			error("in callback " .. n)
		end, QUICK))
		source.put("2")
		assert.is_true(await(function() return n == 2 end))
		source.put("3")
		assert.is_true(await(function() return n == 3 end))
		assert.are.equal(3, #errors)
		assert.truthy(tostring(errors[3]):find("in callback 3", 1, true))
	end)

	it("may be stopped, paused and synced again inside a callback", function()
		local source, calls, w = box("1"), 0, nil
		w = assert(sync(source, "n.json", function(old)
			calls = calls + 1
			if old then w:stop() end
		end, QUICK))
		source.put("2")
		assert.is_true(await(function() return calls == 2 end))
		assert.are.equal("stopped", w:state())
		assert.is_false(w:alive())
		source.put("3")
		quiet(0.05)
		assert.are.equal(2, calls)
		w:stop()
		assert.are.equal(2, w:value())
		-- one within the first call, and one that stops itself there
		local inner, first
		first = assert(sync(box("1"), "n.json", function(_, _, _)
			if not inner then inner = assert(sync(box("9"), "n.json", nil, QUICK)) end
		end, QUICK))
		assert.are.equal(9, inner:value())
		assert.are.equal(1, first:value())
	end)

	it("runs one callback at a time: what changes meanwhile comes after", function()
		local source, depth, deepest, seen = box("1"), 0, 0, {}
		assert(sync(source, "n.json", function(_, new)
			depth = depth + 1
			deepest = math.max(deepest, depth)
			seen[#seen + 1] = new
			if new < 4 then
				source.put(tostring(new + 1))
				quiet(0.03) -- delivers, but not into this callback
			end
			depth = depth - 1
		end, QUICK))
		assert.is_true(await(function() return seen[#seen] == 4 end))
		assert.are.same({ 1, 2, 3, 4 }, seen)
		assert.are.equal(1, deepest)
	end)

	it("pauses, and calls once for what has changed when it goes on", function()
		local source, calls, fn = box("1"), recorder()
		local w = assert(sync(source, "n.json", fn, QUICK))
		w:pause()
		assert.are.equal("paused", w:state())
		source.put("2")
		source.put("3")
		quiet(0.05)
		assert.are.equal(1, #calls)
		w:resume()
		assert.is_true(await(function() return #calls == 2 end))
		assert.are.same({ 1, 3, { "" } }, calls[2])
		w:pause()
		source.put("4")
		source.put("3")
		w:resume()
		quiet(0.05)
		assert.are.equal(2, #calls)
		w:resume()
	end)

	it("gives what came before a pause and was not delivered yet", function()
		local source, calls, fn = box("1"), recorder()
		local w = assert(sync(source, "n.json", fn, QUICK))
		local gets = source.gets
		source.value = "2"
		source.changed()
		local till = core.mono() + 20000
		repeat local _, undelivered = core.under_way() until undelivered > 0 or core.mono() > till
		w:pause()
		quiet(0.05)
		assert.are.equal(gets, source.gets)
		w:resume()
		assert.is_true(await(function() return #calls == 2 end))
	end)

	it("polls a source that does not tell", function()
		local source, calls, fn = box("1"), recorder()
		source.subscribe, source.unsubscribe = nil, nil
		local w = assert(sync(source, "n.json", fn, { poll = "10ms", debounce = 0 }))
		local mode, delay = w:mode()
		assert.are.equal("polled", mode)
		assert.is_true(delay >= 0.01 and delay < 0.1)
		source.put("2")
		assert.is_true(await(function() return #calls == 2 end))
		local other = assert(sync(box("1"), "n.json", nil, QUICK))
		mode, delay = other:mode()
		assert.are.equal("watched", mode)
		assert.is_true(delay < 0.1)
		local deaf = box("1")
		deaf.subscribe = function() return nil, "not today" end
		assert.are.equal("polled", (assert(sync(deaf, "n.json", nil, { poll = "1h" })):mode()))
		assert.truthy(tostring(errors[1]):find("not today", 1, true))
	end)

	it("skips the first call when told", function()
		local source, calls, fn = box("1"), recorder()
		local w = assert(sync(source, "n.json", fn, { skip_initial = true, debounce = "5ms" }))
		assert.are.equal(0, #calls)
		assert.are.equal(1, w:value())
		source.put("2")
		assert.is_true(await(function() return #calls == 1 end))
		assert.are.same({ 1, 2, { "" } }, calls[1])
	end)

	it("tells many changes within a moment by few calls, the last one always", function()
		local source, calls, fn = box("0"), recorder()
		assert(sync(source, "n.json", fn, { debounce = "50ms" }))
		for i = 1, 100 do source.put(tostring(i)) end
		assert.is_true(await(function() return calls[#calls][2] == 100 end))
		quiet(0.1)
		assert.is_true(#calls <= 3, #calls .. " calls")
	end)

	it("raises for misuse and names the option at fault", function()
		local function raises(text, ...)
			local args, n = { ... }, select("#", ...)
			local ok, err = pcall(function() zbz.watch.sync((table.unpack or unpack)(args, 1, n)) end) -- luacheck: ignore 113
			assert.is_false(ok)
			assert.truthy(tostring(err):find(text, 1, true), tostring(err))
			assert.truthy(tostring(err):find("watch_spec.lua", 1, true), tostring(err))
		end
		raises("expects a source", nil, "k")
		raises("expects a source", {}, "k")
		raises("are functions", { get = print, subscribe = 5 }, "k")
		raises("key must be a string", box("1"), 5)
		raises("expects a function", box("1"), "k", 5)
		raises("did you mean 'debounce'", box("1"), "k", nil, { debonce = 1 })
		raises("validate", box("1"), "k", nil, { validate = 5 })
		raises("skip_initial", box("1"), "k", nil, { skip_initial = 1 })
		raises("schema", box("1"), "k", nil, { schema = { a = "strin" } })
		raises("zbz: sync: poll: a duration cannot be negative (got -1)", box("1"), "k", nil, { poll = -1 })
		raises("zbz: sync: deadline: a duration cannot be negative (got -1s)", box("1"), "k", nil, { deadline = "-1s" })
		raises("parser", box("1"), "k", nil, { parser = 5 })
		fails("invalid_config", sync(box("1"), "k", nil, { debounce = "soon" }))
		fails("invalid_config", sync(box("1"), "k", nil, { max_size = "2GB" }))
		fails("invalid_config", sync(box("1"), "k", nil, { poll = math.huge }))
		assert.has_error(function() zbz.watch.file(5) end)
		assert.has_error(function() zbz.watch.file("/tmp", { pol = true }) end)
		assert.has_error(function() zbz.watch.redis({}) end)
		assert.has_error(function() zbz.watch.register_parser("", print) end)
		assert.has_error(function() zbz.watch.register_parser(".x", 5) end)
		fails("invalid_config", zbz.watch.file(""))
		local lua = assert(zbz.watch.source(box("1")))
		assert.are.equal("zbz.Source box", tostring(lua))
		assert.are.equal(1, assert(sync(lua, "n.json")):value())
	end)
end)
