-- Errors: one readable line, what they tell, what they never tell.
local zbz = require("zbz")
local E = require("zbz.error")

describe("an error", function()
	it("is a value with fields and one line of text", function()
		local c = assert(zbz.cache.new{ provider = "memory" })
		local v, err = c:table("users"):set("k", print)
		assert.is_nil(v)
		assert.is_true(zbz.is_error(err))
		assert.are.equal("encode", err.code)
		assert.are.equal("set", err.op)
		assert.are.equal("users", err.table)
		assert.are.equal("k", err.key)
		assert.are.equal("string", type(err.message))
		assert.are.equal(false, err.retryable)
		local text = tostring(err)
		assert.is_truthy(text:find("^encode: "))
		assert.is_truthy(text:find("users:k", 1, true))
		assert.is_nil(text:find("\n"))
		assert.are.equal("text " .. text, "text " .. err)
		c:close()
	end)
	it("tells alike from C and from Lua", function()
		local c = assert(zbz.cache.new{ provider = "memory" })
		local fast, slow = c:table("fast"), c:table("slow", { schema = "any" })
		for _, t in ipairs({ fast, slow }) do
			local _, err = t:set("k\n", print)
			assert.are.equal("encode", err.code)
			assert.are.equal("set", err.op)
			assert.are.equal("k\n", err.key)
			assert.is_nil(tostring(err):find("\n"))
			_, err = t:get("")
			assert.are.equal("invalid_key", err.code)
			assert.are.equal("get", err.op)
			t:set_raw("bad", "{")
			_, err = t:get("bad")
			assert.are.equal("decode", err.code)
			assert.are.equal("get", err.op)
			assert.are.equal("bad", err.key)
		end
		c:close()
		for _, t in ipairs({ fast, slow }) do
			local _, err = t:get("k")
			assert.are.equal("closed", err.code)
		end
	end)
	it("says when a retry may help", function()
		local port = require("spec.services.proc").free_port()
		local c = assert(zbz.cache.new{ provider = "redis", url = "redis://127.0.0.1:" .. port, max_retries = 0 })
		local _, err = c:get("k")
		assert.are.equal("unavailable", err.code)
		assert.is_true(err.retryable)
		assert.are.equal("redis", err.provider)
		c:close()
	end)
	it("never shows a secret", function()
		local port = require("spec.services.proc").free_port()
		local secret = "s3cr3t-pass"
		local url = ("redis://user:%s@127.0.0.1:%d/0"):format(secret, port)
		local function clean(x)
			if type(x) == "table" then
				for k, v in pairs(x) do
					clean(k)
					clean(v)
				end
				x = tostring(x)
			end
			assert.is_nil(tostring(x):find(secret, 1, true), tostring(x))
		end
		local c = assert(zbz.cache.new{ provider = "redis", url = url, max_retries = 0 })
		clean(c:config())
		clean(c:info())
		clean(tostring(c))
		clean(c.provider:config())
		clean(tostring(c.provider))
		clean(select(2, c:get("k")))
		clean(c:health())
		c:close()
		local d = assert(zbz.cache.new{ provider = "redis", host = "127.0.0.1", port = port, password = secret, max_retries = 0 })
		assert.are.equal("***", d:config().password)
		clean(select(2, d:get("k")))
		d:close()
		for _, bad in ipairs({ "redis://user:" .. secret .. "@:bad:port/x", "redis://user:" .. secret .. "@host:99999", "redis//" .. secret }) do
			local v, err = zbz.cache.new{ provider = "redis", url = bad }
			assert.is_nil(v)
			assert.are.equal("invalid_config", err.code)
			if bad:find("://", 1, true) then clean(err) end
		end
		zbz.cache.register_provider("secretive", function() return { get = print, set = print, delete = print } end)
		clean(zbz.cache.provider("secretive", { password = secret, api_token = secret, client_secret = secret }):config())
	end)
	it("wraps what others throw", function()
		local err = E.wrap("plain text\nwith a line", "unavailable")
		assert.are.equal("unavailable", err.code)
		assert.is_nil(tostring(err):find("\n"))
		assert.are.equal(err, E.wrap(err, "internal"))
		assert.are.equal("denied", E.wrap({ code = "denied", message = "no" }, "unavailable").code)
		assert.are.equal("unavailable", E.wrap({ code = "E42", message = "no" }, "unavailable").code)
		assert.are.equal("failed without a reason", E.wrap(nil, "internal").message)
		assert.is_true(#tostring(E.new("internal", ("x"):rep(5000))) < 700)
		assert.is_false(zbz.is_error({}))
		assert.is_false(zbz.is_error("text"))
	end)
	it("of every kind has a code and a line", function()
		local c = assert(zbz.cache.new{ provider = "memory" })
		local t = c:table("t")
		local all = {
			invalid_config = { zbz.cache.new{ provider = "memory", max_size = "big" } },
			unknown_provider = { zbz.cache.new{ provider = "nope" } },
			not_configured = { zbz.cache.get("k") },
			invalid_key = { t:get("") },
			type_mismatch = { c:table("s", { schema = "integer" }):set("k", "x") },
			encode = { t:set("k", print) },
			provider_mismatch = { c:native("redis") },
			unsupported = { zbz.use("tokio") },
			loader = { t:fetch("k", error) },
			locked = { t:fetch("k", function() return nil, select(2, t:fetch("k", print)) end) },
		}
		all.locked[2] = all.locked[2].cause
		for code, r in pairs(all) do
			assert.is_nil(r[1])
			assert.are.equal(code, r[2].code)
			assert.is_truthy(tostring(r[2]):find("^" .. code .. ": .+"))
		end
		c:close()
	end)
end)

describe("misuse", function()
	it("raises at the caller's line", function()
		local c = assert(zbz.cache.new{ provider = "memory" })
		local t = c:table("t")
		local s = c:table("s", { schema = "any" })
		local calls = {
			function() t:get(5) end, function() s:get(5) end, function() t:set("k", 1, -1) end, function() s:set("k", 1, -1) end,
			function() t:set("k", 1, "soon") end, function() s:set("k", 1, "soon") end, function() t:expire("k", -1) end,
			function() s:expire("k", -1) end, function() t:set("k", 1, { nope = 1 }) end, function() s:set("k", 1, { nope = 1 }) end,
			function() t:get("k", { nope = 1 }) end, function() s:get("k", { nope = 1 }) end, function() t:set("k") end,
			function() s:set("k") end, function() t:incr("k", "x") end, function() s:incr("k", "x") end, function() t:keys(5) end,
			function() s:keys(5) end, function() zbz.cache.new{ provider = "memory", nope = 1 } end, function() zbz.cache.new(5) end,
			function() zbz.cache.configure{ provider = "memory", nope = 1 } end, function() zbz.cache.provider("memory", { nope = 1 }) end,
			function() zbz.cache.provider(5) end, function() zbz.array(5) end, function() zbz.uri(5) end, function() c:native(5) end,
			function() zbz.cache.new{ provider = "memory", default_ttl = -1 } end, function() zbz.table("x", 5) end,
		}
		assert(zbz.cache.configure{ provider = "memory" })
		for i, call in ipairs(calls) do
			local ok, err = pcall(call)
			assert.is_false(ok, "call " .. i .. " should raise")
			assert.is_truthy(tostring(err):find("errors_spec.lua:", 1, true), i .. ": " .. tostring(err))
		end
		zbz.cache.close()
		c:close()
	end)
end)
