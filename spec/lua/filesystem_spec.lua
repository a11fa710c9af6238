-- The filesystem cache through the public API: what stands on the disk, other processes, damage.
local zbz = require("zbz")
local proc = require("spec.services.proc")

local dir

local function open(opts)
	opts = opts or {}
	opts.provider, opts.base_dir = "filesystem", opts.base_dir or dir .. "/cache"
	return assert(zbz.cache.new(opts))
end

local function fails(code, v, err)
	assert.is_nil(v)
	assert.is_table(err)
	assert.equal(code, err.code, tostring(err))
	return err
end

local function files() return proc.output(("find %s/cache -name '*.zbz' -type f"):format(dir)) end

local function write(path, bytes)
	local f = assert(io.open(path, "wb"))
	f:write(bytes)
	f:close()
end

describe("filesystem", function()
	before_each(function() dir = proc.folder() end)
	after_each(function() proc.remove(dir) end)

	it("keeps entries for whoever opens the folder next", function()
		local cache = open()
		assert.is_true(cache:table("t"):set("k", { name = "Alice", n = 1 }, "1h"))
		cache:close()
		cache = assert(zbz.cache.new { provider = "filesystem", dir = dir .. "/cache" })
		local t = cache:table("t")
		assert.same({ name = "Alice", n = 1 }, t:get("k"))
		assert.is_true(t:ttl("k") > 3590 and t:ttl("k") <= 3600)
		cache:close()
	end)

	it("gives files the mode that was asked for, whatever the umask", function()
		for text, want in pairs { ["0644"] = "644 755", ["0600"] = "600 700", ["0640"] = "640 750" } do
			local cache = open { base_dir = dir .. "/" .. text, permissions = text }
			assert.is_true(cache:table("t"):set("k", 1))
			local file = proc.output(("stat -c %%a $(find %s/%s -name '*.zbz')"):format(dir, text))
			local folder = proc.output(("stat -c %%a %s/%s"):format(dir, text))
			assert.equal(want, file .. " " .. folder)
			cache:close()
		end
		fails("invalid_config", zbz.cache.new { provider = "filesystem", base_dir = dir, permissions = "0444" })
	end)

	it("keeps odd keys apart, inside its folder, and lists them as they were", function()
		local cache = open()
		local t = cache:table("t", { serializer = "bytes" })
		local keys = { ".", "..", "../../etc/passwd", "a/b", "a%2Fb", "A", "a", "nul\0byte", "line\nbreak", ("l"):rep(300),
			("l"):rep(30000), "\255" }
		for _, k in ipairs(keys) do assert.is_true(t:set(k, k)) end
		for _, k in ipairs(keys) do assert.equal(k, t:get(k)) end
		local seen, n = {}, 0
		for k in t:keys("*") do
			seen[k] = true
			n = n + 1
		end
		assert.equal(#keys, n)
		for _, k in ipairs(keys) do assert.is_true(seen[k]) end
		local _, lines = files():gsub("[^\n]+", "")
		assert.equal(#keys, lines)
		fails("invalid_key", t:set(("k"):rep(40000), "v"))
		cache:close()
	end)

	it("removes its own files and no others", function()
		local cache = open { key_prefix = "app:" }
		local a, b = cache:table("a"), cache:table("b")
		assert.is_true(a:set("k", 1))
		local leaf = files():match("^(.*)/[^/]+$")
		write(leaf .. "/notes.txt", "mine")
		write(leaf .. "/app%3Aa.zbz", "mine too")
		assert.is_true(b:set("k", 2))
		assert.is_true(a:clear())
		assert.is_nil(a:get("k"))
		assert.equal(2, b:get("k"))
		assert.is_true(cache:clear())
		assert.is_nil(b:get("k"))
		assert.equal("notes.txt", proc.output("ls " .. leaf .. "/notes.txt | xargs basename"))
		assert.equal("mine too", proc.output("cat '" .. leaf .. "/app%3Aa.zbz'"))
		cache:close()
	end)

	it("tells a damaged file from a value", function()
		local cache = open()
		local t = cache:table("t", { serializer = "string" })
		assert.is_true(t:set("k", ("value "):rep(100)))
		local path = files()
		local f = assert(io.open(path, "rb"))
		local whole = f:read("*a")
		f:close()
		for _, bad in ipairs { "", "x", whole:sub(1, 20), whole:sub(1, -2), whole:sub(1, -2) .. "X", whole .. "x", ("\0"):rep(#whole) } do
			write(path, bad)
			local err = fails("corrupt", t:get("k"))
			assert.is_false(err.retryable or false)
		end
		assert.is_true(t:set("k", "new"))
		assert.equal("new", t:get("k"))
		cache:close()
	end)

	it("counts together with other processes", function()
		local cache = open()
		local t = cache:table("n", { serializer = "string" })
		local lua = arg and arg[-1] and proc.output("command -v " .. (rawget(_G, "jit") and "luajit" or "lua5.4"))
		local script = dir .. "/count.lua"
		write(script, ([[
			local zbz = require("zbz")
			local t = zbz.cache.new({ provider = "filesystem", base_dir = %q }):table("n", { serializer = "string" })
			for _ = 1, 100 do assert(t:incr("k", 1)) end
		]]):format(dir .. "/cache"))
		local cpath = rawget(_G, "jit") and 'LUA_CPATH="' .. package.cpath .. '" ' or ""
		local cmd = cpath .. lua .. " " .. script
		local out, ok = proc.output(("(%s & a=$!; %s & b=$!; wait $a && wait $b) 2>&1"):format(cmd, cmd))
		assert.is_true(ok, out)
		assert.equal("200", t:get("k"))
		cache:close()
	end)

	it("goes on when its folder is removed", function()
		local cache = open()
		local t = cache:table("t")
		assert.is_true(t:set("k", 1))
		os.execute("rm -rf " .. dir .. "/cache")
		assert.is_nil(t:get("k"))
		assert.is_true(t:set("k", 2))
		assert.equal(2, t:get("k"))
		cache:close()
	end)

	it("says where it cannot be", function()
		write(dir .. "/file", "x")
		local err = fails("invalid_config", zbz.cache.new { provider = "filesystem", base_dir = dir .. "/file" })
		assert.truthy(tostring(err):find(dir .. "/file", 1, true))
		fails("invalid_config", zbz.cache.new { provider = "filesystem", base_dir = dir .. "/file/below" })
		fails("invalid_config", zbz.cache.new { provider = "filesystem", base_dir = "" })
	end)
end)
