/* Opened buckets: options read, names checked, references counted, every error with the provider's name. */
#include <zbz/bucket.h>

#include <stdatomic.h>

#include "built_in.h"
#include "registry.h"

#define PART_MAX 255

struct zbz_bucket {
	const zbz_bucket_ops *ops;
	void *self, *options;
	atomic_uint refs;
};

static const void *const built_in[] = { &zbz_bucket_memory, &zbz_bucket_filesystem, NULL };

static void head(const void *table, zbz_ops_head *out) {
	const zbz_bucket_ops *ops = table;
	*out = (zbz_ops_head){ .name = ops->name };
	out->complete = ops->open != NULL && ops->close != NULL && ops->put != NULL && ops->get != NULL &&
	                ops->stat != NULL && ops->list != NULL && ops->remove != NULL && ops->identity != NULL &&
	                ops->options != NULL;
}

static zbz_family buckets = { .noun = "provider",
	                          .asked = "provider of buckets",
	                          .option = "provider",
	                          .door = "zbz_bucket_plugin",
	                          .head = head,
	                          .built_in = built_in };

static zbz_status find(const zbz_config *cfg, const zbz_bucket_ops **ops, zbz_err *err) {
	const char *name = zbz_config_text(cfg, "provider");
	const void *table = NULL;
	zbz_status status;
	if (name == NULL) return zbz_fail_option(err, "provider", "is missing: name a bucket's provider");
	status = zbz_family_find(&buckets, name, &table, err);
	*ops = table;
	return status;
}

static zbz_status blame(const zbz_bucket_ops *ops, zbz_err *err, zbz_status status) {
	size_t n = strnlen(ops->name, sizeof err->provider - 1);
	if (status >= 0 || err == NULL || err->provider[0] != '\0') return status;
	memcpy(err->provider, ops->name, n);
	err->provider[n] = '\0';
	return status;
}

static void let_go(const zbz_bucket_ops *ops, void *options) {
	if (options != NULL) zbz_options_clear(ops->options, options);
	zbz_free(options);
}

zbz_status zbz_bucket_open(const zbz_config *cfg, const zbz_clock *clock, zbz_bucket **out, zbz_err *err) {
	const zbz_bucket_ops *ops = NULL;
	zbz_bucket *b;
	zbz_status status = find(cfg, &ops, err);
	*out = NULL;
	if (status != ZBZ_OK) return status;
	b = zbz_calloc(1, sizeof *b);
	if (b != NULL) b->options = zbz_calloc(1, ops->options_size);
	if (b == NULL || b->options == NULL) {
		zbz_free(b);
		return zbz_fail_nomem(err);
	}
	b->ops = ops;
	atomic_init(&b->refs, 1);
	status = zbz_options_parse(cfg, ops->options, b->options, err);
	if (status == ZBZ_OK)
		status = blame(ops, err, ops->open(&b->self, b->options, clock != NULL ? clock : zbz_clock_system(), err));
	if (status == ZBZ_OK) {
		*out = b;
		return ZBZ_OK;
	}
	let_go(ops, b->options);
	zbz_free(b);
	return status;
}

zbz_bucket *zbz_bucket_ref(zbz_bucket *b) {
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

void zbz_bucket_unref(zbz_bucket *b) {
	if (b == NULL || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1) return;
	b->ops->close(b->self);
	let_go(b->ops, b->options);
	zbz_free(b);
}

const zbz_bucket_ops *zbz_bucket_table(const zbz_bucket *b) { return b->ops; }

/* ---- names ---- */

static bool part_ok(const char *p, size_t n) {
	if (n == 0 || n > PART_MAX || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.')) return false;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f) return false;
	return true;
}

static zbz_status check_name(zbz_bytes name, zbz_err *err) {
	size_t from = 0;
	if (name.n == 0 || name.n > ZBZ_OBJECT_NAME_MAX)
		return zbz_fail(err, ZBZ_E_KEY, "an object's name has 1 to %d bytes, not %zu", ZBZ_OBJECT_NAME_MAX, name.n);
	for (size_t i = 0; i <= name.n; i++) {
		if (i < name.n && name.p[i] != '/') continue;
		if (!part_ok(name.p + from, i - from))
			return zbz_fail(err, ZBZ_E_KEY, "byte %zu: an object's name cannot have the part '%.*s'", from,
			                (int)(i - from < 40 ? i - from : 40), name.p + from);
		from = i + 1;
	}
	return ZBZ_OK;
}

bool zbz_object_name_ok(zbz_bytes name) { return check_name(name, NULL) == ZBZ_OK; }

/* ---- the slots ---- */

zbz_status zbz_bucket_put(zbz_bucket *b, zbz_call *c, zbz_bytes name, zbz_bytes body) {
	zbz_status status = check_name(name, &c->err);
	if (status == ZBZ_OK) status = b->ops->put(b->self, c, name, body);
	return blame(b->ops, &c->err, status);
}

zbz_status zbz_bucket_get(zbz_bucket *b, zbz_call *c, zbz_bytes name, zbz_buf *out) {
	size_t before = out->n;
	zbz_status status = check_name(name, &c->err);
	if (status == ZBZ_OK) status = b->ops->get(b->self, c, name, out);
	if (status != ZBZ_OK) out->n = before;
	return blame(b->ops, &c->err, status);
}

zbz_status zbz_bucket_stat(zbz_bucket *b, zbz_call *c, zbz_bytes name, zbz_object_info *out) {
	zbz_status status = check_name(name, &c->err);
	if (status == ZBZ_OK) status = b->ops->stat(b->self, c, name, out);
	return blame(b->ops, &c->err, status);
}

zbz_status zbz_bucket_remove(zbz_bucket *b, zbz_call *c, zbz_bytes name) {
	zbz_status status = check_name(name, &c->err);
	if (status == ZBZ_OK) status = b->ops->remove(b->self, c, name);
	return blame(b->ops, &c->err, status);
}

static zbz_status check_listing(zbz_bytes prefix, zbz_bytes after, size_t limit, zbz_err *err) {
	if (limit == 0 || limit > ZBZ_OBJECT_PAGE_MAX)
		return zbz_fail(err, ZBZ_E_ARGUMENT, "a page has 1 to %d objects, not %zu", ZBZ_OBJECT_PAGE_MAX, limit);
	if (prefix.n <= ZBZ_OBJECT_NAME_MAX && after.n <= ZBZ_OBJECT_NAME_MAX) return ZBZ_OK;
	return zbz_fail(err, ZBZ_E_KEY, "a listing's prefix and the name it begins after have at most %d bytes, not %zu",
	                ZBZ_OBJECT_NAME_MAX, prefix.n > after.n ? prefix.n : after.n);
}

zbz_status zbz_bucket_list(zbz_bucket *b, zbz_call *c, zbz_bytes prefix, zbz_bytes after, size_t limit, zbz_buf *out,
                           size_t *n) {
	size_t before = out->n;
	zbz_status status = check_listing(prefix, after, limit, &c->err);
	*n = 0;
	if (status == ZBZ_OK) status = b->ops->list(b->self, c, prefix, after, limit, out, n);
	if (status >= 0) return status;
	out->n = before;
	*n = 0;
	return blame(b->ops, &c->err, status);
}

zbz_status zbz_object_page_add(zbz_buf *page, zbz_bytes name, const zbz_object_info *info, zbz_err *err) {
	zbz_status status = zbz_buf_reserve(page, sizeof name.n + sizeof *info + name.n, err);
	if (status != ZBZ_OK) return status;
	zbz_buf_append(page, &name.n, sizeof name.n, err);
	zbz_buf_append(page, info, sizeof *info, err);
	return zbz_buf_append(page, name.p, name.n, err);
}

zbz_status zbz_bucket_identity(zbz_bucket *b, zbz_buf *out, zbz_err *err) {
	zbz_status status = zbz_buf_append(out, b->ops->name, strlen(b->ops->name) + 1, err);
	return status == ZBZ_OK ? b->ops->identity(b->self, out, err) : status;
}
