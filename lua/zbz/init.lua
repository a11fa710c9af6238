--- zbz: say what is cached, leave where to configuration.
---
---   local zbz = require("zbz")
---   zbz.cache.configure{ provider = "memory" }
---   local users = zbz.table("users", { ttl = "30m" })
---   users:set("123", { id = 123, name = "Alice" })
local core = require("zbz.core")
local E = require("zbz.error")
local O = require("zbz.options")
local host = require("zbz.host")

---@class zbz
---@field VERSION string
---@field null lightuserdata  explicit null, the same as cjson.null
---@field cache zbz.cache
---@field log zbz.log
---@field watch zbz.watch
---@field schema zbz.schema     zbz.schema(spec), zbz.schema.rule(name, fn)
---@field secret fun(v: any, how: string?): table  zbz.log.secret
---@field pii fun(v: any, how: string?): table     zbz.log.pii
---@field nearest fun(word: string, known: string[]): string?  as the messages about unknown options use it
---@field zlog zbz.log        its former name
---@field on_error fun(err: any)?  gets what callbacks and background work throw; else it goes to stderr
local zbz = {
	VERSION = core.VERSION,
	null = core.null,
	cache = require("zbz.cache"),
	log = require("zbz.log"),
	schema = require("zbz.schema"),
	watch = require("zbz.watch"),
	Error = E.Error,
	bytes = "bytes",
	waiting = require("zbz.waiting"),
}

--- Marks a table as an array, so that an empty one is stored as one.
---@generic T: table
---@param t T?
---@return T
function zbz.array(t)
	if t ~= nil and type(t) ~= "table" then error("zbz: array: expects a table, got " .. type(t), 2) end
	return setmetatable(t or {}, core.array_mt)
end

--- A value for set_multi with its own TTL: zbz.item(v, { ttl = "5m" }).
---@param v any
---@param opts zbz.Ttl|{ttl: zbz.Ttl?}
---@return table
function zbz.item(v, opts) return core.item(v, opts) end

--- A table of the default cache; nil, not_configured without one.
---@param name string
---@param opts zbz.TableOptions?
---@return zbz.Table?, zbz.Error?
function zbz.table(name, opts)
	local default = zbz.cache.default()
	if not default or default.closed then return zbz.cache.table(name, opts) end
	return default:table_at(name, opts, 2)
end

--- An entry of the default cache by address: zbz.uri("cache://users/123"):get().
---@param text string
---@return zbz.Uri?, zbz.Error?
function zbz.uri(text)
	local uri, err = require("zbz.uri").new(text, 2)
	return uri, err
end

--- Is it an error of ours?
---@param x any
---@return boolean
function zbz.is_error(x) return E.is(x) end

-- ---- durations and sizes ---------------------------------------------------------------------------------------------------

--- Seconds of "1h30m", 90 or "250ms"; nil and a message for anything else.
---@param x zbz.Duration
---@return number? seconds, string? why
function zbz.duration(x)
	local ms, why = core.duration(x)
	if not ms then return nil, why end
	return ms / 1000
end

--- Bytes of "50MB" or 4096 (1 MB = 1 048 576); nil and a message for anything else.
---@param x zbz.Size
---@return integer? bytes, string? why
function zbz.size(x) return core.size(x) end

--- Seconds of n milliseconds; and so on.
---@param n number
---@return number seconds
function zbz.ms(n) return n / 1000 end
---@param n number
---@return number seconds
function zbz.seconds(n) return n end
---@param n number
---@return number seconds
function zbz.minutes(n) return n * 60 end
---@param n number
---@return number seconds
function zbz.hours(n) return n * 3600 end
---@param n number
---@return number seconds
function zbz.days(n) return n * 86400 end

--- A value that no log ever shows; personal data, shown as zbz.log.redact{pii=} says.
zbz.zlog = zbz.log -- its former name
zbz.secret, zbz.pii = zbz.log.secret, zbz.log.pii

-- ---- running it ---------------------------------------------------------------------------------------------------------------

--- Delivers messages and runs background work; waits up to `timeout` seconds when there is nothing. Number of things done.
---@param timeout zbz.Duration?  0
---@return integer
function zbz.poll(timeout) return host.poll(timeout) end
--- Polls until zbz.stop(), or for `seconds`; a signal ends it, too.
---@param seconds number?
---@return boolean stopped, string? signal  "SIGINT", "SIGTERM"
function zbz.run(seconds) return host.run(seconds) end
--- Ends zbz.run().
function zbz.stop() host.stop() end

--- Readable when zbz.poll(0) has work.
---@return integer?, zbz.Error?
function zbz.fd() return core.fd() end

--- Chooses how calls wait: "plain" (they block; the default in scripts), "nginx" (found by itself), "luv" (uv), "cqueues"
--- (controller), "copas" (copas).
---@param name string
---@param loop any  the module or controller of the loop
---@return boolean?, zbz.Error?
function zbz.use(name, loop)
	if type(name) ~= "string" then error("zbz: use: expects the name of a host, got " .. type(name), 2) end
	return host.use(name, loop)
end

--- The nearest of some words, as the messages about unknown options use it.
zbz.nearest = O.nearest

package.loaded["zbz"] = zbz
host.detect()
return zbz
