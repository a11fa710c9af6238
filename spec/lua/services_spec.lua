-- What starts and stops the servers of the tests touches no process that is not its own.
local proc = require("spec.services.proc")

-- A process with the number of one that has ended, started by somebody else; nil where the kernel lets nobody choose.
local function successor(pid)
	for _ = 1, 200 do
		local choose = ("{ echo %d >/proc/sys/kernel/ns_last_pid; } 2>/dev/null"):format(pid - 1)
		local out, ok = proc.output(choose .. " && { sleep 100 >/dev/null & echo $!; }")
		if not ok then return nil end
		if tonumber(out) == pid then return pid end
		proc.output("kill -KILL " .. out)
	end
end

describe("proc", function()
	it("signals the process it started, and not one that has its number later", function()
		local pid = proc.spawn({ "sleep", "100" })
		assert.is_true(proc.alive(pid))
		assert.is_true(proc.kill(pid))
		assert.is_true(proc.wait_until("! test -e /proc/" .. pid, 5))
		assert.is_false(proc.alive(pid))
		if not successor(pid) then return pending("ns_last_pid cannot be written here") end
		assert.is_false(proc.alive(pid))
		assert.is_false(proc.signal(pid, "TERM"))
		assert.is_true(proc.kill(pid)) -- gone already
		proc.stop(pid)
		local _, there = proc.output("kill -0 " .. pid)
		assert.is_true(there)
		proc.output("kill -KILL " .. pid)
	end)
end)
