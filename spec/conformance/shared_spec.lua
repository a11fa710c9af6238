-- The conformance suite over the shared provider: each cache gets a zone, and so a segment, of its own.
local targets = require("spec.conformance.targets")

local zones = 0
targets.run("shared", function()
	zones = zones + 1
	return { provider = "shared", zone = "conformance-" .. zones }
end, true)
