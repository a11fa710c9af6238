--- What a watch does with what comes: bytes become a value, the value is checked, and the callback runs if it differs.
---
--- One turn at a time: what comes during a callback waits for its end.
local E = require("zbz.error")
local diff = require("zbz.watch.diff")
local loop = require("zbz.host.loop")
local parser = require("zbz.watch.parser")
local sources = require("zbz.watch.source")

--- Told once while it is the same trouble.
local function report(self, err)
	local text = tostring(err)
	if self.told == text then return end
	self.told = text
	loop.report(err)
end

-- ---- values ---------------------------------------------------------------------------------------------------------------------

--- The checked value of some bytes, or nil, err.
local function value_of(self, bytes)
	local v = bytes
	if type(bytes) == "string" then
		local err
		v, err = parser.run(self.parser, bytes, self.key)
		if v == nil then return nil, err end
	end
	if self.schema then
		v = self.schema:from_stored(v)
		local ok, wrong = self.schema:check(v)
		if not ok then return nil, E.at(wrong, { op = "sync", key = self.key }) end
	end
	if self.validate then
		local ran, ok, why = pcall(self.validate, diff.copy(v))
		if not ran then why = ok end
		if not (ran and ok) then
			return nil, E.wrap(why == nil and "validate refused the value" or why, "type_mismatch", { op = "sync", key = self.key })
		end
	end
	return v
end

local function call_back(self, old, changed)
	if self.fn then loop.protected(self.fn, old, diff.copy(self.current), changed) end
end

--- New bytes: the value they hold takes the old one's place, unless it is wrong or the same. True, or nil, err.
local function apply(self, bytes)
	local v, err = value_of(self, bytes)
	if v == nil then
		self.value_error = err
		return nil, err
	end
	self.value_error = nil
	if self.revision_ == 0 then
		self.current, self.revision_ = diff.copy(v), 1
		if not self.skip_initial then call_back(self, nil, {}) end
		return true
	end
	local changed = diff.changed(self.current, v)
	if #changed == 0 then return true end
	local old = self.current
	self.current, self.revision_ = diff.copy(v), self.revision_ + 1
	call_back(self, old, changed)
	return true
end

-- ---- turns ----------------------------------------------------------------------------------------------------------------------

--- A source in Lua is read here; the core only says when.
local function read_here(self)
	local v, err = sources.get(self.source, self.key)
	if self.stopped then return end
	if err then
		self.read_error = err
		return self.core:answer(false, tostring(err))
	end
	if v == nil then return self.core:answer(nil) end
	if type(v) == "string" and #v > self.max_size then
		self.read_error = E.new("too_large", ("the value has %d bytes, the most is %d"):format(#v, self.max_size),
			{ op = "sync", provider = self.source.name, key = self.key })
		return self.core:answer(false, tostring(self.read_error))
	end
	self.core:answer(v == "" and "" or "fine") -- the bytes stay here: only whether there are any matters there
	if v == "" and not self.allow_empty then return end
	if v ~= self.last then
		self.last = type(v) == "string" and v or nil
		local ok, wrong = apply(self, v)
		if not ok then report(self, wrong) end
	end
end

local function one_step(self)
	local what, x = self.core:take()
	if what == nil then return false end
	if what == "read" then
		read_here(self)
	elseif what == "error" then
		if self.source.impl and self.read_error then x, self.read_error = self.read_error, nil end
		self.source_error = x
		report(self, x)
	else
		self.source_error, self.read_error = nil, nil
		if what == "value" and self.source.core then
			local ok, err = apply(self, x)
			if not ok then report(self, err) end
		end
	end
	if not self.source_error and not self.value_error then self.told = nil end
	return true
end

--- Takes what there is. Somebody who comes while another is at it leaves it to him.
local function turn(self)
	self.more = true
	if self.turning then return end
	self.turning = true
	while self.more do
		self.more = false
		while not self.stopped and not self.paused and one_step(self) do end -- luacheck: ignore 542
	end
	self.turning = false
end

return { report = report, apply = apply, turn = turn }
