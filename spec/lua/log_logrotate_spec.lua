-- A file output under the real logrotate: what it moves away is written on in a new file, and no line is lost.
local zbz = require("zbz")
local core = require("zbz.core")
local proc = require("spec.services.proc")
local log = zbz.log

local LINES, TIMES = 20000, 8

describe("a log file that logrotate moves away", function()
	local dir, path

	setup(function()
		dir = proc.folder()
		path = dir .. "/app.log"
		proc.output("chmod 755 " .. dir) -- logrotate trusts no directory that others may write to
	end)
	teardown(function()
		log.close()
		proc.remove(dir)
	end)

	local function logrotate(how)
		local f = assert(io.open(dir .. "/conf", "w"))
		f:write(("%s {\nsu %s\nrotate 50\nmissingok\n%s\n}\n"):format(path, (proc.output("echo $(id -un) $(id -gn)")), how))
		f:close()
		local run = "cd %s && chmod 644 conf && LD_PRELOAD= PATH=$PATH:/usr/sbin logrotate -f -s $PWD/state conf 2>&1"
		local said, ok = proc.output(run:format(dir))
		assert(ok, said)
	end

	--- The numbers of all records, in the order of the files and lines; how many files.
	local function numbers()
		local seen, n, files = {}, 0, 0
		for name in proc.output("ls " .. dir .. " | grep ^app.log"):gmatch("%S+") do
			files = files + 1
			local read = name:find("%.gz$") and "zcat" or "cat"
			for line in (proc.output(("%s %s/%s"):format(read, dir, name)) .. "\n"):gmatch("([^\n]+)\n") do
				local i = assert(core.json_decode(line), line).i
				assert.is_nil(seen[i], "twice: " .. i)
				seen[i], n = true, n + 1
			end
		end
		return n, files
	end

	for _, how in ipairs{ "nocreate", "create 0640\ncompress", "nocreate\ncompress\ndelaycompress" } do
		it("loses none: " .. how:gsub("\n", ", "), function()
			proc.output("rm -f " .. dir .. "/app.log* " .. dir .. "/state")
			assert(log.configure{ outputs = { { type = "file", name = "app", path = path } } })
			for i = 1, LINES do
				log.info("line", { i = i })
				if i % (LINES / TIMES) == 0 then logrotate(how) end -- the writer is behind, in the middle of something
			end
			assert(log.flush(20))
			local n, files = numbers()
			assert.are.equal(LINES, n)
			assert.is_true(files > TIMES / 2, files .. " files")
			assert.are.equal(0, log.stats().outputs.app.failures)
		end)
	end
end)
