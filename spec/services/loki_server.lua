-- The stub of Loki itself: a small HTTP/1.1 server with keep-alive. Usage: lua5.4 spec/services/loki_server.lua PORT FOLDER
--   POST /loki/api/v1/push      as Loki: protobuf+snappy or JSON, X-Scope-OrgID
--   GET  /ready
--   POST /stub/answers          [{"status":429,"times":3,"retry_after":1,"body":"...","store":true}, {"hang":true}, {"reset":true},
--                               {"delay":0.2}]: what the next pushes get instead of the truth, one after the other; `store`: after it was
--                               stored all the same
--   POST /stub/rules            {"token":"t"} or {"basic":"user:password"} or {"max_body":n}: 401, 413 for what does not comply
--   GET  /stub/entries          what is stored, in the order of its coming      GET /stub/pushes    what came in      POST /stub/forget
local cjson = require("cjson")
local mime = require("mime")
local socket = require("socket")
package.path = "./?.lua;" .. package.path
local decode = require("spec.services.loki_decode")
local store = require("spec.services.loki_store").open(arg[2] .. "/entries")

local REASONS = { [200] = "OK", [204] = "No Content", [301] = "Moved Permanently", [400] = "Bad Request", [401] = "Unauthorized",
	[404] = "Not Found", [413] = "Request Entity Too Large", [422] = "Unprocessable Entity", [429] = "Too Many Requests" }

local plans, rules, pushes, refused = {}, {}, {}, {}
local counts = { connections = 0, refused_again = 0, unanswered = 0, overlapping = 0 }
local listener = assert(socket.bind("127.0.0.1", tonumber(arg[1]), 128))
local conns, timers = {}, {}

local function head(status, n, more)
	return ("HTTP/1.1 %d %s\r\nContent-Length: %d\r\n%s\r\n"):format(status, REASONS[status] or "Some Status", n, more or "")
end

local function send(conn, status, body, more)
	conn.out = conn.out .. head(status, #body, more) .. (status == 204 and "" or body)
end

local function drop(conn, hard)
	if hard then conn.sock:setoption("linger", { on = true, timeout = 0 }) end
	conn.sock:close()
	conns[conn.sock] = nil
	if conn.waiting then counts.unanswered = counts.unanswered - 1 end
end

-- ---- pushes ----------------------------------------------------------------------------------------------------------------------

local function take(req)
	local kind = req.headers["content-type"] or ""
	if kind:find("json", 1, true) then return decode.json(req.body), "json" end
	if kind:find("protobuf", 1, true) then return decode.protobuf(decode.unsnappy(req.body)), "protobuf" end
	error({ bad = "Content-Type " .. kind })
end

local function allowed(req)
	local auth = req.headers.authorization
	if rules.token and auth ~= "Bearer " .. rules.token then return false end
	return not rules.basic or auth == "Basic " .. (mime.b64(rules.basic))
end

-- Does this push hold an entry of one that was answered 400 before? And if it is answered so, remember.
local function watch_refusals(streams, status)
	local again = false
	for _, s in ipairs(streams) do
		for _, e in ipairs(s.entries) do
			local mark = e.ts .. "\0" .. e.line
			again = again or refused[mark]
			if status == 400 then refused[mark] = true end
		end
	end
	if again then counts.refused_again = counts.refused_again + 1 end
end

-- The truth: status, body.
local function judge(req, note)
	if not allowed(req) then return 401, "no valid credentials" end
	if rules.max_body and #req.body > rules.max_body then return 413, "too large" end
	local ok, streams, kind = pcall(take, req)
	if not ok then return 400, type(streams) == "table" and streams.bad or tostring(streams) end
	note.encoding, note.streams, note.entries = kind, #streams, 0
	for _, s in ipairs(streams) do note.entries = note.entries + #s.entries end
	note.decoded = streams
	return nil
end

local function next_plan()
	local plan = plans[1]
	if plan then
		plan.times = (plan.times or 1) - 1
		if plan.times <= 0 then table.remove(plans, 1) end
	end
	return plan or {}
end

local function push(conn, req)
	local plan = next_plan()
	local note = { at = socket.gettime(), bytes = #req.body, tenant = req.headers["x-scope-orgid"], connection = conn.number }
	local status, body = judge(req, note)
	local truth = not status and not plan.status and not plan.reset and not plan.hang
	if truth or plan.store then
		status, body = store:push(note.tenant or "fake", note.decoded or {}, socket.gettime())
	end
	if plan.status then status, body = plan.status, plan.body or "as told" end
	note.status = status or 0
	if note.decoded then watch_refusals(note.decoded, note.status) end
	note.decoded = nil
	pushes[#pushes + 1] = note
	conn.waiting = true
	counts.unanswered = counts.unanswered + 1
	counts.overlapping = math.max(counts.overlapping, counts.unanswered)
	if plan.reset then return drop(conn, true) end
	if plan.hang then return end
	local more = (plan.retry_after and ("Retry-After: %d\r\n"):format(plan.retry_after) or "") ..
		(plan.location and ("Location: %s\r\n"):format(plan.location) or "")
	local function answer()
		conn.waiting = false
		counts.unanswered = counts.unanswered - 1
		send(conn, status, body, more)
	end
	if plan.delay then
		timers[#timers + 1] = { at = socket.gettime() + plan.delay, conn = conn, run = answer }
	else
		answer()
	end
end

-- ---- requests ---------------------------------------------------------------------------------------------------------------------

local function list(t) return #t == 0 and "[]" or cjson.encode(t) end

local routes = {
	["POST /loki/api/v1/push"] = push,
	["GET /ready"] = function(conn) send(conn, 200, "ready\n") end,
	["GET /stub/entries"] = function(conn) send(conn, 200, list(store.entries)) end,
	["GET /stub/pushes"] = function(conn)
		counts.pushes, counts.stored = pushes, #store.entries
		counts.repeated, counts.out_of_order = store.repeated, store.out_of_order
		counts.came = #pushes
		if #pushes == 0 then counts.pushes = nil end
		send(conn, 200, cjson.encode(counts))
	end,
	["POST /stub/answers"] = function(conn, req)
		plans = cjson.decode(req.body)
		send(conn, 204, "")
	end,
	["POST /stub/rules"] = function(conn, req)
		rules = cjson.decode(req.body)
		send(conn, 204, "")
	end,
	["POST /stub/forget"] = function(conn)
		plans, rules, pushes, refused = {}, {}, {}, {}
		counts.refused_again, counts.overlapping, counts.unanswered = 0, 0, 0
		for _, other in pairs(conns) do other.waiting = false end
		store:forget()
		send(conn, 204, "")
	end,
}

local function parse(conn)
	local top, rest = conn.buffer:match("^(.-\r\n)\r\n()")
	if not top then return end
	local method, path = top:match("^(%u+) (%S+) HTTP/1%.[01]\r\n")
	local headers = {}
	for name, value in top:gmatch("\r\n([^:\r\n]+):%s*([^\r\n]*)") do headers[name:lower()] = value end
	local n = tonumber(headers["content-length"] or "0")
	if not method or not n or headers["transfer-encoding"] then return nil, "no request that this server knows" end
	if #conn.buffer - rest + 1 < n then return end
	local req = { name = method .. " " .. path, headers = headers, body = conn.buffer:sub(rest, rest + n - 1) }
	conn.buffer = conn.buffer:sub(rest + n)
	return req
end

local function serve(conn)
	while conns[conn.sock] and not conn.waiting do
		local req, bad = parse(conn)
		if bad then return drop(conn) end
		if not req then return end
		local route = routes[req.name]
		if route then route(conn, req) else send(conn, 404, "404 page not found") end
	end
end

local function receive(conn)
	local data, why, part = conn.sock:receive(1 << 20)
	data = data or part
	if data and #data > 0 then conn.buffer = conn.buffer .. data end
	if why == "closed" then return drop(conn) end
	serve(conn)
end

local function flush(conn)
	local sent, why, part = conn.sock:send(conn.out)
	conn.out = conn.out:sub((sent or part or 0) + 1)
	if why == "closed" then return drop(conn) end
	serve(conn)
end

local function fire()
	local now, soon = socket.gettime(), 1
	for i = #timers, 1, -1 do
		local t = timers[i]
		if t.at <= now then
			table.remove(timers, i)
			if conns[t.conn.sock] then t.run() end
		else
			soon = math.min(soon, t.at - now)
		end
	end
	return soon
end

listener:settimeout(0)
while true do
	local wait, readers, writers = fire(), { listener }, {}
	for s, conn in pairs(conns) do
		readers[#readers + 1] = s
		if conn.out ~= "" then writers[#writers + 1] = s end
	end
	local can_read, can_write = socket.select(readers, writers, wait)
	for _, s in ipairs(can_write) do
		if conns[s] then flush(conns[s]) end
	end
	for _, s in ipairs(can_read) do
		if s == listener then
			local fresh = listener:accept()
			if fresh then
				fresh:settimeout(0)
				fresh:setoption("tcp-nodelay", true)
				counts.connections = counts.connections + 1
				conns[fresh] = { sock = fresh, buffer = "", out = "", number = counts.connections }
			end
		elseif conns[s] then
			receive(conns[s])
		end
	end
end
