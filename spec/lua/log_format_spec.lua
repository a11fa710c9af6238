-- Formats, held against readers that are not ours: python3's json and shlex.
local zbz = require("zbz")
local core = require("zbz.core")
local proc = require("spec.services.proc")
local log = zbz.log

local CHECK_JSON = [[
import json, sys
def pairs(p):
    names = [k for k, _ in p]
    assert len(names) == len(set(names)), names
    return dict(p)
n = 0
for line in open(sys.argv[1], "rb"):
    line.decode("utf-8")
    r = json.loads(line, object_pairs_hook=pairs, parse_constant=lambda c: 1 / 0)
    assert list(r)[:2] == ["time", "level"] and "message" in r, line
    n += 1
print(n)
]]
local CHECK_LOGFMT = [[
import re, sys, json
n = 0
for line in open(sys.argv[1], "rb"):
    s = line.decode("utf-8").rstrip("\n")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", s), line
    rest = s
    while rest:
        m = re.match(r'[^\s="\\]+=("(?:[^"\\]|\\.)*"|[^\s"=\\]*)(?: |$)', rest)
        assert m, rest
        if m.group(1).startswith('"'): json.loads(m.group(1))
        rest = rest[m.end():]
    n += 1
print(n)
]]

local dir, path
local function python(program)
	local f = assert(io.open(dir .. "/check.py", "w"))
	f:write(program)
	f:close()
	return proc.output(("LD_PRELOAD= python3 %s/check.py %s 2>&1"):format(dir, path))
end
local function lines()
	assert(log.flush())
	local t = {}
	for l in io.lines(path) do t[#t + 1] = l end
	return t
end

--- Records with everything in them that has broken loggers before.
local function flood(l)
	local n = 0
	local function say(...) l:info(...); n = n + 1 end
	for c = 0, 255 do say("b" .. string.char(c), { ["k" .. string.char(c)] = "v" .. string.char(c) .. "w", v = string.char(c) }) end
	for _, s in ipairs{ "\195", "\226\130", "\237\160\128", "\244\144\128\128", "\240\159\152\128", "\194\155", "\226\128\174x", "a\r\nb" } do
		say(s, { s = s, n = { [s] = s } })
	end
	for _, v in ipairs{ 0, -0.0, 1 / 3, 1e308, 5e-324, 2 ^ 53, 2 ^ 63, -2 ^ 63, 0 / 0, 1 / 0, -1 / 0, 12.375, 1e15, 123456789.125 } do
		say("n", { v = v, t = { v } })
	end
	say("reserved", { time = 1, level = 2, logger = 3, message = 4, msg = 5, truncated = 6, ["fields.level"] = 7 })
	say("long", { a = ("é"):rep(100000), b = ("\n"):rep(100000) })
	say(("m"):rep(200000), { a = 1 })
	local deep, wide = {}, {}
	for _ = 1, 50 do deep = { x = deep } end
	for i = 1, 3000 do wide["w" .. i] = { i, { i } } end
	say("shapes", { deep = deep, wide = wide, empty = {}, list = zbz.array{}, mixed = { 1, 2, x = 3, [10] = 4 } })
	say("error", { error = zbz.cache.table("none") == nil and select(2, zbz.cache.table("none")), cause = { code = "x", message = "a\nb" } })
	say("types", { t = log.time(1700000000.25), d = log.ms(42), b = log.bytes("\0\1\2"), s = zbz.secret("x"), p = zbz.pii("y") })
	return n
end

describe("the format", function()
	before_each(function()
		dir = proc.folder()
		path = dir .. "/x.log"
	end)
	after_each(function()
		log.close()
		proc.remove(dir)
	end)
	local function open(format, more)
		local opts = { level = "trace", outputs = { { type = "file", path = path, format = format } } }
		for k, v in pairs(more or {}) do opts[k] = v end
		assert(log.configure(opts))
	end

	it("json is JSON, whatever comes", function()
		open("json")
		local n = flood(log.logger("x\"y\n")) + flood(log.with{ ["b\n"] = "\255", time = 1 }) + flood(log)
		assert(log.flush())
		assert.are.equal(tostring(n), python(CHECK_JSON))
	end)
	it("logfmt is one line of pairs, whatever comes", function()
		open("logfmt")
		local n = flood(log.logger("x y=\"")) + flood(log)
		assert(log.flush())
		assert.are.equal(tostring(n), python(CHECK_LOGFMT))
	end)
	it("console is one line without anything a terminal obeys", function()
		open("text")
		local n = flood(log.logger("x\27[31m"))
		local got = lines()
		assert.are.equal(n, #got)
		for _, line in ipairs(got) do assert.is_nil(line:find("[%c\127]") or line:find("\194[\128-\159]"), line) end
		log.logger("user-events"):warn("it is late", { at = "23:00", who = "a b" })
		assert.is_truthy(lines()[n + 1]:find("Z WARN  user%-events: it is late at=23:00 who=\"a b\"$"))
	end)
	it("keeps numbers exactly", function()
		open("json")
		local values = { 0.1 + 0.2, 1 / 3, 1e100, 9007199254740991, -1.5e-7, 123456.789 }
		for _, v in ipairs(values) do log.info("n", { v = v }) end
		if math.type then
			log.info("n", { v = math.mininteger })
			log.info("n", { v = math.maxinteger })
		else
			log.info("n", { v = assert(loadstring("return 9223372036854775807LL"))() })
		end
		local got = lines()
		for i, v in ipairs(values) do assert.are.equal(v, tonumber(got[i]:match('"v":([^,}]+)'))) end
		if math.type then
			assert.is_truthy(got[#values + 1]:find('"v":-9223372036854775808}', 1, true))
			assert.is_truthy(got[#values + 2]:find('"v":9223372036854775807}', 1, true))
		else
			assert.is_truthy(got[#values + 1]:find('"v":9223372036854775807}', 1, true), got[#values + 1])
		end
	end)
	it("orders fields by name, the same every time", function()
		open("json")
		for _ = 1, 20 do log.info("m", { zeta = 1, alpha = 2, beta = { z = 1, a = 2 }, alpha2 = 3 }) end
		for _, line in ipairs(lines()) do
			assert.is_truthy(line:find('"alpha":2,"alpha2":3,"beta":{"a":2,"z":1},"zeta":1}', 1, true), line)
		end
	end)
	it("writes durations as text, or in milliseconds under another name", function()
		open("json")
		log.debug("Query executed", { latency = zbz.ms(42), other = 0.042, typed = log.duration("1m30s"), db_latency = 1.5 })
		open("json", { duration_format = "ms" })
		log.debug("Query executed", { latency = zbz.ms(42), typed = log.ms(1.5) })
		open("json", { durations = false })
		log.debug("Query executed", { latency = zbz.ms(42) })
		local got = lines()
		assert.is_truthy(got[1]:find('"db_latency":"1.5s","latency":"42ms","other":0.042,"typed":"1m30s"', 1, true), got[1])
		assert.is_truthy(got[2]:find('"latency_ms":42,"typed_ms":1.5}', 1, true), got[2])
		assert.is_truthy(got[3]:find('"latency":0.042', 1, true), got[3])
	end)
	it("puts bytes in logfmt between quotes where = is at their end", function()
		for bytes, shown in pairs{ [""] = '""', a = '"YQ=="', ab = '"YWI="', abc = "YWJj" } do
			log.configure{ outputs = { { type = "memory", name = "m", format = "logfmt" } } }
			log.info("t", { b = log.bytes(bytes), c = 1 })
			assert.are.equal("b=" .. shown .. " c=1", log.drain("m")[1]:match("b=.*"))
		end
	end)

	it("writes errors, times and bytes", function()
		open("json")
		local _, err = zbz.cache.get("x")
		log.error("Database connection failed", { error = err })
		log.error("Database connection failed", err)
		log.info("t", { t = log.time(951827696.5), b = log.bytes("\0\255") })
		local got = lines()
		for i = 1, 2 do
			local r = assert(core.json_decode(got[i]))
			assert.are.equal("not_configured", r.error.code)
			assert.are.equal(err.message, r.error.message)
		end
		local r = assert(core.json_decode(got[3]))
		assert.are.equal("2000-02-29T12:34:56.500000000Z", r.t)
		assert.are.equal("AP8=", r.b)
	end)
	it("is per logger and per output; zap, slog and text are known", function()
		assert(log.configure{ format = "zap", outputs = { { type = "file", path = path }, { type = "memory", name = "m", format = "logfmt" } } })
		log.logger("debug", { format = "text", level = "debug" }):debug("readable")
		log.info("for machines")
		local got = lines()
		assert.is_truthy(got[1]:find("DEBUG debug: readable$"))
		assert.is_truthy(core.json_decode(got[2]))
		for _, line in ipairs(log.drain("m")) do assert.is_truthy(line:find("^time=")) end
	end)
	it("ends a record at its limit, with a mark", function()
		open("json", { max_record = "8KB" })
		log.info("m", { a = ("x"):rep(100000), b = { c = ("\n"):rep(10000) }, z = 1 })
		local got = lines()
		assert.is_true(#got[1] < 8192)
		assert.is_true(core.json_decode(got[1]).truncated)
	end)
end)
