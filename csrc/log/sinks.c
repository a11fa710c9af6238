/* Which sinks there are. */
#include "sinks.h"

#include "core/registry.h"

static const void *const built_in[] = {
	&zbz_sink_file, &zbz_sink_console, &zbz_sink_memory, &zbz_sink_null,    &zbz_sink_tcp,
	&zbz_sink_udp,  &zbz_sink_unix,    &zbz_sink_syslog, &zbz_sink_storage, NULL
};

static void head(const void *table, zbz_ops_head *out) {
	const zbz_sink_ops *ops = table;
	*out = (zbz_ops_head){ ops->name, ops->aliases, NULL, true };
	out->complete = ops->open != NULL && ops->close != NULL && ops->write != NULL && ops->options != NULL &&
	                (ops->mark == NULL) == (ops->landed == NULL) && (ops->identity != NULL || ops->terminal);
}

static const zbz_plugin_info plugins[] = { { "loki", NULL, "libcurl4 and libsnappy1v5" }, { NULL, NULL, NULL } };

static zbz_family sinks = { .noun = "sink",
	                        .asked = "output",
	                        .option = "type",
	                        .door = "zbz_sink_plugin",
	                        .head = head,
	                        .built_in = built_in,
	                        .plugins = plugins };

zbz_status zbz_sink_register(const zbz_sink_ops *ops, zbz_err *err) { return zbz_family_register(&sinks, ops, err); }

zbz_status zbz_sink_find(const char *type, const zbz_sink_ops **ops, zbz_err *err) {
	const void *table;
	zbz_status status = zbz_family_find(&sinks, type, &table, err);
	*ops = table;
	return status;
}

const char *zbz_sink_name_at(size_t index) { return zbz_family_name_at(&sinks, index); }
