-- Formatters that are Lua functions, before outputs that want to know more of a record than its text.
local zbz = require("zbz")
local socket = require("socket")
local log = zbz.log

local SEVERITY = { trace = 7, debug = 7, info = 6, warn = 4, error = 3, fatal = 2 }

describe("a formatter before syslog", function()
	local s, to
	setup(function()
		s = assert(socket.udp())
		assert(s:setsockname("127.0.0.1", 0))
		s:settimeout(10)
		local host, port = s:getsockname()
		to = host .. ":" .. port
	end)
	teardown(function() s:close() end)
	after_each(function() log.close() end)

	local function configure(metadata)
		assert(log.configure{ level = "trace", redact = { "token" }, outputs = { { type = "syslog", protocol = "udp", address = to,
			metadata = metadata, format = function(r) return r.level .. " of " .. r.logger .. ": " .. r.message end } } })
	end

	it("keeps the severity and the logger", function()
		configure()
		for level, severity in pairs(SEVERITY) do
			log.logger("shop")[level](log.logger("shop"), "m")
			local got = assert(s:receive())
			assert.equal(1 * 8 + severity, tonumber(got:match("^<(%d+)>1 ")), got)
			assert.truthy(got:find(level .. " of shop: m", 1, true), got)
		end
	end)

	it("keeps what goes as structured data, redacted", function()
		configure{ "trace_id", "user", "token", "n", "whole", "huge" }
		log.with{ trace_id = ("ab"):rep(16) }:info("m", { user = "u\"1", token = "hunter2", n = 0.5, whole = 7, huge = 1e300, other = "o" })
		local got = assert(s:receive())
		for _, part in ipairs{ 'trace_id="' .. ("ab"):rep(16) .. '"', 'user="u\\"1"', 'token="***"', 'n="0.5"', 'whole="7"', "info of : m" } do
			assert.truthy(got:find(part, 1, true), part .. " is not in " .. got)
		end
		assert.is_nil(got:find("hunter2", 1, true))
		assert.is_nil(got:find("other", 1, true))
	end)
end)
