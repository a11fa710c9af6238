-- The command: `zbz log recover`, as a shell calls it.
local proc = require("spec.services.proc")
local lua = rawget(_G, "jit") and "luajit" or "lua5.4"

local function zbz(args)
	local out, status = proc.output("{ " .. lua .. " lua/zbz/cli/zbz.lua " .. args .. "; echo $?; } 2>&1"):match("^(.-)\n?(%d+)$")
	return out, status == "0"
end

describe("zbz log recover", function()
	local dir
	setup(function() dir = proc.folder() end)
	teardown(function() proc.remove(dir) end)

	it("writes what a killed process has left, once", function()
		local path = dir .. "/in/app.log"
		proc.output("mkdir " .. dir .. "/in " .. dir .. "/rings")
		proc.output(([[%s -e 'local log = require("zbz").log
			assert(log.configure{ outputs = { { type = "file", path = "%s", ring = "%s/rings", max_retry_delay = "10s" } } })
			os.execute("rm -r %s/in; echo x > %s/in")
			for i = 1, 500 do log.info("n", { i = i }) end
			log.flush(0.05)
			os.execute("kill -9 $PPID")' 2>/dev/null]]):format(lua, path, dir, dir, dir))
		proc.output("rm " .. dir .. "/in; mkdir " .. dir .. "/in")
		local out, ok = zbz("log recover " .. path .. " ring=" .. dir .. "/rings rotate_size=1MB")
		assert.are.equal("500 records recovered", out)
		assert.is_true(ok)
		local n, seen = 0, {}
		for line in io.lines(path) do
			local i = tonumber(line:match('"i":(%d+)'))
			assert.is_nil(seen[i])
			seen[i], n = true, n + 1
		end
		assert.are.equal(500, n)
		assert.are.equal("0 records recovered", (zbz("log recover file:" .. path .. " ring=" .. dir .. "/rings")))
	end)

	it("says what is wrong", function()
		for args, part in pairs{ [""] = "usage: zbz", ["log"] = "usage: zbz log recover", ["log find"] = "usage: zbz log recover",
			["log recover fiel"] = "fiel", ["log recover /no/such/dir/x.log"] = "dir", ["log recover a.log x"] = "'x'",
			["log recover a.log rnig=/x"] = "rnig", ["log recover a.log deadline=soon"] = "deadline" } do
			local out, ok = zbz(args)
			assert.is_false(ok)
			assert.is_truthy(out:find(part, 1, true), args .. ": " .. out)
			assert.is_nil(out:find("traceback", 1, true), out)
		end
	end)
end)

describe("log.recover", function()
	it("takes an output as a configuration has it", function()
		local log = require("zbz").log
		local dir = proc.folder()
		assert.are.equal(0, log.recover{ type = "file", path = dir .. "/a.log", rotate = { size = "1MB" }, level = "info", format = "json" })
		assert.are.equal(0, log.recover(dir .. "/a.log"))
		local fine, err = pcall(log.recover, { type = "file", path = dir .. "/a.log", rotate = { sise = "1MB" } })
		assert.is_false(fine)
		assert.is_truthy(tostring(err):find("sise", 1, true))
		proc.remove(dir)
	end)
end)
