-- A real rsyslogd for the tests: UDP, TCP and a unix socket in, one file out, a line a message with the parts it has understood.
local proc = require("spec.services.proc")

local rsyslog = {}

local CONFIG = [[
global(workDirectory="%s" maxMessageSize="64k")
module(load="imudp")
module(load="imtcp")
module(load="imuxsock" SysSock.Use="off")
template(name="parts" type="string"
	string="%%syslogfacility-text%%.%%syslogseverity-text%%|%%timereported:::date-rfc3339%%|%%hostname%%|%%app-name%%]]
	.. [[|%%procid%%|%%msgid%%|%%structured-data%%|%%msg%%\n")
ruleset(name="all") { action(type="omfile" file="%s" template="parts" asyncWriting="off" flushOnTXEnd="on") }
input(type="imudp" address="127.0.0.1" port="%d" ruleset="all")
input(type="imtcp" address="127.0.0.1" port="%d" ruleset="all")
input(type="imuxsock" Socket="%s" UseSpecialParser="off" IgnoreTimestamp="off" Ruleset="all")
]]

--- Starts one. The result: port (UDP and TCP), file, socket, pid, env, and the function stop.
function rsyslog.start()
	local self = { dir = proc.folder() }
	self.file, self.socket, self.log = self.dir .. "/messages", self.dir .. "/socket", self.dir .. "/rsyslog.log"
	function self.stop()
		if self.pid then proc.kill(self.pid) end
		if self.dir then proc.remove(self.dir) end
		self.pid, self.dir = nil, nil
	end
	for _ = 1, 5 do
		self.port = proc.free_port()
		local f = assert(io.open(self.dir .. "/conf", "w"))
		f:write(CONFIG:format(self.dir, self.file, self.port, self.port, self.socket))
		f:close()
		self.pid = proc.spawn({ "/usr/sbin/rsyslogd", "-n", "-f", self.dir .. "/conf", "-i", self.dir .. "/pid" }, self.log)
		if proc.wait_until(("{ { (exec 3<>/dev/tcp/127.0.0.1/%d) 2>/dev/null && test -S %s; } || ! kill -0 %d; }")
			:format(self.port, self.socket, self.pid), 10) and proc.alive(self.pid) then
			self.env = { RSYSLOG_ADDRESS = "127.0.0.1:" .. self.port, RSYSLOG_SOCKET = self.socket, RSYSLOG_FILE = self.file }
			return self
		end
		proc.stop(self.pid)
	end
	error("rsyslogd does not start: " .. proc.output("tail -n 5 '" .. self.log .. "' 2>/dev/null"))
end

return rsyslog
