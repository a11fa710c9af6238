/* Which providers there are. Built-in ones and known plug-ins are constant; a list under a lock holds what was added. */
#include "registry.h"

#include "base/nearest.h"

#include <pthread.h>
#include <stdio.h>

static const zbz_cache_ops *const built_in[] = { &zbz_cache_memory, &zbz_cache_ristretto, &zbz_cache_filesystem,
	                                             &zbz_cache_shared, &zbz_cache_multitier, &zbz_cache_fault };
#define BUILT_IN (sizeof built_in / sizeof *built_in)

static const zbz_plugin_info plugins[] = {
	{ "redis", "redis|rediss|redis+unix", "libhiredis0.14" },
	{ "memcached", "memcached", "libmemcached11" },
};
#define PLUGINS (sizeof plugins / sizeof *plugins)

#define ADDED_MAX 256

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const zbz_cache_ops *added[ADDED_MAX];
static size_t added_n;

static void enter(void) { pthread_mutex_lock(&lock); }
static void leave(void) { pthread_mutex_unlock(&lock); }

/* A thread of the parent may hold the lock at the moment of a fork. */
__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(enter, leave, leave); }

bool zbz_words_have(const char *list, const char *word) {
	size_t len = strlen(word);
	while (list != NULL && len > 0) {
		size_t n = strcspn(list, "|");
		if (n == len && memcmp(list, word, n) == 0) return true;
		list = list[n] == '|' ? list + n + 1 : NULL;
	}
	return false;
}

bool zbz_provider_name_ok(const char *name) {
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
	return n > 0 && name[n] == '\0' && n < sizeof((zbz_err *)0)->provider;
}

static bool answers_to(const zbz_cache_ops *ops, const char *name) {
	return strcmp(ops->name, name) == 0 || zbz_words_have(ops->aliases, name);
}

/* Under the lock. */
static const zbz_cache_ops *loaded(const char *name) {
	for (size_t i = 0; i < BUILT_IN; i++)
		if (answers_to(built_in[i], name)) return built_in[i];
	for (size_t i = 0; i < added_n; i++)
		if (answers_to(added[i], name)) return added[i];
	return NULL;
}

static const zbz_plugin_info *known_plugin(const char *name) {
	for (size_t i = 0; i < PLUGINS; i++)
		if (strcmp(plugins[i].name, name) == 0) return &plugins[i];
	return NULL;
}

/* ---- adding ---- */

static zbz_status check_ops(const zbz_cache_ops *ops, zbz_err *err) {
	bool complete = ops->open != NULL && ops->close != NULL && ops->caps != NULL && ops->options != NULL;
	if (ops->abi != ZBZ_ABI)
		return zbz_fail(err, ZBZ_E_ARGUMENT, "a provider was built for interface %d, this zbz has %d", ops->abi,
		                ZBZ_ABI);
	if (ops->name == NULL || !zbz_provider_name_ok(ops->name))
		return zbz_fail(err, ZBZ_E_ARGUMENT, "a provider's name must be 1 to 23 of a-z 0-9 _");
	if (!ops->layer) complete = complete && ops->get != NULL && ops->set != NULL && ops->del != NULL;
	if (!complete)
		return zbz_fail(err, ZBZ_E_ARGUMENT, "provider '%s' lacks a mandatory function or its options", ops->name);
	return ZBZ_OK;
}

/* Under the lock. */
static zbz_status add(const zbz_cache_ops *ops, zbz_err *err) {
	const zbz_cache_ops *other = loaded(ops->name);
	if (other == ops) return ZBZ_OK;
	if (other != NULL)
		return zbz_fail(err, ZBZ_E_ARGUMENT, "another provider is registered as '%s' already", ops->name);
	if (added_n == ADDED_MAX) return zbz_fail(err, ZBZ_E_ARGUMENT, "more than %d providers", ADDED_MAX);
	added[added_n++] = ops;
	return ZBZ_OK;
}

zbz_status zbz_cache_register(const zbz_cache_ops *ops, zbz_err *err) {
	zbz_status status = check_ops(ops, err);
	if (status != ZBZ_OK) return status;
	enter();
	status = add(ops, err);
	leave();
	return status;
}

/* ---- finding ---- */

static zbz_status unknown(const char *name, zbz_err *err) {
	char list[200];
	const char *known, *best = NULL;
	size_t n = 0, least = SIZE_MAX;
	for (size_t i = 0; (known = zbz_cache_name_at(i)) != NULL; i++) {
		size_t d = zbz_edit_distance(name, known);
		if (d < least) least = d, best = known;
		if (n < sizeof list) n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i > 0 ? ", " : "", known);
	}
	return zbz_fail(err, ZBZ_E_UNKNOWN_PROVIDER, "unknown provider '%.40s' (nearest: %s; known: %s)", name, best, list);
}

static zbz_status load(const char *name, const zbz_cache_ops **ops, zbz_err *err) {
	const zbz_plugin_info *info = known_plugin(name);
	zbz_status status = zbz_plugin_load(name, info != NULL ? info->needs : NULL, ops, err);
	if (status == ZBZ_MISS) return unknown(name, err);
	if (status == ZBZ_OK) status = check_ops(*ops, err);
	if (status == ZBZ_OK && !answers_to(*ops, name))
		status =
		    zbz_fail(err, ZBZ_E_UNSUPPORTED, "the plug-in %s.so holds a provider called '%.23s'", name, (*ops)->name);
	if (status != ZBZ_OK) return status;
	enter();
	status = add(*ops, err);
	leave();
	return status;
}

zbz_status zbz_cache_find(const char *name, const zbz_cache_ops **ops, zbz_err *err) {
	enter();
	*ops = loaded(name);
	leave();
	if (*ops != NULL) return ZBZ_OK;
	/* Outside the lock: a plug-in may register itself while it is loaded. Two threads loading the same one get the same table. */
	return zbz_provider_name_ok(name) ? load(name, ops, err) : unknown(name, err);
}

const char *zbz_cache_scheme(const char *scheme) {
	const char *name = NULL;
	for (size_t i = 0; i < BUILT_IN && name == NULL; i++)
		if (zbz_words_have(built_in[i]->schemes, scheme)) name = built_in[i]->name;
	for (size_t i = 0; i < PLUGINS && name == NULL; i++)
		if (zbz_words_have(plugins[i].schemes, scheme)) name = plugins[i].name;
	if (name != NULL) return name;
	enter();
	for (size_t i = 0; i < added_n && name == NULL; i++)
		if (zbz_words_have(added[i]->schemes, scheme)) name = added[i]->name;
	leave();
	return name;
}

/* Built-in, then the known plug-ins, then what was added besides. */
const char *zbz_cache_name_at(size_t index) {
	const char *name = NULL;
	if (index < BUILT_IN) return built_in[index]->name;
	index -= BUILT_IN;
	if (index < PLUGINS) return plugins[index].name;
	index -= PLUGINS;
	enter();
	for (size_t i = 0; i < added_n && name == NULL; i++)
		if (known_plugin(added[i]->name) == NULL && index-- == 0) name = added[i]->name;
	leave();
	return name;
}
