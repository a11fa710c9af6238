-- Reads what clients push to Loki: block snappy, the protobuf messages of a push, labels as text, the JSON form. Strict: anything that
-- is not well-formed raises with a reason. Lua 5.4; a decoder of the tests' own, which shares nothing with the encoder it checks.
local cjson = require("cjson")

local M = {}

local function check(ok, why) if not ok then error({ bad = why }) end end

-- ---- snappy, the block format -------------------------------------------------------------------------------------------------

local function varint(s, at)
	local v, shift = 0, 0
	while true do
		local b = s:byte(at)
		check(b and shift < 64, "a number is cut")
		v = v | (b & 0x7F) << shift
		at, shift = at + 1, shift + 7
		if b < 0x80 then return v, at end
	end
end
M.varint = varint

local function copy_bytes(out, n, offset, len)
	check(offset > 0 and offset <= n, "snappy: a copy from before the beginning")
	for i = n + 1, n + len do out[i] = out[i - offset] end
	return n + len
end

function M.unsnappy(s)
	local size, at = varint(s, 1)
	check(size <= 64 << 20, "snappy: too large")
	local out, n = {}, 0
	while at <= #s do
		local tag = s:byte(at)
		local kind, len, offset = tag & 3, tag >> 2
		at = at + 1
		if kind == 0 then
			if len >= 60 then
				local bytes = len - 59
				check(at + bytes - 1 <= #s, "snappy: cut")
				len = string.unpack("<I" .. bytes, s, at)
				at = at + bytes
			end
			len = len + 1
			check(at + len - 1 <= #s, "snappy: cut")
			for from = at, at + len - 1, 4096 do
				local piece = { s:byte(from, math.min(from + 4095, at + len - 1)) }
				table.move(piece, 1, #piece, n + 1, out)
				n = n + #piece
			end
			at = at + len
		elseif kind == 1 then
			check(at <= #s, "snappy: cut")
			offset = (tag >> 5) << 8 | s:byte(at)
			at = at + 1
			n = copy_bytes(out, n, offset, ((tag >> 2) & 7) + 4)
		else
			local form = kind == 2 and "<I2" or "<I4"
			check(at + (kind == 2 and 1 or 3) <= #s, "snappy: cut")
			offset, at = string.unpack(form, s, at)
			n = copy_bytes(out, n, offset, len + 1)
		end
		check(n <= size, "snappy: longer than it says")
	end
	check(n == size, "snappy: shorter than it says")
	local parts = {}
	for i = 1, n, 4096 do parts[#parts + 1] = string.char(table.unpack(out, i, math.min(i + 4095, n))) end
	return table.concat(parts)
end

-- ---- protobuf ------------------------------------------------------------------------------------------------------------------

-- The fields of a message: number, value (an integer, or bytes), one after the other.
local function fields(s)
	local at = 1
	return function()
		if at > #s then return end
		local tag, v
		tag, at = varint(s, at)
		if tag & 7 == 0 then
			v, at = varint(s, at)
		elseif tag & 7 == 2 then
			local n
			n, at = varint(s, at)
			check(n >= 0 and at + n - 1 <= #s, "protobuf: a field is cut")
			v = s:sub(at, at + n - 1)
			at = at + n
		else
			check(false, "protobuf: wire type " .. (tag & 7))
		end
		return tag >> 3, v
	end
end

local function time_of(s)
	local sec, ns = 0, 0
	for f, v in fields(s) do
		if f == 1 then sec = v elseif f == 2 then ns = v else check(false, "protobuf: Timestamp." .. f) end
	end
	check(ns < 1000000000, "protobuf: nanoseconds")
	return ("%d"):format(sec * 1000000000 + ns)
end

local function pair_of(s)
	local name, value = "", ""
	for f, v in fields(s) do
		if f == 1 then name = v elseif f == 2 then value = v else check(false, "protobuf: LabelPair." .. f) end
	end
	return name, value
end

local function entry_of(s)
	local e = { ts = nil, line = "", meta = {} }
	for f, v in fields(s) do
		if f == 1 then e.ts = time_of(v)
		elseif f == 2 then e.line = v
		elseif f == 3 then
			local name, value = pair_of(v)
			check(e.meta[name] == nil, "metadata names '" .. name .. "' twice")
			e.meta[name] = value
		else check(false, "protobuf: Entry." .. f) end
	end
	check(e.ts, "protobuf: an entry without a time")
	return e
end

local ESCAPES = { n = "\n", t = "\t", r = "\r", ['"'] = '"', ["\\"] = "\\" }

-- {a="b", c="d"} as a table.
function M.labels(text)
	local labels, at = {}, text:match("^%s*{%s*()")
	check(at, "labels: no {")
	while not text:find("^}%s*$", at) do
		local name, from = text:match("^([%a_][%w_]*)%s*=%s*\"()", at)
		check(name, "labels: a bad name in " .. text)
		check(labels[name] == nil, "labels: '" .. name .. "' twice")
		local value = {}
		at = from
		while true do
			local ch = text:sub(at, at)
			check(ch ~= "" and ch ~= "\n", "labels: an open quote")
			at = at + 1
			if ch == '"' then break end
			if ch == "\\" then
				local what = text:sub(at, at)
				local code = text:match("^u(%x%x%x%x)", at)
				check(code or ESCAPES[what], "labels: escape \\" .. what)
				value[#value + 1] = code and utf8.char(tonumber(code, 16)) or ESCAPES[what]
				at = at + (code and 5 or 1)
			else
				value[#value + 1] = ch
			end
		end
		labels[name] = table.concat(value)
		at = text:match("^%s*,?%s*()", at)
	end
	return labels
end

local function stream_of(s)
	local stream = { labels = nil, entries = {} }
	for f, v in fields(s) do
		if f == 1 then stream.labels = M.labels(v)
		elseif f == 2 then stream.entries[#stream.entries + 1] = entry_of(v)
		else check(f == 3, "protobuf: Stream." .. f) end
	end
	check(stream.labels, "protobuf: a stream without labels")
	return stream
end

function M.protobuf(s)
	local streams = {}
	for f, v in fields(s) do
		check(f == 1, "protobuf: PushRequest." .. f)
		streams[#streams + 1] = stream_of(v)
	end
	return streams
end

-- ---- JSON ------------------------------------------------------------------------------------------------------------------------

function M.json(text)
	local ok, top = pcall(cjson.decode, text)
	check(ok and type(top) == "table" and type(top.streams) == "table", "JSON: no streams")
	local streams = {}
	for i, s in ipairs(top.streams) do
		local stream = { labels = s.stream, entries = {} }
		check(type(s.stream) == "table" and type(s.values) == "table", "JSON: a stream without stream or values")
		for _, v in pairs(s.stream) do check(type(v) == "string", "JSON: a label that is no text") end
		for k, v in ipairs(s.values) do
			check(type(v[1]) == "string" and v[1]:find("^%d+$"), "JSON: a time that is no text of digits")
			check(type(v[2]) == "string", "JSON: a line that is no text")
			for _, value in pairs(v[3] or {}) do check(type(value) == "string", "JSON: metadata that is no text") end
			stream.entries[k] = { ts = v[1], line = v[2], meta = v[3] or {} }
		end
		streams[i] = stream
	end
	return streams
end

return M
