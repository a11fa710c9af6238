-- Options of the log that are wrong: the error names the option and, for a word that nobody knows, the nearest one; what raises does so
-- at the program's line; what stood before goes on.
local zbz = require("zbz")
local log = zbz.log

local dir = os.tmpname()
os.remove(dir)
os.execute("mkdir -p " .. dir)

--- Outputs that are in order, by type.
local GOOD = {
	console = {}, null = {}, memory = {}, file = { path = dir .. "/x.log" },
	tcp = { address = "127.0.0.1:9" }, udp = { address = "127.0.0.1:9" }, unix = { address = dir .. "/none.sock" },
	syslog = { address = "127.0.0.1:9" }, storage = { bucket = { provider = "memory", name = "blame" } },
	loki = { url = "http://127.0.0.1:9" }, ["function"] = { fn = function() end },
}
--- What is wrong with one option of a type; the text that must be there.
local WRONG = {
	console = { { stream = "stdot" }, { color = "blue" } },
	null = { { policy = "blok" }, { ring_size = "lots" }, { block_for = -1 }, { sync = "gruop" }, { metadata = "x" },
		{ filter = 5 }, { level = "wrn", "unknown level 'wrn'" }, { format = "jsn", "unknown format 'jsn'" },
		{ batch_wait = "soon" }, { linger = "x" },
		{ dead_letter = "/nowhere/at/all" }, { max_retry_delay = "x" } },
	memory = { { size = "x" } },
	file = { { path = "/nowhere/at/all.log" }, { path = "/tmp" }, { mode = "rwx" }, { rotate_size = "big" },
		{ rotate_every = "weekly" },
		{ keep = -1 }, { compress = "lzma" }, { rotate = 5 },
		{ ring = "/nowhere/at/all" }, { spool = "/nowhere/at/all" },
		{ spool = dir, spool_size = "huge", "spool_size" } },
	tcp = { { address = "nohost" }, { address = "h:99999" }, { tls = "maybe" }, { tls_ca = "/etc/passwd" }, { timeout = "soon" } },
	udp = { { address = "nohost" }, { max_message = "x" } },
	unix = { { address = "a.sock" }, { kind = "strem" } },
	syslog = { { facility = "usr" }, { protocol = "upd" }, { element = "a b" } },
	storage = { { bucket = { provider = "filesytem" }, "nearest: filesystem" }, { bucket = { provider = "filesystem" }, "base_dir" },
		{ prefix = "../x" }, { bucket = 5 } },
	loki = { { url = "ftp://x" }, { labels = { user_id = "1" } }, { encoding = "protobuff" }, { level_as = "lable" } },
	["function"] = { { fn = 5 } },
}
local HAS_LOKI = require("zbz.core").log_output{ type = "loki", url = "http://127.0.0.1:9" } ~= nil

local function output_of(kind, more)
	local spec = { type = kind }
	for _, source in ipairs{ GOOD[kind], more } do
		for k, v in pairs(source) do
			if type(k) == "string" then spec[k] = v end
		end
	end
	return spec
end

--- fn raises, and blames its own line.
local function blames(fn)
	local ok, err = pcall(fn)
	local info = debug.getinfo(fn, "S")
	local file, line = tostring(err):match("([^/%s]+%.lua):(%d+): ")
	assert.is_false(ok)
	assert.are.equal(info.short_src:match("[^/]+$"), file, tostring(err))
	line = tonumber(line)
	assert.is_true(line >= info.linedefined and line <= info.lastlinedefined, tostring(err))
	return tostring(err)
end

describe("wrong options of the log", function()
	before_each(function() assert(log.configure{ outputs = { { type = "memory", name = "stays" } } }) end)
	after_each(function()
		log.info("still here")
		assert.are.equal(1, #assert(log.drain("stays")))
		log.close()
	end)
	teardown(function() os.execute("rm -rf " .. dir) end)

	for kind in pairs(GOOD) do
		if kind ~= "loki" or HAS_LOKI then
			it("are named: output " .. kind, function()
				for _, case in ipairs(WRONG[kind]) do
					local ok, err = log.configure{ outputs = { output_of(kind, case) } }
					assert.is_nil(ok)
					assert.is_true(zbz.is_error(err))
					for name in pairs(case) do
						local text = case[1] or name
						if type(name) == "string" then assert.is_truthy(tostring(err):find(text, 1, true), tostring(err)) end
					end
				end
				local wrong = output_of(kind, {})
				wrong.formt = "json"
				local err = blames(function() log.configure{ outputs = { wrong } } end)
				assert.is_truthy(err:find("'formt'", 1, true) and err:find("known:", 1, true), err)
			end)
		end
	end

	it("are named: the log's own and a logger's", function()
		local cases = {
			{ { output = "null", outputs = {} }, "output" }, { { outputs = 5 }, "outputs" }, { { level = 3 }, "level" },
			{ { format = print }, "format" },
			{ { sampling = { initial = "x" } }, "sampling" },
			{ { sampling = 5 }, "sampling" },
			{ { rate_limit = "100/m" }, "rate_limit" }, { { rate_limit = { rate = 1, burst = "x" } }, "rate_limit" },
			{ { rate_limit = 0 }, "rate_limit" },
			{ { dedup = "x" }, "dedup" }, { { dedup = -1 }, "dedup" }, { { dedup = "-1s" }, "dedup" },
			{ { traceback = "eror" }, "traceback" },
			{ { durations = 5 }, "durations" }, { { durations = { 5 } }, "durations" }, { { durations = true }, "durations" },
			{ { loggers = { { level = "info" } } }, "loggers" }, { { loggers = 5 }, "loggers" }, { { parent = 5 }, "parent" },
			{ { loggers = { a = { parent = "b" }, b = { parent = "a" } } }, "parent" },
			{ { loggers = { a = { parent = "a" } } }, "parent" },
			{ { loggers = { c = { parent = "a.x" }, a = { parent = "c" } } }, "parent" },
			{ { loggers = { [("x"):rep(256)] = {} } }, "255" }, { { loggers = { ["a\0b"] = {} } }, "name: 'a...' contains a zero byte" },
			{ { redact = { "pass\0word" } }, "zero byte" }, { { routes = { { logger = "a\0b", to = "null" } } }, "zero byte" },
			{ { outputs = { ["a\0b"] = "null" } }, "zero byte" }, { { durations = { "a\0b" } }, "zero byte" },
			{ { max_record = "1KB" }, "max_record" }, { { max_record = "2MB" }, "max_record" },
			{ { routes = { { to = {} } } }, "to: names no output" },
			{ { redact = "password" }, "redact" }, { { redact = { pii = "hsh" } }, "pii" },
			{ { redact = { scan = { "emial" } } }, "did you mean 'email'" },
			{ { redact = { pattern = "%" } }, "pattern" },
			{ { redact = { key = "short" } }, "key" }, { { redact = { "a", 5 } }, "names are strings" },
			{ { routes = { { level = ">=eror", to = "console" } } }, "routes[1].level" },
			{ { routes = { { logger = 5, to = "console" } } }, "routes[1]" },
			{ { routes = { { where = { a = { mn = 1 } }, to = "console" } } }, "did you mean 'min'" },
			{ { routes = { 5 } }, "routes[1]" },
			{ { outputs = { audit = "null" }, routes = { { to = "audti" } } }, "did you mean 'audit'" },
			{ { outputs = { "foo" } }, "known: console" },
		}
		for _, case in ipairs(cases) do
			local ok, err = log.configure(case[1])
			assert.is_nil(ok)
			assert.is_true(zbz.is_error(err))
			assert.is_truthy(tostring(err):find(case[2], 1, true), tostring(err))
		end
	end)

	it("blame the line of the program where they raise", function()
		blames(function() log.configure{ outputs = { { type = "file", path = print } } } end)
		blames(function() log.configure{ outputs = { { type = "file", path = "/tmp/a\0b" } } } end)
		assert.is_truthy(blames(function() log.configure{ sampling = { intial = 1 } } end):find("did you mean 'initial'", 1, true))
		local rotate = blames(function() log.configure{ outputs = { { type = "file", path = dir .. "/x.log", rotate = { sise = 1 } } } } end)
		assert.is_truthy(rotate:find("did you mean 'size'", 1, true), rotate)
		blames(function() log.logger("a", { outputs = { { fn = print, ring = "x" } } }) end)
		blames(function() log.outputs{ a = { type = "null", polcy = "block" } } end)
		blames(function() log.recover{ type = "null", polcy = "block" } end)
		blames(function() log.configure{ levl = "info" } end)
		blames(function() log.configure{ loggers = { a = { levl = "info" } } } end)
		blames(function() log.configure{ caller = 1 } end)
		blames(function() log.logger("a", { outputs = { { type = "null", polcy = "block" } } }) end)
		blames(function() log.logger("a", { levl = "info" }) end)
		blames(function() log.routes{ { loger = "a", to = "stays" } } end)
		blames(function() log.redact{ ky = 1 } end)
		blames(function() log.production(5) end)
		blames(function() log.development{ levl = 1 } end)
		blames(function() log.flush("x") end)
		blames(function() log.close("x") end)
		blames(function() log.reopen(-1) end)
	end)
end)
