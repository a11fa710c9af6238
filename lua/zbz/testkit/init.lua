--- zbz.testkit: the conformance suite for cache providers, a virtual clock, and a layer of faults.
---
---   local testkit = require("zbz.testkit")
---   testkit.cache(function(clock) return { provider = "mine", size = 100 } end, { name = "mine" })
---
--- Under busted it registers its cases with describe and it; in a plain script it runs them, prints a line for each that fails
--- and returns { passed =, failed =, skipped =, capabilities = }.
local zbz = require("zbz")
local core = require("zbz.core")

local M = {}

--- A clock that moves only when told: clock:advance(seconds). Give it to zbz.cache.new, provider and the factory.
---@param wall number? seconds since 1970 to begin at
function M.clock(wall) return core.fake_clock(math.floor((wall or 1700000000) * 1000)) end

--- The same provider behind the fault layer. faults: fail_per_mille, ... (options of the provider "fault").
---@param spec table|zbz.Provider
function M.faulty(spec, faults)
	local out = {}
	for k, v in pairs(faults or {}) do out[k] = v end
	out.provider = "fault"
	if type(spec) == "table" and getmetatable(spec) == nil then
		local inner = {}
		for k, v in pairs(spec) do inner[k] = v end
		inner.clock = nil
		out.inner, out.clock = inner, spec.clock
	else
		out.inner = spec
	end
	return out
end

--- Waits until fn() is true, delivering messages meanwhile; false after `timeout` seconds.
function M.eventually(fn, timeout)
	local till = core.mono() + (timeout or 10) * 1000
	while not fn() do
		if core.mono() > till then return false end
		zbz.poll(0.01)
	end
	return true
end

local GROUPS = { "basic", "expiry", "batch", "atomic", "listing", "tables", "fetching", "limits" }

--- All cases: { name =, group =, needs = {capability}, run = fn(ctx) }.
function M.cases()
	local all = {}
	for _, group in ipairs(GROUPS) do
		for _, case in ipairs(require("zbz.testkit." .. group)) do
			case.group = group
			all[#all + 1] = case
		end
	end
	return all
end

-- ---- what a case gets --------------------------------------------------------------------------------------------------------

local Context = {}
Context.__index = Context

local serial = 0

--- A fresh cache over the provider under test; closed after the case.
function Context:cache(opts)
	serial = serial + 1
	local all = { provider = self.provider, clock = self.clock, key_prefix = ("%s%d:"):format(self.prefix, serial) }
	for k, v in pairs(opts or {}) do all[k] = v end
	local cache = assert(zbz.cache.new(all))
	self.opened[#self.opened + 1] = cache
	return cache
end

--- A fresh table, by default of plain bytes and without expiry.
function Context:table(opts)
	local all = { serializer = "bytes", ttl = 0 }
	for k, v in pairs(opts or {}) do all[k] = v end
	return assert(self:cache():table("t", all))
end

--- Lets time pass: at once on a virtual clock.
function Context:pass(seconds)
	if self.clock then
		self.clock:advance(math.floor(seconds * 1000 + 0.5))
		return
	end
	local till = core.mono() + seconds * 1000
	M.eventually(function() return core.mono() >= till end, seconds + 10)
end

--- Waits for something that time brings about, at most `seconds` and some more.
function Context:until_true(fn, seconds)
	if self.clock then self:pass(seconds) end
	if not M.eventually(fn, self.clock and 0 or seconds + 5) then error("it did not happen within " .. seconds .. " s", 2) end
end

local function close_all(ctx)
	for _, cache in ipairs(ctx.opened) do
		pcall(cache.clear, cache)
		cache:close()
	end
	ctx.opened = {}
end

local function missing(case, caps)
	for _, need in ipairs(case.needs or {}) do
		if not caps[need] then return need end
	end
	return nil
end

--- Opens the provider under test: a context, or nil and why it is not there.
local function open(factory, opts)
	local spec, stop = factory(opts.clock)
	if spec == nil then return nil, stop or "the factory returned nothing" end
	if type(stop) ~= "function" then stop = nil end
	local provider, owned = spec, false
	if getmetatable(spec) == nil or type(spec) == "string" then
		if type(spec) == "table" and opts.clock and spec.clock == nil then spec.clock = opts.clock end
		local err
		provider, err = zbz.cache.provider(spec)
		owned = true
		if not provider then error(("the provider does not open: %s"):format(tostring(err)), 0) end
	end
	-- unique per run, so that what an earlier run left on a server is never seen
	local prefix = ("ct%d.%d:"):format(core.wall() % 1000000007, math.floor(core.mono() * 7) % 1000003)
	local ctx = setmetatable({ provider = provider, clock = opts.clock, prefix = prefix, opened = {}, caps = assert(provider:capabilities()),
		spec = spec, check = require("zbz.testkit.check"), zbz = zbz, core = core }, Context)
	local resolution = (ctx.caps.ttl_resolution_ms or 1) / 1000
	ctx.short = resolution < 0.1 and 0.3 or resolution * 2
	ctx.slack = resolution + 0.6
	return ctx, nil, function()
		close_all(ctx)
		if owned then provider:close() end
		if stop then stop() end
	end
end

local function run_case(case, ctx)
	local ok, err = pcall(case.run, ctx, ctx.check)
	close_all(ctx)
	if not ok then error(err, 0) end
end

-- ---- runners --------------------------------------------------------------------------------------------------------------------

--- The globals of the file that defined fn: busted puts `pending` there while a test runs.
local function globals_of(fn)
	if rawget(_G, "getfenv") then return rawget(_G, "getfenv")(fn) end
	local i = 1
	while true do
		local name, value = debug.getupvalue(fn, i)
		if name == "_ENV" then return value end
		if name == nil then return _G end
		i = i + 1
	end
end

local function under_busted(busted, factory, opts, cases)
	local describe, it, setup, teardown = busted.describe, busted.it, busted.setup, busted.teardown
	local result = { name = opts.name, passed = 0, failed = 0, skipped = 0, cases = {} }
	describe("conformance of " .. opts.name, function()
		local ctx, why, close
		setup(function()
			ctx, why, close = open(factory, opts)
			if ctx then result.capabilities, result.provider = ctx.caps, ctx.provider:name() end
		end)
		teardown(function()
			if close then close() end
			if opts.record then opts.record(result) end
		end)
		for _, case in ipairs(cases) do
			it(case.group .. ": " .. case.name, function()
				if not ctx then
					result.skipped = result.skipped + 1
					local pending = globals_of(factory).pending
					if type(pending) == "function" then pending(why) end
					error("the provider is not there: " .. tostring(why), 0)
				end
				local need = missing(case, ctx.caps)
				if need then
					result.skipped = result.skipped + 1
					result.cases[case.name] = "without " .. need
					return
				end
				result.cases[case.name], result.failed = "failed", result.failed + 1
				run_case(case, ctx)
				result.cases[case.name] = "passed"
				result.passed, result.failed = result.passed + 1, result.failed - 1
			end)
		end
	end)
	return result
end

local function alone(factory, opts, cases)
	local result = { name = opts.name, passed = 0, failed = 0, skipped = 0, cases = {} }
	local ctx, why, close = open(factory, opts)
	if not ctx then
		print(("SKIP %s: %s"):format(opts.name, why))
		result.skipped = #cases
		return result
	end
	result.capabilities, result.provider = ctx.caps, ctx.provider:name()
	for _, case in ipairs(cases) do
		local need = missing(case, ctx.caps)
		if need then
			result.skipped, result.cases[case.name] = result.skipped + 1, "without " .. need
		else
			local ok, err = pcall(run_case, case, ctx)
			result.cases[case.name] = ok and "passed" or "failed"
			local counter = ok and "passed" or "failed"
			result[counter] = result[counter] + 1
			if not ok then print(("FAIL %s: %s: %s\n%s"):format(opts.name, case.group, case.name, tostring(err))) end
		end
	end
	close()
	print(("%s: %d passed, %d failed, %d not supported"):format(opts.name, result.passed, result.failed, result.skipped))
	if opts.record then opts.record(result) end
	return result
end

--- Runs the suite over what factory(clock) returns: options for zbz.cache.provider ({ provider = name, ... }), a URL or a provider
--- object, and optionally a function that cleans up; or nil and a reason, then the suite is skipped.
--- opts: name (for the output); clock = testkit.clock() when the provider runs on that clock; only = a word in the case names;
--- record = fn(result).
---@param factory fun(clock: userdata?): any, any
---@param opts table?
function M.cache(factory, opts)
	opts = opts or {}
	local all = { name = opts.name or "a cache provider", clock = opts.clock, record = opts.record }
	local cases = M.cases()
	if opts.only then
		local some = {}
		for _, case in ipairs(cases) do
			if (case.group .. ": " .. case.name):find(opts.only, 1, true) then some[#some + 1] = case end
		end
		cases = some
	end
	local busted = package.loaded.busted -- its functions are globals of the spec files only
	if type(busted) == "table" and busted.describe and busted.it then return under_busted(busted, factory, all, cases) end
	return alone(factory, all, cases)
end

return M
