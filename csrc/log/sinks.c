/* Which sinks there are: built in, registered, or waiting in a plug-in. */
#include "sinks.h"

#include "base/nearest.h"
#include "core/registry.h"

#include <pthread.h>
#include <stdio.h>

static const zbz_sink_ops *const built_in[] = { &zbz_sink_file, &zbz_sink_console, &zbz_sink_memory, &zbz_sink_null,
	                                            &zbz_sink_storage };
#define BUILT_IN (sizeof built_in / sizeof *built_in)

#define ADDED_MAX 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const zbz_sink_ops *added[ADDED_MAX];
static size_t added_n;

static void enter(void) { pthread_mutex_lock(&lock); }
static void leave(void) { pthread_mutex_unlock(&lock); }

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(enter, leave, leave); }

static bool answers_to(const zbz_sink_ops *ops, const char *type) {
	return strcmp(ops->name, type) == 0 || zbz_words_have(ops->aliases, type);
}

/* Under the lock. */
static const zbz_sink_ops *loaded(const char *type) {
	for (size_t i = 0; i < BUILT_IN; i++)
		if (answers_to(built_in[i], type)) return built_in[i];
	for (size_t i = 0; i < added_n; i++)
		if (answers_to(added[i], type)) return added[i];
	return NULL;
}

static zbz_status check_ops(const zbz_sink_ops *ops, zbz_err *err) {
	if (ops->abi != ZBZ_ABI)
		return zbz_fail(err, ZBZ_E_ARGUMENT, "a sink was built for interface %d, this zbz has %d", ops->abi, ZBZ_ABI);
	if (ops->name == NULL || !zbz_provider_name_ok(ops->name))
		return zbz_fail(err, ZBZ_E_ARGUMENT, "a sink's name must be 1 to 23 of a-z 0-9 _");
	if (ops->open == NULL || ops->close == NULL || ops->write == NULL || ops->options == NULL ||
	    (ops->mark == NULL) != (ops->landed == NULL) || (ops->identity == NULL && !ops->terminal))
		return zbz_fail(err, ZBZ_E_ARGUMENT, "sink '%s' lacks a mandatory function or its options", ops->name);
	return ZBZ_OK;
}

/* Under the lock. */
static zbz_status add(const zbz_sink_ops *ops, zbz_err *err) {
	const zbz_sink_ops *other = loaded(ops->name);
	if (other == ops) return ZBZ_OK;
	if (other != NULL) return zbz_fail(err, ZBZ_E_ARGUMENT, "another sink is registered as '%s' already", ops->name);
	if (added_n == ADDED_MAX) return zbz_fail(err, ZBZ_E_ARGUMENT, "more than %d sinks", ADDED_MAX);
	added[added_n++] = ops;
	return ZBZ_OK;
}

zbz_status zbz_sink_register(const zbz_sink_ops *ops, zbz_err *err) {
	zbz_status status = check_ops(ops, err);
	if (status != ZBZ_OK) return status;
	enter();
	status = add(ops, err);
	leave();
	return status;
}

static zbz_status unknown(const char *type, zbz_err *err) {
	char list[200];
	const char *name, *best = "";
	size_t n = 0, least = SIZE_MAX;
	list[0] = '\0';
	for (size_t i = 0; (name = zbz_sink_name_at(i)) != NULL; i++) {
		size_t d = zbz_edit_distance(type, name);
		if (d < least) least = d, best = name;
		if (n < sizeof list) n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i > 0 ? ", " : "", name);
	}
	zbz_fail(err, ZBZ_E_UNKNOWN_PROVIDER, "unknown output '%.40s' (nearest: %s; known: %s)", type, best, list);
	if (err != NULL) snprintf(err->option, sizeof err->option, "type");
	return ZBZ_E_UNKNOWN_PROVIDER;
}

static zbz_status load(const char *type, const zbz_sink_ops **ops, zbz_err *err) {
	const void *table;
	zbz_status status = zbz_plugin_table(type, NULL, "zbz_sink_plugin", &table, err);
	if (status == ZBZ_MISS) return unknown(type, err);
	if (status != ZBZ_OK) return status;
	*ops = table;
	status = check_ops(*ops, err);
	if (status == ZBZ_OK && !answers_to(*ops, type))
		return zbz_fail(err, ZBZ_E_UNSUPPORTED, "the plug-in %s.so holds a sink called '%.23s'", type, (*ops)->name);
	if (status != ZBZ_OK) return status;
	enter();
	status = add(*ops, err);
	leave();
	return status;
}

zbz_status zbz_sink_find(const char *type, const zbz_sink_ops **ops, zbz_err *err) {
	enter();
	*ops = loaded(type);
	leave();
	if (*ops != NULL) return ZBZ_OK;
	return zbz_provider_name_ok(type) ? load(type, ops, err) : unknown(type, err);
}

const char *zbz_sink_name_at(size_t index) {
	const char *name = NULL;
	if (index < BUILT_IN) return built_in[index]->name;
	index -= BUILT_IN;
	enter();
	if (index < added_n) name = added[index]->name;
	leave();
	return name;
}
