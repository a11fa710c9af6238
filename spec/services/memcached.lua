-- A real memcached for the tests. Readiness is awaited by connecting; faults by signals.
local proc = require("spec.services.proc")

local memcached = {}

local function arguments(self)
	local argv = { "memcached", "-l", "127.0.0.1", "-p", tostring(self.port), "-U", "0", "-m", "64", "-t", "2" }
	if proc.output("id -u") == "0" then
		argv[#argv + 1] = "-u"
		argv[#argv + 1] = "root"
	end
	for _, word in ipairs(self.extra) do argv[#argv + 1] = word end
	return argv
end

-- Something may listen there that is not ours: the server is asked for its pid.
local function await_ours(self)
	local ask = ('exec 3<>/dev/tcp/127.0.0.1/%d && printf "stats\\r\\nquit\\r\\n" >&3 && grep -q "STAT pid %d" <&3')
		:format(self.port, self.pid)
	proc.wait_until(("{ (%s) 2>/dev/null || ! kill -0 %d; }"):format(ask, self.pid), 10)
	local _, ours = proc.output(("bash -c '%s' 2>/dev/null"):format(ask))
	return ours
end

local function launch(self, anywhere)
	for _ = 1, anywhere and 5 or 1 do
		if anywhere then self.port = proc.free_port() end
		self.pid = proc.spawn(arguments(self), self.log)
		if await_ours(self) then
			self.up = true
			self.address = self.host .. ":" .. self.port
			self.env = { MEMCACHED_SERVERS = self.address }
			return self
		end
		proc.stop(self.pid)
	end
	error("memcached does not start: " .. proc.output("tail -n 5 '" .. self.log .. "' 2>/dev/null"))
end

--- Starts one. opts: port (else a free one), extra (further words of the command line, { "-I", "2m" }).
--- The result: host, port, pid, env, and the functions stop, pause, resume, kill, restart.
function memcached.start(opts)
	opts = opts or {}
	local self = { host = "127.0.0.1", port = opts.port, extra = opts.extra or {}, dir = proc.folder() }
	self.log = self.dir .. "/memcached.log"
	function self.pause() return proc.pause(self.pid) end
	function self.resume() return proc.signal(self.pid, "CONT") end
	--- Ends it at once, as a crash would, and waits until it is gone.
	function self.kill()
		if not self.up then return true end
		self.up = false
		return proc.kill(self.pid)
	end
	--- On the same port, empty.
	function self.restart()
		self.kill()
		return launch(self)
	end
	function self.stop()
		self.kill() -- there is nothing that it could save
		if self.dir then proc.remove(self.dir) end
		self.dir = nil
	end
	return launch(self, not opts.port)
end

return memcached
