-- A stub of Loki for the tests: not Loki, but a server that decodes what is pushed and answers as Loki 3.4.6 was seen to
-- (loki_server.lua, loki_store.lua).
--   local loki = require("spec.services.loki_stub").start()   loki.url .env
--   loki.kill() .restart() (it has what it had) .pause() .resume() .stop()
--   loki.answers{ {status = 429, times = 2, retry_after = 1}, {hang = true} } .rules{token = "t"} .entries() .seen() .forget()
local proc = require("spec.services.proc")

local stub = {}

local function launch(self)
	self.pid = proc.spawn({ "lua5.4", "spec/services/loki_server.lua", tostring(self.port), self.dir }, self.dir .. "/log")
	local ask = ("{ LD_PRELOAD= curl -s -m 1 http://127.0.0.1:%d/ready | grep -q ^ready || ! kill -0 %d; }"):format(self.port, self.pid)
	return proc.wait_until(ask, 15) and proc.alive(self.pid)
end

local function write(path, text)
	local f = assert(io.open(path, "w"))
	f:write(text)
	f:close()
end

--- cjson (or another codec) is the caller's: specs run under both Luas.
function stub.start(opts)
	local self = { dir = proc.folder() }
	local ok = false
	for _ = 1, 5 do
		self.port = opts and opts.port or proc.free_port()
		ok = launch(self)
		if ok then break end
	end
	assert(ok, "the stub of Loki does not start: " .. proc.output("tail -n 5 " .. self.dir .. "/log"))
	self.url = "http://127.0.0.1:" .. self.port
	self.env = { LOKI_URL = self.url }

	local function ask(method, path, body)
		local file = self.dir .. "/request"
		if body then write(file, body) end
		local text, fine = proc.output(("LD_PRELOAD= curl -sS -m 20 -X %s %s %s/stub/%s 2>&1"):format(method,
			body and "--data-binary @" .. file or "", self.url, path))
		assert(fine, text)
		return text
	end
	local function json() return require("cjson") end

	function self.answers(list) ask("POST", "answers", #list == 0 and "[]" or json().encode(list)) end
	function self.rules(t) ask("POST", "rules", next(t) and json().encode(t) or "{}") end
	function self.forget() ask("POST", "forget", "") end
	--- { {tenant=, stream=, ts=, line=, meta=}, ... } in the order of their coming.
	function self.entries() return json().decode(ask("GET", "entries")) end
	--- { pushes = {{at=, status=, entries=, bytes=, tenant=, encoding=, streams=, connection=}...}, came= (how many), stored=, repeated=,
	--- out_of_order=, refused_again=, overlapping=, connections= }
	function self.seen()
		local t = json().decode(ask("GET", "pushes"))
		t.pushes = t.pushes or {}
		return t
	end
	function self.pause() return proc.pause(self.pid) end
	function self.resume() return proc.signal(self.pid, "CONT") end
	function self.kill() return proc.kill(self.pid) end
	--- On the same port, with what it had stored; what it was told to answer is forgotten.
	function self.restart()
		proc.kill(self.pid)
		assert(launch(self), proc.output("tail -n 5 " .. self.dir .. "/log"))
	end
	function self.stop()
		if not self.dir then return end
		proc.kill(self.pid)
		proc.remove(self.dir)
		self.dir = nil
	end
	return self
end

return stub
