---@meta zbz.log
-- The log, as programs see it. Outputs: log_output.lua. A call that logs never raises and never yields.

---@alias zbz.LogLevel "trace"|"debug"|"info"|"warn"|"error"|"fatal"
---@alias zbz.LogFormat "json"|"logfmt"|"console"|"text"
---@alias zbz.LogFields table<string, any>|any  fields by name; an error or another single value becomes the field error or value

---@class zbz.LogRecord
---@field time string
---@field level zbz.LogLevel
---@field logger string  "" for the root
---@field message string
---@field fields table<string, any>
---@field truncated boolean?

---@class zbz.LoggerOptions
---@field level zbz.LogLevel|"off"|nil
---@field format zbz.LogFormat?
---@field outputs string|zbz.LogOutput|(string|zbz.LogOutput)[]|nil
---@field output string|zbz.LogOutput|nil
---@field parent string?  the logger to inherit from; default the dotted one, "a" of "a.b"
---@field sampling {initial: integer, thereafter: integer?}|false|nil  in each second the first of a level, then each n-th; per Lua state
---@field rate_limit integer|string|{rate: integer, burst: integer?}|false|nil  records in a second: 100, "100/s"; per Lua state
---@field dedup number|string|boolean|nil  equal records in a row become one within that time, seconds or text; per Lua state
---@field caller boolean?  field caller: the place of the call
---@field traceback zbz.LogLevel|boolean|nil  from that level on; true: error

---@class zbz.LogOptions: zbz.LoggerOptions
---@field loggers table<string, zbz.LoggerOptions>?
---@field routes zbz.LogRoute[]|table<string, string|string[]>|nil
---@field redact zbz.LogRedaction|false|nil
---@field max_record zbz.Size?  64KB, from 4KB to 1000KB; a longer record is cut and says truncated
---@field durations string[]|false|nil  names whose numbers are seconds; latency *_latency duration elapsed took; false: none
---@field duration_format "text"|"ms"|nil  "42ms", the default, or 42 under NAME_ms
---@field development boolean?  level debug, console format, caller and traceback, unless they are given
---@field console boolean?  true: the console as well; false: not by default either
---@field flush_level zbz.LogLevel|"off"|nil  of outputs that do not say their own

---@alias zbz.LogWhere table<string, string|number|boolean|(string|number|boolean)[]|{min: number?, max: number?, exists: boolean?}>

--- In the call that logs, before redaction, on a copy of the fields (bound secrets are "***"); at most 48. One that fails or yields keeps
--- the record and is counted; for records that a predicate logs itself all are true.
---@alias zbz.LogPredicate fun(fields: table<string, any>, level: zbz.LogLevel, logger: string): boolean?

---@class zbz.LogRoute
---@field logger string?  glob
---@field level string?   ">=error", "error" (the same), "<info", "=debug"
---@field where zbz.LogWhere|zbz.LogPredicate|nil
---@field to string|string[]

---@class zbz.LogRedaction
---@field [integer] string  names to mask, globs in any case
---@field keys string[]?
---@field scan ("ssn"|"card"|"email")[]?
---@field pattern string|string[]|nil  Lua patterns; bound fields are searched when they are bound
---@field mask_ip boolean?  ip client_ip remote_addr: 10.1.2.0
---@field hash string[]?  HMAC-SHA256 under key, 16 digits
---@field partial string[]?  first and last characters
---@field key string?  for hashes, at least 16 bytes
---@field encrypt string[]?  AES-256-GCM under encryption; tables as their JSON, values above 16 KiB are masked. Plug-in aes
---@field encryption {id: string, key: string}?  key: 32 bytes, 64 hexadecimal digits or 44 of base64
---@field secret "mask"|"hash"|"partial"|"encrypt"|nil
---@field pii "mask"|"hash"|"partial"|"encrypt"|nil

---@class zbz.Logger
local Logger = {}
---@param msg string
---@param fields zbz.LogFields?
function Logger:trace(msg, fields) end
---@param msg string
---@param fields zbz.LogFields?
function Logger:debug(msg, fields) end
---@param msg string
---@param fields zbz.LogFields?
function Logger:info(msg, fields) end
---@param msg string
---@param fields zbz.LogFields?
function Logger:warn(msg, fields) end
---@param msg string
---@param fields zbz.LogFields?
function Logger:error(msg, fields) end
---@param msg string
---@param fields zbz.LogFields?
function Logger:fatal(msg, fields) end
---@param fields table<string, any>
---@return zbz.Logger
function Logger:with(fields) end

---@class zbz.LogStats
---@field records table<zbz.LogLevel, integer>  that their loggers let pass
---@field sampled integer   not written, by sampling
---@field limited integer   by rate_limit; a record tells of them, its field limited
---@field repeated integer  by dedup; likewise
---@field failed_tostring integer
---@field outputs table<string, zbz.LogOutputStats>
---@field functions {calls: integer, errors: integer, last_error: string?}  functions of outputs, formats, predicates, processors, listeners

---@class zbz.log
local log = {}
---@param msg string
---@param fields zbz.LogFields?
function log.trace(msg, fields) end
---@param msg string
---@param fields zbz.LogFields?
function log.debug(msg, fields) end
---@param msg string
---@param fields zbz.LogFields?
function log.info(msg, fields) end
---@param msg string
---@param fields zbz.LogFields?
function log.warn(msg, fields) end
---@param msg string
---@param fields zbz.LogFields?
function log.error(msg, fields) end
---@param msg string
---@param fields zbz.LogFields?
function log.fatal(msg, fields) end
--- The root with further fields on every record; traceparent (W3C) becomes trace_id and span_id.
---@param fields table<string, any>
---@return zbz.Logger
function log.with(fields) end
---@param msg string|table  or { level =, msg, names... }
---@param ... string  names of fields
---@return fun(...)  a value for each name
function log.event(msg, ...) end
--- invalid_config for what is no level.
---@param level zbz.LogLevel|"off"|nil
---@return boolean?, zbz.Error?
function log.set_level(level) end
---@param format zbz.LogFormat?
---@return boolean?, zbz.Error?
function log.set_format(format) end
---@return zbz.LogLevel|"off"
function log.level() end
---@param level zbz.LogLevel
---@return boolean
function log.enabled(level) end
--- The same name gives the same one; options given again take the place of the former ones. invalid_config; too_large after 10 000 names.
---@param name string  at most 255 bytes
---@param opts zbz.LoggerOptions?
---@return zbz.Logger?, zbz.Error?
function log.logger(name, opts) end
--- All at once or not at all: invalid_config names the option, unsupported the package of an output.
---@param opts zbz.LogOptions
---@return boolean?, zbz.Error?
function log.configure(opts) end
---@param opts zbz.LogOptions?  in place of the preset's
---@return boolean?, zbz.Error?
function log.development(opts) end
---@param opts zbz.LogOptions?
---@return boolean?, zbz.Error?
function log.production(opts) end
--- Beside those there are.
---@param map table<string, string|zbz.LogOutput|false>  false takes one away, if no route or logger names it
---@return boolean?, zbz.Error?
function log.outputs(map) end
--- In place of those there are.
---@param list zbz.LogRoute[]|table<string, string|string[]>  a list, or outputs by loggers
---@return boolean?, zbz.Error?
function log.routes(list) end
--- In place of what there is; false: none.
---@param opts zbz.LogRedaction|false
---@return boolean?, zbz.Error?
function log.redact(opts) end
--- The value behind "enc:KEYID:..."; invalid_argument without that key, corrupt for a damaged text or another key.
---@param text string
---@param key string|table<string, string>  the key, or keys by their ids
---@return string?, zbz.Error?
function log.decrypt(text, key) end
--- Sees every field of that type before any output; bound fields when they are bound. One that fails hides the value.
---@param kind "string"|"number"|"boolean"|"table"|"error"|"secret"|"pii"|"time"|"duration"|"bytes"
---@param fn (fun(value: any, name: string): any)?  nil takes it away; a nil that it gives, the field
---@return boolean?, zbz.Error?
function log.processor(kind, fn) end
---@return string[]  the types that have one
function log.processors() end
--- Hears every record that its logger lets pass, redacted.
---@param fn (fun(record: zbz.LogRecord))?  nil: nobody
---@return boolean?, zbz.Error?
function log.on_event(fn) end
--- Until everything logged so far is written: nil, timeout when it is not by then.
---@param deadline zbz.Duration?  5 seconds
---@return boolean?, zbz.Error?
function log.flush(deadline) end
--- Opens files anew, after logrotate has moved them; timeout.
---@param deadline zbz.Duration?  5 seconds
---@return boolean?, zbz.Error?
function log.reopen(deadline) end
--- The lines of an output of type memory, and forgets them; invalid_argument where there is none.
---@param name string?  "memory"
---@return string[]?, zbz.Error?
function log.drain(name) end
---@return zbz.LogStats
function log.stats() end
--- What is set, secrets aside.
---@return table  level, outputs (types by name), routes (how many), loggers (names)
function log.config() end
---@return string[]  of outputs
function log.types() end
--- Writes what dead processes of an output left, without opening it for logging.
---@param spec string|zbz.LogOutput  as it was configured: ring, path and labels name it
---@param deadline zbz.Duration?  60 seconds
---@return integer? records, zbz.Error?
function log.recover(spec, deadline) end
--- Flushes and closes the outputs and forgets the configuration. Twice is fine.
---@param deadline zbz.Duration?  5 seconds
---@return boolean?, zbz.Error?
function log.close(deadline) end

-- Values with a type; misuse raises.

--- A value that no output ever sees, only "***" or what redact{secret=} says; without the key that it takes it is masked.
---@param v any
---@param how "mask"|"hash"|"partial"|"encrypt"|nil  this one otherwise
---@return table
function log.secret(v, how) end
--- Personal data: as redact{pii=} says, masked unless told.
---@param v any
---@param how "mask"|"hash"|"partial"|"encrypt"|nil
---@return table
function log.pii(v, how) end
--- Shown as 2026-01-31T12:00:00.5Z.
---@param seconds number  since 1970
---@return table
function log.time(seconds) end
--- Shown as "42ms".
---@param x zbz.Duration
---@return table
function log.duration(x) end
---@param n number  milliseconds
---@return table
function log.ms(n) end
--- Bytes that are no text, shown as base64.
---@param s string
---@return table
function log.bytes(s) end
