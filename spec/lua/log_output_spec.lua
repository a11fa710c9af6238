-- Outputs: how they are written down, shared, kept, rotated and closed; functions and formatters in Lua among them.
local zbz = require("zbz")
local proc = require("spec.services.proc")
local log = zbz.log

local function count(name) return #assert(log.drain(name)) end
local read = proc.read

describe("outputs", function()
	local dir
	setup(function() dir = proc.folder() end)
	teardown(function() proc.remove(dir) end)
	after_each(function() log.close() end)

	it("come as paths, functions, files and tables, each with its level, format and filter", function()
		local got = {}
		local file = assert(io.open(dir .. "/handle.log", "w"))
		assert(log.configure{ outputs = {
			dir .. "/path.log", file, function(line, record) got[#got + 1] = { line, record } end,
			{ type = "file", path = dir .. "/warn.log", level = "warn", format = "logfmt" },
			{ type = "file", path = dir .. "/eu.log", filter = { region = "eu*" } },
		} })
		log.info("a", { region = "eu-1" })
		log.warn("b", { region = "us" })
		assert(log.flush())
		assert.are.equal(2, select(2, read(dir .. "/path.log"):gsub("\n", "")))
		assert.are.equal(2, select(2, read(dir .. "/handle.log"):gsub("\n", "")))
		assert.is_truthy(read(dir .. "/warn.log"):find("level=warn msg=b region=us\n$"))
		assert.are.equal(1, select(2, read(dir .. "/eu.log"):gsub("\n", "")))
		assert.are.equal(2, #got)
		assert.are.equal("a", got[1][2].message)
		assert.are.equal("eu-1", got[1][2].fields.region)
		file:close()
	end)

	it("survive functions that throw and yield, and count them", function()
		local before = log.stats().functions.errors
		assert(log.configure{ outputs = { function() error("boom") end, function() coroutine.yield() end, { type = "memory", name = "m" } } })
		coroutine.wrap(function() log.info("x"); log.event("e", "k")(1) end)()
		assert.are.equal(2, count("m"))
		assert.are.equal(4, log.stats().functions.errors - before)
	end)

	it("and functions that log themselves come to an end, and what they log arrives", function()
		local calls = { output = 0, format = 0, listener = 0, processor = 0 }
		local function loud(what)
			return function(v)
				calls[what] = calls[what] + 1
				log.warn("from " .. what, { s = "text" })
				return what == "format" and v.message or v
			end
		end
		assert(log.configure{ outputs = { { type = "memory", name = "m", format = "logfmt" }, loud("output"),
			{ type = "memory", name = "f", format = loud("format") } } })
		log.on_event(loud("listener"))
		log.processor("string", loud("processor"))
		log.info("once", { a = "x" })
		log.processor("string", nil)
		log.on_event(nil)
		for _, name in ipairs{ "m", "f" } do
			local text = table.concat(assert(log.drain(name)), "\n")
			assert.are.equal(1, select(2, text:gsub("once", "")), text)
			for what in pairs(calls) do assert.is_truthy(text:find("from " .. what, 1, true), text) end
		end
		for what, n in pairs(calls) do assert.is_true(n < 20, what .. " was called " .. n .. " times") end
	end)

	it("take formatters in Lua, whose lines stay lines", function()
		local before = log.stats().functions.errors
		assert(log.configure{ outputs = { { type = "file", path = dir .. "/f.log",
			format = function(r)
				if r.message == "bad" then error("no") end
				if r.message == "none" then return nil end
				return r.level .. "|" .. r.message .. "|\27[31m\n" .. r.fields.x
			end } } })
		log.info("m", { x = "y" })
		log.info("bad", { x = "y" }) -- in JSON rather than lost
		log.info("none", { x = "z" })
		assert(log.flush())
		local first, second, third = read(dir .. "/f.log"):match("^(.-\n)(.-\n)(.-\n)$")
		assert.are.equal("info|m|\\u001b[31m\\ny\n", first)
		assert.is_truthy(second:find('^{"time":".-","level":"info","message":"bad","x":"y"}\n$'), second)
		assert.is_truthy(third:find('^{"time":".-","level":"info","message":"none","x":"z"}\n$'), third)
		assert.are.equal(2, log.stats().functions.errors - before)
	end)

	it("belong to a logger, or are shared by name", function()
		assert(log.configure{ outputs = { { type = "memory", name = "root" }, shared = { type = "memory" } } })
		local a = assert(log.logger("a", { outputs = { { type = "memory", name = "own" }, "shared" } }))
		local b = assert(log.logger("b", { output = "root+shared" }))
		assert(log.logger("c", { outputs = {} })):info("nowhere")
		a:info("1"); b:info("2"); log.info("3")
		assert.are.same({ 2, 1, 2 }, { count("root"), count("own"), count("shared") })
		assert.are.equal("memory", log.config().outputs.own)
	end)

	it("keep going over a new configuration with the same options, and close when nobody has them", function()
		local path = dir .. "/same.log"
		for i = 1, 20 do
			assert(log.configure{ outputs = { { type = "file", path = path, name = "f" }, i % 2 == 0 and { type = "null" } or nil } })
			log.info("n", { i = i })
		end
		assert(log.flush())
		local seen = {}
		for i in read(path):gmatch('"i":(%d+)') do seen[#seen + 1] = tonumber(i) end
		assert.are.equal(20, #seen)
		assert.are.equal(20, seen[20])
		assert.are.equal(20, log.stats().outputs.f.records)
	end)

	it("take the options of rotation in all their spellings", function()
		for i, opts in ipairs{ { rotate = { size = "2KB", compress = true } }, { rotate_size = "2KB", compress = "gzip" },
			{ max_size = "2KB", max_files = 100, max_age = "1d", gzip = true }, { options = { rotate_size = "2KB" }, gzip = true } } do
			local path = ("%s/spelled%d.log"):format(dir, i)
			opts.type, opts.target = "file", path
			assert(log.configure{ outputs = { opts } })
			for n = 1, 100 do log.info("a record of some length, so that the file is soon full", { n = n }) end
			assert(log.flush())
			assert.is_true(proc.wait_until("ls " .. path .. ".*.gz >/dev/null", 10))
		end
		local _, err = log.configure{ outputs = { { type = "file", path = dir .. "/x.log", rotate = { size = "1KB", compress = "zip" } } } }
		assert.is_truthy(tostring(err):find("none|gzip", 1, true), tostring(err))
	end)

	it("lose nothing when their file is moved away again and again under load", function()
		local path = dir .. "/moved.log"
		assert(log.configure{ outputs = { { type = "file", path = path, policy = "block", block_for = "30s" } } })
		for i = 1, 20000 do
			log.info("n", { i = i })
			if i % 400 == 0 then os.rename(path, ("%s.%03d"):format(path, i / 400)) end
		end
		assert(log.flush(20))
		local seen, n, last = {}, 0, 0
		for name in proc.output(("ls %s.*; ls %s 2>/dev/null"):format(path, path)):gmatch("[^\n]+") do
			for line in io.lines(name) do
				local i = tonumber(line:match('"i":(%d+)}$'))
				assert.is_nil(seen[i])
				assert.is_true(i > last) -- names in the order of their files
				seen[i], n, last = true, n + 1, i
			end
		end
		assert.are.equal(20000, n)
	end)

	it("are reopened after logrotate", function()
		local path = dir .. "/rotate.log"
		assert(log.configure{ outputs = { { type = "file", path = path, rotate = { size = "1MB", keep = 3 } } } })
		log.info("one")
		assert(log.flush())
		assert(os.rename(path, path .. ".1"))
		assert(log.reopen())
		log.info("two")
		assert(log.flush())
		assert.is_truthy(read(path .. ".1"):find("one", 1, true))
		assert.is_truthy(read(path):find("two", 1, true))
	end)

	it("write what a program left at its end without a flush", function()
		local path = dir .. "/exit.log"
		local lua = rawget(_G, "jit") and "luajit" or "lua5.4"
		proc.output(([[%s -e 'local log = require("zbz").log; log.configure{outputs={{type="file",path="%s"}}}
			for i=1,1000 do log.info("n", {i=i}) end']])
			:format(lua, path))
		assert.are.equal(1000, select(2, read(path):gsub("\n", "")))
	end)

	it("are left alone by finalizers that log while the state closes", function()
		local lua = rawget(_G, "jit") and "luajit" or "lua5.4"
		local program = dir .. "/late.lua"
		local f = assert(io.open(program, "w"))
		f:write([[
			local log = require("zbz").log
			assert(log.configure{ outputs = { { type = "null" } } })
			local l = log.logger("x")
			local ev, with = l:event("m", "a"), l:with{ a = 1 }
			local function late()
				l:info("late"); with:info("late"); ev(1); log.info("late"); pcall(log.logger, "new"); pcall(l.with, l, {})
				pcall(function() l:event("m", "b")(2) end)
				io.write("late\n")
			end
			for i = 1, 20 do
				if newproxy then
					local p = newproxy(true)
					getmetatable(p).__gc = late
					_G["k" .. i] = p
				else
					_G["k" .. i] = setmetatable({}, { __gc = late })
				end
			end]])
		f:close()
		local out, ok = proc.output(lua .. " " .. program .. " 2>&1")
		assert.is_true(ok)
		assert.are.equal(("late\n"):rep(20):sub(1, -2), out)
	end)

	it("close, and the default comes back", function()
		assert(log.configure{ outputs = { { type = "memory", name = "m" } } })
		assert(log.close())
		assert.are.equal("table", type(log.types()))
		assert.is_nil((log.drain("m")))
	end)
end)
