-- A real nginx with the lua module, on a free port, from its own folder.
--   local web = require("spec.services.nginx").start{ lua_path=, workers=1, init="lua text", server="locations" }
--   web.port .pid .dir   web.get("/path") -> status, body, headers   web.reload{...} .stop() .errors()
local proc = require("spec.services.proc")

local nginx = {}

local MODULES = "/usr/lib/nginx/modules"

--- Is there an nginx that speaks Lua? false and what is missing.
function nginx.available()
	if select(2, proc.output("command -v nginx")) and proc.output("ls " .. MODULES .. "/ngx_http_lua_module.so 2>/dev/null") ~= "" then
		return true
	end
	return false, "nginx with libnginx-mod-http-lua is not installed"
end

local function pwd() return (proc.output("pwd")) end

local function configuration(self, opts)
	local root = pwd()
	local user = proc.output("id -u") == "0" and ("user %s;"):format(opts.user or "root") or ""
	return ([[
%s
daemon %s;
master_process %s;
worker_processes %d;
worker_shutdown_timeout 20s;
pid %s/pid;
error_log %s/error.log %s;
load_module %s/ndk_http_module.so;
load_module %s/ngx_http_lua_module.so;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path %s/body; proxy_temp_path %s/proxy; fastcgi_temp_path %s/fastcgi;
	uwsgi_temp_path %s/uwsgi; scgi_temp_path %s/scgi;
	lua_package_path "%s/lua/?.lua;%s/lua/?/init.lua;%s/?.lua;;";
	lua_package_cpath "%s/%s/luajit/?.so;;";
	%s
	init_by_lua_block { %s }
	server {
		listen 127.0.0.1:%d backlog=1024;
		location = /alive { return 200 "alive"; }
		%s
	}
}
]]):format(user, opts.daemon or "on", opts.master or "on", opts.workers or 1, self.dir, self.dir, opts.log or "info",
		MODULES, MODULES,
		self.dir, self.dir, self.dir, self.dir, self.dir, root, root, root, root, os.getenv("B") or "build", opts.http or "",
		opts.init or "", self.port, opts.server or "")
end

local function write(path, text)
	local f = assert(io.open(path, "w"))
	f:write(text)
	f:close()
end

local function read(path) return proc.read(path) or "" end

-- A port that was free a moment ago may be taken: then another one.
local function launch(self, opts)
	local out, ok
	for _ = 1, 5 do
		self.port = proc.free_port()
		write(self.conf, configuration(self, opts))
		out, ok = proc.output(("nginx -p %s -c %s -e %s/error.log 2>&1"):format(self.dir, self.conf, self.dir))
		if ok and proc.wait_port(self.port, 10) then return end
		if not out:find("Address already in use", 1, true) then break end
		write(self.dir .. "/error.log", "")
	end
	error("nginx does not start: " .. out .. read(self.dir .. "/error.log"))
end

function nginx.start(opts)
	local self = { dir = proc.folder() }
	proc.output("mkdir -p " .. self.dir .. "/logs; chmod 755 " .. self.dir)
	self.conf = self.dir .. "/nginx.conf"
	launch(self, opts)
	self.url = "http://127.0.0.1:" .. self.port
	self.pid = tonumber(read(self.dir .. "/pid"):match("%d+"))

	--- GET: status, body, all of the headers as text.
	function self.get(path, seconds)
		local text = proc.output(("curl -s -m %s -i '%s%s'"):format(seconds or 10, self.url, path))
		local head, body = text:match("^(.-)\r?\n\r?\n(.*)$")
		return tonumber((head or ""):match("^HTTP/%S+ (%d+)")), body, head
	end
	--- n GETs at once; the list of bodies.
	function self.many(n, path)
		local list = proc.output(([[seq %d | xargs -P %d -I{} sh -c 'b=$(curl -s -m 15 "%s%s"); echo "$b"']]):format(n, n, self.url, path))
		local bodies = {}
		for line in list:gmatch("[^\n]+") do bodies[#bodies + 1] = line end
		return bodies
	end
	function self.workers()
		local list = {}
		for pid in proc.output("pgrep -P " .. self.pid):gmatch("%d+") do list[#list + 1] = tonumber(pid) end
		return list
	end
	--- HUP; with options: of a configuration that has other ones.
	function self.reload(changed)
		for name, v in pairs(changed or {}) do opts[name] = v end
		if changed then write(self.conf, configuration(self, opts)) end
		return proc.signal(self.pid, "HUP")
	end
	--- Lines of the error log at [error] and above.
	function self.errors()
		local bad = {}
		for line in read(self.dir .. "/error.log"):gmatch("[^\n]+") do
			if line:find("%[error%]") or line:find("%[crit%]") or line:find("%[alert%]") or line:find("%[emerg%]") then bad[#bad + 1] = line end
		end
		return bad
	end
	function self.log() return read(self.dir .. "/error.log") end
	function self.stop()
		if not self.dir then return end
		proc.stop(self.pid)
		proc.remove(self.dir)
		self.dir = nil
	end
	return self
end

return nginx
