-- The conformance suite over the memory provider: every eviction policy, bare and behind the fault layer.
local targets = require("spec.conformance.targets")

targets.run("memory", function() return { provider = "memory" } end, true)
for _, policy in ipairs({ "lru", "lfu", "ttl", "sieve", "tinylfu" }) do
	targets.run("memory " .. policy, function() return { provider = "memory", eviction = policy } end, true)
end
targets.run("memory size aware", function() return { provider = "memory", size_aware = true } end, true)
targets.run("ristretto", function() return { provider = "ristretto" } end, true)
