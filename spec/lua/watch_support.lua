-- What the specs of watches share: waiting for events, and who was told what.
local assert = require("luassert")
local zbz = require("zbz")

local M = {}

--- Delivers until fn() is true; false after `seconds`.
function M.await(fn, seconds)
	local core = require("zbz.core")
	local till = core.mono() + (seconds or 20) * 1000
	while not fn() do
		if core.mono() > till then return false end
		zbz.poll(0.05)
	end
	return true
end

--- Delivers whatever comes within `seconds`: to see that nothing does.
function M.quiet(seconds)
	local core = require("zbz.core")
	local till = core.mono() + seconds * 1000
	while core.mono() < till do zbz.poll(0.02) end
end

--- A callback that keeps its calls: list[i] = { old, new, changed }.
function M.recorder()
	local list = {}
	return list, function(old, new, changed) list[#list + 1] = { old, new, changed } end
end

--- What zbz.on_error is told from now on.
function M.catch_errors()
	local list = {}
	zbz.on_error = function(err) list[#list + 1] = err end
	return list
end

function M.write(path, text)
	local f = assert(io.open(path, "w"))
	assert(f:write(text))
	f:close()
end

--- A source whose value the test sets.
function M.box(value)
	local made = { value = value, gets = 0, subscribed = 0, name = "box" }
	function made:get(key)
		assert(type(key) == "string")
		self.gets = self.gets + 1
		if self.fails then return nil, self.fails end
		return self.value
	end
	function made:subscribe(_, changed)
		self.subscribed, self.changed = self.subscribed + 1, changed
		return self.subscribed
	end
	function made:unsubscribe(id)
		assert(id == self.subscribed)
		self.changed = nil
	end
	function made.put(v, err)
		made.value, made.fails = v, err
		if made.changed then made.changed() end
	end
	return made
end

--- nil, and an error of that code.
function M.fails(code, v, err)
	assert.is_nil(v)
	assert.are.equal(code, err and err.code, tostring(err))
	return err
end

return M
