-- Clients that keep their connections, for keepalive_spec: lua5.4 keepalive_client.lua PORT CONNECTIONS PATH...
-- Each connection asks for the paths in turn, the next when the former is answered, until SIGTERM. The report: a word and a number a line.
--   answered    whole answers of status 200          announced   of these, with "Connection: close", obeyed
--   idle        requests whose connection had been closed before a byte of an answer, by a server to which it looked idle: asked
--               again on a new connection, as every client does
--   failed      everything else, with what was seen
--   last PID    when the worker that names itself in its answers (the body's first word) answered last, in seconds
local uv = require("luv")

local port, connections, paths = tonumber(arg[1]), tonumber(arg[2]), { (table.unpack or unpack)(arg, 3) } -- luacheck: ignore 113
local counts = { answered = 0, announced = 0, idle = 0, failed = 0 }
local last, failures, stopping, open = {}, {}, false, 0

local function failed(what)
	counts.failed = counts.failed + 1
	if #failures < 10 then failures[#failures + 1] = what:gsub("%c", " ") end
end

local function now()
	local s, us = uv.gettimeofday()
	return s + us / 1e6
end

--- The body of a whole answer, and whether it was the connection's last; nil while there is less.
local function answer_in(text)
	local head, rest = text:match("^(.-\r\n)\r\n(.*)$")
	if not head then return nil end
	local n = tonumber(head:match("[Cc]ontent%-[Ll]ength: (%d+)"))
	if not n or #rest < n then return nil end
	return rest, head:lower():find("connection: close", 1, true) ~= nil, head:match("^HTTP/1.1 (%d+)"), #rest > n
end

local connect

local function ask(c)
	c.turn = c.turn % #paths + 1
	c.seen = ""
	c.sock:write(("GET %s HTTP/1.1\r\nHost: x\r\n\r\n"):format(paths[c.turn]))
end

local function renew(c)
	if not c.sock:is_closing() then c.sock:close() end
	if stopping then
		open = open - 1
		if open == 0 then uv.stop() end
	else
		connect(c)
	end
end

local function answered(c, body, close, status, more)
	if status ~= "200" or more then failed(("%s %s: %s"):format(paths[c.turn], tostring(status), c.seen)) end
	counts.answered = counts.answered + 1
	c.used = c.used + 1
	last[body:match("^%d+") or "?"] = now()
	if close then counts.announced = counts.announced + 1 end
	if close or stopping then return renew(c) end
	ask(c)
end

local function ended(c, err)
	if c.used > 0 and c.seen == "" then
		counts.idle = counts.idle + 1
		c.turn = c.turn - 1 -- the same request again
	else
		failed(("%s ended after %d answers: %s, with %q"):format(paths[c.turn], c.used, tostring(err), c.seen:sub(1, 200)))
	end
	renew(c)
end

connect = function(c)
	c.sock, c.used = uv.new_tcp(), 0
	c.sock:nodelay(true)
	c.sock:connect("127.0.0.1", port, function(err)
		if err then
			failed("connect: " .. err)
			return renew(c)
		end
		ask(c)
		c.sock:read_start(function(wrong, bytes)
			if wrong or not bytes then return ended(c, wrong) end
			c.seen = c.seen .. bytes
			local body, close, status, more = answer_in(c.seen)
			if body then answered(c, body, close, status, more) end
		end)
	end)
end

for i = 1, connections do
	open = open + 1
	connect({ turn = i })
end
local term = uv.new_signal()
term:start("sigterm", function() stopping = true end)
uv.run()
for _, name in ipairs{ "answered", "announced", "idle", "failed" } do print(name, counts[name]) end
for pid, at in pairs(last) do print("last " .. pid, ("%.3f"):format(at)) end
for _, text in ipairs(failures) do print("failure", text) end
