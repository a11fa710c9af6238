-- Memory inside nginx workers: shared against ngx.shared.DICT, the L1 against lua-resty-lrucache and against decoding; one worker, and
-- two at once. The loops run in init_worker (loops.lua). Usage: lua5.4 spec/bench/nginx/workers.lua [workers [part of a title]]
local nginx = require("spec.services.nginx")
local proc = require("spec.services.proc")

local function run(workers)
	local dir = proc.folder()
	local file = dir .. "/result"
	local web = nginx.start{ workers = workers, log = "warn", init = [[ loops = require("spec.bench.nginx.loops"); loops.init() ]],
		http = ([[lua_shared_dict bench 48m; lua_shared_dict board 1m;
			init_worker_by_lua_block { loops.run("%s", "%s") }]]):format(file, arg[2] or "") }
	local done = proc.wait_until("test -e " .. file, 280)
	local text = done and proc.output("cat " .. file) or ""
	local log = web.log()
	proc.stop(web.pid)
	web.stop()
	proc.remove(dir)
	assert(done, "no result: " .. log)
	local base
	for line in text:gmatch("[^\n]+") do
		local name, ns = line:match("^\t(.-)\t([%d.]+)$")
		if not name then
			print(("\n%s (%d worker%s)"):format(line, workers, workers > 1 and "s at once" or ""))
			base = nil
		else
			base = base or tonumber(ns)
			print(("  %-52s %9.1f ns   %6.2fx as fast"):format(name, tonumber(ns), base / tonumber(ns)))
		end
	end
	io.stdout:flush()
end

for _, workers in ipairs(arg[1] and { math.tointeger(tonumber(arg[1])) } or { 1, 2 }) do run(workers) end
