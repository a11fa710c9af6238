--- Reads Prometheus' text exposition format 0.0.4, strictly: samples by their text `name{labels}`; raises for anything promtool would
--- complain of, and for families or samples that stand twice or apart. promtool itself is asked as well where it is installed.
local proc = require("spec.services.proc")

local M = {}

local UNESCAPED = { ["\\\\"] = "\\", ['\\"'] = '"', ["\\n"] = "\n" }

local function labels_of(text, line)
	local labels, at, n = {}, 1, 0
	while at <= #text do
		local name, from = text:match('^([%a_][%w_]*)="()', at)
		assert(name, "a label: " .. line)
		local to = from
		while text:sub(to, to) ~= '"' do
			assert(to <= #text, "a label's end: " .. line)
			to = to + (text:sub(to, to) == "\\" and 2 or 1)
		end
		local value = text:sub(from, to - 1)
		assert(not labels[name], "a label twice: " .. line)
		assert(not value:gsub("\\.", function(x) return UNESCAPED[x] and "" end):find("\\", 1, true), "an escape: " .. line)
		labels[name], n = value:gsub("\\.", UNESCAPED), n + 1
		at = to + 1
		if at <= #text then
			assert(text:sub(at, at) == "," and at < #text, "a comma: " .. line)
			at = at + 1
		end
	end
	return labels, n
end

local function sample(line, family)
	local name, labels, value = line:match("^([%a_:][%w_:]*)(%b{}) (%S+)$")
	if not name then
		name, value = line:match("^([%a_:][%w_:]*) (%S+)$")
		labels = "{}"
	end
	assert(name == family.name, "a sample outside its family: " .. line)
	local v = assert(tonumber(value), "a value: " .. line)
	assert(v >= 0 and (family.type ~= "counter" or v % 1 == 0), "a value: " .. line)
	return { name = name, labels = labels_of(labels:sub(2, -2), line), value = v }
end

--- Samples by name and labels as they stand, and all in a list.
function M.read(text)
	local by, list, seen, family = {}, {}, {}, {}
	assert(text == "" or text:sub(-1) == "\n", "the last line does not end")
	assert(not text:find("\r", 1, true))
	for line in text:gmatch("([^\n]*)\n") do
		local help, about = line:match("^# HELP (%S+) (%S.*)$")
		local typed, kind = line:match("^# TYPE (%S+) (%S+)$")
		if help then
			assert(not seen[help], "a family twice: " .. line)
			assert(not about:find("\\", 1, true))
			seen[help], family = true, { name = help }
		elseif typed then
			assert(typed == family.name and not family.type, "a type without its help: " .. line)
			assert(kind == "counter" or kind == "gauge", "a type: " .. line)
			assert((kind == "counter") == (typed:sub(-6) == "_total"), "a counter's name: " .. line)
			family.type = kind
		else
			assert(family.type, "a sample without a type: " .. line)
			local s, key = sample(line, family), line:match("^(.*) %S+$")
			assert(not by[key], "a sample twice: " .. line)
			by[key], list[#list + 1] = s.value, s
		end
	end
	return by, list
end

--- nil: it is not there; else what it complains of, "" for nothing.
function M.promtool(text)
	local path = os.getenv("PROMTOOL") or proc.output("command -v promtool")
	if path == "" then return nil end
	local name = os.tmpname()
	local f = assert(io.open(name, "w"))
	f:write(text)
	f:close()
	local said, ok = proc.output(("%s check metrics < %s 2>&1"):format(path, name))
	os.remove(name)
	return ok and said or "failed: " .. said
end

return M
