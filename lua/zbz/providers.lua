--- The names of providers: those in C, those that programs register, and how a description becomes an open provider.
local core = require("zbz.core")
local E = require("zbz.error")
local LuaProvider = require("zbz.lua_provider")
local O = require("zbz.options")
local P = require("zbz.provider")

local M = {}

local registered = {} -- name -> { factory, options = set or nil }
local RESERVED = { key_prefix = true, deadline = true, clock = true, provider = true }

--- Makes a provider written in Lua known by name. factory(opts) returns its table of methods, or nil, err.
--- options: the list of option names it takes; others then raise. Without the list every option passes.
---@param name string
---@param factory fun(opts: table): table?, any
---@param options string[]?
---@return boolean?, zbz.Error?
function M.register(name, factory, options)
	if type(name) ~= "string" or not name:match("^[%w_%-]+$") then
		error("zbz: register_provider: the name must be text of letters, digits, _ and -", 3)
	end
	if type(factory) ~= "function" then error("zbz: register_provider: expects a function that returns the provider", 3) end
	for _, info in ipairs(core.providers()) do
		if info.name == name then return E.fail("invalid_config", ("provider '%s' exists already"):format(name), { provider = name }) end
	end
	local known
	if options then
		known = {}
		for _, option in ipairs(options) do known[option] = true end
	end
	registered[name] = { factory = factory, options = known }
	return true
end

--- All names that can be asked for, sorted.
---@return string[]
function M.names()
	local names = {}
	for _, info in ipairs(core.providers()) do names[#names + 1] = info.name end
	for name in pairs(registered) do names[#names + 1] = name end
	table.sort(names)
	return names
end

--- { name=, layer=, summary=, options={...} } of one provider; nil, err.
---@return table?, zbz.Error?
function M.info(name)
	if type(name) ~= "string" then error("zbz: a provider's name must be a string, got " .. type(name), 3) end
	local mine = registered[name]
	if mine then
		local options = {}
		for option in pairs(mine.options or {}) do options[#options + 1] = { name = option } end
		return { name = name, layer = false, summary = "written in Lua", options = options, lua = true, open = mine.options == nil }
	end
	local info, err = core.provider_info(name)
	if info then return info end
	if E.is(err) and err.code == "unknown_provider" then
		return E.fail("unknown_provider", O.unknown("provider", name, M.names()), { provider = name })
	end
	return nil, err
end

--- Looks for a provider that is not known yet: a plug-in in C, or the module zbz.providers.NAME (Lua or C), which registers
--- itself or returns its factory.
---@param name string
---@return boolean?, zbz.Error?
function M.load(name)
	if type(name) ~= "string" or not name:match("^[%w_%-]+$") then error("zbz: load_provider: expects a name", 3) end
	if registered[name] then return true end
	local info, err = core.provider_info(name)
	if info then return true end
	if err.code ~= "unknown_provider" then return nil, err end
	local module = "zbz.providers." .. name
	local ok, got = pcall(require, module)
	if not ok then
		local text = tostring(got)
		if text:find("module '" .. module .. "' not found", 1, true) then
			return E.fail("unknown_provider", O.unknown("provider", name, M.names()) .. "; there is no module " .. module, { provider = name })
		end
		return E.fail("unavailable", ("module %s failed to load: %s"):format(module, E.line(text, 300)), { provider = name, cause = got })
	end
	if type(got) == "function" then return M.register(name, got) end
	if type(got) == "table" and type(got.get) == "function" then return M.register(name, function() return got end) end
	if type(got) == "table" and type(got.factory) == "function" then return M.register(name, got.factory, got.options) end
	if registered[name] then return true end
	info = core.provider_info(name)
	if info then return true end
	return E.fail("unknown_provider", ("module %s neither returns nor registers a provider"):format(module), { provider = name })
end

-- ---- descriptions ------------------------------------------------------------------------------------------------------

--- "redis://host/1", "memory:", "file:/var/cache": the provider's name and the options in it. nothing when it is no URL.
local function from_url(text)
	local scheme = text:match("^(%a[%w%+%.%-]*):")
	if not scheme then return nil end
	local info = (registered[scheme] and { name = scheme }) or (not core.scheme(scheme) and core.provider_info(scheme))
	local name = core.scheme(scheme) or (info and info.name)
	if not name then
		return E.fail("unknown_provider", O.unknown("URL scheme", scheme, M.names()), { provider = scheme })
	end
	local err
	info, err = M.info(name)
	if not info then return nil, err end
	local opts = {}
	for _, option in ipairs(info.options) do
		if option.name == "url" then return name, { url = text } end
	end
	local uri, wrong = core.uri(text)
	if not uri then return nil, wrong end
	for option, value in pairs(uri.query or {}) do opts[option] = value end
	for _, option in ipairs(info.options) do
		if (option.name == "base_dir" or option.name == "db_path" or option.name == "dir") and uri.path and uri.path ~= "" then
			opts[option.name] = uri.path
		end
	end
	return name, opts
end

--- A name or URL and its options: name, options; nil, err.
local function describe(spec, opts)
	if spec:find(":", 1, true) then
		local name, found = from_url(spec)
		if not name then
			return nil, found or E.new("invalid_config", "provider: neither a name nor a URL (scheme://...)", { option = "provider" })
		end
		return name, setmetatable(found, nil), opts
	end
	return spec, {}, opts
end

--- Option names that `name` takes, as a set; nil when it takes any.
function M.option_names(name)
	local info, err = M.info(name)
	if not info then return nil, err end
	local known = {}
	if info.open then return nil, nil, info end
	for _, option in ipairs(info.options) do
		known[option.name] = option
		if option.alias then known[option.alias] = option end
	end
	return known, nil, info
end

--- Raises for an option that is neither in `known` nor in `ours`.
local function check(opts, known, ours, what, level)
	local allowed = {}
	for option in pairs(ours) do allowed[option] = true end
	for option in pairs(known) do allowed[option] = true end
	O.check(opts, allowed, what, level + 1)
end

--- Nested configurations and provider objects inside the options of a layer, as the core wants them. path: "multitier: ".
local function nested(opts, known, path, level)
	local out = {}
	for name, v in pairs(opts) do
		if type(v) == "string" and known and known[name] and known[name].type == "store" then
			local inner, found = describe(v, {})
			if not inner then return nil, found end
			found.provider = inner
			v = found
		end
		if P.is(v) then
			if v.lua then
				return E.fail("unsupported", ("%s: a provider written in Lua cannot stand under a layer in C"):format(name), { option = name })
			end
			if v.closed then return E.fail("closed", ("%s: that provider is closed"):format(name), { option = name }) end
			out[name] = v.store
		elseif type(v) == "table" and v.provider ~= nil then
			local provider = type(v.provider) == "string" and v.provider or ""
			local way, takes = path .. name .. ": ", M.option_names(provider)
			if takes then check(v, takes, { provider = true }, way .. ("provider '%s'"):format(provider), level + 1) end
			local inner, err = nested(v, takes, way .. provider .. ": ", level + 1)
			if not inner then return nil, err end
			out[name] = inner
		else
			out[name] = v
		end
	end
	return out
end

local function open_lua(name, entry, opts, clock)
	local ok, impl, err = pcall(entry.factory, opts)
	if not ok then
		return E.fail("invalid_config", ("provider '%s': its factory failed: %s"):format(name, E.line(impl, 300)),
			{ provider = name, cause = impl })
	end
	if impl == nil then return nil, E.wrap(err, "invalid_config", { provider = name }) end
	return LuaProvider.open(name, impl, opts, clock)
end

--- Opens a provider by name or URL. Unknown options raise at `level`.
---@param spec string|zbz.Provider|table
---@return zbz.Provider?, zbz.Error?
function M.open(spec, opts, level)
	if P.is(spec) then
		if spec.closed then return E.fail("closed", "that provider is closed", { provider = spec.name_ }) end
		return spec
	end
	if type(spec) == "table" and (spec.provider or spec.type) then
		local inner = O.copy(spec, { provider = true, type = true, config = true })
		for name, v in pairs(spec.config or spec.settings or {}) do inner[name] = v end
		inner.settings = nil
		return M.open(spec.provider or spec.type, inner, level) -- a tail call: no level between
	end
	if type(spec) ~= "string" then error("zbz: a provider is a name, a URL or a provider object, got " .. type(spec), level + 1) end
	local name, found = describe(spec, opts)
	if not name then return nil, found end
	for option, v in pairs(opts or {}) do found[option] = v end
	local known, err, info = M.option_names(name)
	if not info then return nil, err end
	if known then check(found, known, RESERVED, ("provider '%s'"):format(name), level + 1) end
	local mine = registered[name]
	if not mine then
		found, err = nested(found, known, name .. ": ", level + 1)
		if not found then return nil, err end
	end
	local made, wrong = P.open(function(own)
		if mine then return open_lua(name, mine, own, found.clock) end
		own.provider = name
		local store, refused = core.open_store(own, found.clock)
		if not store then refused.op = nil end -- the caller's name for it follows
		return store, refused
	end, found, level + 1)
	return made, wrong
end

return M
