/* Which cache providers there are. */
#include "built_in.h"

#include "registry.h"

static const void *const built_in[] = { &zbz_cache_memory,
	                                    &zbz_cache_ristretto,
	                                    &zbz_cache_filesystem,
	                                    &zbz_cache_shared,
	                                    &zbz_cache_multitier,
	                                    &zbz_cache_fault,
	                                    NULL };

static const zbz_plugin_info plugins[] = {
	{ "redis", "redis|rediss|redis+unix", "libhiredis0.14" },
	{ "memcached", "memcached", "libmemcached11" },
	{ NULL, NULL, NULL },
};

static void head(const void *table, zbz_ops_head *out) {
	const zbz_cache_ops *ops = table;
	*out = (zbz_ops_head){ ops->name, ops->aliases, ops->schemes, true };
	out->complete = ops->open != NULL && ops->close != NULL && ops->caps != NULL && ops->options != NULL &&
	                (ops->layer || (ops->get != NULL && ops->set != NULL && ops->del != NULL));
}

static zbz_family caches = { .noun = "provider",
	                         .asked = "provider",
	                         .door = "zbz_cache_plugin",
	                         .head = head,
	                         .built_in = built_in,
	                         .plugins = plugins };

zbz_status zbz_cache_register(const zbz_cache_ops *ops, zbz_err *err) { return zbz_family_register(&caches, ops, err); }

zbz_status zbz_cache_find(const char *name, const zbz_cache_ops **ops, zbz_err *err) {
	const void *table;
	zbz_status status = zbz_family_find(&caches, name, &table, err);
	*ops = table;
	return status;
}

const char *zbz_cache_scheme(const char *scheme) { return zbz_family_scheme(&caches, scheme); }
const char *zbz_cache_name_at(size_t index) { return zbz_family_name_at(&caches, index); }
