-- The conformance suite over the filesystem provider.
local proc = require("spec.services.proc")
local targets = require("spec.conformance.targets")

local folders = {}
targets.run("filesystem", function()
	folders[#folders + 1] = proc.folder()
	return { provider = "filesystem", base_dir = folders[#folders] }
end, true)

describe("the folders of the suite", function()
	it("are removed", function()
		for _, dir in ipairs(folders) do proc.remove(dir) end
	end)
end)
