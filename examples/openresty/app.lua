-- A cache in front of a slow API: one request loads, the others wait for it; what does not exist is remembered for a moment; when
-- the API fails, the last good answer is served.
local zbz = require("zbz")

local app = {}
local pages

-- init_by_lua: configuration only. Every worker opens its own connections when it first needs one.
function app.init()
	local url = os.getenv("REDIS_URL")
	assert(zbz.cache.configure{ provider = url or "shared:", key_prefix = "example:" })
	assert(zbz.log.configure{ outputs = { { type = "file", path = ngx.config.prefix() .. "app.log" } } })
	pages = assert(zbz.table("pages", { ttl = "30s", neg_ttl = "10s", stale_ttl = "1h", deadline = "3s", lock = "host" }))
end

-- Runs once per key, whatever the number of requests and workers; it may yield.
local function load(path)
	local answer = ngx.location.capture("/upstream" .. path)
	if answer.status == 404 then return nil end
	if answer.status ~= 200 then return nil, "the API answered " .. answer.status end
	return { body = answer.body, type = answer.header["Content-Type"] }
end

-- content_by_lua of /api/
function app.serve()
	local page, err, how = pages:fetch(ngx.var.uri, load)
	ngx.header["X-Cache"] = how or "error" -- hit stale loaded negative waited
	if page then
		ngx.header["Content-Type"] = page.type
		return ngx.print(page.body)
	end
	if err then zbz.log.error("no page", { path = ngx.var.uri, error = err }) end
	return ngx.exit(err and 502 or 404)
end

-- content_by_lua of /maintenance: ?forget=/api/item/1 marks one entry stale, ?clear=1 removes all, else the counters.
function app.maintain()
	local ok, err
	if ngx.var.arg_forget then
		ok, err = pages:invalidate(ngx.var.arg_forget)
	elseif ngx.var.arg_clear then
		ok, err = pages:clear()
	else
		local s = pages:stats()
		return ngx.say(("hits %d  misses %d  loads %d  waits %d  stale_served %d"):format(s.hits, s.misses, s.loads, s.waits, s.stale_served))
	end
	ngx.say(ok and "done" or tostring(err))
end

return app
