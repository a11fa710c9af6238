-- Encrypted fields as programs see them: which values, the way back, and what happens when the key or the plug-in is missing.
local zbz = require("zbz")
local core = require("zbz.core")
local proc = require("spec.services.proc")
local log = zbz.log

local KEY = "0123456789abcdef0123456789abcdef"
local HEX = KEY:gsub(".", function(c) return ("%02x"):format(c:byte()) end)

local one = require("spec.lua.log_support").one

describe("encrypted fields", function()
	before_each(function()
		assert(log.configure{ outputs = { { type = "memory", name = "m" } },
			redact = { pii = "encrypt", encrypt = { "email", "*_private" }, encryption = { id = "2026-01", key = KEY } } })
	end)
	after_each(function() log.redact(false); log.close() end)

	it("are chosen by name, by type, and by the value itself; only the key shows them", function()
		log.info("m", { email = "alice@example.com", n = zbz.pii(42), own = zbz.secret("s3cret", "encrypt"), id = zbz.secret("s3cret"),
			notes_private = { a = { 1, "two" } }, deep = { Email = "bob@example.com", email = { 1 } } })
		local r, text = one()
		assert.is_nil(text:find("alice", 1, true) or text:find("bob", 1, true) or text:find("s3cret", 1, true) or text:find("two", 1, true))
		local shown = { r.email, r.n, r.own, r.notes_private, r.deep.Email, r.deep.email }
		local values = { "alice@example.com", "42", "s3cret", '{"a":[1,"two"]}', "bob@example.com", "[1]" }
		for i, v in ipairs(shown) do
			assert.is_truthy(v:find("^enc:2026%-01:[%w+/]+=*$"), v)
			assert.are.equal(values[i], log.decrypt(v, KEY))
			assert.are.equal(values[i], log.decrypt(v, HEX))
			assert.are.equal(values[i], log.decrypt(v, { ["2026-01"] = KEY, older = ("x"):rep(32) }))
		end
		assert.are.equal("***", r.id)
		log.event("e", "a")(zbz.pii("alice"))
		assert.are.equal("alice", log.decrypt(one().a, KEY))
		log.with{ who = zbz.pii("alice") }:info("m")
		assert.are.equal("alice", log.decrypt(one().who, KEY))
	end)

	it("are opened by other programs", function()
		log.info("m", { email = "alice@example.com" })
		local name = os.tmpname()
		local f = assert(io.open(name, "w"))
		f:write([[
import base64, ctypes, ctypes.util, sys
c = ctypes.CDLL(ctypes.util.find_library("crypto") or "libcrypto.so.3")
for f in ("EVP_CIPHER_CTX_new", "EVP_aes_256_gcm"): getattr(c, f).restype = ctypes.c_void_p
_, kid, text = sys.argv[1].split(":")
raw = base64.b64decode(text); nonce, body, tag = raw[:12], raw[12:-16], raw[-16:]
x = ctypes.c_void_p(c.EVP_CIPHER_CTX_new()); out = ctypes.create_string_buffer(100); n = ctypes.c_int()
c.EVP_DecryptInit_ex(x, ctypes.c_void_p(c.EVP_aes_256_gcm()), None, sys.argv[2].encode(), nonce)
c.EVP_DecryptUpdate(x, None, ctypes.byref(n), kid.encode(), len(kid))
c.EVP_DecryptUpdate(x, out, ctypes.byref(n), body, len(body))
size = n.value
c.EVP_CIPHER_CTX_ctrl(x, 17, 16, tag)
print(out.raw[:size].decode() if c.EVP_DecryptFinal_ex(x, ctypes.create_string_buffer(32), ctypes.byref(n)) == 1 else "no")
]])
		f:close()
		local out = proc.output(("LD_PRELOAD= python3 %s '%s' '%s' 2>&1"):format(name, one().email, KEY))
		os.remove(name)
		assert.are.equal("alice@example.com", (out:gsub("%s+$", "")))
	end)

	it("say what is wrong on the way back", function()
		log.info("m", { email = "alice@example.com" })
		local text = one().email
		local function fails(code, ...)
			local v, err = log.decrypt(...)
			assert.is_nil(v)
			assert.are.equal(code, err.code)
			assert.is_nil(tostring(err):find(KEY, 1, true))
		end
		fails("corrupt", text, ("x"):rep(32))
		fails("corrupt", text:gsub("^enc:2026%-01", "enc:2026-02"), KEY)
		fails("corrupt", text:sub(1, -5), KEY)
		fails("corrupt", "***", KEY)
		fails("corrupt", "***", { a = KEY })
		fails("invalid_config", text, "short")
		fails("invalid_argument", text, { other = KEY })
		assert.has_error(function() log.decrypt(42, KEY) end)
		assert.has_error(function() log.decrypt(text) end)
	end)

	it("are refused without a key, by the name of the option, and the former ones stay", function()
		for _, bad in ipairs{ { pii = "encrypt" }, { secret = "encrypt" }, { encrypt = { "x" } }, { encryption = {} }, { encryption = KEY },
			{ encryption = { id = "a", key = "short" } }, { encryption = { id = "a b", key = KEY } }, { encryption = { id = "", key = KEY } } } do
			local ok, err = log.redact(bad)
			assert.is_nil(ok)
			assert.are.equal("invalid_config", err.code)
			assert.are.equal("encryption", err.option)
		end
		assert.has_error(function() log.redact{ encryption = { id = "a", key = KEY, kye = 1 } } end)
		assert.has_error(function() zbz.pii("x", "encrpyt") end)
		assert.has_error(function() zbz.secret("x", 1) end)
		log.info("m", { email = "alice" })
		assert.are.equal("alice", log.decrypt(one().email, KEY))
	end)

	it("are masked where a value asks for it and nobody gave a key", function()
		assert(log.redact(false))
		log.info("m", { a = zbz.pii("alice", "encrypt"), b = zbz.pii("alice", "hash"), c = zbz.pii("alice cooper", "partial"),
			d = zbz.secret("alice", "mask"), e = { zbz.pii("alice", "encrypt") } })
		local r, text = one()
		assert.are.same({ "***", "***", "al...er", "***", "***" }, { r.a, r.b, r.c, r.d, r.e[1] })
		assert.is_nil(text:find("alice", 1, true))
	end)

	it("need a plug-in, which the error names", function()
		local dir = proc.folder()
		local lib = assert(package.searchpath and package.searchpath("zbz.core", package.cpath) or core.path or
			proc.output("ls build/" .. (rawget(_G, "jit") and "luajit" or "lua54") .. "/zbz/core.so"))
		lib = lib:gsub("%s+$", "")
		os.execute(("mkdir -p %s/x/zbz && cp %s %s/x/zbz/ && cp %s %s/"):format(dir, lib, dir, lib:gsub("[^/]*/zbz/core%.so$", "libzbz.so"), dir))
		local f = assert(io.open(dir .. "/p.lua", "w"))
		f:write([[
			local zbz = require("zbz")
			local ok, err = zbz.log.configure{ outputs = { { type = "memory", name = "m" } },
				redact = { pii = "encrypt", encryption = { id = "k", key = ("k"):rep(32) } } }
			print(ok, err.code, err.option, err.message:find("libssl3", 1, true) ~= nil)
			zbz.log.configure{ outputs = { { type = "memory", name = "m" } } }
			zbz.log.info("m", { a = zbz.pii("alice", "encrypt") })
			print(zbz.log.drain("m")[1]:match('"a":"([^"]*)"'))
			print(zbz.log.decrypt("enc:k:AAAA", ("k"):rep(32)))]])
		f:close()
		local lua = rawget(_G, "jit") and "luajit" or "lua5.4"
		local out = proc.output(("ZBZ_PLUGIN_PATH= LUA_CPATH='%s/x/?.so' %s %s/p.lua 2>&1"):format(dir, lua, dir))
		proc.remove(dir)
		assert.is_truthy(out:find("^nil%s+unsupported%s+encryption%s+true%s+%*%*%*%s+nil%s+unsupported"), out)
	end)
end)
