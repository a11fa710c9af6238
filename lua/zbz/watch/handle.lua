--- A watch: the last good value of one key, and what keeps it up to date.
---
--- The core tells that there is something to take (read bytes, an error); what comes of it: turn.lua. Here watches begin, in whatever
--- process, and are asked.
local core = require("zbz.core")
local E = require("zbz.error")
local diff = require("zbz.watch.diff")
local loop = require("zbz.host.loop")
local sources = require("zbz.watch.source")
local turns = require("zbz.watch.turn")
local apply, report, turn = turns.apply, turns.report, turns.turn

---@class zbz.Watch
---@field close fun(self: zbz.Watch)  the same as stop
local Watch = {}
Watch.__index = Watch
Watch.__name = "zbz.Watch"

local M = { Watch = Watch }

local POLL_MS, RELOOK_MS = 2000, 60000 -- of sources in Lua: without and with a subscription

local waiting = {} -- read before a fork; watched once their process asks

--- What is wrong now, or nil.
local function trouble(self)
	local cache = self.source.cache
	if cache and cache.closed then
		return E.new("closed", "the cache is closed", { op = "sync", provider = self.source.name, key = self.key })
	end
	return self.source_error or self.value_error
end

-- ---- beginning ------------------------------------------------------------------------------------------------------------------

local function open_core(self, listener)
	return core.watch(self.source.core, self.key, self.core_options, listener)
end

--- It holds the watch until stop.
local function listener_of(self) return function() turn(self) end end

local function host() return require("zbz.host").current end

--- nginx before its workers run: nothing waits on the loop yet, and nothing may begin that a fork would cut.
local function phase()
	local h = host()
	return h and h.phase and h.phase() or nil
end

--- Can this Lua state deliver later? One of nginx that lives for a single request cannot.
local function lasting()
	local h = host()
	return not (h and h.lasting) or h.lasting()
end

local function wake_host()
	local h = host()
	if h and h.start then return h.start() end
	return true
end

--- Blocks where nothing can wait because the program only begins; parks everywhere else.
local function look(self, name)
	local method = self.core[name]
	local starting = phase()
	if starting == "init" or starting == "init_worker" then method = loop.direct.watch[name] or method end
	return method(self.core, self.deadline_ms)
end

--- The first bytes of a source of the core.
local function first_of_core(self, name)
	local ok, err = look(self, name)
	if not ok then return nil, err end
	local what, bytes = self.core:take()
	if what ~= "value" then return E.fail("internal", "the first read left nothing to take", { op = "sync", key = self.key }) end
	return bytes
end

local function subscribe_here(self)
	local id, err = sources.subscribe(self.source, self.key, function()
		if not self.stopped and self.core then self.core:hint() end
	end)
	if err then report(self, err) end
	self.subscription = id
	self.core_options.poll = self.poll_ms or (id ~= nil and RELOOK_MS or POLL_MS)
end

local function first_here(self)
	local v, err = sources.get(self.source, self.key)
	if err then return nil, err end
	if v == nil or v == "" and not self.allow_empty then
		return E.fail("unavailable", v == nil and "there is no such key" or "the value is empty",
			{ op = "sync", provider = self.source.name, key = self.key })
	end
	if type(v) == "string" and #v > self.max_size then
		return E.fail("too_large", ("the value has %d bytes, the most is %d"):format(#v, self.max_size),
			{ op = "sync", provider = self.source.name, key = self.key })
	end
	self.last = type(v) == "string" and v or nil
	return v
end

--- Watches from now on, in this process; the first look comes by itself.
local function begin_later(self)
	local err, ok
	if self.stopped then return end
	if self.core then self.core:close() end
	self.watched = true
	if self.source.impl then subscribe_here(self) end
	self.core, err = open_core(self, listener_of(self))
	if self.core then ok, err = self.core:start() end
	if ok then ok, err = wake_host() end
	if not ok then
		self.watched = false
		report(self, E.wrap(err, "unavailable", { op = "sync", key = self.key }))
	end
end

--- In a forked child, or in an nginx worker of a watch made in init: begins when the process first asks.
local function ensure(self)
	if self.stopped or not lasting() then return end
	if self.watched and not (self.core and self.core:foreign()) then return end
	if phase() == "init" then return end
	waiting[self] = nil
	begin_later(self)
end

--- Begins all watches that were made before the fork.
function M.start_waiting()
	for self in pairs(waiting) do ensure(self) end
end

local function prepare(self, reading_only)
	local err
	if self.source.impl then
		if not reading_only then subscribe_here(self) end
		local v, why = first_here(self)
		if v == nil then return nil, why end
		if reading_only then return v end
		self.core, err = open_core(self, listener_of(self))
		if not self.core then return nil, err end
		self.core:answer("fine")
		self.core:take()
		local ok
		ok, err = self.core:start()
		if not ok then return nil, err end
		return v
	end
	self.core, err = open_core(self, not reading_only and listener_of(self) or nil)
	if not self.core then return nil, err end
	return first_of_core(self, reading_only and "read" or "sync")
end

--- The first value: checked, delivered, and watched from then on. True, or nil, err and nothing is left.
local function first(self)
	local reading_only = phase() == "init" or not lasting()
	self.turning = true
	local bytes, err = prepare(self, reading_only)
	local ok
	if bytes ~= nil then ok, err = apply(self, bytes) end
	if not ok then
		self:stop()
		return nil, err
	end
	if self.stopped then return true end -- by the callback
	if reading_only then
		if self.core then self.core:close() end
		self.core = nil
		waiting[self] = true
	else
		self.watched = true
		local fine, why = wake_host()
		if not fine then
			self:stop()
			return nil, E.wrap(why, "unavailable", { op = "sync", key = self.key })
		end
		local note = self.source.core and self.core:info().note
		if note then report(self, E.new("unsupported", note, { op = "sync", key = self.key })) end
	end
	self.turning = false
	if self.core then turn(self) end
	return true
end

--- spec: source key fn parser schema validate skip_initial allow_empty max_size deadline_ms poll_ms core_options
---@return zbz.Watch?, zbz.Error?
function M.new(spec)
	local self = setmetatable(spec, Watch)
	self.revision_ = 0
	local ok, err = first(self)
	if not ok then return nil, err end
	if self.source.cache and not self.stopped then self.source.cache.watches[self] = true end
	return self
end

-- ---- the handle ------------------------------------------------------------------------------------------------------------------

--- The last good value; a copy: changing it changes nothing here.
---@return any
function Watch:value()
	ensure(self)
	return diff.copy(self.current)
end

--- Seconds since the source last said that this is its value (or was asked, and had the same).
---@return number
function Watch:age()
	ensure(self)
	local info = self.core and self.core:info()
	local ms = info and info.age or core.mono() - self.made
	return ms / 1000
end

--- Does it go on watching, in this process?
---@return boolean
function Watch:alive()
	ensure(self)
	local info = self.core and not self.stopped and self.core:info()
	return info and info.running or false
end

--- What is wrong now, or nil: the source cannot be read, or what it holds is no good.
---@return zbz.Error?
function Watch:error()
	ensure(self)
	return trouble(self)
end

--- How many values there have been; 1 after the first.
---@return integer
function Watch:revision() return self.revision_ end

--- "active"; "recovering": error() tells why; "paused"; "waiting": read before the fork, not yet watched; "stopped".
---@return string
function Watch:state()
	if self.stopped then return "stopped" end
	if self.paused then return "paused" end
	ensure(self)
	if not self.core then return "waiting" end
	return trouble(self) and "recovering" or "active"
end

--- "native", "watched" or "polled", and the seconds a change takes at worst while the source can be read.
---@return string? mode, number? delay
function Watch:mode()
	ensure(self)
	local info = self.core and self.core:info()
	if not info then return nil end
	local mode = info.mode
	if self.subscription ~= nil then mode = "watched" end
	local delay = info.delay
	if self.source.impl then delay = self.subscription ~= nil and delay - self.core_options.poll or delay end
	return mode, delay / 1000
end

--- No reads and no callbacks until resume.
function Watch:pause()
	self.paused = true
	if self.core then self.core:pause() end
end

--- Looks at once; calls back once if the value is another one by now.
function Watch:resume()
	if not self.paused then return end
	self.paused = false
	ensure(self)
	if self.core then self.core:resume() end
end

--- The cache whose key it is has another provider, or was closed.
function Watch:moved()
	if self.core and not self.stopped then self.core:moved() end
end

--- Ends it; also inside its own callback. Twice is fine.
function Watch:stop()
	if self.stopped then return end
	self.stopped = true
	if self.source.cache then self.source.cache.watches[self] = nil end
	waiting[self] = nil
	if self.core then self.core:close() end
	if self.source.impl and self.subscription ~= nil then
		sources.unsubscribe(self.source, self.subscription)
		self.subscription = nil
	end
end
Watch.close = Watch.stop
Watch.__close = Watch.stop

function Watch:__tostring() return ("zbz.Watch %s of %s, %s"):format(self.key, self.source.name, self:state()) end

return M
