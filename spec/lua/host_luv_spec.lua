-- The luv host over a real Redis.
require("spec.lua.host_loops").describe("luv", require("spec.lua.host_cases"))
