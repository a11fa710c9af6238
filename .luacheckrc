std = "lua54+luajit"
max_line_length = 140
files["spec/**/*_spec.lua"] = { std = "+busted" }
files["spec/conformance"] = { std = "+busted" }
files["lua/zbz/types"] = { ignore = { "211", "212", "241", "111", "112", "131" } }
files["examples/openresty"] = { globals = { "ngx" } }
exclude_files = { "build" }
