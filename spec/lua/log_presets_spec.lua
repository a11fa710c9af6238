-- log.configure in the words of other loggers: development, console, flush_level, buffer_size; and the two presets.
local zbz = require("zbz")
local core = require("zbz.core")
local proc = require("spec.services.proc")
local log = zbz.log

describe("log.configure", function()
	local dir
	before_each(function() dir = proc.folder() end)
	after_each(function()
		log.close()
		proc.remove(dir)
	end)
	local function types()
		local t = {}
		for _, kind in pairs(log.config().outputs) do t[#t + 1] = kind end
		table.sort(t)
		return table.concat(t, " ")
	end
	local function file() return { type = "file", path = dir .. "/a.log", ring = dir } end
	local function read()
		local f = io.open(dir .. "/a.log")
		local text = f and f:read("*a") or ""
		if f then f:close() end
		return text
	end

	it("takes development for a level, a format and the place of each call, which other options stand above", function()
		assert(log.configure{ development = true, outputs = file() })
		assert.are.equal("debug", log.level())
		log.debug("here")
		log.flush(5)
		assert.is_truthy(read():find("DEBUG here caller=%S*log_presets_spec.lua:%d+"), read())
		assert(log.configure{ development = true, level = "warn", caller = false, outputs = file() })
		assert.are.equal("warn", log.level())
		assert(log.configure{ development = false })
		assert.are.equal("info", log.level())
	end)

	it("has the presets", function()
		assert(log.development())
		assert.are.equal("debug", log.level())
		assert.are.equal("console", types())
		assert(log.development{ outputs = file(), level = "info" })
		assert.are.equal("info", log.level())
		assert.are.equal("file", types())
		assert(log.production{ outputs = { { type = "memory", name = "m" } } })
		log.info("x", { password = "hunter2" })
		assert.are.equal("***", core.json_decode(log.drain("m")[1]).password)
	end)

	it("takes console = true as one more output, whatever form the others have", function()
		for _, outputs in ipairs{ file(), { file() }, "null", dir .. "/b.log", function() end, { "console", file() } } do
			assert(log.configure{ console = true, outputs = outputs })
			assert.is_truthy(types():find("console", 1, true))
			assert.is_truthy(types() == "console" or types():find(" ", 1, true), types())
		end
		assert(log.configure{ console = true, output = "null" })
		assert.are.equal("console null", types())
		assert(log.configure{ console = true })
		assert.are.equal("console", types())
		assert(log.configure{ console = true, outputs = { audit = file() } })
		assert.are.equal("console file", types())
		assert(log.configure{ console = false })
		assert.are.equal("", types())
		assert(log.configure{ console = false, outputs = { file() } })
		assert.are.equal("file", types())
	end)

	it("writes from flush_level on without waiting for a batch to fill", function()
		local slow = file()
		slow.batch_wait = "1h"
		assert(log.configure{ flush_level = "ERROR", outputs = { slow } })
		log.info("first")
		log.warn("second")
		log.error("third")
		local path = dir .. "/a.log"
		assert.is_true(proc.wait_until("grep -q third " .. path, 10))
		assert.is_truthy(read():find("first.*second.*third"))
		log.info("fourth")
		log.error("fifth")
		assert.is_true(proc.wait_until("grep -q fifth " .. path, 10))
		-- an output that says something else is asked first, and outputs that come later are told as well
		assert(log.outputs{ own = { type = "file", path = dir .. "/own.log", ring = dir, batch_wait = "1h" } })
		assert(log.routes{ { logger = "own", to = "own" } })
		log.logger("own"):fatal("sixth")
		assert.is_true(proc.wait_until("grep -q sixth " .. dir .. "/own.log", 10))
		local patient = { type = "file", path = dir .. "/patient.log", ring = dir, batch_wait = "1h", flush_level = "off" }
		assert(log.configure{ flush_level = "error", outputs = { patient, here = { type = "file", path = dir .. "/here.log", ring = dir } },
			routes = { { logger = "here", to = "here" } } })
		log.error("seventh")
		log.logger("here"):error("eighth")
		assert.is_true(proc.wait_until("grep -q eighth " .. dir .. "/here.log", 10))
		assert.are.equal("", (proc.output("cat " .. dir .. "/patient.log 2>/dev/null")))
		assert(log.flush(5))
		assert.is_truthy(proc.output("cat " .. dir .. "/patient.log"):find("seventh", 1, true))
	end)

	it("says what is wrong, and what to use instead", function()
		local function raises(opts, words)
			local ok, err = pcall(function() log.configure(opts) end)
			assert.is_false(ok)
			assert.is_truthy(err:find("log_presets_spec.lua", 1, true) and err:find(words, 1, true), err)
		end
		raises({ buffer_size = 1024 }, "give outputs ring_size")
		raises({ development = "yes" }, "development: expects true or false, got string")
		raises({ console = 1 }, "console: expects true or false, got number")
		local ok, err = log.configure{ flush_level = "loud" }
		assert.is_nil(ok)
		assert.are.equal("flush_level", err.option)
		ok, err = log.configure{ outputs = { { type = "null", flush_level = "loud" } } }
		assert.is_nil(ok)
		assert.is_truthy(tostring(err):find("flush_level", 1, true))
	end)
end)
