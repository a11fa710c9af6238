--- How long a loader that failed rests: 1 s, doubling to 30 s per key, in a table of bounded size.
local M = {}

local FIRST_MS, LAST_MS, MAX_KEYS = 1000, 30000, 10000

---@class zbz.Backoff
local Backoff = {}
Backoff.__index = Backoff

--- The error for which the key rests at this moment, or nil.
function Backoff:resting(k, now)
	local r = self.keys[k]
	if r and now < r.till then return r.err end
	return nil
end

--- A failure: the next rest is twice as long as the last.
function Backoff:fail(k, now, err)
	local r = self.keys[k]
	if not r then
		if self.n >= MAX_KEYS then self:shrink(now) end
		r = { ms = FIRST_MS / 2 }
		self.keys[k], self.n = r, self.n + 1
	end
	r.ms = math.min(r.ms * 2, LAST_MS)
	r.till, r.err = now + r.ms, err
end

function Backoff:clear(k)
	if self.keys[k] then self.keys[k], self.n = nil, self.n - 1 end
end

--- Forgets the keys that rest no longer, or all when none does.
function Backoff:shrink(now)
	local keep, n = {}, 0
	for k, r in pairs(self.keys) do
		if now < r.till then keep[k], n = r, n + 1 end
	end
	if n >= MAX_KEYS then keep, n = {}, 0 end
	self.keys, self.n = keep, n
end

function M.new() return setmetatable({ keys = {}, n = 0 }, Backoff) end

return M
