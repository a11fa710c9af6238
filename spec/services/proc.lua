-- Real servers for the tests: free ports, processes with a recorded pid, readiness awaited by connecting, never by sleeping.
-- Plain Lua 5.4 / LuaJIT over /bin/sh and bash's /dev/tcp; nothing else is needed.
local proc = {}

local function quote(s) return "'" .. tostring(s):gsub("'", "'\\''") .. "'" end

--- What a shell command prints, without the last newline; second result: did it end with status 0.
function proc.output(cmd)
	local p = assert(io.popen(cmd))
	local out = p:read("*a") or ""
	local ok = p:close()
	return (out:gsub("\n$", "")), ok == true or ok == 0
end

local function run(cmd)
	local r = os.execute(cmd)
	return r == true or r == 0
end

--- Is something listening on 127.0.0.1:port?
function proc.listening(port)
	return run(("bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d' 2>/dev/null"):format(port))
end

local last = 0
--- A port nobody listens on, below those the kernel gives to clients (one that a client has just left cannot be bound). Candidates are
--- spread by process and time, so that suites side by side do not collide.
function proc.free_port()
	if last == 0 then last = 20000 + (tonumber((proc.output("echo $$"))) * 37 + os.time()) % 12000 end
	repeat last = last < 32700 and last + 1 or 20000 until not proc.listening(last)
	return last
end

--- What is in a file; nil when there is none.
function proc.read(path)
	local f = io.open(path)
	if not f then return nil end
	local text = f:read("*a")
	f:close()
	return text
end

--- A temporary folder that tests may fill; remove it with proc.remove.
function proc.folder() return (proc.output("mktemp -d /tmp/zbz-test-XXXXXX")) end
function proc.remove(dir)
	assert(dir:match("^/tmp/zbz%-test%-%w+$"), "not a folder of ours: " .. dir)
	run("rm -rf " .. quote(dir))
end

--- When the process with this number began, in the kernel's ticks; nil when there is none.
local function birth(pid)
	local f = io.open(("/proc/%d/stat"):format(pid))
	local line = f and f:read("*a")
	if f then f:close() end
	return line and line:match("%) (.*)$"):match(("%S+ "):rep(19) .. "(%S+)")
end

local born = {} -- pid -> birth: a number goes to somebody else soon after its process has ended, to a server of another suite even

--- Is it the process that was started here under this number, or one that was not started here?
local function is_meant(pid) return born[pid] == nil or born[pid] == birth(pid) end

--- Starts argv in the background, its output in logfile. It dies with the shell's session only when told: keep the pid.
function proc.spawn(argv, logfile)
	local words = {}
	for i, w in ipairs(argv) do words[i] = quote(w) end
	local cmd = ("exec %s >%s 2>&1 </dev/null & echo $!"):format(table.concat(words, " "), quote(logfile or "/dev/null"))
	local pid = assert(tonumber((proc.output(cmd))), "no pid for " .. argv[1])
	born[pid] = birth(pid) or "gone"
	return pid
end

--- Sends a signal by name (KILL, STOP, CONT, TERM). True when the process existed.
function proc.signal(pid, name) return is_meant(pid) and run(("kill -%s %d 2>/dev/null"):format(name, pid)) end
function proc.alive(pid) return proc.signal(pid, "0") end

--- Waits until the shell test succeeds, retrying inside one shell with a short pause; false after the deadline (seconds).
function proc.wait_until(test, deadline)
	return run(("timeout %d bash -c 'until %s; do sleep 0.02; done' 2>/dev/null"):format(deadline or 10, (test:gsub("'", "'\\''"))))
end
function proc.wait_port(port, deadline)
	return proc.wait_until(("(exec 3<>/dev/tcp/127.0.0.1/%d) 2>/dev/null"):format(port), deadline)
end

--- Stops a process (SIGSTOP) and returns when every thread of it stands still; the signal alone takes its time.
function proc.pause(pid)
	proc.signal(pid, "STOP")
	return proc.wait_until(("! grep -L ^State:.T /proc/%d/task/*/status | grep -q ."):format(pid), 5)
end
--- Ends a process at once, as a crash would, and waits until it is gone; where init is slow to reap, as a zombie.
function proc.kill(pid)
	if not proc.signal(pid, "KILL") then return true end
	return proc.wait_until(("{ ! kill -0 %d || grep -q ^State:.Z /proc/%d/status; } 2>/dev/null"):format(pid, pid), 5)
end

--- Ends a process and waits until it is gone: TERM, and KILL when it does not listen within five seconds.
function proc.stop(pid)
	proc.signal(pid, "CONT")
	if not proc.signal(pid, "TERM") then return end
	if not proc.wait_until(("! kill -0 %d 2>/dev/null"):format(pid), 5) then
		proc.signal(pid, "KILL")
		proc.wait_until(("! kill -0 %d 2>/dev/null"):format(pid), 5)
	end
end

return proc
