-- The output `loki`: what is refused when it is configured. No server is asked.
local zbz = require("zbz")
local proc = require("spec.services.proc")
local log = zbz.log

describe("the output loki", function()
	local ring
	setup(function() ring = proc.folder() end)
	teardown(function()
		log.close()
		proc.remove(ring)
	end)
	local function output(opts)
		local spec = { type = "loki", url = "http://127.0.0.1:1", ring = ring, labels = { app = "spec" } }
		for k, v in pairs(opts) do spec[k] = v end
		return spec
	end

	local many = {}
	for i = 1, 13 do many["l" .. i] = "x" end
	for option, cases in pairs{
		url = { { url = false, says = "is needed" }, { url = "ftp://x", says = "http:// or https://" }, { url = "http://", says = "host" },
			{ url = "http://h/p?x=1", says = "query" }, { url = "http://u:sec\1ret@h:x", says = "malformed", hides = "ret" } },
		labels = {
			{ labels = many, says = "15 labels, Loki takes 14" },
			{ labels = { user_id = "7" }, says = "'user_id' has a value for every record" },
			{ labels = { ["trace-id"] = "7" }, says = "use metadata" }, { labels = { Request_ID = "7" }, says = "use metadata" },
			{ labels = { ["1a"] = "x" }, says = "'1a' is no name of a label" }, { labels = { ["a b"] = "x" }, says = "'a b' is no name" },
			{ labels = { __name__ = "x" }, says = "belong to Loki" }, { labels = { a = "" }, says = "the value of 'a' is empty" },
			{ labels = { a = "\255" }, says = "not UTF-8" }, { labels = { a = ("x"):rep(2049) }, says = "longer than 2048" },
			{ labels = { ["a.b"] = "x", ["a-b"] = "y" }, says = "the same name for Loki" },
			{ labels = { level = "x" }, says = "level is the record's" },
			{ labels = { logger = "x" }, says = "logger is the record's" }, { labels = { "novalue" }, says = "name=value" },
			{ labels = {}, level_as = "none", says = "at least one" }, { labels = { a = true }, says = "must be text, got boolean" },
		},
		tenant = { { tenant = "a\r\nX-Evil: 1", says = "control character" } },
		bearer_token = { { bearer_token = "a\nb", says = "control character" },
			{ bearer_token = "secret", username = "x", says = "username", hides = "secret" } },
		password = { { password = "secret", says = "goes with a username", hides = "secret" } },
		tls_ca = { { url = "https://h", tls_ca = "/nowhere/ca.pem", says = "/nowhere/ca.pem" } },
		tls_key = { { url = "https://h", tls_key = "/dev/null", says = "tls_cert" } },
		tls_server_name = { { tls_server_name = "x", says = "https://" } },
		encoding = { { encoding = "xml", says = "protobuf" } },
		metadata = { { metadata = { "a b" }, says = "no name that Loki takes" }, { metadata = { "1a" }, says = "'1a'" },
			{ metadata = { "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q" }, says = "at most 16" } },
	} do
		for i, case in ipairs(cases) do
			it(("refuses a wrong %s (%d): %s"):format(option, i, case.says), function()
				local opts = {}
				for k, v in pairs(case) do opts[k] = v end
				opts.says, opts.hides = nil, nil
				local spec = output(opts)
				if opts.url == false then spec.url = nil end
				local ok, err = log.configure{ outputs = { spec } }
				assert.is_nil(ok)
				assert.are.equal("invalid_config", err.code)
				assert.are.equal(option, err.option)
				assert.is_truthy(tostring(err):find(case.says, 1, true), tostring(err))
				if case.hides then assert.is_nil(tostring(err):find(case.hides, 1, true)) end
			end)
		end
	end

	it("names an unknown option", function()
		assert.has_error(function() error(select(2, log.configure{ outputs = { output{ lable = {} } } })) end)
	end)
end)
