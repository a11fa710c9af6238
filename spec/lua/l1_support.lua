-- What the specs of l1 share.
local zbz = require("zbz")

local M = {}

local serial = 0

--- A cache whose keys no other has.
function M.open(spec)
	serial = serial + 1
	local opts = { key_prefix = ("l1.%d:"):format(serial) }
	for k, v in pairs(spec) do opts[k] = v end
	return assert(zbz.cache.new(opts))
end

--- Twice: from the provider, then from here.
function M.warm(t, k)
	t:get(k)
	return t:get(k)
end

M.PROVIDERS = {
	memory = { provider = "memory" }, ristretto = { provider = "ristretto", max_cost = "1MB" },
	shared = { provider = "shared", size = "4MB", zone = "l1-spec" },
}

return M
