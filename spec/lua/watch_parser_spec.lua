-- zbz.watch: from bytes to a value, and what differs between two.
local assert = require("luassert")
local zbz = require("zbz")
local support = require("spec.lua.watch_support")
local box, fails = support.box, support.fails

describe("a parser of watches", function()
	local watches
	before_each(function() watches = {} end)
	after_each(function()
		for _, w in ipairs(watches) do w:stop() end
	end)

	local function parsed(key, bytes, opts)
		local w, err = zbz.watch.sync(box(bytes), key, nil, opts)
		if not w then return nil, err end
		watches[#watches + 1] = w
		return w:value()
	end

	it("is chosen by the extension", function()
		assert.are.same({ a = { 1 } }, parsed("x/app.json", '{"a":[1]}'))
		assert.are.same({ a = { 1 } }, parsed("APP.JSON", '\239\187\191{"a":[1]}'))
		assert.are.equal("{}", parsed("plain", "{}"))
		assert.are.equal("{}", parsed(".hidden", "{}"))
		assert.are.equal("text", parsed("a.conf", "text"))
		assert.are.equal("\255\0", parsed("a.bin", "\255\0"))
		assert.are.same({ 1 }, parsed("plain", "[1]", { parser = "json" }))
		assert.are.equal(7, parsed("plain", "x", { parser = function(bytes, key) return bytes .. key == "xplain" and 7 end }))
		fails("decode", parsed("a.txt", "\255"))
		fails("unsupported", parsed("a.yaml", "a: 1"))
		fails("unsupported", parsed("plain", "a: 1", { parser = "yaml" }))
		fails("invalid_config", parsed("a.exe", "MZ"))
		fails("invalid_config", parsed("plain", "x", { parser = "jsn" }))
		fails("decode", parsed("plain", "x", { parser = function() error("boom") end }))
		fails("decode", parsed("plain", "x", { parser = function() return nil, "why" end }))
		fails("decode", parsed("plain", "x", { parser = function() end }))
	end)

	it("may be the program's own", function()
		zbz.watch.register_parser(".kv", function(bytes)
			local out = {}
			for k, v in bytes:gmatch("(%w+)=(%w+)") do out[k] = v end
			return out
		end)
		assert.are.same({ a = "1", b = "2" }, parsed("app.kv", "a=1 b=2"))
		assert.are.same({ a = "1" }, parsed("app", "a=1", { parser = "kv" }))
	end)

	it("reads Lua as data, within bounds", function()
		assert.are.same({ port = 80, names = { "a" } }, parsed("c.lua", "port = 80 names = { 'a' }"))
		assert.are.same({ 1, { x = true } }, parsed("c.lua", "local t = {}; for i = 1, 1 do t[i] = i end; t[2] = { x = true }; return t"))
		for _, text in ipairs({
			"while true do end", "return function() end", "print(1)", "os.exit()", "return ('x'):rep(9)", "x =",
			"\27Lua", "local t = {} t.t = t return t", "local s = 'a' for i = 1, 40 do s = s .. s end return s",
			"local t = {} for i = 1, 1e9 do t[i] = { i } end", "local function f() return f() end f()", "return { [{}] = 1 }",
			"for i = 1, 1e12 do local x = i end",
		}) do
			fails("decode", parsed("c.lua", text))
		end
		assert.are.equal("xx", ("x"):rep(2)) -- strings have their methods back
		assert.is_nil((debug.gethook()))
		local big = {}
		for i = 1, 20000 do big[i] = ("{ id = %d, name = 'n%d' }"):format(i, i) end
		assert.are.equal("n20000", parsed("c.lua", "return { " .. table.concat(big, ",") .. " }")[20000].name)
	end)
end)

describe("differences", function()
	it("tells paths that can be read", function()
		local changed = require("zbz.watch.diff").changed
		assert.are.same({}, changed({ a = { 1, { b = 0 / 0 } } }, { a = { 1, { b = 0 / 0 } } }))
		assert.are.same({ "" }, changed(1, 2))
		assert.are.same({ "" }, changed({ 1 }, 1))
		assert.are.same({ "a.z", 'a["x.y"]', "list[1].n", "list[2]" },
			changed({ a = { ["x.y"] = 1 }, list = { { n = 1 }, 2 } }, { a = { ["x.y"] = 2, z = 1 }, list = { { n = 2 } } }))
		local loop = { n = 1 }
		loop.self = loop
		local copy = require("zbz.watch.diff").copy(loop)
		assert.are_not.equal(loop, copy)
		assert.are.equal(copy, copy.self)
		assert.are.same({}, changed(loop, copy))
	end)
end)
