-- What limits keep back is counted exactly, told where the records go, and told of the right records.
local zbz = require("zbz")
local core = require("zbz.core")
local log = zbz.log

local function lines()
	local list = {}
	for i, line in ipairs(assert(log.drain("m"))) do
		list[i] = assert(core.json_decode(line))
		list[i].time = nil
	end
	return list
end

local function memory(opts)
	opts.outputs = opts.outputs or { { type = "memory", name = "m" } }
	assert(log.configure(opts))
end

describe("what limits keep back", function()
	after_each(function() log.close() end)

	it("are no repeats when bound fields differ, and the count has those of its own records", function()
		memory{ dedup = "10s" }
		local l = log.logger("bound")
		local a, b = l:with{ r = 1 }, l:with{ r = 2 }
		a:info("x")
		a:info("x")
		b:info("x")
		b:info("x")
		b:info("y")
		log.flush()
		local function record(t)
			t.level, t.logger = "info", "bound"
			return t
		end
		assert.are.same({ record{ message = "x", r = 1 }, record{ message = "x", repeated = 1 }, record{ message = "x", r = 2 },
			record{ message = "x", r = 2, repeated = 1 }, record{ message = "y", r = 2 } }, lines())
	end)

	it("is told to outputs that are functions, and to formatters", function()
		local heard = {}
		memory{ dedup = "10s", rate_limit = { rate = 1, burst = 2 }, outputs = { { type = "memory", name = "m", format = function(r)
			return core.json_encode{ message = r.message, repeated = r.fields.repeated, limited = r.fields.limited }
		end }, { type = "function", fn = function(_, r) heard[#heard + 1] = r end } } }
		local l = log.logger("told")
		for _ = 1, 5 do l:info("x") end
		for i = 1, 5 do l:info("y" .. i) end
		log.flush()
		local expected = { { message = "x" }, { message = "x", repeated = 4 }, { message = "y1" },
			{ message = "records were over the rate limit", limited = 4 } }
		assert.are.same(expected, lines())
		for i, r in ipairs(heard) do
			heard[i] = { message = r.message, repeated = r.fields.repeated, limited = r.fields.limited }
		end
		assert.are.same(expected, heard)
	end)

	it("is told of though a function that hears of it logs itself", function()
		local heard = {}
		memory{ dedup = "10s", outputs = { { type = "memory", name = "m" }, { type = "function", fn = function(_, r)
			heard[#heard + 1] = r.message .. tostring(r.fields.repeated)
			log.logger("other"):info("from the function" .. #heard)
		end } } }
		local l = log.logger("self")
		for _ = 1, 3 do l:info("x") end
		l:info("y")
		assert.are.same({ "xnil", "x2", "ynil" }, { heard[1], heard[2], heard[3] })
	end)

	it("begins a row only with a record that came through: the rest is over the rate, and adds up", function()
		memory{ dedup = "10s", rate_limit = { rate = 1, burst = 3 } }
		local before, l = log.stats(), log.logger("both")
		for i = 0, 299 do l:info("m" .. math.floor(i / 2)) end
		log.flush()
		local shown, repeated, limited = 0, 0, 0
		for _, r in ipairs(lines()) do
			repeated, limited = repeated + (r.repeated or 0), limited + (r.limited or 0)
			if not r.repeated and not r.limited then shown = shown + 1 end
		end
		local s = log.stats()
		assert.are.equal(300, shown + repeated + limited)
		assert.are.same({ repeated, limited }, { s.repeated - before.repeated, s.limited - before.limited })
		assert.is_true(shown >= 3 and repeated <= shown, shown .. " " .. repeated)
	end)

	it("shows no half of what the patterns would have found", function()
		memory{ dedup = "10s", redact = { scan = "card" } }
		local l = log.logger("half")
		for pad = 225, 260 do
			for _ = 1, 2 do l:info(("p"):rep(pad) .. " 4111111111111111") end
		end
		log.flush()
		local list = lines()
		assert.are.equal(72, #list)
		for _, r in ipairs(list) do assert.is_nil(r.message:find("4", 1, true), r.message) end
	end)

	it("is bounded in time", function()
		assert.is_nil((log.configure{ dedup = math.huge, outputs = { { type = "null" } } }))
		memory{ dedup = 1e12 }
		for _ = 1, 3 do log.logger("long"):info("x") end
		local list = lines()
		assert.are.same({ 2, 2 }, { #list, list[2].repeated })
	end)
end)
