--- The log's numbers as Prometheus reads them: text exposition format 0.0.4. Counters are the whole program's and never go down: C keeps
--- them by what an output writes to, here those of one name are joined when it comes to write to something else.
local core = require("zbz.core")

local M = {}

local LEVELS = { "trace", "debug", "info", "warn", "error", "fatal" }
local NAMES_MOST = 1000

--- Families of the log and of its outputs, in the order they are shown. by: the values of a label, and the stats they are.
local LOG = {
	{ name = "lines_total", help = "Records that were handed to at least one output.", label = "level", levels = "records" },
	{ name = "held_back_total", label = "reason",
		help = "Records that no output was to get: sampled out, over the rate limit, repeats, or without an output that takes them.",
		by = { { "sampled" }, { "limited" }, { "repeated" }, { "nowhere" } } },
	{ name = "lost_total", help = "Times that an output did not take a record handed to it.", of = "lost" },
	{ name = "truncated_total", help = "Lines that were cut at the largest size of a record.", of = "truncated" },
}
local OUTPUT = {
	{ name = "records_total", help = "Records that came into the output's ring.", label = "level", levels = "levels" },
	{ name = "bytes_total", help = "Bytes of those records.", of = "bytes" },
	{ name = "written_total", help = "Records that the output has taken for good.", of = "written" },
	{ name = "written_bytes_total", help = "Bytes of those records.", of = "written_bytes" },
	{ name = "dropped_total", label = "reason",
		help = "Records that found no room in the ring, were too large for it, or came when there was none.",
		by = { { "full", "dropped_full" }, { "large", "dropped_large" }, { "closed", "dropped_closed" } } },
	{ name = "retries_total", help = "Attempts that failed and were made again.", of = "retries" },
	{ name = "dead_letters_total", help = "Records that the output refused for good.", of = "dead_letters" },
	{ name = "dead_letters_lost_total", help = "Dead letters that no file has.", of = "dead_letters_lost" },
	{ name = "recovered_total", help = "Records written for processes that had died.", of = "recovered" },
	{ name = "syncs_total", help = "Flushes to stable storage.", of = "syncs" },
	{ name = "damaged_total", help = "Places in rings and spools where no record was to be read.", of = "damaged" },
	{ name = "set_aside_total", help = "Rings and segments of spools that were kept aside, unreadable.", of = "set_aside" },
	{ name = "failures", gauge = true, help = "Attempts in a row that have failed, up to now.", of = "failures" },
	{ name = "spooled_records", gauge = true, help = "Records in the spool.", of = "spooled" },
	{ name = "spooled_bytes", gauge = true, help = "Bytes of the records in the spool.", of = "spooled_bytes" },
	{ name = "spool_age_seconds", gauge = true, help = "Time since the oldest record in the spool came there.", of = "spool_age" },
	{ name = "lag_bytes", gauge = true, help = "Bytes that the output does not have yet, of the process that answers.", of = "lag" },
}

local ESCAPES = { ["\\"] = "\\\\", ["\n"] = "\\n", ['"'] = '\\"' }

--- Labels are UTF-8; a path need not be.
local function quoted(text)
	if not core.json_encode(text) then text = text:gsub("[\128-\255]", function(c) return ("\\x%02x"):format(c:byte()) end) end
	return '"' .. text:gsub('[\\\n"]', ESCAPES) .. '"'
end

local function number(v)
	if v % 1 == 0 then return ("%.0f"):format(v) end
	return ("%.3f"):format(v)
end

--- The samples of one family and one set of stats, with the labels before its own.
local function put_samples(out, name, family, stats, labels)
	local function put(value, v)
		local all = labels
		if value then all = (all ~= "" and all .. "," or "") .. family.label .. '="' .. value .. '"' end
		out[#out + 1] = name .. (all ~= "" and "{" .. all .. "}" or "") .. " " .. number(v)
	end
	if family.levels then
		for _, level in ipairs(LEVELS) do put(level, stats[family.levels][level]) end
	elseif family.by then
		for _, pair in ipairs(family.by) do put(pair[1], stats[pair[2] or pair[1]]) end
	else
		put(nil, stats[family.of])
	end
end

local function put_family(out, prefix, family, sets)
	local name = prefix .. family.name
	out[#out + 1] = "# HELP " .. name .. " " .. family.help
	out[#out + 1] = "# TYPE " .. name .. " " .. (family.gauge and "gauge" or "counter")
	for _, set in ipairs(sets) do put_samples(out, name, family, set.stats, set.labels) end
end

-- ---- one name, one account after the other -----------------------------------------------------------------------------------

local joined, names = {}, 0 -- by name: {account=, before=}; before: what to add to the account's stats, nil while it is the first

--- a + sign * b in every counter.
local function combine(a, b, sign)
	local out = { levels = {} }
	for _, level in ipairs(LEVELS) do out.levels[level] = a.levels[level] + sign * b.levels[level] end
	for _, family in ipairs(OUTPUT) do
		if not family.gauge then
			if family.of then out[family.of] = a[family.of] + sign * b[family.of] end
			for _, pair in ipairs(family.by or {}) do out[pair[2]] = a[pair[2]] + sign * b[pair[2]] end
		end
	end
	return out
end

local function forget(standing)
	for name in pairs(joined) do
		if not standing[name] then joined[name], names = nil, names - 1 end
	end
end

--- The outputs, by name, when they have changed, and those of before are closed.
function M.changed(standing)
	if names > NAMES_MOST then forget(standing) end
	for name, out in pairs(standing) do
		local account, known = out.handle and out.handle:account(), joined[name]
		if account and not known then
			joined[name], names = { account = account }, names + 1
		elseif account and known.account ~= account then
			local total = core.log_account(known.account)
			if known.before then total = combine(total, known.before, 1) end
			joined[name] = { account = account, before = combine(total, core.log_account(account), -1) }
		end
	end
end

local function stats_of(name, handle)
	local known = joined[name]
	local stats = core.log_account(known.account)
	if known.before then
		for k, v in pairs(combine(stats, known.before, 1)) do stats[k] = v end
	end
	stats.lag = handle:stats().lag
	return stats
end

--- list: of outputs.
---@return string
function M.text(list)
	local out, sets = {}, {}
	for _, o in ipairs(list) do
		if o.handle then sets[#sets + 1] = { name = o.name, stats = stats_of(o.name, o.handle), labels = "output=" .. quoted(o.name) } end
	end
	table.sort(sets, function(a, b) return a.name < b.name end)
	local totals = { { stats = core.log_totals(), labels = "" } }
	for _, family in ipairs(LOG) do put_family(out, "zbz_log_", family, totals) end
	for _, family in ipairs(#sets > 0 and OUTPUT or {}) do put_family(out, "zbz_log_output_", family, sets) end
	out[#out + 1] = ""
	return table.concat(out, "\n")
end

return M
