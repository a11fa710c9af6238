-- What must not be seen is not seen: in no format, no output, no function, no ring.
local zbz = require("zbz")
local core = require("zbz.core")
local proc = require("spec.services.proc")
local log = zbz.log

local KEY = "0123456789abcdef0123456789abcdef"

local one = require("spec.lua.log_support").one

describe("redaction", function()
	before_each(function() assert(log.configure{ outputs = { { type = "memory", name = "m" } }, redact = false }) end)
	after_each(function()
		log.redact(false)
		log.close()
	end)

	it("goes by name: exact, any case, glob, nested, bound and in events", function()
		assert(log.redact{ "password", "*_token", keys = { "X-Api-Key" } })
		local l = log.with{ Password = "hunter2" }
		l:info("m", { api_token = "hunter2", ["x-api-key"] = "hunter2", passwords = "fine",
			user = { PASSWORD = "hunter2", list = { { auth_token = { "hunter2" } } } } })
		local r, text = one()
		assert.is_nil(text:find("hunter2", 1, true))
		assert.are.equal("***", r.Password)
		assert.are.same({ PASSWORD = "***", list = { { auth_token = "***" } } }, r.user)
		assert.are.equal("fine", r.passwords)
		log.event("m", "password", "n")("hunter2", 1)
		r = one()
		assert.are.same({ "***", 1 }, { r.password, r.n })
		assert(log.redact(false))
		l:info("m")
		assert.are.equal("hunter2", one().Password)
	end)

	it("goes by what a text looks like", function()
		assert(log.redact{ scan = { "ssn", "card", "email" } })
		local hidden = { "078-05-1120", "4111111111111111", "4111-1111-1111-1111", "5500 0000 0000 0004", "378282246310005",
			"a.b+c@mail.example.com", "ü@example.org" }
		local shown = { "078-05-112", "1078-05-11201", "4111111111111112", "41111111111111111111", "12:34:56",
			"a@b", "@handle", "x@", "2026-11-21", "555-1234" }
		for _, s in ipairs(hidden) do
			log.info("it is " .. s .. ".", { a = s, b = { "see " .. s }, c = "(" .. s .. ")" })
			local _, text = one()
			assert.is_nil(text:find(s, 1, true), text)
		end
		for _, s in ipairs(shown) do
			log.info("it is " .. s, { a = s })
			local r = one()
			assert.are.equal(s, r.a)
			assert.are.equal("it is " .. s, r.message)
		end
		for text, expected in pairs{
			["4111111111111111 123"] = "[card] 123", ["4111 1111 1111 1111 12/27"] = "[card] 12/27", ["no 5 4111-1111-1111-1111"] = "no 5 [card]",
			["4111 1111 1111 1111 5500 0055 5555 5559"] = "[card] [card]", ["4111111111111112 123"] = "4111111111111112 123",
			["41111111111111110000000"] = "41111111111111110000000", ["x4111111111111111"] = "x4111111111111111",
		} do
			log.info("n", { v = text })
			assert.are.equal(expected, one().v)
		end
		log.info("n", { card = 4111111111111111 })
		assert.are.equal("[card]", one().card)
		local long = ("1"):rep(50000) .. ("@"):rep(50000) .. ("1-"):rep(20000)
		local began = core.mono()
		log.info(long, { long = long })
		one()
		assert.is_true(core.mono() - began < 2000)
	end)

	it("takes Lua patterns", function()
		assert(log.redact{ "password", pattern = { "sk%-%w+", "tok_%d+" } })
		log.info("with sk-abc123", { a = "tok_42", b = { c = "x sk-zzz y" }, password = "p", n = 5 })
		local r, text = one()
		assert.is_nil(text:find("abc123") or text:find("tok_42") or text:find("zzz"))
		assert.are.same({ "with ***", "***", "x *** y", "***", 5 }, { r.message, r.a, r.b.c, r.password, r.n })
		log.event("e sk-q", "a")("tok_1")
		assert.are.equal("***", one().a)
		assert.is_nil((log.redact{ pattern = "%" }))
	end)

	it("takes Lua patterns in bound fields and nested ones, which stay what they are", function()
		assert(log.redact{ "password", pattern = "sk%-%w+" })
		local function all(t)
			t.cycle, t.list[2] = t, { t }
			return t
		end
		local shown = setmetatable({}, { __tostring = function() return "shown sk-1" end })
		local broken = setmetatable({}, { __tostring = function() error("sk-2") end })
		log.with{ a = 1, v = "is sk-1", password = "p", s = zbz.secret("s3cret") }:info("m", { b = 2 })
		local r, text = one()
		assert.is_nil(text:find("sk%-1") or text:find("s3cret"))
		assert.are.same({ 1, "is ***", "***", "***", 2 }, { r.a, r.v, r.password, r.s, r.b })
		log.info("m", { t = all{ s = zbz.secret("s3cret"), p = zbz.pii("s3cret"), d = log.ms(5), list = { "sk-1" }, nan = 0 / 0, shown = shown,
			broken = broken, ["sk-1"] = 1, e = zbz.array{} }, shown = shown, err = select(2, zbz.cache.get("sk-1")) })
		r, text = one()
		assert.is_nil(text:find("sk%-") or text:find("s3cret"))
		assert.are.same({ "***", "***", "***", "shown ***", "shown ***" }, { r.t.s, r.t.p, r.t.list[1], r.t.shown, r.shown })
		assert.are.same({ "(cycle)", 0.005, 1, "not_configured" }, { r.t.cycle, r.t.d, r.t["***"], r.err.code })
		assert.is_truthy(text:find('"e":[]', 1, true), text)
		log.event("m", "t")({ s = zbz.secret("s3cret") })
		assert.are.same({ s = "***" }, one().t)
	end)

	it("goes by type, with a keyed hash that others can compute", function()
		log.info("m", { a = zbz.secret("s3cret"), b = zbz.pii("alice@example.com"), c = { zbz.secret("s3cret") }, d = log.secret(42) })
		local r, text = one()
		assert.is_nil(text:find("s3cret", 1, true) or text:find("alice", 1, true) or text:find("42}", 1, true))
		assert.are.same({ "***", "***", "***", "***" }, { r.a, r.b, r.c[1], r.d })
		assert.are.equal("***", tostring(zbz.secret("s3cret")))
		assert(log.redact{ pii = "hash", secret = "partial", hash = { "user" }, key = KEY })
		log.info("m", { b = zbz.pii("alice@example.com"), a = zbz.secret("1234567890"), user = "bob" })
		r = one()
		local function hmac(s)
			local program = "LD_PRELOAD= python3 -c 'import hmac; print(hmac.new(b\"%s\", b\"%s\", \"sha256\").hexdigest()[:16])'"
			return "hmac:" .. proc.output(program:format(KEY, s))
		end
		assert.are.equal(hmac("alice@example.com"), r.b)
		assert.are.equal(hmac("bob"), r.user)
		assert.are.equal("12...90", r.a)
		for _, bad in ipairs{ { pii = "hash" }, { pii = "encrypt", key = KEY }, { secret = "no" }, { key = "short" },
			{ scan = { "iban" } }, { hash = 1 } } do
			local ok, err = log.redact(bad)
			assert.is_nil(ok)
			assert.are.equal("invalid_config", err.code)
			assert.is_nil(tostring(err):find(KEY, 1, true))
		end
		assert.has_error(function() log.redact{ keyz = {} } end)
	end)

	it("masks addresses", function()
		assert(log.redact{ mask_ip = true })
		log.info("m", { ip = "203.0.113.77", client_ip = "2001:db8:1:2:3:4:5:6", remote_addr = "unix:" })
		local r = one()
		assert.are.same({ "203.0.113.0", "2001:db8:1::", "***" }, { r.ip, r.client_ip, r.remote_addr })
		for ip, shown in pairs{ ["2001:db8::1"] = "2001:db8::", ["2001::1:2"] = "2001::", ["::ffff:10.1.2.3"] = "::", ["::1"] = "***",
			["10.1.2.3, 10.4.5.6"] = "***", ["10.1.2.3:80"] = "***" } do
			log.info("m", { ip = ip })
			assert.are.equal(shown, one().ip)
		end
	end)

	it("holds for functions, listeners and formatters, too", function()
		local seen = {}
		assert(log.configure{ redact = { "password", scan = { "email" } }, outputs = {
			function(line, r) seen[#seen + 1] = line .. r.fields.password end,
			{ type = "memory", name = "m", format = function(r) return r.message .. r.fields.password end } } })
		assert(log.on_event(function(r) seen[#seen + 1] = r.fields.password .. r.message end))
		log.info("to bob@example.com", { password = "hunter2" })
		assert.are.equal(2, #seen)
		for _, text in ipairs(seen) do assert.is_nil(text:find("hunter2", 1, true) or text:find("bob@", 1, true)) end
		assert.are.same({ "to [email]***" }, log.drain("m"))
	end)

	it("gives processors each type first", function()
		assert(log.processor("secret", function(v, name) return name .. ":" .. #v end))
		assert(log.processor("number", function(v) return v * 2 end))
		assert.are.same({ "number", "secret" }, log.processors())
		log.info("m", { token = zbz.secret("12345"), n = 21 })
		local r = one()
		assert.are.same({ "token:5", 42 }, { r.token, r.n })
		assert(log.processor("secret", function() error("boom") end))
		log.info("m", { token = zbz.secret("12345") })
		local _, text = one()
		assert.is_nil(text:find("12345", 1, true))
		assert(log.processor("secret", nil)); assert(log.processor("number", nil))
		log.info("m", { n = 21 })
		assert.are.equal(21, one().n)
		assert.has_error(function() log.processor("strnig", print) end)
	end)

	it("leaves nothing in the ring", function()
		local dir = proc.folder()
		local lua = rawget(_G, "jit") and "luajit" or "lua5.4"
		local program = ([[
			local zbz = require("zbz")
			zbz.log.configure{ redact = { "password", scan = { "card" } }, outputs = { { type = "file", path = "%s/x.log", ring = "%s" } } }
			zbz.log.info("card 4111111111111111", { password = "hunter2", s = zbz.secret("hunter2") })
			local f = io.popen("grep -ra -e hunter2 -e 4111111111111111 %s | wc -l")
			io.write((f:read("*l"):gsub("%%s", "")), " ", tostring(zbz.log.stats().records.info))]]):format(dir, dir, dir)
		local f = assert(io.open(dir .. "/p.lua", "w"))
		f:write((program:gsub("hunter2", "hunt'..'er2"):gsub("4111111111111111", "41111111'..'11111111"):gsub('"([^"]*\'%.%.\'[^"]*)"', "'%1'")))
		f:close()
		assert.are.equal("0 1", proc.output(lua .. " " .. dir .. "/p.lua 2>&1"))
		proc.remove(dir)
	end)
end)
