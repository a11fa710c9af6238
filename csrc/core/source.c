/* Opened sources: options read, references counted, every error with the source's name. */
#include <zbz/source.h>

#include <stdatomic.h>

#include "built_in.h"
#include "registry.h"

struct zbz_source {
	const zbz_source_ops *ops;
	void *self;
	void *options;
	atomic_uint refs;
};

/* ---- which there are ---- */

static const void *const built_in[] = { &zbz_source_file, NULL };

static bool both_or_none(const zbz_source_ops *ops) { return (ops->subscribe == NULL) == (ops->unsubscribe == NULL); }

static void head(const void *table, zbz_ops_head *out) {
	const zbz_source_ops *ops = table;
	*out = (zbz_ops_head){ ops->name, NULL, NULL, true };
	out->complete = ops->open != NULL && ops->close != NULL && ops->get != NULL && ops->options != NULL &&
	                ops->options_size > 0 && both_or_none(ops);
}

static zbz_family sources = { .noun = "source",
	                          .asked = "source",
	                          .option = "provider",
	                          .door = "zbz_source_plugin",
	                          .head = head,
	                          .built_in = built_in };

static zbz_status find(const zbz_config *cfg, const zbz_source_ops **ops, zbz_err *err) {
	const char *name = zbz_config_text(cfg, "provider");
	const void *table;
	zbz_status s;
	*ops = NULL;
	if (name == NULL) return zbz_fail_option(err, "provider", "is missing: name a source");
	s = zbz_family_find(&sources, name, &table, err);
	*ops = table;
	return s;
}

/* ---- one that is open ---- */

static zbz_status blame(const zbz_source *s, zbz_err *err, zbz_status status) {
	size_t n;
	if (status >= 0 || err == NULL) return status;
	if (err->status != status) zbz_fail(err, status, "the source %s failed and did not say why", s->ops->name);
	if (err->provider[0] != '\0') return status;
	n = strnlen(s->ops->name, sizeof err->provider - 1);
	memcpy(err->provider, s->ops->name, n);
	err->provider[n] = '\0';
	return status;
}

zbz_status zbz_source_of(const zbz_source_ops *ops, void *self, zbz_source **out, zbz_err *err) {
	zbz_source *s;
	*out = NULL;
	if (ops->abi != ZBZ_ABI || ops->name == NULL || ops->get == NULL || ops->close == NULL)
		return zbz_fail(err, ZBZ_E_ARGUMENT,
		                "a source lacks a mandatory function, its name, or is of another interface");
	if (!both_or_none(ops))
		return zbz_fail(err, ZBZ_E_ARGUMENT, "source '%s' has one of subscribe and unsubscribe", ops->name);
	s = zbz_calloc(1, sizeof *s);
	if (s == NULL) return zbz_fail_nomem(err);
	s->ops = ops;
	s->self = self;
	atomic_init(&s->refs, 1);
	*out = s;
	return ZBZ_OK;
}

static void free_options(const zbz_source_ops *ops, void *options) {
	if (options == NULL) return;
	zbz_options_clear(ops->options, options);
	zbz_free(options);
}

zbz_status zbz_source_open(const zbz_config *cfg, const zbz_clock *clock, zbz_source **out, zbz_err *err) {
	const zbz_source_ops *ops;
	void *options, *self = NULL;
	zbz_status s;
	*out = NULL;
	s = find(cfg, &ops, err);
	if (s != ZBZ_OK) return s;
	options = zbz_calloc(1, ops->options_size);
	if (options == NULL) return zbz_fail_nomem(err);
	s = zbz_options_parse(cfg, ops->options, options, err);
	if (s != ZBZ_OK) {
		zbz_free(options);
		return s;
	}
	s = ops->open(&self, options, clock != NULL ? clock : zbz_clock_system(), err);
	if (s == ZBZ_OK) {
		s = zbz_source_of(ops, self, out, err);
		if (s != ZBZ_OK) ops->close(self);
	}
	if (s != ZBZ_OK)
		free_options(ops, options);
	else
		(*out)->options = options;
	return s;
}

zbz_source *zbz_source_ref(zbz_source *source) {
	atomic_fetch_add_explicit(&source->refs, 1, memory_order_relaxed);
	return source;
}

void zbz_source_unref(zbz_source *source) {
	if (source == NULL || atomic_fetch_sub_explicit(&source->refs, 1, memory_order_acq_rel) != 1) return;
	source->ops->close(source->self);
	free_options(source->ops, source->options);
	zbz_free(source);
}

const zbz_source_ops *zbz_source_table(const zbz_source *source) { return source->ops; }

static zbz_status check_key(zbz_bytes key, zbz_err *err) {
	if (key.n == 0) return zbz_fail(err, ZBZ_E_KEY, "the key is empty");
	if (memchr(key.p, '\0', key.n) != NULL) return zbz_fail(err, ZBZ_E_KEY, "the key holds a zero byte");
	return ZBZ_OK;
}

zbz_status zbz_source_get(zbz_source *s, zbz_call *c, zbz_bytes key, void *sub, zbz_buf *out) {
	size_t mark = out->n;
	zbz_status status = check_key(key, &c->err);
	if (status == ZBZ_OK) status = s->ops->get(s->self, c, key, sub, out);
	if (status != ZBZ_OK) out->n = mark;
	return blame(s, &c->err, status);
}

zbz_status zbz_source_subscribe(zbz_source *s, zbz_call *c, zbz_bytes key, void (*on_hint)(void *ud), void *ud,
                                void **sub) {
	zbz_status status = check_key(key, &c->err);
	*sub = NULL;
	if (status == ZBZ_OK && s->ops->subscribe == NULL)
		status = zbz_fail(&c->err, ZBZ_E_UNSUPPORTED, "the source %s tells of no changes", s->ops->name);
	if (status == ZBZ_OK) status = s->ops->subscribe(s->self, c, key, on_hint, ud, sub);
	return blame(s, &c->err, status);
}

void zbz_source_unsubscribe(zbz_source *s, void *sub) {
	if (sub != NULL) s->ops->unsubscribe(s->self, sub);
}

void zbz_source_state_read(zbz_source *s, void *sub, zbz_source_state *out) {
	*out = (zbz_source_state){ .mode = ZBZ_SOURCE_POLLED };
	if (sub != NULL && s->ops->state != NULL) s->ops->state(s->self, sub, out);
}
