---@meta zbz.table
-- What tables answer, whoever made them (a C handle, or a Lua object for schemas, Lua serializers and Lua providers).
-- A miss is nil; a failure is nil, err; misuse (an argument of the wrong type, an unknown option, a negative TTL) raises.
-- Every call may fail with closed, invalid_key, timeout, unavailable, denied or internal; codes named below come on top.

---@alias zbz.Ttl number|string      seconds (fractions allowed), or text "100ms" "30m" "1h30m" "7d"; 0: no expiry
---@alias zbz.Duration number|string seconds, or text as for a TTL
---@alias zbz.Size integer|string    bytes, or text "64KB" "50MB" (1 MB = 1 048 576)

---@class zbz.ReadOptions
---@field deadline zbz.Duration?  the call has ended by then, retries and waiting included: else nil, timeout

---@class zbz.WriteOptions
---@field ttl zbz.Ttl?
---@field only "absent"|"present"|nil  store only where nothing is, or only over something
---@field if_version string?           store only over this version (from get_with); else nil, conflict
---@field deadline zbz.Duration?

---@class zbz.TtlOptions
---@field ttl zbz.Ttl?
---@field deadline zbz.Duration?

---@class zbz.CounterOptions
---@field initial integer?  what an absent key gets, without the step; default 0 and the step
---@field ttl zbz.Ttl?      of a key that is made
---@field deadline zbz.Duration?

---@class zbz.FetchOptions
---@field ttl zbz.Ttl?             of what is loaded; the loader's own result comes first, then this, the table's, the cache's
---@field neg_ttl zbz.Ttl?         how long an absence is remembered
---@field stale_ttl zbz.Ttl?       how long a dead value stays as the fallback
---@field refresh_at number?       0 to 1: fraction of the TTL after which one background refresh starts
---@field jitter number?           0 to 1: TTLs are shortened by up to this fraction
---@field fresh boolean?           load although something is there
---@field lock "process"|"host"|"cluster"|nil  among whom one loader runs at a time
---@field deadline zbz.Duration?   of the whole call; in nginx it ends a running loader, elsewhere nothing can

---@class zbz.TableOptions
---@field ttl zbz.Ttl?             of what is stored; default the cache's. default_ttl is the same
---@field serializer string|zbz.Serializer|nil  json msgpack string bytes auto cjson, one that is registered, or {encode=, decode=}
---@field schema table|string|zbz.Schema|nil    what values must look like; writes that do not are nil, type_mismatch
---@field strict_utf8 boolean?     serializer string: what is not UTF-8 is nil, encode
---@field deadline zbz.Duration?   of calls that name none
---@field neg_ttl zbz.Ttl?         these five: of fetch
---@field stale_ttl zbz.Ttl?
---@field refresh_at number?
---@field jitter number?
---@field lock "process"|"host"|"cluster"|nil
---@field l1 integer?  values that each Lua state keeps decoded (memory, ristretto, shared; tiers over them); 0 none, the default

---@class zbz.EntryInfo
---@field version string?       opaque, for if_version; nil where the provider has none
---@field ttl number?           seconds left, math.huge for none; nil when the provider does not tell
---@field age number?           seconds since it was stored, where that is known
---@field tier "l1"|"l2"|nil    of multitier: which one answered
---@field stale boolean         kept as the fallback only

---@class zbz.TableStats  counts since the table was opened
---@field hits integer
---@field misses integer
---@field sets integer
---@field deletes integer
---@field errors integer
---@field lost_writes integer    loaded values that the provider did not take
---@field loads integer
---@field load_failures integer
---@field waits integer          for another's load
---@field stale_served integer
---@field fenced integer         loads thrown away, because the key had changed meanwhile
---@field lock_waits integer     for other processes
---@field unlocked integer       loads that went on without the lock they wanted
---@field l1_hits integer?       of tables with l1
---@field uptime number          seconds
---@field last_access number?    seconds since 1970
---@field provider string        and what it tells of the whole store, where known:
---@field keys integer?
---@field memory integer?        bytes
---@field connections integer?
---@field evictions integer?
---@field expired integer?

--- What can be done with keys: methods of tables, caches and contracts.
---@class zbz.Values
local Values = {}

--- The value; nil: a miss. decode, corrupt or type_mismatch when what is stored is none of this table's.
---@param k string
---@param opts zbz.ReadOptions?
---@return any value
---@return zbz.Error? err
function Values:get(k, opts) end
--- true; false when `only` did not hold. encode, type_mismatch, too_large; conflict with if_version.
---@param k string
---@param v any  not nil
---@param ttl_or_opts zbz.Ttl|zbz.WriteOptions|nil
---@return boolean? stored
---@return zbz.Error? err
function Values:set(k, v, ttl_or_opts) end
--- Stores where nothing is; false: something was.
---@param k string
---@param v any
---@param ttl_or_opts zbz.Ttl|zbz.TtlOptions|nil
---@return boolean? stored
---@return zbz.Error? err
function Values:add(k, v, ttl_or_opts) end
--- true, also when nothing was there.
---@param k string
---@param opts zbz.ReadOptions?
---@return true?
---@return zbz.Error? err
function Values:delete(k, opts) end
---@param k string
---@param opts zbz.ReadOptions?
---@return boolean?
---@return zbz.Error? err
function Values:exists(k, opts) end
--- Seconds left; math.huge: no expiry; nil: there is no such key.
---@param k string
---@param opts zbz.ReadOptions?
---@return number? seconds
---@return zbz.Error? err
function Values:ttl(k, opts) end
--- true; nil: there is no such key.
---@param k string
---@param ttl zbz.Ttl
---@param opts zbz.ReadOptions?
---@return true?
---@return zbz.Error? err
function Values:expire(k, ttl, opts) end
--- The new integer. type_mismatch: no number is there; too_large: past 64 bits, nothing has changed; unsupported by msgpack tables.
---@param k string
---@param n integer?  1
---@param opts zbz.CounterOptions?
---@return integer? n
---@return zbz.Error? err
function Values:incr(k, n, opts) end
---@param k string
---@param n integer?  1
---@param opts zbz.CounterOptions?
---@return integer? n
---@return zbz.Error? err
function Values:decr(k, n, opts) end
--- The value and what is known of it; nil and an error, or nil alone for a miss.
---@param k string
---@param opts zbz.ReadOptions?
---@return any value
---@return zbz.EntryInfo|zbz.Error|nil info_or_err
function Values:get_with(k, opts) end
--- Those that were found. err: nothing could be read; errs: single keys could not.
---@param keys string[]
---@param opts zbz.ReadOptions?
---@return table<string, any>? map
---@return zbz.Error? err
---@return table<string, zbz.Error>? errs
function Values:get_multi(keys, opts) end
--- Encodes everything first: one value that cannot be, and nothing is written.
---@param map table<string, any>  values may be zbz.item(v, { ttl = })
---@param ttl_or_opts zbz.Ttl|zbz.TtlOptions|nil
---@return true?
---@return zbz.Error? err
---@return table<string, zbz.Error>? errs
function Values:set_multi(map, ttl_or_opts) end
---@param keys string[]
---@param opts zbz.ReadOptions?
---@return true?
---@return zbz.Error? err
---@return table<string, zbz.Error>? errs
function Values:delete_multi(keys, opts) end
--- Keys without the prefix, in no order; glob * ? [a-c]. A failure in a later page: the iterator gives nil, err once.
---@param pattern string?
---@param opts zbz.ReadOptions?
---@return (fun(): string?, zbz.Error?)? iterator
---@return zbz.Error? err
function Values:keys(pattern, opts) end
--- Removes these keys and no others.
---@param opts zbz.ReadOptions?
---@return true?
---@return integer|zbz.Error|nil removed_or_err
function Values:clear(opts) end
--- Marks the entry stale and keeps it as the fallback where the table has stale_ttl; else deletes it.
---@param k string
---@param opts zbz.ReadOptions?
---@return true?
---@return zbz.Error? err
function Values:invalidate(k, opts) end
--- The bytes as they are stored: no serializer, no envelope.
---@param k string
---@param opts zbz.ReadOptions?
---@return string? bytes
---@return zbz.Error? err
function Values:get_raw(k, opts) end
---@param k string
---@param bytes string
---@param ttl_or_opts zbz.Ttl|zbz.TtlOptions|nil
---@return true?
---@return zbz.Error? err
function Values:set_raw(k, bytes, ttl_or_opts) end

---@class zbz.Table: zbz.Values
local Table = {}
--- The full key prefix.
---@return string
function Table:prefix() end
--- Drops the handle; its keys stay. Twice is fine.
function Table:close() end
