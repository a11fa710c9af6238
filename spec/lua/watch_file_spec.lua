-- zbz.watch over real files: how editors, tools and Kubernetes save them, and what file systems do.
local assert = require("luassert")
local zbz = require("zbz")
local core = require("zbz.core")
local proc = require("spec.services.proc")
local support = require("spec.lua.watch_support")
local await, quiet, recorder, write = support.await, support.quiet, support.recorder, support.write

describe("watch files", function()
	local dir, source, errors, watches

	local function sh(script)
		local out, ok = proc.output(("cd '%s' && { %s; } 2>&1"):format(dir, script))
		assert(ok, out)
	end
	local function sync(key, fn, opts)
		local w = assert(zbz.watch.sync(source, key, fn, opts or { debounce = "5ms" }))
		watches[#watches + 1] = w
		return w
	end

	before_each(function()
		dir, watches, errors = proc.folder(), {}, support.catch_errors()
		source = assert(zbz.watch.file(dir))
	end)
	after_each(function()
		for _, w in ipairs(watches) do w:stop() end
		zbz.on_error = nil
		proc.remove(dir)
	end)

	-- n saves by save(i), each seen before the next one; no call too many, no error.
	local function saves(n, save)
		local calls, fn = recorder()
		write(dir .. "/app.json", '{"n":0}')
		local w = sync("app.json", fn)
		assert.are.equal("watched", (w:mode()))
		for i = 1, n do
			save(i, ('{"n":%d}'):format(i))
			assert.is_true(await(function() return w:value().n == i end), "save " .. i .. " was not seen: " .. tostring(w:error()))
		end
		quiet(0.05)
		assert.are.equal(n + 1, #calls)
		for i, call in ipairs(calls) do assert.are.equal(i - 1, call[2].n) end
		assert.are.same({}, errors)
	end

	it("sees 100 saves in place", function() saves(100, function(_, text) write(dir .. "/app.json", text) end) end)

	it("sees 100 saves by a file that is renamed over it", function()
		saves(100, function(_, text)
			write(dir .. "/.app.json.new", text)
			assert(os.rename(dir .. "/.app.json.new", dir .. "/app.json"))
		end)
	end)

	it("sees 100 saves by renaming it away and making it anew", function()
		saves(100, function(_, text)
			assert(os.rename(dir .. "/app.json", dir .. "/app.json~"))
			write(dir .. "/app.json", text)
		end)
	end)

	it("sees 100 saves by sed -i", function()
		saves(100, function(i) sh(("sed -i 's/%d/%d/' app.json"):format(i - 1, i)) end)
	end)

	it("sees saves by vim, whatever its way of writing", function()
		if proc.output("command -v vim") == "" then
			print("SKIP watch file: vim is not installed")
			return pending("vim is not installed")
		end
		local ways = { "set backupcopy=yes", "set backupcopy=no", "set backupcopy=auto backup", "set nowritebackup" }
		saves(12, function(i)
			sh(("vim -Nu NONE -es -c '%s' -c '%%s/%d/%d/' -c wq app.json </dev/null"):format(ways[i % #ways + 1], i - 1, i))
		end)
	end)

	it("takes no half-written file for the new value, and no empty one", function()
		local calls, fn = recorder()
		write(dir .. "/app.json", '{"n":1}')
		write(dir .. "/text.txt", "one")
		sync("app.json", fn)
		local texts, text_fn = recorder()
		sync("text.txt", text_fn)
		local f = assert(io.open(dir .. "/app.json", "w")) -- truncates
		local t = assert(io.open(dir .. "/text.txt", "w"))
		assert(f:write('{"n":'))
		assert(t:write("two"))
		f:flush()
		t:flush()
		quiet(0.15)
		assert(f:write("2}"))
		assert(t:write(" and more"))
		f:close()
		t:close()
		assert.is_true(await(function() return #calls == 2 and #texts == 2 end))
		assert.are.equal("two and more", texts[2][2])
		assert.are.same({}, errors)
	end)

	it("reads what a writer who keeps the file open has flushed", function()
		local calls, fn = recorder()
		write(dir .. "/text.txt", "one")
		sync("text.txt", fn)
		local f = assert(io.open(dir .. "/text.txt", "w"))
		assert(f:write("two"))
		f:flush()
		assert.is_true(await(function() return #calls == 2 end))
		assert.are.equal("two", calls[2][2])
		f:close()
	end)

	it("says that a file is empty, unless that is allowed", function()
		local calls, fn = recorder()
		write(dir .. "/a.txt", "one")
		write(dir .. "/b.txt", "one")
		local w = sync("a.txt")
		sync("b.txt", fn, { allow_empty = true, debounce = "5ms" })
		write(dir .. "/a.txt", "")
		write(dir .. "/b.txt", "")
		assert.is_true(await(function() return #calls == 2 end))
		assert.are.equal("", calls[2][2])
		assert.is_true(await(function() return w:error() ~= nil end))
		assert.are.equal("decode", w:error().code)
		assert.are.equal("one", w:value())
	end)

	it("follows the exchanged links of a ConfigMap, two exchanges in a row, too", function()
		local version = 0
		local function make(text)
			version = version + 1
			sh(("mkdir ..v%d && printf '%%s' '%s' > ..v%d/app.json && ln -s ..v%d ..data_tmp && mv -T ..data_tmp ..data"):format(version, text,
				version, version))
			if version > 1 then sh(("rm -rf ..v%d"):format(version - 1)) end
		end
		make('{"n":1}')
		sh("ln -s ..data/app.json app.json")
		local calls, fn = recorder()
		local w = sync("app.json", fn)
		for i = 2, 20 do
			make(('{"n":%d}'):format(i))
			assert.is_true(await(function() return w:value().n == i end), "exchange " .. i)
		end
		for i = 21, 40, 2 do
			make(('{"n":%d}'):format(i))
			make(('{"n":%d}'):format(i + 1))
			assert.is_true(await(function() return w:value().n == i + 1 end), "exchange " .. i)
		end
		assert.are.same({}, errors)
		for i = 2, #calls do assert.is_true(calls[i][2].n > calls[i - 1][2].n) end
	end)

	it("follows links that lead elsewhere, and a change of their target", function()
		sh("mkdir a b && echo 1 > a/n.json && echo 2 > b/m.json && ln -s a here && ln -s here/n.json app.json")
		local w = sync("app.json")
		sh("echo 3 > a/n.json")
		assert.is_true(await(function() return w:value() == 3 end))
		sh("ln -sfn ../b/m.json a/n.json") -- another name in a directory that was not on the way
		assert.is_true(await(function() return w:value() == 2 end))
		sh("echo 4 > b/m.json")
		assert.is_true(await(function() return w:value() == 4 end))
		sh("ln b/m.json other && echo 5 > other") -- in place, under another name
		assert.is_true(await(function() return w:value() == 5 end))
		assert.are.same({}, errors)
	end)

	it("outlives the directory, and directories above it", function()
		source = assert(zbz.watch.file(dir .. "/x/y"))
		sh("mkdir -p x/y && echo 1 > x/y/n.json")
		local w = sync("n.json")
		for i = 2, 6 do
			sh("rm -rf x/y")
			if i % 2 == 0 then assert.is_true(await(function() return w:error() ~= nil end)) end
			sh(("mkdir x/y && echo %d > x/y/n.json"):format(i))
			assert.is_true(await(function() return w:value() == i and not w:error() end), "directory " .. i)
		end
		sh("mkdir -p new/y && echo 7 > new/y/n.json && mv x old && mv new x")
		assert.is_true(await(function() return w:value() == 7 end))
		sh("rm -rf x")
		assert.is_true(await(function() return w:error() ~= nil end))
		assert.are.equal(7, w:value())
		sh("mkdir -p x/y")
		sh("echo 8 > x/y/n.json")
		assert.is_true(await(function() return w:value() == 8 end))
	end)

	it("tells 100 writes within a moment by few calls, the last one always", function()
		for _ = 1, 5 do
			local calls, fn = recorder()
			write(dir .. "/n.json", "0")
			local w = sync("n.json", fn, { debounce = "50ms" })
			local began = core.mono()
			for i = 1, 100 do write(dir .. "/n.json", tostring(i)) end
			local took = core.mono() - began
			assert.is_true(await(function() return w:value() == 100 end))
			quiet(0.1)
			assert.is_true(#calls <= 3 + took / 50, #calls .. " calls")
			assert.are.equal(100, calls[#calls][2])
			w:stop()
		end
		assert.are.same({}, errors)
	end)

	it("tells the last of many writes by another process", function()
		write(dir .. "/n.json", "0")
		local w = sync("n.json", nil, { debounce = "20ms" })
		sh("for i in $(seq 1000); do echo $i > n.new; mv n.new n.json; done")
		assert.is_true(await(function() return w:value() == 1000 end))
		assert.are.same({}, errors)
	end)

	it("sees two writes within a second, of the same size, when it only looks", function()
		source = assert(zbz.watch.file(dir, { polling = true }))
		write(dir .. "/n.json", "1")
		local calls, fn = recorder()
		local w = sync("n.json", fn, { poll = "20ms", debounce = 0 })
		assert.are.equal("polled", (w:mode()))
		for i = 2, 5 do
			write(dir .. "/n.json", tostring(i))
			assert.is_true(await(function() return w:value() == i end))
		end
		write(dir .. "/new", "6")
		sh("touch -r n.json new && mv new n.json") -- the time of the old one
		assert.is_true(await(function() return w:value() == 6 end))
		assert.are.equal(6, #calls)
	end)

	it("polls where the system tells nothing", function()
		source = assert(zbz.watch.file("/proc"))
		local calls, fn = recorder()
		local w = sync("uptime", fn, { poll = "20ms", debounce = 0 })
		assert.are.equal("polled", (w:mode()))
		assert.is_true(await(function() return #calls >= 3 end))
	end)

	it("refuses what is no file, is too large or leads out", function()
		sh("mkdir sub && mkfifo pipe && head -c 2000 /dev/zero > big.bin")
		local function code(key, opts)
			local w, err = zbz.watch.sync(source, key, nil, opts or { parser = "bytes" })
			assert.is_nil(w)
			return err.code
		end
		assert.are.equal("type_mismatch", code("sub"))
		assert.are.equal("type_mismatch", code("pipe"))
		assert.are.equal("too_large", code("big.bin", { max_size = 1999 }))
		assert.are.equal("invalid_key", code("../etc/passwd"))
		assert.are.equal("invalid_key", code("/etc/passwd"))
		assert.are.equal("invalid_key", code("a\0b"))
		assert.are.equal("unavailable", code("sub/none"))
		assert.are.equal(2000, #sync("big.bin", nil, { max_size = 2000 }):value())
		write(dir .. "/big.bin", ("x"):rep(2001))
		assert.is_true(await(function() return watches[1]:error() ~= nil end))
		assert.are.equal("too_large", watches[1]:error().code)
		write(dir .. "/big.bin", "y")
		assert.is_true(await(function() return watches[1]:value() == "y" end))
		assert.is_nil(watches[1]:error())
	end)

	it("keeps what is wrong apart from what is read again", function()
		write(dir .. "/app.json", '{"n":1}')
		local calls, fn = recorder()
		local w = sync("app.json", fn)
		for i = 2, 11 do -- a bad save, then a good one
			write(dir .. "/app.json", "{")
			assert.is_true(await(function() return w:error() ~= nil end))
			write(dir .. "/app.json", ('{"n":%d}'):format(i))
			assert.is_true(await(function() return w:value().n == i end))
			assert.is_nil(w:error())
		end
		assert.are.equal(11, #calls)
		assert.are.equal(10, #errors)
	end)

	it("pauses", function()
		write(dir .. "/n.json", "1")
		local calls, fn = recorder()
		local w = sync("n.json", fn)
		w:pause()
		for i = 2, 5 do write(dir .. "/n.json", tostring(i)) end
		quiet(0.05)
		assert.are.equal(1, #calls)
		w:resume()
		assert.is_true(await(function() return #calls == 2 end))
		assert.are.same({ 1, 5, { "" } }, calls[2])
	end)

	-- A program of its own, in namespaces of its own; what it prints.
	local function alone(namespaces, prepare, program)
		write(dir .. "/program.lua", ([[
			local zbz = require("zbz")
			local dir = %q
			zbz.on_error = function(err) print("error: " .. tostring(err)) end
		]]):format(dir) .. program)
		local lua = rawget(_G, "jit") and "luajit" or "lua5.4"
		local script = ("export LUA_CPATH='%s'; cd %s && { %s; } && exec %s program.lua"):format(package.cpath, dir, prepare, lua)
		write(dir .. "/run.sh", script)
		if not select(2, proc.output("unshare " .. namespaces .. " true 2>&1")) then return nil end
		return (proc.output(("LUA_PATH='%s' timeout 30 unshare %s sh %s/run.sh 2>&1"):format(package.path:gsub("%./", proc.output("pwd") .. "/"),
			namespaces, dir)))
	end

	it("polls when no inotify is left, and says so", function()
		local out = alone("-Ur", "echo 0 > /proc/sys/user/max_inotify_instances && echo 1 > n.json", [[
			local w = assert(zbz.watch.sync(zbz.watch.file(dir), "n.json", nil, { poll = "20ms", debounce = 0 }))
			print((w:mode()))
			local f = io.open(dir .. "/n.json", "w"); f:write("2"); f:close()
			for _ = 1, 500 do zbz.poll(0.02); if w:value() == 2 then break end end
			print(w:value())
		]])
		if not out then
			print("SKIP watch file: no user namespaces here")
			return pending("no user namespaces here")
		end
		assert.are.equal("polled\n2", out)
	end)

	it("warns of a file that is a mount of its own", function()
		local out = alone("-m", "echo 1 > real && touch n.json && mount --bind real n.json", [[
			local w = assert(zbz.watch.sync(zbz.watch.file(dir), "n.json"))
			print(w:value())
			local f = io.open(dir .. "/real", "w"); f:write("2"); f:close() -- in place, under the name outside
			for _ = 1, 100 do zbz.poll(0.1); if w:value() == 2 then break end end
			print(w:value())
		]])
		if not out then
			print("SKIP watch file: no mount namespaces here")
			return pending("no mount namespaces here")
		end
		assert.truthy(out:find("^error: unsupported: [^\n]*is a mount of its own[^\n]*\n1\n2$"), out)
	end)
end)
