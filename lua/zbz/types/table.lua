---@meta zbz.table
-- What every table answers, whoever made it (a C handle, or a Lua object for schemas, Lua serializers and Lua providers).
-- A miss is nil; a failure is nil, err; misuse raises. TTLs are seconds or text ("30m"); 0 means no expiry.

---@alias zbz.Ttl number|string

---@class zbz.WriteOptions
---@field ttl zbz.Ttl?
---@field only "absent"|"present"|nil  store only where nothing is, or only over something
---@field if_version string?            store only over this version (from get_with); else nil, conflict
---@field deadline zbz.Ttl?

---@class zbz.FetchOptions
---@field ttl zbz.Ttl?        of what is loaded; the loader's own result comes first, then this, the table's, the cache's
---@field neg_ttl zbz.Ttl?    how long an absence is remembered
---@field stale_ttl zbz.Ttl?  how long a dead value stays as the fallback
---@field refresh_at number?  fraction of the TTL after which one background refresh starts
---@field jitter number?      TTLs are shortened by up to this fraction
---@field fresh boolean?      load although something is there
---@field lock "process"|"host"|"cluster"|nil  among whom one loader runs at a time
---@field deadline zbz.Ttl?   of the whole call; a running loader cannot be interrupted

---@class zbz.TableOptions
---@field l1 integer?  values that each Lua state keeps decoded (memory, ristretto, shared; tiers over them); 0 none, the default

---@class zbz.EntryInfo
---@field version string?
---@field ttl number?   seconds left, math.huge for none; nil when the provider does not tell
---@field age number?   seconds, where stored
---@field stale boolean

---@class zbz.Table
local Table = {}

---@param k string
---@param opts {deadline: zbz.Ttl?}?
---@return any value, zbz.Error? err
function Table:get(k, opts) end
---@param ttl_or_opts zbz.Ttl|zbz.WriteOptions|nil
---@return boolean? stored, zbz.Error? err  false when `only` did not hold
function Table:set(k, v, ttl_or_opts) end
---@return boolean? stored, zbz.Error? err
function Table:add(k, v, ttl_or_opts) end
---@return true?, zbz.Error?
function Table:delete(k, opts) end
---@return boolean?, zbz.Error?
function Table:exists(k, opts) end
---@return number? seconds, zbz.Error? err
function Table:ttl(k, opts) end
---@param ttl zbz.Ttl
---@return true?, zbz.Error?
function Table:expire(k, ttl, opts) end
---@param n integer?
---@param opts {initial: integer?, ttl: zbz.Ttl?, deadline: zbz.Ttl?}?
---@return integer?, zbz.Error?
function Table:incr(k, n, opts) end
---@return integer?, zbz.Error?
function Table:decr(k, n, opts) end
---@return any value, zbz.EntryInfo|zbz.Error|nil
function Table:get_with(k, opts) end
---@param keys string[]
---@return table<string, any>? map, zbz.Error? err, table<string, zbz.Error>? errs
function Table:get_multi(keys, opts) end
---@param map table<string, any>  values may be zbz.item(v, { ttl = })
---@return true?, zbz.Error?, table<string, zbz.Error>?
function Table:set_multi(map, ttl_or_opts) end
---@return true?, zbz.Error?, table<string, zbz.Error>?
function Table:delete_multi(keys, opts) end
--- Keys without the prefix, in no order; glob * ? [a-c]. A failure in a later page: the iterator gives nil, err once.
---@param pattern string?
---@return (fun(): string?, zbz.Error?)?, zbz.Error?
function Table:keys(pattern, opts) end
---@return true?, integer|zbz.Error|nil removed
function Table:clear(opts) end
--- Marks the entry stale and keeps it as the fallback where the table stores envelopes; else deletes it.
---@return true?, zbz.Error?
function Table:invalidate(k, opts) end
---@return string?, zbz.Error?
function Table:get_raw(k, opts) end
---@param bytes string
---@return true?, zbz.Error?
function Table:set_raw(k, bytes, ttl_or_opts) end
---@return string full key prefix
function Table:prefix() end
