-- A real memcached for the tests. Readiness is awaited by connecting; faults by signals.
local proc = require("spec.services.proc")

local memcached = {}

local function launch(self)
	local argv = { "memcached", "-l", "127.0.0.1", "-p", tostring(self.port), "-U", "0", "-m", "64", "-t", "2" }
	if proc.output("id -u") == "0" then
		argv[#argv + 1] = "-u"
		argv[#argv + 1] = "root"
	end
	for _, word in ipairs(self.extra) do argv[#argv + 1] = word end
	self.pid = proc.spawn(argv, self.log)
	if proc.wait_port(self.port, 10) then return self end
	local f = io.open(self.log)
	local said = f and f:read("*a") or ""
	if f then f:close() end
	proc.stop(self.pid)
	error("memcached does not listen on port " .. self.port .. ": " .. said)
end

--- Starts one. opts: port (else a free one), extra (further words of the command line, { "-I", "2m" }).
--- The result: host, port, pid, env, and the functions stop, pause, resume, kill, restart.
function memcached.start(opts)
	opts = opts or {}
	local self = { host = "127.0.0.1", port = opts.port or proc.free_port(), extra = opts.extra or {}, dir = proc.folder() }
	self.log = self.dir .. "/memcached.log"
	self.address = self.host .. ":" .. self.port
	self.env = { MEMCACHED_SERVERS = self.address }
	function self.pause() return proc.signal(self.pid, "STOP") end
	function self.resume() return proc.signal(self.pid, "CONT") end
	--- Ends it at once, as a crash would, and waits until it is gone.
	function self.kill()
		proc.signal(self.pid, "KILL")
		return proc.wait_until(("! kill -0 %d 2>/dev/null"):format(self.pid), 5)
	end
	--- On the same port, empty.
	function self.restart()
		proc.stop(self.pid)
		return launch(self)
	end
	function self.stop()
		proc.stop(self.pid)
		if self.dir then proc.remove(self.dir) end
		self.dir = nil
	end
	return launch(self)
end

return memcached
