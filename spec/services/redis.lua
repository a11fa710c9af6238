-- A real Redis server: TCP, TLS with a certificate made for the occasion, a unix socket, and an ACL user.
--   local server = require("spec.services.redis").start{ password = "pw" }
--   server.host .port .tls_port .socket .pid .dir .ca .cert .key .env
--   server.stop() .pause() .resume() .kill() .restart() .cli("GET k")
local proc = require("spec.services.proc")

local redis = {}

--- The ACL user every server has beside the default one: may do anything but FLUSHALL.
redis.user, redis.user_password = "zbz", "s3cret:@/%"

local function write(path, text)
	local f = assert(io.open(path, "w"))
	f:write(text)
	f:close()
end

-- One certificate authority, and a server certificate of it for localhost and 127.0.0.1.
local function make_certificates(dir)
	write(dir .. "/san.cnf", "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
	local script = ([[cd '%s' &&
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=zbz-test-ca &&
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -out server.csr -subj /CN=localhost &&
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile san.cnf]]):format(dir)
	local out, ok = proc.output("(" .. script .. ") 2>&1")
	assert(ok, "openssl: " .. out)
end

local function configuration(self, opts)
	local lines = {
		"bind 127.0.0.1", "port " .. self.port, "unixsocket " .. self.socket, "unixsocketperm 700", "dir " .. self.dir,
		'save ""', "appendonly no", "daemonize no", "databases 16", "tls-port " .. self.tls_port, "tls-cert-file " .. self.cert,
		"tls-key-file " .. self.key, "tls-ca-cert-file " .. self.ca, "tls-auth-clients no",
		("user %s on >%s allkeys allchannels +@all -flushall"):format(redis.user, redis.user_password),
	}
	if opts.password then lines[#lines + 1] = 'requirepass "' .. opts.password:gsub('[\\"]', "\\%0") .. '"' end
	for _, line in ipairs(opts.config or {}) do lines[#lines + 1] = line end
	return table.concat(lines, "\n") .. "\n"
end

-- PONG, or -NOAUTH from a server that wants a password first: both say that it answers. One that has ended is not waited for.
local function await_answer(self)
	local line = 'read -t 1 -r line <&3 && [[ $line == +PONG* || $line == -NOAUTH* ]]'
	local ask = ('(exec 3<>/dev/tcp/127.0.0.1/%d && printf "PING\\r\\n" >&3 && %s) 2>/dev/null'):format(self.port, line)
	return proc.wait_until(("{ %s || ! kill -0 %d; }"):format(ask, self.pid), 15) and proc.alive(self.pid)
end

local function tail(path)
	return (proc.output("tail -n 5 '" .. path .. "' 2>/dev/null"))
end

local function launch(self)
	self.pid = proc.spawn({ "redis-server", self.dir .. "/redis.conf" }, self.dir .. "/log")
	if await_answer(self) then return true end
	proc.stop(self.pid)
	return false, tail(self.dir .. "/log")
end

-- Another suite may take a port between our look and the server's bind: then look again.
local function launch_somewhere(self, opts)
	local why
	for _ = 1, 5 do
		self.port = opts.port or proc.free_port()
		self.tls_port = proc.free_port()
		write(self.dir .. "/redis.conf", configuration(self, opts))
		local ok
		ok, why = launch(self)
		if ok then return end
	end
	error("redis-server does not start: " .. tostring(why))
end

--- @param opts table? {password=, port=, config={"line", ...}}
function redis.start(opts)
	opts = opts or {}
	local self = { host = "127.0.0.1", dir = proc.folder(), password = opts.password }
	self.socket = self.dir .. "/redis.sock"
	self.ca, self.cert, self.key = self.dir .. "/ca.crt", self.dir .. "/server.crt", self.dir .. "/server.key"
	make_certificates(self.dir)
	launch_somewhere(self, opts)

	function self.pause() return proc.pause(self.pid) end
	function self.resume() return proc.signal(self.pid, "CONT") end
	function self.kill() return proc.kill(self.pid) end
	--- The same ports, socket and options; the data is gone.
	function self.restart()
		proc.stop(self.pid)
		local ok, why = launch(self)
		return assert(ok, why)
	end
	function self.stop()
		if not self.dir then return end
		proc.stop(self.pid)
		proc.remove(self.dir)
		self.dir = nil
	end
	--- What redis-cli prints for a command line in shell words.
	function self.cli(words)
		local auth = self.password and ("REDISCLI_AUTH='" .. self.password .. "' ") or ""
		return (proc.output(auth .. "redis-cli -p " .. self.port .. " " .. words .. " 2>&1"))
	end

	local auth = self.password and (":" .. self.password:gsub("[^%w]", function(ch) return ("%%%02X"):format(ch:byte()) end) .. "@") or ""
	self.url = "redis://" .. auth .. "127.0.0.1:" .. self.port
	self.env = {
		REDIS_URL = self.url, REDIS_PORT = tostring(self.port), REDIS_TLS_PORT = tostring(self.tls_port), REDIS_SOCKET = self.socket,
		REDIS_CA = self.ca, REDIS_CERT = self.cert, REDIS_KEY = self.key, REDIS_PID = tostring(self.pid), REDIS_CONF = self.dir .. "/redis.conf",
		REDIS_USER = redis.user, REDIS_USER_PASSWORD = redis.user_password,
	}
	return self
end

return redis
