-- Runs a command with servers around it: lua5.4 spec/services/with.lua redis memcached -- COMMAND ...
-- Sets REDIS_URL and MEMCACHED_SERVERS for it, stops the servers whatever happens, ends with the command's status.
package.path = "./?.lua;" .. package.path

local started, exports, i = {}, {}, 1
while arg[i] and arg[i] ~= "--" do
	local server = require("spec.services." .. arg[i]).start()
	started[#started + 1] = server
	for name, value in pairs(server.env) do exports[#exports + 1] = ("export %s='%s';"):format(name, value) end
	i = i + 1
end
local words = {}
for k = i + 1, #arg do words[#words + 1] = "'" .. arg[k]:gsub("'", "'\\''") .. "'" end
local ok, _, code = os.execute(table.concat(exports, " ") .. " " .. table.concat(words, " "))
for _, server in ipairs(started) do server.stop() end
os.exit(ok == true and 0 or code or 1)
