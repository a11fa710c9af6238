-- Bring your own cache: the same program over any backend prints the same bytes.
--   BACKEND=memory|redis|memcached|filesystem lua5.4 examples/byoc.lua      (REDIS_URL, MEMCACHED_SERVERS say where the servers are)
local zbz = require("zbz")

local dir = os.tmpname()
local backends = {
	memory = { provider = "memory" },
	redis = { provider = "redis", url = os.getenv("REDIS_URL") },
	memcached = { provider = "memcached", servers = os.getenv("MEMCACHED_SERVERS") },
	filesystem = { provider = "filesystem", base_dir = dir .. ".cache" },
}
local options = assert(backends[os.getenv("BACKEND") or "memory"], "BACKEND must be memory, redis, memcached or filesystem")
options.key_prefix = ("byoc%d:"):format(os.time())

local cache = assert(zbz.cache.new(options))
assert(cache:ping())
local books = cache:table("books", { ttl = "10m" })

print("set", books:set("sicp", { title = "Structure and Interpretation", year = 1985, tags = { "lisp", "classic" } }))
local book = books:get("sicp")
print("get", book.title, book.year, table.concat(book.tags, ","))
print("exists", books:exists("sicp"), books:exists("other"))
print("miss", books:get("other"))
print("set_multi", books:set_multi({ a = { n = 1 }, b = { n = 2 }, c = zbz.item({ n = 3 }, { ttl = 5 }) }))
local found = books:get_multi({ "a", "b", "c", "d" })
print("get_multi", found.a.n, found.b.n, found.c.n, found.d)
print("ttl", math.ceil(books:ttl("a") / 60), math.ceil(books:ttl("c") / 60), books:ttl("d"))
print("expire", books:expire("a", "1h"), math.ceil(books:ttl("a") / 3600))
print("add", books:add("a", { n = 9 }, 60), books:add("e", { n = 5 }, 60))
local _, info = books:get_with("b")
print("if_version", books:set("b", { n = 22 }, { if_version = info.version }))
local _, lost = books:set("b", { n = 23 }, { if_version = info.version })
print("a lost race", lost.code, books:get("b").n)
print("fetch", select(3, books:fetch("f", function() return { n = 6 } end)), select(3, books:fetch("f", error)))
local counters = cache:table("counters", { serializer = "string" })
print("incr", counters:incr("hits"), counters:incr("hits", 10), counters:decr("hits", 1))
local keys = {}
for key in books:keys("[a-c]") do keys[#keys + 1] = key end
table.sort(keys)
print("keys", table.concat(keys, " "))
print("delete", books:delete("a"), books:get("a"), books:delete_multi({ "b", "c" }))
print("clear", (cache:clear()), books:get("sicp"))
local _, err = books:set("bad", { fn = print })
print("a value that cannot be stored", err.code, err.field)
cache:close()
os.remove(dir)
os.execute(("rm -rf '%s.cache'"):format(dir))
