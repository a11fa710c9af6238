/* What the user wrote, as a list of named values. */
#include "config.h"

#include <zbz/cache.h>

#define SETTINGS_MAX   1024
#define LIST_ITEMS_MAX 65536
#define DEPTH_MAX      16 /* of layers inside layers */

char *zbz_text_copy(zbz_bytes text) {
	char *copy = zbz_malloc(text.n + 1);
	if (copy == NULL) return NULL;
	if (text.n != 0) memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	return copy;
}

void zbz_text_free(char *text) {
	if (text != NULL) explicit_bzero(text, strlen(text));
	zbz_free(text);
}

void zbz_list_clear(zbz_list *list) {
	for (size_t i = 0; i < list->n; i++) zbz_text_free(list->items[i]);
	zbz_free(list->items);
	list->items = NULL;
	list->n = 0;
}

zbz_status zbz_list_add(zbz_list *list, zbz_bytes text, zbz_err *err) {
	char *copy;
	if (list->n >= LIST_ITEMS_MAX) return zbz_fail(err, ZBZ_E_CONFIG, "a list of more than %d items", LIST_ITEMS_MAX);
	if ((list->n & (list->n - 1)) == 0) { /* room doubles at the powers of two */
		char **items = zbz_realloc(list->items, (list->n == 0 ? 1 : list->n * 2) * sizeof *items);
		if (items == NULL) return zbz_fail_nomem(err);
		list->items = items;
	}
	copy = zbz_text_copy(text);
	if (copy == NULL) return zbz_fail_nomem(err);
	list->items[list->n++] = copy;
	return ZBZ_OK;
}

zbz_config *zbz_config_new(void) { return zbz_calloc(1, sizeof(zbz_config)); }

static void clear_value(zbz_setting *s) {
	switch (s->kind) {
	case ZBZ_SET_TEXT: zbz_text_free(s->u.text); break;
	case ZBZ_SET_LIST: zbz_list_clear(&s->u.list); break;
	case ZBZ_SET_CONFIG: zbz_config_free(s->u.config); break;
	case ZBZ_SET_STORE: zbz_store_unref(s->u.store); break;
	case ZBZ_SET_NONE:
	case ZBZ_SET_INT:
	case ZBZ_SET_NUM:
	case ZBZ_SET_BOOL: break;
	}
	s->kind = ZBZ_SET_NONE;
}

void zbz_config_free(zbz_config *cfg) {
	if (cfg == NULL) return;
	for (size_t i = 0; i < cfg->n; i++) {
		clear_value(&cfg->items[i]);
		zbz_free(cfg->items[i].name);
	}
	zbz_free(cfg->items);
	zbz_free(cfg);
}

const zbz_setting *zbz_config_find(const zbz_config *cfg, const char *name) {
	for (size_t i = 0; i < cfg->n; i++)
		if (strcmp(cfg->items[i].name, name) == 0) return &cfg->items[i];
	return NULL;
}

const char *zbz_config_text(const zbz_config *cfg, const char *name) {
	const zbz_setting *s = zbz_config_find(cfg, name);
	return s != NULL && s->kind == ZBZ_SET_TEXT ? s->u.text : NULL;
}

/* The setting `name`, made when it is new. */
static zbz_status slot(zbz_config *cfg, const char *name, zbz_setting **out, zbz_err *err) {
	char *copy;
	if (name == NULL || name[0] == '\0') return zbz_fail(err, ZBZ_E_ARGUMENT, "an option has no name");
	*out = (zbz_setting *)(uintptr_t)zbz_config_find(cfg, name);
	if (*out != NULL) return ZBZ_OK;
	if (cfg->n >= SETTINGS_MAX) return zbz_fail(err, ZBZ_E_ARGUMENT, "more than %d options", SETTINGS_MAX);
	if (cfg->n == cfg->cap) {
		size_t cap = cfg->cap == 0 ? 8 : cfg->cap * 2;
		zbz_setting *items = zbz_realloc(cfg->items, cap * sizeof *items);
		if (items == NULL) return zbz_fail_nomem(err);
		cfg->items = items;
		cfg->cap = cap;
	}
	copy = zbz_strdup(name);
	if (copy == NULL) return zbz_fail_nomem(err);
	*out = &cfg->items[cfg->n++];
	(*out)->name = copy;
	(*out)->kind = ZBZ_SET_NONE;
	return ZBZ_OK;
}

/* Moves *value in, in place of what was there; on failure the caller keeps it. */
static zbz_status put(zbz_config *cfg, const char *name, const zbz_setting *value, zbz_err *err) {
	zbz_setting *s;
	zbz_status status = slot(cfg, name, &s, err);
	if (status != ZBZ_OK) return status;
	clear_value(s);
	s->kind = value->kind;
	s->u = value->u;
	return ZBZ_OK;
}

static zbz_status check_text(const char *name, zbz_bytes text, zbz_err *err) {
	if (text.n != 0 && memchr(text.p, '\0', text.n) != NULL) return zbz_fail_option(err, name, "contains a zero byte");
	return ZBZ_OK;
}

zbz_status zbz_config_set_text(zbz_config *cfg, const char *name, zbz_bytes text, zbz_err *err) {
	zbz_setting v = { .kind = ZBZ_SET_TEXT };
	zbz_status status = check_text(name, text, err);
	if (status != ZBZ_OK) return status;
	v.u.text = zbz_text_copy(text);
	if (v.u.text == NULL) return zbz_fail_nomem(err);
	status = put(cfg, name, &v, err);
	if (status != ZBZ_OK) clear_value(&v);
	return status;
}

zbz_status zbz_config_set_int(zbz_config *cfg, const char *name, int64_t value, zbz_err *err) {
	zbz_setting v = { .kind = ZBZ_SET_INT, .u.i = value };
	return put(cfg, name, &v, err);
}

zbz_status zbz_config_set_num(zbz_config *cfg, const char *name, double value, zbz_err *err) {
	zbz_setting v = { .kind = ZBZ_SET_NUM, .u.num = value };
	return put(cfg, name, &v, err);
}

zbz_status zbz_config_set_bool(zbz_config *cfg, const char *name, bool value, zbz_err *err) {
	zbz_setting v = { .kind = ZBZ_SET_BOOL, .u.b = value };
	return put(cfg, name, &v, err);
}

zbz_status zbz_config_add_text(zbz_config *cfg, const char *name, zbz_bytes text, zbz_err *err) {
	zbz_setting *s;
	zbz_status status = check_text(name, text, err);
	if (status == ZBZ_OK) status = slot(cfg, name, &s, err);
	if (status != ZBZ_OK) return status;
	if (s->kind == ZBZ_SET_NONE) {
		s->kind = ZBZ_SET_LIST;
		s->u.list = (zbz_list){ NULL, 0 };
	}
	if (s->kind != ZBZ_SET_LIST) return zbz_fail_option(err, name, "is set already, and no list");
	return zbz_list_add(&s->u.list, text, err);
}

zbz_status zbz_config_set_config(zbz_config *cfg, const char *name, zbz_config *inner, zbz_err *err) {
	zbz_setting v = { .kind = ZBZ_SET_CONFIG, .u.config = inner };
	zbz_status status;
	if (inner == NULL || inner == cfg)
		return zbz_fail(err, ZBZ_E_ARGUMENT, "a configuration cannot be nested in itself");
	if (inner->depth + 1 > DEPTH_MAX)
		status = zbz_fail_option(err, name, "more than %d layers inside each other", DEPTH_MAX);
	else
		status = put(cfg, name, &v, err);
	if (status != ZBZ_OK)
		zbz_config_free(inner);
	else if (cfg->depth < inner->depth + 1)
		cfg->depth = inner->depth + 1;
	return status;
}

zbz_status zbz_config_set_store(zbz_config *cfg, const char *name, zbz_store *store, zbz_err *err) {
	zbz_setting v = { .kind = ZBZ_SET_STORE, .u.store = store };
	zbz_status status;
	if (store == NULL) return zbz_fail(err, ZBZ_E_ARGUMENT, "no store given for '%s'", name);
	status = put(cfg, name, &v, err);
	if (status == ZBZ_OK) zbz_store_ref(store);
	return status;
}
