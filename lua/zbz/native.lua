--- native: the backend's own commands, through the provider's own connections.
---
---   local r = cache:native("redis")
---   r:command("HSET", "user:1", "name", "Alice")      r:hset("user:1", "name", "Alice")
---   r:pipeline({ "GET", "a" }, { "GET", "b" })        r:subscribe("news", function(channel, payload) ... end)
local core = require("zbz.core")
local E = require("zbz.error")

---@class zbz.Native
local Native = {}

--- Checked on every call: after a swap to another kind the handle answers provider_mismatch.
local function check(self)
	local source = rawget(self, "source")
	local kind = source:provider_name()
	if kind ~= rawget(self, "kind") then
		return E.fail("provider_mismatch", ("this is a handle for '%s', the provider is '%s'"):format(rawget(self, "kind"), tostring(kind)),
			{ op = "native", provider = kind })
	end
	return source
end

local function words_of(list, level)
	local out = {}
	for i = 1, list.n or #list do
		local word = list[i]
		if type(word) == "boolean" or word == nil or type(word) == "table" or type(word) == "function" then
			error(("zbz: command: word %d must be text or a number, got %s"):format(i, type(word)), level + 1)
		end
		out[i] = word
	end
	if #out == 0 then error("zbz: command: the command is empty", level + 1) end
	return out
end

--- A reply as a result: nil for a null, nil, err for an error reply.
local function reply_of(reply)
	if reply == core.null then return nil end
	if E.is(reply) then return nil, reply end
	return reply
end

local function send(self, words)
	local source, err = check(self)
	if not source then return nil, err end
	local replies, why = source:command({ words })
	if not replies then return nil, why end
	return reply_of(replies[1])
end

--- One command; its reply, nil for a null. An error of the server is nil, err.
---@param ... string|number
---@return any reply, zbz.Error?
function Native:command(...) return send(self, words_of({ n = select("#", ...), ... }, 2)) end

--- Several commands in one round trip: the list of replies; zbz.null for a null, an error value for a failed one.
---@param ... (string|number)[]
---@return any[]? replies, zbz.Error?
function Native:pipeline(...)
	local given, commands = { ... }, {}
	if #given == 1 and type(given[1]) == "table" and type(given[1][1]) == "table" then given = given[1] end
	for i, words in ipairs(given) do
		if type(words) ~= "table" then error("zbz: pipeline: expects tables of words, got " .. type(words), 2) end
		commands[i] = words_of(words, 2)
	end
	local source, err = check(self)
	if not source then return nil, err end
	if #commands == 0 then return {} end
	return source:command(commands)
end

local function subscribe(self, channels, fn, is_pattern, level)
	if type(channels) == "string" then channels = { channels } end
	if type(channels) ~= "table" or #channels == 0 then error("zbz: subscribe: expects a channel or a list of channels", level + 1) end
	if type(fn) ~= "function" then error("zbz: subscribe: expects a function, got " .. type(fn), level + 1) end
	local source, err = check(self)
	if not source then return nil, err end
	return source:subscribe(channels, is_pattern, fn)
end

--- fn(channel, payload) for every message, from zbz.poll; payload nil: messages may have been lost.
---@param channels string|string[]
---@param fn fun(channel: string, payload: string?)
---@return zbz.Subscription?, zbz.Error?
function Native:subscribe(channels, fn)
	local sub, err = subscribe(self, channels, fn, false, 2)
	return sub, err
end
--- The same for channel patterns.
---@param patterns string|string[]
---@param fn fun(channel: string, payload: string?)
---@return zbz.Subscription?, zbz.Error?
function Native:psubscribe(patterns, fn)
	local sub, err = subscribe(self, patterns, fn, true, 2)
	return sub, err
end

---@param channel string
---@param message string|number
---@return integer? receivers, zbz.Error?
function Native:publish(channel, message) return send(self, words_of({ "PUBLISH", channel, message, n = 3 }, 2)) end

--- Lists as queues (pushed at the tail, popped at the head), and sets.
---@param key string
---@param ... string|number
---@return integer? length, zbz.Error?
function Native:list_push(key, ...) return send(self, words_of({ "RPUSH", key, n = select("#", ...) + 2, ... }, 2)) end
---@param key string
---@return string?, zbz.Error?
function Native:list_pop(key) return send(self, words_of({ "LPOP", key, n = 2 }, 2)) end
---@param key string
---@param first integer?  0
---@param last integer?  -1: the last
---@return string[]?, zbz.Error?
function Native:list_range(key, first, last) return send(self, words_of({ "LRANGE", key, first or 0, last or -1, n = 4 }, 2)) end
---@param key string
---@param ... string|number
---@return integer? added, zbz.Error?
function Native:set_add(key, ...) return send(self, words_of({ "SADD", key, n = select("#", ...) + 2, ... }, 2)) end
---@param key string
---@return string[]?, zbz.Error?
function Native:set_members(key) return send(self, words_of({ "SMEMBERS", key, n = 2 }, 2)) end

--- Name of the provider this handle is for.
---@return string
function Native:provider_name() return rawget(self, "kind") end

local M = {}

--- Any other method sends the command of its name: r:hset(...) is HSET.
M.mt = {
	__name = "zbz.Native",
	__index = function(_, name)
		if Native[name] then return Native[name] end
		if type(name) ~= "string" then return nil end
		local command = name:upper()
		return function(handle, ...)
			if type(handle) ~= "table" or getmetatable(handle) ~= M.mt then
				error(("zbz: %s: call it with a colon"):format(name), 2)
			end
			return send(handle, words_of({ command, n = select("#", ...) + 1, ... }, 2))
		end
	end,
}

--- A handle for `kind` (the provider at the bottom, when not given); nil, provider_mismatch or unsupported.
function M.open(source, kind)
	if kind ~= nil and type(kind) ~= "string" then error("zbz: native: expects the name of a provider, got " .. type(kind), 2) end
	local actual = source:provider_name()
	if kind and kind ~= actual then
		local info = core.provider_info(kind)
		if not info or info.name ~= actual then
			return E.fail("provider_mismatch", ("the provider is '%s', not '%s'"):format(tostring(actual), kind),
				{ op = "native", provider = actual })
		end
	end
	if not source:supports("native") then
		return E.fail("unsupported", ("provider '%s' has no commands of its own"):format(tostring(actual)), { op = "native", provider = actual })
	end
	return setmetatable({ source = source, kind = actual }, M.mt)
end

return M
