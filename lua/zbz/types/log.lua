---@meta zbz.log
-- The log, as programs see it.

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
---@field parent string?
---@field sampling {initial: integer, thereafter: integer?}|false|nil
---@field rate_limit integer|string|{rate: integer, burst: integer?}|false|nil
---@field dedup number|string|boolean|nil
---@field caller boolean?
---@field traceback zbz.LogLevel|boolean|nil

---@class zbz.LogOptions: zbz.LoggerOptions
---@field loggers table<string, zbz.LoggerOptions>?
---@field routes zbz.LogRoute[]|table<string, string|string[]>|nil
---@field redact zbz.LogRedaction|false|nil
---@field max_record integer|string|nil
---@field durations string[]|false|nil  names whose numbers are seconds
---@field duration_format "text"|"ms"|nil

---@class zbz.LogOutput  and the options of its type
---@field type string
---@field name string?
---@field level zbz.LogLevel?
---@field format zbz.LogFormat|(fun(record: zbz.LogRecord): string)|nil
---@field filter zbz.LogWhere|zbz.LogPredicate|nil
---@field color "auto"|"always"|"never"|boolean|nil
---@field metadata string[]?  fields that travel beside the text, for outputs that have a use for them
---@field policy "block"|"drop_newest"|"drop_oldest"|nil
---@field batch_size integer|string|nil  most bytes in one write
---@field batch_wait number|string|nil  how long a batch may fill
---@field spool string?  directory on disk for records while the output fails or hangs
---@field spool_size integer|string|nil
---@field retry_timeout number|string|nil  age at which a failing output is given up on: to the dead letters
---@field max_retry_delay number|string|nil
---@field dead_letter string?  file
---@field bucket zbz.BucketOptions|string|nil  of type storage
---@field prefix string?  of type storage: of the objects' names, as strftime has it
---@field compress "none"|"gzip"|nil  of types storage and file
---@field fn (fun(line: string, record: zbz.LogRecord))?  of type function

---@class zbz.LogOutputLoki: zbz.LogOutput
---@field type "loki"
---@field url string  http://host:3100, https://user:password@host
---@field labels table<string, string|number>?  of its streams: few, the same for every record
---@field level_as "label"|"metadata"|"none"|nil
---@field logger_as "label"|"metadata"|"none"|nil
---@field encoding "protobuf"|"json"|nil
---@field tenant string?
---@field username string?
---@field password string?
---@field bearer_token string?
---@field timeout string|number|nil
---@field max_line string|integer|nil
---@field tls_ca string?
---@field tls_cert string?
---@field tls_key string?
---@field tls_server_name string?
---@field tls_verify boolean?

---@class zbz.LogNetOutput: zbz.LogOutput  tcp, udp, unix, syslog
---@field type "tcp"|"udp"|"unix"|"syslog"
---@field address string?  host:port, [::1]:port; of unix and syslog also the absolute path of a socket (syslog: /dev/log)
---@field timeout number|string|nil  of one attempt to connect and write; 5s
---@field max_message integer|string|nil  udp, syslog 8KB, unix 64KB: longer datagrams and messages are cut
---@field kind "auto"|"stream"|"datagram"|nil  unix
---@field protocol "auto"|"unix"|"udp"|"tcp"|nil  syslog
---@field facility string?  syslog: kern user mail daemon auth ... local0 to local7; user
---@field app string?  syslog: APP-NAME
---@field hostname string?  syslog: HOSTNAME
---@field element string?  syslog: NAME@ENTERPRISE-NUMBER of the structured data; zbz@32473
---@field tls boolean?  tcp, syslog over tcp
---@field tls_ca string?
---@field tls_cert string?
---@field tls_key string?
---@field tls_server_name string?
---@field tls_verify boolean?
---@class zbz.BucketOptions
---@field provider "memory"|"filesystem"
---@field base_dir string?  of filesystem
---@field mode string?  of filesystem: of new files, octal
---@field sync boolean?  of filesystem: on stable storage before it counts as written
---@field name string?  of memory: buckets of one name share their objects
---@field max_size integer|string|nil  of memory

---@class zbz.LogOutputStats  of one output, in log.stats().outputs by its name
---@field records integer  by this process
---@field bytes integer
---@field written integer  taken by the output, of all processes this one writes for
---@field written_bytes integer
---@field dropped_full integer
---@field dropped_large integer
---@field dropped_closed integer
---@field retries integer
---@field failures integer  attempts in a row that have failed, up to now
---@field last_error string?  of the last attempt that failed
---@field dead_letters integer
---@field dead_letters_lost integer  of them, not in the file: none is named, it is full or cannot be written
---@field spooled integer  records in the spool now
---@field spooled_bytes integer
---@field spool_age number  seconds since the oldest of them came there
---@field spool_error string?  why the spool takes nothing now
---@field recovered integer
---@field syncs integer
---@field damaged integer
---@field set_aside integer
---@field lag integer  bytes that the output does not have yet
---@field writer boolean  does this process write for all?

---@alias zbz.LogWhere table<string, string|number|boolean|(string|number|boolean)[]|{min: number?, max: number?, exists: boolean?}>

---@alias zbz.LogPredicate fun(fields: table<string, any>, level: zbz.LogLevel, logger: string): boolean?  an error keeps the record

---@class zbz.LogRoute
---@field logger string?  glob
---@field level string?   ">=error", "error" (the same), "<info", "=debug"
---@field where zbz.LogWhere|zbz.LogPredicate|nil
---@field to string|string[]

---@class zbz.LogRedaction
---@field [integer] string  names to mask, globs in any case
---@field keys string[]?
---@field scan ("ssn"|"card"|"email")[]?
---@field pattern string|string[]|nil  Lua patterns
---@field mask_ip boolean?
---@field hash string[]?
---@field partial string[]?
---@field key string?  for hashes, at least 16 bytes
---@field encrypt string[]?
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
