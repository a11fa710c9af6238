-- Prints the README's option tables from what the providers declare, so that no default is written twice.
local core = require("zbz.core")
for _, p in ipairs(core.providers()) do
	local info = assert(core.provider_info(p.name))
	print(("**%s** %s\n"):format(info.name, info.summary or ""))
	print("| option | kind | default | |")
	print("|---|---|---|---|")
	for _, o in ipairs(info.options) do
		local name = o.alias and ("`%s` or `%s`"):format(o.name, o.alias) or ("`%s`"):format(o.name)
		local kind = o.choices and table.concat(o.choices, " \\| ") or o.type
		print(("| %s | %s | %s | %s |"):format(name, kind, o.default and ("`%s`"):format(o.default) or "", o.help or ""))
	end
	print()
end
