-- Where a secret was still seen: card numbers that are numbers inside tables, names of fields, the place of a call and its traceback,
-- fields whose names the record uses itself. And names in nested tables that look alike once they are text.
local zbz = require("zbz")
local log = zbz.log

local CARD = 4111111111111111

local last = require("spec.lua.log_support").one

describe("redaction of", function()
	before_each(function() assert(log.configure{ outputs = { { type = "memory", name = "m" } }, redact = false }) end)
	after_each(function()
		log.redact(false)
		log.close()
	end)

	it("cards that are numbers: anywhere, whole doubles too", function()
		assert(log.redact{ scan = "card" })
		log.info("m", { a = CARD, b = CARD + 0.0, t = { CARD, { n = CARD + 0.0 } }, ["4111111111111111"] = 1, u = { [CARD] = 1 } })
		local r, text = last()
		assert.is_nil(text:find("4111", 1, true), text)
		assert.are.same({ "[card]", "[card]", 1, { "[card]", { n = "[card]" } } }, { r.a, r.b, r["[card]"], r.t })
		assert.are.equal(1, r.u["[card]"])
		log.with{ b = CARD, t = { CARD } }:info("m")
		assert.is_nil(select(2, last()):find("4111", 1, true))
		log.event("m", "a")({ CARD })
		assert.is_nil(select(2, last()):find("4111", 1, true))
		log.info("m", { a = CARD + 1, t = { CARD + 1, -CARD, 1e15 + 0.5, 5 } })
		r = last()
		assert.are.same({ CARD + 1, { CARD + 1, -CARD, 1e15 + 0.5, 5 } }, { r.a, r.t })
	end)

	it("names, by what they look like", function()
		assert(log.redact{ scan = { "email" } })
		log.info("m", { ["joe@example.com"] = 1, t = { ["joe@example.com"] = 2 }, x = 3 })
		local r, text = last()
		assert.is_nil(text:find("joe", 1, true), text)
		assert.are.same({ 1, 2, 3 }, { r["[email]"], r.t["[email]"], r.x })
		local long = ("x"):rep(110) .. " " .. "joe@example.com"
		log.info("m", { [long] = 1 })
		assert.is_nil(select(2, last()):find("joe", 1, true))
	end)

	it("names, by Lua patterns; all of the fields stay", function()
		assert(log.redact{ pattern = "S3C%d" })
		log.info("m", { S3C1 = 1, S3C2 = 2, ["***"] = 3, t = { S3C1 = 4, S3C2 = 5 } })
		local r, text = last()
		assert.is_nil(text:find("S3C", 1, true), text)
		local seen = { r["***"], r["***#2"], r["***#3"] }
		table.sort(seen)
		assert.are.same({ 1, 2, 3 }, seen)
		assert.are.equal(9, r.t["***"] + r.t["***#2"])
		log.with{ S3C1 = 1 }:info("m")
		assert.is_nil(select(2, last()):find("S3C", 1, true))
		log.event("m", "S3C1")(1)
		assert.is_nil(select(2, last()):find("S3C", 1, true))
	end)

	it("the place of a call and its traceback, by Lua patterns", function()
		assert(log.configure{ outputs = { { type = "memory", name = "m" } }, caller = true, traceback = "info", redact = { pattern = "S3C%w+" } })
		local fn = assert((loadstring or load)("local log = ... local function S3CRET() log.info('m') end S3CRET()", "=S3CHUNK"))
		fn(log)
		local r, text = last()
		assert.is_nil(text:find("S3C", 1, true), text)
		assert.are.equal("***:1", r.caller)
		assert.is_truthy(r.traceback:find("%*%*%*:1"), r.traceback)
	end)

	it("fields whose names the record uses itself", function()
		assert(log.redact{ "message", "time" })
		log.info("m", { ["fields.message"] = "S3CRET" })
		last()
		log.info("m", { message = "S3CRET", time = "S3CRET", level = "seen" })
		local r, text = last()
		assert.is_nil(text:find("S3CRET", 1, true), text)
		assert.are.same({ "***", "***", "seen" }, { r["fields.message"], r["fields.time"], r["fields.level"] })
	end)
end)

describe("a nested name", function()
	after_each(function() log.close() end)

	it("stands once, however its likes were written", function()
		assert(log.configure{ outputs = { { type = "memory", name = "m" } } })
		for _, t in ipairs{ { [1] = "a", ["1"] = "b", x = 1 }, { ["\255"] = 1, ["\254"] = 2 }, { [1.5] = 1, ["1.5"] = 2 } } do
			log.info("m", { t = t, u = { { deep = t } } })
			local _, text = last()
			local _, n = text:gsub('"1":', "")
			local _, bad = text:gsub('"\239\191\189":', "")
			local _, half = text:gsub('"1.5":', "")
			assert.are.equal(2, n + bad + half, text)
		end
	end)
end)
