-- The outputs on the network as Lua programs use them; the faults are in spec/c/test_sink_*.c.
local zbz = require("zbz")
local core = require("zbz.core")
local socket = require("socket")
local unix = require("socket.unix")
local proc = require("spec.services.proc")
local log = zbz.log

local function address(s)
	local host, port = s:getsockname()
	return host .. ":" .. port
end
local function listener()
	local s = assert(socket.bind("127.0.0.1", 0))
	s:settimeout(10)
	return s, address(s)
end
local function receiver()
	local s = assert(socket.udp())
	assert(s:setsockname("127.0.0.1", 0))
	s:settimeout(10)
	return s, address(s)
end
local function accept(s)
	local c = assert(s:accept())
	c:settimeout(10)
	return c
end

describe("outputs on the network", function()
	after_each(function() log.close() end)

	it("tcp: lines", function()
		local s, to = listener()
		assert(log.configure{ level = "info", outputs = { { type = "tcp", address = to, timeout = 2 } } })
		log.info("a\nb", { n = 1 })
		log.warn("c")
		assert(log.flush(10))
		local c = accept(s)
		local first = assert(core.json_decode((assert(c:receive("*l")))))
		assert.are.equal("a\nb", first.message)
		assert.are.equal(1, first.n)
		assert.are.equal("c", core.json_decode((assert(c:receive("*l")))).message)
		assert.are.equal(2, log.stats().outputs.tcp.written)
		c:close(); s:close()
	end)

	it("udp: a datagram a record, cut when it is too long", function()
		local s, to = receiver()
		assert(log.configure{ level = "info", format = "logfmt", outputs = { { type = "udp", address = to, max_message = 200 } } })
		log.info("short")
		log.info(("x"):rep(500))
		assert(log.flush(10))
		assert.is_truthy(assert(s:receive()):find("msg=short\n", 1, true))
		local long = assert(s:receive())
		assert.are.equal(200, #long)
		assert.are.equal("xx...\n", long:sub(-6))
		s:close()
	end)

	it("unix: a stream", function()
		local dir = proc.folder()
		local s = assert(unix.stream())
		assert(s:bind(dir .. "/log"))
		assert(s:listen())
		assert(log.configure{ level = "info", outputs = { { type = "unix", address = dir .. "/log" } } })
		log.info("one")
		s:settimeout(10)
		local c = accept(s)
		assert.are.equal("one", core.json_decode((assert(c:receive("*l")))).message)
		assert(log.flush(10))
		c:close(); s:close()
		proc.remove(dir)
	end)

	it("syslog: severity, names, and fields as structured data", function()
		local s, to = receiver()
		assert(log.configure{ level = "trace", outputs = { { type = "syslog", protocol = "udp", format = "logfmt",
			address = to, facility = "daemon", app = "shop", hostname = "web-1", element = "order@1", metadata = { "id", "trace_id" } } } })
		local l = log.logger("pay.card")
		local numbers = { trace = 31, debug = 31, info = 30, warn = 28, error = 27, fatal = 26 }
		for _, level in ipairs{ "trace", "debug", "info", "warn", "error", "fatal" } do
			l[level](l, "refused", { id = 'A"1', other = 2 })
			local got = assert(s:receive())
			local pri, time, rest = got:match("^<(%d+)>1 (%S+) (.*)$")
			assert.are.equal(numbers[level], tonumber(pri))
			assert.is_truthy(time:match("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%d%d%d%dZ$"))
			assert.are.equal('web-1 shop PID pay.card [order@1 id="A\\"1"]', (rest:gsub("shop %d+ ", "shop PID "):gsub(" time=.*$", "")))
			assert.is_truthy(rest:find(" msg=refused ", 1, true))
		end
		s:close()
	end)

	it("syslog: trace_id is structured data by itself", function()
		local s, to = receiver()
		assert(log.configure{ level = "info", outputs = { { type = "syslog", protocol = "udp", address = to } } })
		log.info("m", { trace_id = "0af7", other = 1 })
		assert.is_truthy(assert(s:receive()):find(' [zbz@32473 trace_id="0af7"] {', 1, true))
		s:close()
	end)

	it("name the option that is wrong", function()
		local function wrong(spec, option, part)
			local ok, err = log.configure{ outputs = { spec } }
			assert.is_nil(ok)
			assert.are.equal("invalid_config", err.code)
			assert.is_truthy(err.message:find(option, 1, true), err.message)
			assert.is_truthy(err.message:find(part, 1, true), err.message)
		end
		wrong({ type = "tcp" }, "address", "host:port")
		wrong({ type = "tcp", address = "localhost" }, "address", "without a port")
		wrong({ type = "udp", address = "x:99999" }, "address", "65535")
		wrong({ type = "unix", address = "relative" }, "address", "absolute")
		wrong({ type = "unix", address = "/" .. ("x"):rep(200) }, "address", "107 bytes")
		wrong({ type = "tcp", address = "x:1", tls_ca = "ca.pem" }, "tls_ca", "tls = true")
		wrong({ type = "tcp", address = "x:1", tls = true, tls_ca = "/no/such.pem" }, "tls_ca", "/no/such.pem: No such file")
		wrong({ type = "syslog", facility = "loud" }, "facility", "local7")
		wrong({ type = "syslog", address = "x:1", protocol = "udp", tls = true }, "tls", "tcp")
		wrong({ type = "syslog", app = "two words" }, "app", "visible")
	end)

	it("a peer that hangs or is away holds up neither the program nor the other outputs", function()
		local s, to = listener() -- the kernel accepts, nobody reads
		local gone, nobody = listener()
		gone:close()
		local dir = proc.folder() -- what is not written stays there
		local function tcp(name, where)
			return { type = "tcp", name = name, address = where, timeout = "200ms", ring = dir, ring_size = "1MB", policy = "drop_oldest",
				linger = "100ms" }
		end
		assert(log.configure{ level = "info", outputs = { tcp("hangs", to), tcp("away", nobody),
			{ type = "memory", name = "m", size = "64MB" } } })
		local text = ("x"):rep(1000)
		for i = 1, 20000 do log.info(text, { i = i }) end
		assert.are.equal(20000, #assert(log.drain("m")))
		local before = socket.gettime()
		local ok, err = log.flush(0.5)
		assert.is_nil(ok)
		assert.are.equal("timeout", err.code)
		assert.is_true(socket.gettime() - before < 5)
		local stats = log.stats().outputs
		assert.is_true(stats.hangs.lag > 0 and stats.away.lag > 0)
		assert.are.equal(0, stats.away.written)
		assert.is_true(stats.away.retries > 0)
		assert.are.equal(20000, stats.m.written)
		log.close(0.1)
		s:close()
		proc.remove(dir)
	end)
end)
