--- health() of providers and caches: one ping, and what it tells.
local core = require("zbz.core")

local SLOW = 1 -- seconds

--- { status = "healthy"|"degraded"|"unhealthy", message, latency (seconds), version, provider, metrics }
return function(x)
	local began = core.mono()
	local ok, err = x:ping()
	local out = { provider = x:provider_name(), latency = (core.mono() - began) / 1000 }
	if not ok then
		out.status, out.message, out.error = "unhealthy", tostring(err), err
		return out
	end
	out.version = x:version()
	out.metrics = x:stats()
	if out.latency > SLOW then
		out.status, out.message = "degraded", ("the ping took %.3f s"):format(out.latency)
	else
		out.status, out.message = "healthy", "answers"
	end
	return out
end
