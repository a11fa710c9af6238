--- zbz log recover OUTPUT [OPTION=VALUE ...]: writes what dead processes of an output have left in their rings. For the user that logged.
local cli = require("zbz.cli")

local USAGE = [[
usage: zbz log recover OUTPUT [OPTION=VALUE ...]
  OUTPUT   a path, or file:PATH, or the type of an output whose options follow
  OPTION   of the output, as it was configured (ring=/var/lib/rings rotate_size=100MB ...); deadline=60s]]

local function recover(args)
	local log = require("zbz.log")
	local spec, deadline = { type = args[1] }, "60s"
	local path = args[1]:match("^file:(.+)$") or args[1]:find("[/%.]") and args[1]
	if path then spec = { type = "file", path = path } end
	for i = 2, #args do
		local name, value = args[i]:match("^([%w_]+)=(.*)$")
		if not name then return cli.usage("zbz log recover: '" .. args[i] .. "' is no OPTION=VALUE\n" .. USAGE) end
		if name == "deadline" then deadline = value else spec[name] = value end
	end
	local fine, n, err = pcall(log.recover, spec, deadline)
	if not fine or not n then
		io.stderr:write("zbz log recover: ", tostring(fine and err or n), "\n")
		return cli.FAILED
	end
	print(("%d record%s recovered"):format(n, n == 1 and "" or "s"))
	return cli.OK
end

return function(args)
	if args[1] ~= "recover" or not args[2] then return cli.usage(USAGE) end
	return recover({ (table.unpack or unpack)(args, 2) }) -- luacheck: ignore 113
end
