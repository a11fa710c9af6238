--- What a coroutine yields while it waits for another coroutine of the same Lua state. A scheduler that sees it
--- resumes the coroutine later; what it passes is ignored. Hosts for event loops replace it by their own parking.
return setmetatable({}, { __tostring = function() return "zbz.waiting" end, __name = "zbz.waiting" })
