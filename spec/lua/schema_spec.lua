-- Schemas: types, paths, rules, renames.
local zbz = require("zbz")

local function check(schema, v)
	local ok, err = zbz.schema(schema):check(v)
	if ok then return true end
	assert.are.equal("type_mismatch", err.code)
	assert.is_truthy(err.message:find(err.field ~= "" and err.field or "the value", 1, true))
	return nil, err.field, err.message
end
local function good(schema, v) assert.is_true(check(schema, v)) end
local function bad(schema, v, field)
	local ok, where = check(schema, v)
	assert.is_nil(ok)
	assert.are.equal(field, where)
end

describe("a schema", function()
	it("knows types", function()
		local all = { string = "x", integer = 5, number = 1.5, boolean = false, table = {} }
		for name in pairs(all) do
			for other, v in pairs(all) do
				local fits = name == other or (name == "number" and other == "integer")
				if fits then good({ f = name }, { f = v }) else bad({ f = name }, { f = v }, "f") end
			end
			good({ f = name .. "?" }, {})
			bad({ f = name }, {}, "f")
		end
		good({ f = "any" }, { f = 1 })
		good({ f = "any" }, {})
		bad({ f = "integer" }, { f = 1.5 }, "f")
		bad({ f = "integer" }, { f = 0 / 0 }, "f")
		bad({ f = "integer" }, { f = math.huge }, "f")
		good({ f = "integer" }, { f = 2 ^ 53 })
		bad({ f = "string" }, { f = zbz.null }, "f")
		good({ f = "string?" }, { f = zbz.null })
		good("integer", 5)
		bad("integer", "5", "")
	end)
	it("tells the path of the wrong value", function()
		local s = { user = { address = { street = "string", zip = "string?" } }, tags = { "string" }, rows = { { id = "integer" } },
			map = { ["*"] = "number" }, deep = { ["*"] = { { n = "integer" } } } }
		local function record(change)
			local r = { user = { address = { street = "s" } }, tags = { "a", "b" }, rows = { { id = 1 } }, map = { x = 1 },
				deep = { k = { { n = 1 } } } }
			change(r)
			return r
		end
		good(s, record(function() end))
		bad(s, record(function(r) r.user.address.street = nil end), "user.address.street")
		bad(s, record(function(r) r.user.address = "x" end), "user.address")
		bad(s, record(function(r) r.tags[2] = 7 end), "tags[2]")
		bad(s, record(function(r) r.tags.x = "y" end), "tags")
		bad(s, record(function(r) r.tags = "a,b" end), "tags")
		bad(s, record(function(r) r.rows[1].id = "1" end), "rows[1].id")
		bad(s, record(function(r) r.rows[2] = {} end), "rows[2].id")
		bad(s, record(function(r) r.map.y = "no" end), "map.y")
		bad(s, record(function(r) r.deep.k[1].n = 1.5 end), "deep.k[1].n")
		bad(s, record(function(r) r.other = 1 end), "other")
		bad(s, 5, "")
	end)
	it("lets other fields through where it says so", function()
		good({ id = "integer", ["*"] = "any" }, { id = 1, more = {}, some = "x" })
		bad({ id = "integer", ["*"] = "string" }, { id = 1, more = {} }, "more")
	end)
	it("has rules", function()
		local t = {
			{ { "integer", min = 1, max = 5 }, { 1, 3, 5 }, { 0, 6 } },
			{ { "number", min = 0.5 }, { 0.5 }, { 0.4 } },
			{ { "string", min = 2, max = 3 }, { "ab", "abc" }, { "a", "abcd", "" } },
			{ { "string", len = 2 }, { "ab" }, { "abc" } },
			{ { "string", required = true }, { "x" }, { "" } },
			{ { "string", oneof = { "a", "b" } }, { "a", "b" }, { "c", "" } },
			{ { "integer", oneof = { 1, 2 } }, { 1 }, { 3 } },
			{ { "string", pattern = "^%u%d+$" }, { "A1" }, { "a1", "A" } },
			{ { "string", email = true }, { "a@b.org", "first.last+tag@sub.example.com" },
				{ "", "a", "a@b", "a@@b.org", "a b@c.org", ".a@b.org", "a..b@c.org", "a@-b.org", "a@b..org" } },
			{ { "string", rule = "email" }, { "a@b.org" }, { "x" } },
			{ { "string", url = true }, { "http://a.org", "https://u:p@a.org:80/x?y#z", "redis://localhost", "http://[::1]:80/" },
				{ "", "a.org", "http://", "http://a b", "://x", "http://a:b" } },
			{ { "string", uuid = true }, { "123e4567-e89b-12d3-a456-426614174000" },
				{ "123e4567e89b12d3a456426614174000", "123e4567-e89b-12d3-a456-42661417400g", "" } },
			{ { "string", card = true }, { "4111 1111 1111 1111", "5500-0000-0000-0004" }, { "4111111111111112", "1", "" } },
			{ { "string", ssn = true }, { "123-45-6789" }, { "000-45-6789", "666-45-6789", "900-45-6789", "123-00-6789", "123-45-0000", "x" } },
			{ { "string", phone = true }, { "+49 (30) 1234-567", "5551234" }, { "12", "abc", "+49x1234567" } },
			{ { "string", rule = { "required", "email" } }, { "a@b.org" }, { "" } },
			{ { { "integer", min = 5 }, min = 1, max = 2 }, { { 5 }, { 5, 6 } }, { {}, { 4 }, { 5, 6, 7 } } },
			{ { { "integer" } }, { { { 1 }, { 2, 3 } } }, { { 1 }, { { "x" } } } },
			{ { "string", array = true, len = 1 }, { { "a" } }, { {}, { "a", "b" }, { 1 } } },
			{ { "string?", min = 2 }, { "ab" }, { "a" } },
		}
		for i, row in ipairs(t) do
			for _, v in ipairs(row[2]) do
				local ok, _, text = check({ f = row[1] }, { f = v })
				assert.is_true(ok, ("row %d should take %s: %s"):format(i, tostring(v), tostring(text)))
			end
			for _, v in ipairs(row[3]) do
				assert.is_nil((check({ f = row[1] }, { f = v })), ("row %d should refuse '%s'"):format(i, tostring(v)))
			end
		end
		good({ f = { "string?", min = 2 } }, {})
		good({ f = { "string", optional = true } }, {})
	end)
	it("takes rules of one's own", function()
		zbz.schema.rule("even", function(v, arg) return v % (arg == true and 2 or arg) == 0, "must be even" end)
		good({ f = { "integer", even = true } }, { f = 4 })
		bad({ f = { "integer", even = true } }, { f = 3 }, "f")
		bad({ f = { "integer", even = 5 } }, { f = 3 }, "f")
		good({ f = { "integer", even = false } }, { f = 3 })
		assert.has_error(function() zbz.schema.rule("optional", print) end)
		assert.has_error(function() zbz.schema.rule("x", 5) end)
	end)
	it("is refused when it makes no sense, saying where", function()
		local function refused(spec, text)
			local ok, err = pcall(zbz.schema, spec)
			assert.is_false(ok)
			assert.is_truthy(tostring(err):find(text, 1, true), tostring(err))
		end
		refused({ a = "strng" }, "did you mean 'string'")
		refused({ a = { b = "int?x" } }, "a.b")
		refused({ a = { "integer", mni = 1 } }, "did you mean 'min'")
		refused({ a = { "integer", min = "x" } }, "min")
		refused({ a = { "string", oneof = 5 } }, "oneof")
		refused({ a = { "string", pattern = "%" } }, "pattern")
		refused({ a = 5 }, "a")
		refused({ [5] = "integer" }, "field names")
		refused({ a = { "x", "integer" }, b = { "x", "integer" } }, "stored as 'x'")
		refused(5, "expects")
		local deep = "integer"
		for _ = 1, 40 do deep = { a = deep } end
		refused(deep, "deeper")
		local c = assert(zbz.cache.new{ provider = "memory" })
		assert.has_error(function() c:table("t", { schema = { a = "strng" } }) end)
		c:close()
	end)
	it("renames fields between Lua and the store", function()
		local c = assert(zbz.cache.new{ provider = "memory" })
		local User = zbz.schema("User", { ID = { "id", "integer" }, Name = { "name", "string", min = 1 }, Email = { "email", "string?" },
			Tags = { "tags", { "string" }, max = 2 }, Home = { "home", { Street = { "street", "string" } } } })
		local t = c:table("users", { schema = User })
		local ann = { ID = 1, Name = "Ann", Tags = { "a" }, Home = { Street = "Main" } }
		assert.is_true(t:set("1", ann))
		assert.are.same({ ID = 1, Name = "Ann", Tags = { "a" }, Home = { Street = "Main" } }, ann)
		local plain = c:table("check", { serializer = "json" })
		plain:set_raw("1", t:get_raw("1"))
		assert.are.same({ id = 1, name = "Ann", tags = { "a" }, home = { street = "Main" } }, plain:get("1"))
		assert.are.same(ann, t:get("1"))
		local _, err = t:set("1", { ID = 1, Name = "", Tags = {}, Home = { Street = "x" } })
		assert.are.equal("Name", err.field)
		_, err = t:set("1", { ID = 1, Name = "x", Tags = { "a", "b", "c" }, Home = { Street = "x" } })
		assert.are.equal("Tags", err.field)
		c:close()
	end)
	it("reads what a newer program wrote, and gives integers back", function()
		local c = assert(zbz.cache.new{ provider = "memory" })
		local t = c:table("t", { schema = { id = "integer", list = { "integer" } }, serializer = "cjson" })
		t:set_raw("k", '{"id":5,"list":[1,2],"added_later":true}')
		local v = t:get("k")
		assert.are.equal(true, v.added_later)
		if math.type then
			assert.are.equal("integer", math.type(v.id))
			assert.are.equal("integer", math.type(v.list[2]))
		end
		local _, err = t:set("k", v)
		assert.are.equal("added_later", err.field)
		c:close()
	end)
	it("takes a compiled schema inside another, and under another name", function()
		local Address = zbz.schema("Address", { street = "string" })
		local s = zbz.schema("User", { home = Address, more = { Address } })
		assert.is_true(s:check({ home = { street = "x" }, more = { { street = "y" } } }))
		local _, err = s:check({ home = {}, more = {} })
		assert.are.equal("home.street", err.field)
		assert.is_truthy(err.message:find("User", 1, true))
		assert.are.equal("Place", zbz.schema("Place", Address).name)
		assert.is_true(zbz.schema.is(s))
	end)
end)
