/* The registry of every family. Built-in tables and known plug-ins are constant; a list under a lock holds what was added. */
#include "registry.h"

#include "base/nearest.h"

#include <pthread.h>
#include <stdio.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

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

/* [a-z0-9_]+, short enough for zbz_err.provider */
static bool name_ok(const char *name) {
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
	return n > 0 && name[n] == '\0' && n < sizeof((zbz_err *)0)->provider;
}

static bool has_name(const zbz_ops_head *head, const char *name) {
	return strcmp(head->name, name) == 0 || zbz_words_have(head->aliases, name);
}

static bool has_scheme(const zbz_ops_head *head, const char *scheme) { return zbz_words_have(head->schemes, scheme); }

static zbz_ops_head head_of(const zbz_family *f, const void *ops) {
	zbz_ops_head head = { NULL, NULL, NULL, false };
	f->head(ops, &head);
	return head;
}

/* Under the lock. */
static const void *first(const zbz_family *f, bool (*fits)(const zbz_ops_head *head, const char *word),
                         const char *word) {
	zbz_ops_head head;
	for (size_t i = 0; f->built_in[i] != NULL; i++) {
		head = head_of(f, f->built_in[i]);
		if (fits(&head, word)) return f->built_in[i];
	}
	for (size_t i = 0; i < f->added_n; i++) {
		head = head_of(f, f->added[i]);
		if (fits(&head, word)) return f->added[i];
	}
	return NULL;
}

static const zbz_plugin_info *known_plugin(const zbz_family *f, const char *name) {
	for (const zbz_plugin_info *p = f->plugins; p != NULL && p->name != NULL; p++)
		if (strcmp(p->name, name) == 0) return p;
	return NULL;
}

/* ---- adding ---- */

static zbz_status check_ops(const zbz_family *f, const void *ops, zbz_err *err) {
	int abi = *(const int *)ops;
	zbz_ops_head head;
	if (abi != ZBZ_ABI)
		return zbz_fail(err, ZBZ_E_ARGUMENT, "a %s was built for interface %d, this zbz has %d", f->noun, abi, ZBZ_ABI);
	head = head_of(f, ops);
	if (head.name == NULL || !name_ok(head.name))
		return zbz_fail(err, ZBZ_E_ARGUMENT, "a %s's name must be 1 to 23 of a-z 0-9 _", f->noun);
	if (!head.complete)
		return zbz_fail(err, ZBZ_E_ARGUMENT, "%s '%s' lacks a mandatory function or its options", f->noun, head.name);
	return ZBZ_OK;
}

/* Under the lock. */
static zbz_status add(zbz_family *f, const void *ops, zbz_err *err) {
	const char *name = head_of(f, ops).name;
	const void *other = first(f, has_name, name);
	if (other == ops) return ZBZ_OK;
	if (other != NULL) return zbz_fail(err, ZBZ_E_ARGUMENT, "another %s is registered as '%s' already", f->noun, name);
	if (f->added_n == ZBZ_FAMILY_ADDED_MAX)
		return zbz_fail(err, ZBZ_E_ARGUMENT, "more than %d %ss", ZBZ_FAMILY_ADDED_MAX, f->noun);
	f->added[f->added_n++] = ops;
	return ZBZ_OK;
}

zbz_status zbz_family_register(zbz_family *f, const void *ops, zbz_err *err) {
	zbz_status status = check_ops(f, ops, err);
	if (status != ZBZ_OK) return status;
	enter();
	status = add(f, ops, err);
	leave();
	return status;
}

/* ---- finding ---- */

static zbz_status unknown(zbz_family *f, const char *name, zbz_err *err) {
	char list[200];
	const char *known, *best = NULL;
	size_t n = 0, least = SIZE_MAX;
	for (size_t i = 0; (known = zbz_family_name_at(f, i)) != NULL; i++) {
		size_t d = zbz_edit_distance(name, known);
		if (d < least) least = d, best = known;
		if (n < sizeof list) n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i > 0 ? ", " : "", known);
	}
	zbz_fail(err, ZBZ_E_UNKNOWN_PROVIDER, "unknown %s '%.40s' (nearest: %s; known: %s)", f->asked, name, best, list);
	if (err != NULL && f->option != NULL) snprintf(err->option, sizeof err->option, "%s", f->option);
	return ZBZ_E_UNKNOWN_PROVIDER;
}

static zbz_status load(zbz_family *f, const char *name, const void **ops, zbz_err *err) {
	const zbz_plugin_info *info = known_plugin(f, name);
	zbz_status status = zbz_plugin_table(name, info != NULL ? info->needs : NULL, f->door, ops, err);
	zbz_ops_head head;
	if (status == ZBZ_MISS) return unknown(f, name, err);
	if (status == ZBZ_OK) status = check_ops(f, *ops, err);
	if (status != ZBZ_OK) return status;
	head = head_of(f, *ops);
	if (!has_name(&head, name))
		return zbz_fail(err, ZBZ_E_UNSUPPORTED, "the plug-in %s.so holds a %s called '%.23s'", name, f->noun,
		                head.name);
	return zbz_family_register(f, *ops, err);
}

zbz_status zbz_family_find(zbz_family *f, const char *name, const void **ops, zbz_err *err) {
	enter();
	*ops = first(f, has_name, name);
	leave();
	if (*ops != NULL) return ZBZ_OK;
	/* Outside the lock: a plug-in may register itself while it is loaded. Two threads loading the same one get the same table. */
	return name_ok(name) ? load(f, name, ops, err) : unknown(f, name, err);
}

const char *zbz_family_scheme(zbz_family *f, const char *scheme) {
	const void *ops;
	for (const zbz_plugin_info *p = f->plugins; p != NULL && p->name != NULL; p++)
		if (zbz_words_have(p->schemes, scheme)) return p->name;
	enter();
	ops = first(f, has_scheme, scheme);
	leave();
	return ops != NULL ? head_of(f, ops).name : NULL;
}

const char *zbz_family_name_at(zbz_family *f, size_t index) {
	const char *name = NULL;
	for (size_t i = 0; f->built_in[i] != NULL; i++)
		if (index-- == 0) return head_of(f, f->built_in[i]).name;
	for (const zbz_plugin_info *p = f->plugins; p != NULL && p->name != NULL; p++)
		if (index-- == 0) return p->name;
	enter();
	for (size_t i = 0; i < f->added_n && name == NULL; i++) {
		const char *one = head_of(f, f->added[i]).name;
		if (known_plugin(f, one) == NULL && index-- == 0) name = one;
	}
	leave();
	return name;
}
