--- require("zbz.providers.redis"): makes sure that the provider is loaded; nil, err from load_provider otherwise raises.
assert(require("zbz.cache").load_provider("redis"))
return true
