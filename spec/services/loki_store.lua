-- What the stub of Loki keeps, by Loki 3.4's rules as far as they concern a client: per tenant and stream, a line of a time
-- once; refusals entry by entry, the good part of a refused push is stored. Every entry goes to a file before the
-- answer, so that a killed server has it again.
local cjson = require("cjson")

local M = {}

local MAX_LINE, MAX_LABELS, BEHIND, OLD, AHEAD = 262144, 15, 3600, 168 * 3600, 600 -- bytes, names, seconds

local function key_of(labels)
	local names = {}
	for k in pairs(labels) do names[#names + 1] = k end
	table.sort(names)
	for i, k in ipairs(names) do names[i] = k .. '="' .. labels[k] .. '"' end
	return "{" .. table.concat(names, ", ") .. "}"
end

-- Only what came in first is looked at for the order: a repetition is no step back.
local function put(self, tenant, stream, e)
	local id = tenant .. "\0" .. stream
	local st = self.streams[id] or { newest = 0, last = 0, seen = {} }
	self.streams[id] = st
	local mark = e.ts .. "\0" .. e.line
	local ts = math.tointeger(tonumber(e.ts))
	if st.seen[mark] then
		self.repeated = self.repeated + 1
		return false
	end
	st.seen[mark] = true
	if ts < st.last then self.out_of_order = self.out_of_order + 1 end
	st.last = ts
	st.newest = math.max(st.newest, ts)
	self.entries[#self.entries + 1] = { tenant = tenant, stream = stream, ts = e.ts, line = e.line, meta = e.meta }
	return true
end

function M.open(path)
	local self = setmetatable({ streams = {}, entries = {}, repeated = 0, out_of_order = 0, path = path }, { __index = M })
	local f = io.open(path)
	for line in f and f:lines() or function() end do
		local ok, e = pcall(cjson.decode, line) -- the last one may be torn
		if ok then put(self, e.tenant, e.stream, e) end
	end
	if f then f:close() end
	self.repeated, self.out_of_order = 0, 0
	self.file = assert(io.open(path, "a"))
	return self
end

function M:forget()
	self.file:close()
	self.file = assert(io.open(self.path, "w"))
	self.streams, self.entries, self.repeated, self.out_of_order = {}, {}, 0, 0
end

local function refusal(self, stream, key, e, now)
	local ts = math.tointeger(tonumber(e.ts)) or 0
	local st = self.streams[key]
	if #e.line > MAX_LINE then
		local says = "Max entry size '%d' bytes exceeded for stream '%s' while adding an entry with length '%d' bytes"
		return says:format(MAX_LINE, stream, #e.line)
	elseif ts < (now - OLD) * 1000000000 then
		return ("entry for stream '%s' has timestamp too old"):format(stream)
	elseif ts > (now + AHEAD) * 1000000000 then
		return ("entry for stream '%s' has timestamp too new"):format(stream)
	elseif st and ts < st.newest - BEHIND * 1000000000 then
		return "entry too far behind", true
	end
end

local function push_stream(self, tenant, s, now, written)
	local stream = key_of(s.labels)
	local key, n, ignored, why = tenant .. "\0" .. stream, 0, 0, nil
	for k, v in pairs(s.labels) do
		n = n + 1
		if not k:find("^[%a_][%w_]*$") then return ("stream '%s' has the bad label name '%s'"):format(stream, k) end
		if not utf8.len(v) then return ("stream '%s' has a label value that is not UTF-8"):format(stream) end
	end
	if n > MAX_LABELS then return ("entry for stream '%s' has %d label names; limit %d"):format(stream, n, MAX_LABELS) end
	for _, e in ipairs(s.entries) do
		local problem, behind = refusal(self, stream, key, e, now)
		if problem and behind then
			ignored = ignored + 1
		elseif problem then
			why = why or problem
		elseif put(self, tenant, stream, e) then
			written[#written + 1] = cjson.encode(self.entries[#self.entries])
		end
	end
	if ignored > 0 and not why then
		why = ("entry with timestamp X ignored, reason: 'entry too far behind, entry timestamp is: X, oldest acceptable timestamp is: Y',\n" ..
			"user '%s', total ignored: %d out of %d for stream: %s"):format(tenant, ignored, #s.entries, stream)
	end
	return why
end

--- Status and body of the answer.
function M:push(tenant, streams, now)
	local written, why = {}, nil
	if #streams == 0 then return 422, "error at least one valid stream is required for ingestion" end
	for _, s in ipairs(streams) do why = push_stream(self, tenant, s, now, written) or why end
	if #written > 0 then
		self.file:write(table.concat(written, "\n"), "\n")
		self.file:flush()
	end
	if why then return 400, why end
	return 204, ""
end

return M
