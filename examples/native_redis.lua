-- Redis' own commands through the cache's connections. REDIS_URL says where the server is.
local zbz = require("zbz")

local url = os.getenv("REDIS_URL")
if not url then
	print("REDIS_URL is not set: this example wants a Redis server, for example REDIS_URL=redis://localhost:6379")
	return
end
local cache = assert(zbz.cache.new{ provider = "redis", url = url })
local r = assert(cache:native("redis"))
r:del("demo:profile", "demo:active", "demo:queue")

r:command("HSET", "demo:profile", "login_count", 42, "last_ip", "192.168.1.1")
print("hget", r:hget("demo:profile", "login_count"), r:hget("demo:profile", "last_ip"))
r:sadd("demo:active", "123", "456", "789")
print("members", #r:smembers("demo:active"))
print("expire", r:expire("demo:profile", 1800), r:ttl("demo:profile") <= 1800)

r:list_push("demo:queue", "first", "second", "third")
print("list", table.concat(r:list_range("demo:queue"), " "), "popped", r:list_pop("demo:queue"))

local replies = r:pipeline({ "SET", "demo:a", "1" }, { "INCR", "demo:a" }, { "GET", "demo:nothing" }, { "HGET", "demo:a", "x" })
print("pipeline", replies[1], replies[2], replies[3] == zbz.null, replies[4].code)
local v, err = r:command("NOSUCHCOMMAND")
print("an error", v, err.code)

local got
local sub = assert(r:subscribe("demo:news", function(channel, payload) got = got or payload and (channel .. " says " .. payload) end))
for _ = 1, 100 do
	if r:publish("demo:news", "hello") > 0 then break end
	zbz.poll(0.01) -- the subscription is on its way
end
for _ = 1, 100 do
	if got then break end
	zbz.poll(0.1)
end
print("message", got)
sub:close()

cache:swap_provider("memory:")
print("after a swap", select(2, r:hget("demo:profile", "last_ip")).code)
cache:close()
