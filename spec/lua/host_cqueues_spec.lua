-- The cqueues host over a real Redis.
require("spec.lua.host_loops").describe("cqueues", require("spec.lua.host_cases"))
