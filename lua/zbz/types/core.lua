---@meta zbz.core
-- What the C module zbz.core gives to lua/zbz. Not for programs: they use require("zbz").
-- Everywhere: a failure is nil, err (an error table); misuse raises. Times are milliseconds here, seconds in the public API.

---@class zbz.core
---@field VERSION string
---@field null lightuserdata        the null light userdata, as cjson.null
---@field error_mt table             metatable of every error C makes; lua/zbz/error.lua gives it __tostring and __index
---@field item_mt table             metatable of core.item
---@field array_mt table             metatable that marks an array; zbz.array sets it
---@field table_mt table             metatable of table handles; its __index is table_methods
---@field table_methods table        C methods; Lua adds its own (fetch ...) to the same table
local core = {}

-- 1. codecs: exact 64-bit integers on 5.4; hostile input is nil, err ("decode"), a bad value nil, err ("encode", field = path)
---@param v any
---@return string?, zbz.Error?
function core.json_encode(v) end
---@param s string
---@return any, zbz.Error?
function core.json_decode(s) end
function core.msgpack_encode(v) end
function core.msgpack_decode(s) end
--- By Lua type: strings as they are, integers as digits, everything else tagged MessagePack; decode is exact for all of them.
function core.auto_encode(v) end
function core.auto_decode(s) end

--- Marks a table as an array and returns it (zbz.array).
---@generic T: table
---@param t T
---@return T
function core.array(t) end

-- 2. parsing; bad input returns nil, message
---@param x number|string
---@return integer? ms, string? message
function core.duration(x) end
---@return integer? bytes, string? message
function core.size(x) end
---@return boolean
function core.glob(pattern, text) end
---@return table? {scheme=,user=,password=,host=,port=,path=,query={}}, zbz.Error? err
function core.uri(text) end

-- 3. clocks
---@return integer wall_ms
function core.wall() end
---@return integer mono_ms
function core.mono() end
--- A clock that moves only when told: userdata with :advance(ms) :wall() :mono(). Accepted wherever a clock is.
---@param wall_ms integer
function core.fake_clock(wall_ms) end

-- 4. providers
--- Where plug-ins (zbz/provider/NAME.so) are looked for before the core's own places.
function core.plugin_dir(dir) end
--- How the sources of the Lua part begin ("@/usr/share/lua/5.4/zbz/"): errors about arguments blame the first caller outside.
---@param source string
function core.home(source) end
--- Raises at the line of that caller, from whatever depth.
---@param text string
function core.misuse(text) end
--- {name=, loaded=, and when it could be loaded: aliases={}, schemes={}, needs=, summary=, layer=; else error=} each
---@return table[]
function core.providers() end
--- Loads the plug-in if needed: {name=, layer=, summary=, options={{name=,alias=,type=,default=,choices=,help=}...}}
---@return table?, zbz.Error?
function core.provider_info(name) end
---@param scheme string
---@return string? provider name
function core.scheme(scheme) end
--- config: {provider=, ...}; strings, numbers, booleans, arrays of strings, nested configs and stores (layers). clock optional.
--- An unknown option name raises with the known ones and the nearest; a bad value is nil, err.
---@return zbz.core.Store?, zbz.Error?
function core.open_store(config, clock) end

---@class zbz.core.Store: userdata
local Store = {}
function Store:ops_name() end         -- name of the outermost layer or provider
function Store:kind() end             -- name of the provider at the bottom
--- {ttl=true, expire=, add=, present=, version=, incr=, keys=, clear=, native=, batch=, track=, emulated={...}, inline=, inline_hits=,
--- shared=, unsigned_incr=, exclusive=, lock="process"|"host"|"cluster" (the farthest), lock_wake=, ttl_resolution_ms=, max_key=,
--- max_value=}
function Store:caps() end
function Store:config() end           -- every option with its value as text, secrets "***"
function Store:close() end            -- drops this handle's reference; twice is fine; also __gc and __close
function Store:closed() end

-- 5. caches and tables
---@param store zbz.core.Store
---@param opts {key_prefix:string?, default_ttl:integer?, deadline:integer?, clock:userdata?}
---@return zbz.core.Cache?, zbz.Error?
function core.new_cache(store, opts) end
---@class zbz.core.Cache: userdata
local Cache = {}
function Cache:swap(store, deadline_ms) end  -- true or nil, err
function Cache:store() end                   -- a new Store handle on the current store; nil, err closed
function Cache:close() end                   -- also __gc, __close
function Cache:closed() end
function Cache:ping(deadline_ms) end
function Cache:version(deadline_ms) end      -- the server's version text
function Cache:provider_stats(deadline_ms) end        -- {keys=,memory=,connections=,evictions=,expired=,retries=}; unknown ones absent;
--- of multitier also tier1_keys tier1_memory tier1_hits tier2_hits promotions invalidations channel_losses,
--- channel="tracking"|"pubsub"|"none"|"down"|"refused"
function Cache:provider_counters(deadline_ms) end     -- further counters, by provider; nil where it keeps none
function Cache:inspect(key, deadline_ms) end -- table for a full key (decoded MessagePack map), nil when absent
--- commands: {{"GET","k"},{...}}; words are strings or numbers. A list of replies; a reply that is an error is an error table; nil
--- reply is core.null inside.
function Cache:command(commands, deadline_ms) end
--- Messages arrive in the state's mailbox; core.poll_next hands out fn, channel, payload (payload nil: messages may have been lost).
--- channels: one or a list. A subscription lives until :close() or until its cache closes, referenced or not; :closed(). It stays on the
--- store it began on when the cache is swapped.
---@param deadline_ms integer?
function Cache:subscribe(channels, is_pattern, fn, deadline_ms) end

---@class zbz.core.TableOptions
---@field name string?  ---@field prefix string?  ---@field ttl integer?  ---@field deadline integer?
---@field stale_ttl integer?  ---@field envelope boolean?  ---@field codec string  ---@field env table?

--- codec: "bytes" "string" "json" "msgpack" "auto". env: any Lua table kept with the handle (core.env gets it).
---@param cache zbz.core.Cache
---@param opts zbz.core.TableOptions
---@return zbz.core.Table?, zbz.Error?
function core.new_table(cache, opts) end
function core.env(t) end

-- Methods of a table handle in C (ms nowhere: these ARE the public methods, API.md section 2). ttl arguments: seconds or duration
-- text, or an options table {ttl=, only="absent"|"present", if_version=, deadline=, tags=}.  An unknown option raises.
---@class zbz.core.Table: userdata
local Table = {}
function Table:get(k, opts) end
function Table:set(k, v, ttl_or_opts) end       -- true; false when only= did not hold; nil, err
function Table:add(k, v, ttl_or_opts) end       -- true or false
function Table:delete(k, opts) end              -- true
function Table:exists(k, opts) end              -- boolean
function Table:ttl(k, opts) end                 -- seconds, math.huge, nil
function Table:expire(k, ttl, opts) end         -- true, nil when absent
--- opts {initial=, ttl=, deadline=}; the new integer; msgpack tables: unsupported; LuaJIT: beyond 2^53 too_large (counted all the
--- same)
function Table:incr(k, n, opts) end
function Table:decr(k, n, opts) end
function Table:get_with(k, opts) end            -- value, {version=, ttl=, age=, tier="l1"|"l2"|nil, stale=}
function Table:get_multi(keys, opts) end        -- map, nil, errs?   (errs[key] third on partial failure); map nil, err when nothing worked
function Table:set_multi(map, ttl_or_opts) end  -- true, nil, errs?; values may be core.item; an unencodable value: nil, err before any I/O
function Table:delete_multi(keys, opts) end     -- true, nil, errs?
--- iterator (and a to-be-closed fourth value on 5.4); nil, err when it cannot begin; a failure in a later page raises no error: the
--- iterator returns nil, err once and ends
function Table:keys(pattern, opts) end
function Table:clear(opts) end                  -- true, removed
function Table:invalidate(k, opts) end          -- true
function Table:get_raw(k, opts) end
function Table:set_raw(k, bytes, ttl_or_opts) end
function Table:prefix() end                     -- full key prefix
function Table:counters() end                   -- zbz_table_stats as a table (times in seconds)
--- A read whose value may be kept: value, state, age_ms, left_ms, place, stamp, word, seq, expire_at; nil, err. place 0: not to be kept;
--- word: an address, or 0; expire_at: wall ms, or infinite. whole: as entry, else as get.
function Table:get_seen(k, deadline_ms, whole) end
--- Is what got that place and stamp still what the provider has? Only on tables made with { l1 = places }.
---@return boolean
function core.l1_hit(handle, place, stamp) end
function core.l1_times(handle, place) end        -- expire_at (math.huge: never), stored_at, wall ms
function core.l1_clear(handle) end

-- Primitives for fetch (Lua orchestrates, so that loaders may yield). Bytes unless said otherwise.
--- What is there. state: nil (nothing), "hit", "negative", "stale", "lease". value decoded by the handle's codec for "hit" and "stale".
--- age and left in ms (nil unknown; left math.huge: no expiry). version: string token or nil.
---@return any value, string? state, integer? age, number? left, string? version   -- or nil, nil, err
function Table:entry(k, deadline_ms) end
--- encode/decode with the handle's own codec: string or nil, err
function Table:encode(v) end
function Table:decode(s) end
--- Joins or begins the flight of key k. seat: "leads" "waits" "waits_for_self".
---@return zbz.core.Flight? flight, string|zbz.Error seat_or_err
function Table:flight(k) end
--- Fence token for a load that found `state`/`version`: version string or nil (in-process fence only).
function Table:lease(k, state, version, lease_ms, deadline_ms) end
--- Stores what the leader loaded: true stored, false fenced off; nil, err. opts {ttl_ms=, stale_ttl_ms=, negative=, lease=version
--- string, deadline_ms=}
function Table:commit(flight, k, bytes, opts) end
--- A lock among processes, not yet taken; false where the process is all there is.
---@param reach "host"|"cluster"
---@return zbz.core.Lock|false|nil, zbz.Error? err
function Table:new_lock(k, reach) end
--- One try: "held"; "waits" or "waits_for_self" and after how many ms to try again at the latest; "none": go on without. nil, err.
---@return string? state, integer|zbz.Error|nil
function Table:lock(lock, lease_ms, deadline_ms) end
--- Gives it back; outcome: "value" "negative" "failed" "unknown". Was it still ours?
---@return boolean?, zbz.Error?
function Table:unlock(lock, outcome, deadline_ms) end
function Table:count(which) end                 -- "loads" "load_failures" "waits" "stale_served" "fenced"

---@class zbz.core.Flight: userdata
local Flight = {}
function Flight:wait(deadline_mono_ms, clock) end  -- true, or nil, err (timeout). Blocks the thread.
function Flight:landed() end
--- After landing: "value", bytes | "negative" | "failed", text | "again"
function Flight:result() end
function Flight:moved() end
function Flight:land(how, bytes_or_text) end       -- how: "value" "negative" "failed"; leader only, once
function Flight:leave() end                        -- also __gc

--- Its :landed() :wait() :park() are those of a flight: has the holder ended? :outcome() tells how.
---@class zbz.core.Lock: userdata
--- A host-wide lock for a provider written in Lua; :try(lease_ms) as Table:lock, :drop(outcome) as Table:unlock.
function core.new_lock(identity, full_key) end
--- Can this process take host-wide locks?
---@return true?, zbz.Error?
function core.lock_check() end
--- Flights of a provider written in Lua: {:flight(full_key) -> Flight, seat; :touch(full_key); :touch_prefix(prefix)}
function core.flights() end
--- For providers written in Lua. seal {expire_at=, stored_at=, negative=, stale=, lease=}
function core.envelope_seal(seal, bytes) end
--- Does it begin with the envelope's magic? Such plain bytes must be sealed.
---@return boolean
function core.envelope_is(bytes) end
---@return string? value, table entry {sealed=,negative=,stale=,lease=,expire_at=,stored_at=}   or nil, err
function core.envelope_open(bytes, now_ms) end

--- Marks a value for set_multi with its own TTL (zbz.item): {value=, ttl_ms=} with metatable core.item_mt. opts: a TTL or {ttl=}.
function core.item(v, opts) end

-- 6. mailbox of this Lua state
--- The next waiting message of a subscription, waiting for one at most timeout_ms (0 or nil: not at all). C never calls fn: the Lua
--- side loops
---   repeat local fn, channel, payload = core.poll_next(ms) ; if fn then fn(channel, payload) end until not fn
--- payload nil: messages may have been lost (channel may then be ""). nil alone: nothing more; nil, err: the mailbox cannot be made.
---@param timeout_ms integer?
---@return function? fn, string|zbz.Error|nil channel, string? payload
function core.poll_next(timeout_ms) end
--- A number instead of a function: that parked call is done (see 7).
--- Wake fd of this state, or nil, err.
function core.fd() end

---@return boolean  was this Lua state made by the process that this one was forked from?
function core.inherited() end

-- 6b. watches (lua/zbz/watch): what is read, when, and whether it is news; the value of the bytes is Lua's business
---@param config {provider:string, dir:string?, polling:boolean?}  provider "file"
---@return userdata? source, zbz.Error?
function core.open_source(config) end
--- The keys of a cache below its prefix.
---@return userdata? source, zbz.Error?
function core.cache_source(cache) end
--- listener(): there is something to take; poll_next hands it out. Lives until :close(), referenced or not. source nil: take answers
--- "read", and the owner reads and answers. opts in ms and bytes: debounce (-1 none) poll deadline max_size allow_empty
---@return zbz.core.Watch?, zbz.Error?
function core.watch(source, key, opts, listener) end
---@class zbz.core.Watch: userdata
local Watch = {}
function Watch:sync(deadline_ms) end  -- subscribes, reads, watches: true and there is a value to take; nil, err and nothing is watched
function Watch:read(deadline_ms) end  -- reads only
function Watch:start() end            -- watches; the first look comes by itself
---@return "value"|"error"|"mended"|"read"|nil what, string|zbz.Error|nil
function Watch:take() end
function Watch:answer(bytes, why) end -- after "read": bytes; nil there is none; false, why
function Watch:hint() end
--- Its cache was swapped or closed: it looks again, and counts as polled until it has.
function Watch:moved() end
function Watch:pause() end
function Watch:resume() end
function Watch:info() end             -- {mode, delay, age, running, paused, failing, hints, reads, values, failures, note}, ms
function Watch:foreign() end          -- of the parent process: nothing comes of it here
function Watch:close() end
function Watch:closed() end

-- 7. parked calls, for hosts of event loops (lua/zbz/host/loop.lua). A door takes what the method of its name takes and returns
---   false, results...     answered at once (a store that never waits, a failure before any I/O)
---   ticket, id, left_ms?  under way on the pool; poll_next hands out id when it is done. Dropping the ticket drops the answer.
---@type table<string, function>  doors of table handles, by method; "keys" takes a listing and fetches its next page
core.table_doors = {}
---@type table<string, function>  doors of cache handles
core.cache_doors = {}
---@type table<string, function>  reads of table handles where nothing can wait: true, results... from a local tier; or false
core.table_tries = {}
---@type table<string, function>  doors of watches: sync, read
core.watch_doors = {}
---@type table<string, function>  doors of what makes sense without anybody waiting for the answer: calls keep their order by key
core.queueable = {}
---@type table<string, function>  the same of caches: after all that was queued before
core.queueable_whole = {}
--- The results of a parked call that is done; once. The handle must be the one of the call.
function core.finish(ticket, handle) end
--- Nobody waits any more: a call that has not begun does not begin.
function core.abandon(ticket) end
--- Does this handle answer without waiting?
---@return boolean
function core.inline(handle) end
--- As Table:keys, but the pages are the caller's business: an iterator, and the listing for table_doors.keys and listing_dry.
function core.listing(t, pattern, opts) end
---@return boolean  must a page be fetched before the iterator goes on?
function core.listing_dry(listing) end
--- Flight:park() -> ticket, id: done when the flight has landed.
--- A unix socket for hosts that can only connect: listen, connect to the path, accept; the host reads the bytes itself.
---@return string? path, zbz.Error?
function core.listen() end
function core.accept(path) end
--- Rings although nothing has arrived.
function core.kick() end
--- For loops without timers. fd() is readable from the moment set(ms) names, until the next set.
---@class zbz.core.Alarm
---@field fd fun(self): integer  another one after a fork and a set
---@field set fun(self, ms: integer): boolean?, zbz.Error?
---@field close fun(self)
---@return zbz.core.Alarm?, zbz.Error?
function core.alarm() end
--- submitted: calls handed to the pool so far. unattended: those under way for nobody.
---@return integer flying, integer undrained, boolean subscribed, integer submitted, integer unattended
function core.under_way() end
--- Size of the thread pool; nil, err once it runs.
function core.threads(n) end
---@type integer  1 for the first Lua state of the process that opened the module
core.ordinal = 1
--- SIGINT and SIGTERM: from begin to end they only end signals_wait(ms), which returns the name, or nil when the mailbox has something.
function core.signals_begin() end
function core.signals_end() end
---@return string?
function core.signals_wait(ms) end

-- 8. the log: one per state. Loggers are userdata with a metatable per name, made by lua/zbz/log/logger.lua.
---@return zbz.core.Output?, zbz.Error?
function core.log_output(config) end
function core.log_recover(config, deadline_ms) end
function core.log_append(output, level, logger, line, labels) end
---@return string[]
function core.log_types() end
---@return boolean
function core.log_isatty(fd) end
---@return zbz.Logger
function core.log_logger(name, metatable) end
---@return integer mask, string level  bit 1 << level for each level that reaches something
function core.log_mask(logger) end
function core.log_name(logger) end
--- traceback: from this level on, 0 never.
function core.log_habits(logger, caller, traceback) end
function core.log_settle(logger) end
--- Flat settings, see lua/zbz/log/state.lua; outputs without a handle are the caller's own.
---@return boolean?, zbz.Error?
function core.log_configure(settings) end
--- { deliver = fn(line, level, logger, indexes), process = fn(msg, fields) -> msg, fields,
--- judge = fn(asked, fields, bound, level, logger) -> answers (both as bits), misuse = fn(what) }; none may raise.
function core.log_calls(functions) end
function core.log_modes(own_outputs, processors, predicates) end
--- { secret =, pii =, time =, duration =, bytes = } metatables of {value}
function core.log_wraps(metatables) end
function core.log_stats() end
---@return integer? rank, string|zbz.Error name
function core.log_level(name) end
---@return string?, zbz.Error?
function core.log_format(name) end
---@type table<string, function>  methods by level, and with
core.log_methods = {}
function core.log_plain(logger, level) end
---@return fun(...), userdata what the door log_event knows it by
function core.log_event(logger, level, msg, ...) end
--- Names for the door log_fields.
---@return userdata
function core.log_shape(...) end
---@return string?, zbz.Error?
function core.log_unseal(text, key) end
---@return string? key_id, zbz.Error?
function core.log_sealed_with(text) end

---@class zbz.core.Output: userdata
local Output = {}
function Output:flush(deadline_ms) end
function Output:reopen(deadline_ms) end
function Output:read(clear) end
function Output:stats() end
function Output:type() end
function Output:never_wait(on) end
function Output:leave() end
function Output:close() end
