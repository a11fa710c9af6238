-- The output `loki`, against the stub: what arrives, once; what each answer does.
local zbz = require("zbz")
local core = require("zbz.core")
local proc = require("spec.services.proc")
local nginx = require("spec.services.nginx")
local stub = require("spec.services.loki_stub")
local log = zbz.log
local LUA = rawget(_G, "jit") and "luajit" or "lua5.4"

local loki, ring

local read = proc.read

local function output(opts)
	local spec = { type = "loki", name = "loki", url = loki.url, ring = ring, labels = { app = "spec" }, max_retry_delay = "50ms" }
	for k, v in pairs(opts or {}) do spec[k] = v end
	return spec
end
local function configure(opts, ...) assert(log.configure{ level = "trace", outputs = { output(opts), ... } }) end
local function stats() return log.stats().outputs.loki end
-- At least n pushes have come in.
local function await_pushes(n)
	local came = ("$(LD_PRELOAD= curl -s %s/stub/pushes | grep -o came...[0-9]* | grep -o [0-9]*)"):format(loki.url)
	assert.is_true(proc.wait_until(("test 0%s -ge %d"):format(came, n), 20), "no push " .. n)
end
local function lines(entries)
	local list = {}
	for i, e in ipairs(entries) do list[i] = e.line end
	return list
end

describe("the output loki", function()
	setup(function()
		loki = stub.start()
		ring = proc.folder()
	end)
	teardown(function()
		loki.stop()
		proc.remove(ring)
	end)
	before_each(function() loki.forget() end)
	after_each(function()
		loki.answers{}
		loki.rules{}
		log.close()
	end)

	for _, encoding in ipairs{ "protobuf", "json" } do
		it("sends streams, metadata and every text as " .. encoding, function()
			configure{ encoding = encoding, tenant = "team-1", labels = { ["app.name"] = 'a "q" \\ é\n', env = "test" },
				metadata = { "trace_id", "user.id", "x-n" } }
			log.info("first", { trace_id = "0af7", ["user.id"] = "u\"1\"\n", ["x-n"] = 7, other = true })
			log.logger("api.v1"):error("a\tb \1 \226\130\172 \255", { trace_id = "bad \255 byte" })
			log.logger("api.v1"):error("again")
			assert(log.flush(10))
			local e = loki.entries()
			assert.are.equal(3, #e)
			table.sort(e, function(a, b) return a.ts < b.ts end)
			assert.are.equal('{app_name="a "q" \\ é\n", env="test", level="info"}', e[1].stream)
			assert.are.equal('{app_name="a "q" \\ é\n", env="test", level="error", logger="api.v1"}', e[2].stream)
			assert.are.equal(e[2].stream, e[3].stream)
			assert.are.same({ trace_id = "0af7", user_id = "u\"1\"\n", x_n = "7" }, e[1].meta)
			assert.are.same({ trace_id = "bad \239\191\189 byte" }, e[2].meta)
			assert.is_nil(next(e[3].meta))
			local r = assert(core.json_decode(e[1].line))
			assert.are.equal("first", r.message)
			assert.are.equal(r.time:match("%.(%d+)Z"), e[1].ts:sub(-9)) -- the same moment
			assert.are.equal("a\tb \1 € \239\191\189", core.json_decode(e[2].line).message)
			for _, p in ipairs(loki.seen().pushes) do
				assert.are.equal("team-1", p.tenant)
				assert.are.equal(encoding, p.encoding)
			end
			assert.are.equal(0, stats().retries)
		end)
	end

	it("puts level and logger where it is told to", function()
		configure{ level_as = "metadata", logger_as = "none" }
		log.logger("api"):warn("x")
		assert(log.flush(10))
		assert.are.equal('{app="spec"}', loki.entries()[1].stream)
		assert.are.same({ level = "warn" }, loki.entries()[1].meta)
	end)

	it("loses nothing and doubles nothing over two kills of the server and one of the program", function()
		local done = ring .. "/logged"
		loki.answers{ { times = 3 }, { store = true, hang = true } } -- the fourth push is stored, and nobody learns of it
		local pid = proc.spawn({ LUA, "spec/lua/log_loki_child.lua", loki.url, ring, "1", "10000", done }, ring .. "/child.log")
		assert.is_true(proc.wait_until("test -s " .. done, 20), read(ring .. "/child.log"))
		await_pushes(4)
		proc.kill(pid)
		assert.are.equal("logged 10000\n", read(done))
		assert.is_true(#loki.entries() < 10000)
		loki.restart()

		local repeated
		configure{ labels = { app = "kills" }, metadata = { "trace_id" }, batch_size = "200KB", block_for = "60s",
			ring_size = "8MB" } -- recovers
		local l = log.logger("api")
		for i = 10001, 15000 do l:info("record", { seq = i, trace_id = "t" .. i }) end
		assert(log.flush(30))
		assert.are.equal(15000, #loki.entries())
		repeated = loki.seen().repeated
		assert.is_true(repeated > 0 and repeated < 10000, "repeated: " .. repeated) -- the push of the dead process, once more
		assert.are.equal(0, loki.seen().out_of_order)

		local before = #loki.seen().pushes
		loki.answers{ { times = 2 }, { store = true, hang = true } }
		for i = 15001, 30000 do l:info("record", { seq = i, trace_id = "t" .. i }) end
		await_pushes(before + 3)
		loki.restart()
		assert(log.flush(30))
		local e, seen = loki.entries(), loki.seen()
		assert.are.equal(30000, #e)
		for i = 1, #e do
			if core.json_decode(e[i].line).seq ~= i or e[i].meta.trace_id ~= "t" .. i then error("entry " .. i .. ": " .. e[i].line) end
		end
		assert.is_true(seen.repeated > 0)
		assert.are.equal(0, seen.out_of_order)
		assert.are.equal(1, seen.overlapping)
		assert.are.equal(0, stats().dead_letters)
	end)

	it("keeps equal lines of one moment apart", function()
		local o = assert(core.log_output{ type = "loki", url = loki.url, ring = ring, labels = { "app=equal" } })
		loki.answers{ { store = true, status = 500 } } -- and knows them again
		for _ = 1, 500 do assert.is_true(core.log_append(o, "info", "", "the same\n")) end
		assert(o:flush(10000))
		assert.are.equal(500, #loki.entries())
		assert.is_true(loki.seen().repeated > 0)
		o:close()
	end)

	it("cuts a line that the server would refuse, between two characters", function()
		assert(log.configure{ max_record = "700KB", outputs = { output() } })
		log.info(("é"):rep(150000))
		assert(log.flush(10))
		local line = loki.entries()[1].line
		assert.is_true(#line <= 262144 and #line > 262100)
		assert.is_truthy(line:find("é [cut]", -20, true))
	end)

	-- ---- answers ----

	it("goes on after 429, 5xx, a reset and a redirect; other outputs do not notice", function()
		configure({ timeout = "300ms" }, { type = "memory", name = "m" })
		local other = stub.start()
		finally(other.stop)
		loki.answers{ { status = 429 }, { status = 500 }, { status = 503, store = true }, { reset = true }, { reset = true, store = true },
			{ hang = true }, { status = 301, location = other.url .. "/loki/api/v1/push" }, { status = 404 } }
		for i = 1, 100 do log.info("r" .. i) end
		await_pushes(6) -- it hangs
		assert.are.equal(100, #assert(log.drain("m")))
		assert(log.flush(20))
		assert.are.equal(100, #loki.entries())
		assert.are.equal(0, #other.entries())
		local s = stats()
		assert.are.equal(9, #loki.seen().pushes)
		assert.is_true(s.retries > 0) -- curl itself tries again where a connection it had kept is gone
		assert.are.equal(0, s.dead_letters)
		assert.are.equal(100, s.written)
		assert.is_truthy(s.last_error:find("Loki answered 404: as told (http://127.0.0.1", 1, true), s.last_error)
	end)

	it("waits as long as Retry-After says", function()
		configure()
		loki.answers{ { status = 429, retry_after = 1, body = "slow down" } }
		log.info("x")
		assert(log.flush(10))
		local p = loki.seen().pushes
		assert.are.equal(2, #p)
		assert.is_true(p[2].at - p[1].at >= 0.99 and p[2].at - p[1].at < 5)
		assert.is_truthy(stats().last_error:find("Loki answered 429: slow down", 1, true))
	end)

	it("waits for the right token and never shows it", function()
		loki.rules{ token = "right-token" }
		configure{ bearer_token = "wrong-token" }
		loki.answers{ { status = 401, body = "who is wrong-token?" }, {} }
		log.info("x")
		await_pushes(2)
		assert.is_nil((log.flush(0.05)))
		local s = stats()
		assert.is_truthy(s.last_error:find("401", 1, true))
		assert.is_nil(s.last_error:find("wrong-token", 1, true))
		assert.are.equal(0, s.dead_letters)
		configure{ bearer_token = "right-token" } -- the same output, the same ring
		assert(log.flush(10))
		assert.are.equal(1, #loki.entries())
	end)

	it("logs in by name and password, of the options or of the url", function()
		loki.rules{ basic = "joe:p@:ss" }
		configure{ username = "joe", password = "p@:ss" }
		log.info("one")
		assert(log.flush(10))
		configure{ url = loki.url:gsub("://", "://joe:p%%40%%3Ass@") }
		log.info("two")
		assert(log.flush(10))
		assert.are.equal(2, #loki.entries())
		assert.are.equal(0, stats().retries)
	end)

	it("never sends a refused push again; its records are dead letters", function()
		local dead = ring .. "/dead"
		configure{ dead_letter = dead, timeout = "300ms" }
		loki.answers{ { hang = true }, {}, { status = 400, body = "no such luck" }, { status = 422 } }
		log.info("first")
		await_pushes(1)
		for i = 1, 5 do log.info("r" .. i) end -- they go together
		await_pushes(3)
		assert(log.flush(10))
		assert.is_truthy(stats().last_error:find("Loki answered 400: no such luck", 1, true), stats().last_error)
		log.info("another")
		assert(log.flush(10))
		log.info("last")
		assert(log.flush(10))
		local seen = loki.seen()
		assert.are.equal(0, seen.refused_again)
		assert.are.equal(6, stats().dead_letters)
		assert.are.equal(2, #loki.entries())
		assert.are.equal(6, select(2, read(dead):gsub("\n", "\n")))
		assert.is_truthy(read(dead):find('"message":"r1".*"message":"r5".*"message":"another"'))
		os.remove(dead)
	end)

	it("finds out which records were too far behind", function()
		local dead = ring .. "/dead"
		configure{ dead_letter = dead, timeout = "300ms" }
		loki.answers{ { hang = true }, {}, { status = 400, store = true,
			body = "entry with timestamp 2026-11-21 12:56:59.7 +0000 UTC ignored, " ..
			"reason: 'entry too far behind, entry timestamp is: a, oldest acceptable timestamp is: b',\nuser 'fake', " ..
			"total ignored: 2 out of 5 for stream: {app=\"spec\"}" } }
		log.info("first")
		await_pushes(1)
		for i = 1, 5 do log.info("r" .. i) end
		assert(log.flush(10))
		assert.are.equal(2, stats().dead_letters)
		assert.is_truthy(read(dead):find('"r1".-\n.-"r2".-\n$'))
		assert.are.equal(0, loki.seen().refused_again)
		assert.are.equal(4, stats().written)
		os.remove(dead)
	end)

	it("sends less at a time when the server finds it too large", function()
		local dead = ring .. "/dead"
		configure{ dead_letter = dead, encoding = "json" }
		loki.rules{ max_body = 20000 }
		for i = 1, 300 do log.info("r" .. i, { pad = ("x"):rep(200) }) end
		log.info("huge", { pad = ("x"):rep(30000) })
		log.info("end")
		assert(log.flush(20))
		assert.are.equal(301, #loki.entries())
		assert.are.equal(1, stats().dead_letters)
		assert.is_truthy(read(dead):find('"message":"huge"', 1, true))
		assert.is_truthy(stats().last_error:find("413", 1, true))
		os.remove(dead)
	end)

	it("keeps what it could not deliver for the next", function()
		loki.answers{ { status = 503, times = 1000 } }
		configure{ linger = "50ms" }
		for i = 1, 50 do log.info("r" .. i) end
		log.close()
		assert.are.equal(0, #loki.entries())
		loki.answers{}
		assert.are.equal(50, assert(log.recover(output())))
		assert.are.equal(50, #loki.entries())
	end)

	it("brings out what waits under former labels, by the shell as well", function()
		loki.answers{ { status = 503, times = 1000 } }
		local before = output{ linger = "50ms", labels = { app = "before" } }
		assert(log.configure{ outputs = { before } })
		for i = 1, 20 do log.info("r" .. i) end
		assert(log.configure{ outputs = { output{ labels = { app = "after" } } } })
		loki.answers{}
		log.info("x")
		assert(log.flush(10))
		assert.are.equal(1, #loki.entries())
		local command = LUA .. " lua/zbz/cli/zbz.lua log recover loki url=%s ring=%s labels=app=before 2>&1"
		local out = proc.output(command:format(before.url, before.ring))
		assert.are.equal("20 records recovered", (out:gsub("%s+$", "")))
		assert.are.equal(21, #loki.entries())
	end)

	it("keeps outputs apart that name their streams differently", function()
		assert(log.configure{ outputs = { output{ name = "a", labels = { app = "a" } }, output{ name = "b", labels = { app = "b" } } } })
		log.info("x")
		assert(log.flush(10))
		local e = loki.entries()
		table.sort(e, function(a, b) return a.stream < b.stream end)
		assert.are.equal(2, #e)
		assert.are.equal('{app="a", level="info"}', e[1].stream)
		assert.are.equal('{app="b", level="info"}', e[2].stream)
		assert.are.same({ lines(e)[1] }, { lines(e)[2] })
	end)

	-- ---- TLS ----

	-- An authority, a server's certificate for loki.test, a client's.
	local function certificates(dir)
		local script = ([[cd '%s' && echo subjectAltName=DNS:loki.test >san.cnf &&
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=zbz-test-ca &&
for who in server client; do
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout $who.key -out $who.csr -subj /CN=$who &&
openssl x509 -req -in $who.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out $who.crt -days 2 -extfile san.cnf || exit 1
done]]):format(dir)
		local out, ok = proc.output("(" .. script .. ") 2>&1")
		assert(ok, out)
	end

	it("speaks TLS: certificates of both sides, the name expected", function()
		local there, why = nginx.available()
		if not there then return pending(why) end
		certificates(ring)
		local port = proc.free_port()
		local web = nginx.start{ http = ([[server { listen 127.0.0.1:%d ssl; ssl_certificate %s/server.crt; ssl_certificate_key %s/server.key;
			ssl_client_certificate %s/ca.crt; ssl_verify_client optional; client_max_body_size 20k;
			location / { if ($ssl_client_verify != SUCCESS) { return 403; } proxy_pass %s; } }]]):format(port, ring, ring, ring, loki.url) }
		finally(web.stop)
		local url = "https://127.0.0.1:" .. port
		local ca, cert, key = ring .. "/ca.crt", ring .. "/client.crt", ring .. "/client.key"
		for i, case in ipairs{
			{ says = "certificate" },
			{ tls_ca = ca, tls_cert = cert, tls_key = key, says = "127.0.0.1" }, -- another name than the certificate's
			{ tls_ca = ca, tls_server_name = "loki.test", says = "Loki answered 403" },
			{ tls_ca = ca, tls_cert = cert, tls_key = key, tls_server_name = "loki.test" },
			{ tls_verify = false, tls_cert = cert, tls_key = key },
		} do
			local opts = { url = url, labels = { app = "case" .. i }, linger = "0s", encoding = "json" }
			for k, v in pairs(case) do
				if k ~= "says" then opts[k] = v end
			end
			loki.forget()
			configure(opts)
			for n = 1, 300 do log.info("r" .. n, { pad = ("x"):rep(100) }) end -- more than nginx takes at once
			if case.says then
				local said
				for _ = 1, 200 do
					log.flush(0.05)
					said = stats().last_error
					if said then break end
				end
				assert.is_truthy(said and said:find(case.says, 1, true), said)
				assert.are.equal(0, #loki.entries())
			else
				assert(log.flush(10), stats().last_error)
				assert.are.equal(300, #loki.entries())
				assert.are.equal(0, stats().dead_letters)
			end
			log.close(0)
		end
	end)
end)
