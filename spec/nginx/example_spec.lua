-- examples/openresty as it is, on other ports.
local assert = require("luassert")
local nginx = require("spec.services.nginx")
local proc = require("spec.services.proc")

local have, why = nginx.available()
if not have then
	print("SKIP nginx example: " .. why)
	describe("examples/openresty", function() it("needs nginx", function() pending(why) end) end)
	return
end

describe("examples/openresty", function()
	local web, api, dir, command

	setup(function()
		web, api = proc.free_port(), proc.free_port()
		dir = proc.output("pwd") .. "/build/openresty-test"
		proc.output("mkdir -p " .. dir .. "/logs; rm -f " .. dir .. "/app.log")
		proc.output(("sed -e 's/127.0.0.1:8080/127.0.0.1:%d/; s/127.0.0.1:8081/127.0.0.1:%d/' examples/openresty/nginx.conf > %s/nginx.conf")
			:format(web, api, dir))
		command = ("nginx -p %s/ -c %s/nginx.conf -e %s/error.log"):format(dir, dir, dir)
		local out, ok = proc.output(command .. " 2>&1")
		assert(ok, out)
		assert(proc.wait_port(web, 10))
	end)
	teardown(function()
		proc.output(command .. " -s stop 2>&1")
		proc.wait_until("! test -e " .. dir .. "/nginx.pid", 5)
	end)

	local function get(port, path) return (proc.output(("curl -s -m 10 -i http://127.0.0.1:%d%s"):format(port, path))) end
	local function ask(path)
		local text = get(web, path)
		return tonumber(text:match("^HTTP/%S+ (%d+)")), text:match("X%-Cache: (%a+)"), text
	end
	it("loads once, then hits", function()
		local status, how, text = ask("/api/item/1")
		assert.are.equal(200, status)
		assert.are.equal("loaded", how)
		assert.truthy(text:find('"path":"/api/item/1"', 1, true))
		assert.truthy(text:find("application/json", 1, true))
		assert.are.equal("hit", select(2, ask("/api/item/1")))
	end)

	it("asks the API once for two hundred requests that come at the same time, in two workers", function()
		local script = ([[seq 200 | xargs -P 50 -I{} curl -s -m 15 -o %s/many-{} -D - http://127.0.0.1:%d/api/item/200 | grep -i x-cache]])
			:format(dir, web)
		local how = {}
		for word in proc.output(script):gmatch("X%-Cache: (%a+)") do how[word] = (how[word] or 0) + 1 end
		assert.are.equal(1, how.loaded)
		assert.are.equal(200, how.loaded + (how.waited or 0) + (how.hit or 0))
		assert.are.equal("1", (proc.output(("cat %s/many-* | grep -o '\"call\":[0-9]*' | sort -u | wc -l"):format(dir))))
	end)

	it("remembers what does not exist", function()
		assert.are.equal(404, (ask("/api/item/0")))
		assert.are.equal("negative", select(2, ask("/api/item/0")))
	end)

	it("serves the last good answer while the API fails, and says so", function()
		assert.are.equal(200, (ask("/api/item/2")))
		get(api, "/down")
		assert.truthy(get(web, "/maintenance?forget=/api/item/2"):find("done", 1, true))
		local status, how = ask("/api/item/2")
		assert.are.equal(200, status)
		assert.are.equal("stale", how)
		assert.are.equal(502, (ask("/api/item/3")))
		get(api, "/up")
	end)

	it("counts its log's lines, for whichever worker is asked", function()
		local failed = tonumber((proc.output(("grep -c '\"level\":\"error\"' %s/app.log"):format(dir))))
		assert.is_true(failed >= 1)
		for _ = 1, 4 do
			local text = get(web, "/metrics")
			assert.truthy(text:find("text/plain; version=0.0.4", 1, true), text)
			assert.truthy(text:find(('\nzbz_log_lines_total{level="error"} %d\n'):format(failed), 1, true), text)
		end
	end)

	it("shows counters and clears", function()
		assert.truthy(get(web, "/maintenance"):find("hits %d+"))
		assert.truthy(get(web, "/maintenance?clear=1"):find("done", 1, true))
	end)
end)
