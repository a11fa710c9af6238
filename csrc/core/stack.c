/* Opening and closing stores, layers included. */
#include "config.h"
#include "registry.h"
#include "store.h"

/* Which provider a configuration asks for: by name, or by the scheme of a URL. */
typedef struct wanted {
	const char *name;
	const char *url; /* to be handed on as the option "url"; NULL when there is nothing to hand on */
} wanted;

static zbz_status by_scheme(const char *url, const char *option, wanted *out, zbz_err *err) {
	char scheme[32];
	size_t n = strcspn(url, ":");
	if (url[n] == '\0' || n >= sizeof scheme)
		return zbz_fail_option(err, option, "is no URL; it must begin with \"scheme:\", as in redis://host:6379");
	memcpy(scheme, url, n);
	scheme[n] = '\0';
	out->name = zbz_cache_scheme(scheme);
	if (out->name != NULL) return ZBZ_OK;
	zbz_fail(err, ZBZ_E_UNKNOWN_PROVIDER, "no provider for URLs that begin with \"%s:\"", scheme);
	strcpy(err->option, option);
	return ZBZ_E_UNKNOWN_PROVIDER;
}

static zbz_status find_wanted(const zbz_config *cfg, wanted *out, zbz_err *err) {
	const char *provider = zbz_config_text(cfg, "provider"), *url = zbz_config_text(cfg, "url");
	out->url = NULL;
	if (provider == NULL && zbz_config_find(cfg, "provider") != NULL)
		return zbz_fail_option(err, "provider", "expects a name or a URL");
	if (provider == NULL && url != NULL) return by_scheme(url, "url", out, err);
	if (provider == NULL || provider[0] == '\0')
		return zbz_fail_option(err, "provider", "is missing: name a provider or give its URL");
	if (strchr(provider, ':') == NULL) {
		out->name = provider;
		return ZBZ_OK;
	}
	if (url != NULL) return zbz_fail_option(err, "provider", "is a URL, and 'url' is given too");
	out->url = provider;
	return by_scheme(provider, "provider", out, err);
}

/* Parses the options, with one more setting when the URL came as the provider's name. */
static zbz_status parse_options(zbz_store *s, const zbz_config *cfg, const wanted *w, zbz_err *err) {
	char url[] = "url";
	zbz_config wider = { NULL, cfg->n + 1, cfg->n + 1, cfg->depth };
	zbz_status status;
	if (w->url == NULL) return zbz_options_parse_with(cfg, s->ops->options, s->options, s->clock, err);
	wider.items = zbz_malloc(wider.cap * sizeof *wider.items);
	if (wider.items == NULL) return zbz_fail_nomem(err);
	memcpy(wider.items, cfg->items, cfg->n * sizeof *cfg->items);
	wider.items[cfg->n] = (zbz_setting){ .name = url, .kind = ZBZ_SET_TEXT };
	memcpy(&wider.items[cfg->n].u.text, &w->url, sizeof w->url); /* borrowed, and only read */
	status = zbz_options_parse_with(&wider, s->ops->options, s->options, s->clock, err);
	zbz_free(wider.items);
	return status;
}

/* The store a layer passes on to: its first option of that type. */
static zbz_status find_inner(zbz_store *s, zbz_err *err) {
	const zbz_option *o = s->ops->options;
	while (o->name != NULL && o->type != ZBZ_OPT_STORE) o++;
	if (o->name == NULL)
		return zbz_fail(err, ZBZ_E_INTERNAL, "the layer %s has no option for what it wraps", s->ops->name);
	memcpy(&s->inner, (char *)s->options + o->offset, sizeof s->inner);
	if (s->inner == NULL)
		return zbz_fail_option(err, o->name, "is missing: the layer %s wraps another provider", s->ops->name);
	return ZBZ_OK;
}

static void drop_bit(zbz_caps *caps, uint32_t bit, bool works) {
	if (works) return;
	caps->can &= ~bit;
	caps->emulated &= ~bit;
}

/* Capabilities tell the truth, also where a provider's own slot is empty. */
static void read_caps(zbz_store *s) {
	const zbz_cache_ops *ops = s->ops;
	zbz_caps *caps = &s->caps;
	bool lists = ops->scan_open != NULL && ops->scan_next != NULL;
	ops->caps(s->self, caps);
	if (ops->layer) return;
	/* On one host the core's own locks serve, which wake. */
	caps->lock_wake = ops->on_unlock != NULL || caps->one_host || !caps->shared;
	drop_bit(caps, ZBZ_CAN_TTL, ops->ttl != NULL);
	drop_bit(caps, ZBZ_CAN_EXPIRE, ops->expire != NULL);
	drop_bit(caps, ZBZ_CAN_INCR, ops->incr != NULL);
	drop_bit(caps, ZBZ_CAN_KEYS, lists);
	drop_bit(caps, ZBZ_CAN_NATIVE, ops->command != NULL);
	drop_bit(caps, ZBZ_CAN_TRACK, ops->track != NULL);
	drop_bit(caps, ZBZ_CAN_BATCH, ops->get_many != NULL || ops->set_many != NULL || ops->del_many != NULL);
	if (ops->clear == NULL) {
		drop_bit(caps, ZBZ_CAN_CLEAR, false);
		if (lists) {
			caps->can |= ZBZ_CAN_CLEAR;
			caps->emulated |= ZBZ_CAN_CLEAR;
		}
	}
	caps->emulated &= caps->can;
}

static zbz_status open_parts(zbz_store *s, const zbz_config *cfg, const wanted *w, zbz_err *err) {
	zbz_status status = parse_options(s, cfg, w, err);
	if (status == ZBZ_OK && s->ops->layer) status = find_inner(s, err);
	if (status != ZBZ_OK) return status;
	if (s->ops->single_thread && (s->gate = zbz_gate_new()) == NULL) return zbz_fail_nomem(err);
	if ((s->flights = zbz_flights_new()) == NULL || (s->locks = zbz_locks_new()) == NULL) return zbz_fail_nomem(err);
	return s->ops->open(&s->self, s->options, s->clock, err);
}

static void free_store(zbz_store *s) {
	zbz_flights_free(s->flights);
	zbz_locks_free(s->locks);
	zbz_gate_free(s->gate);
	zbz_options_clear(s->ops->options, s->options);
	zbz_free(s->options);
	zbz_free(s);
}

static zbz_store *new_store(const zbz_cache_ops *ops, const zbz_clock *clock) {
	zbz_store *s = zbz_calloc(1, sizeof *s);
	if (s == NULL) return NULL;
	s->options = zbz_calloc(1, ops->options_size);
	if (s->options == NULL) {
		zbz_free(s);
		return NULL;
	}
	s->ops = ops;
	s->clock = clock != NULL ? clock : zbz_clock_system();
	atomic_init(&s->refs, 1);
	return s;
}

zbz_status zbz_store_open(const zbz_config *cfg, const zbz_clock *clock, zbz_store **out, zbz_err *err) {
	zbz_err local; /* the caller may not want it, but what is read below must exist */
	const zbz_cache_ops *ops;
	zbz_store *s;
	wanted w;
	zbz_status status;
	if (err == NULL) err = &local;
	err->status = ZBZ_OK;
	*out = NULL;
	status = find_wanted(cfg, &w, err);
	if (status == ZBZ_OK) status = zbz_cache_find(w.name, &ops, err);
	if (status != ZBZ_OK) return status;
	s = new_store(ops, clock);
	if (s == NULL) return zbz_fail_nomem(err);
	status = open_parts(s, cfg, &w, err);
	if (status != ZBZ_OK) {
		if (err->status != status) zbz_fail(err, status, "%s could not be opened", ops->name);
		if (err->provider[0] == '\0') strncat(err->provider, ops->name, sizeof err->provider - 1);
		free_store(s);
		return status;
	}
	read_caps(s);
	*out = s;
	return ZBZ_OK;
}

zbz_store *zbz_store_ref(zbz_store *store) {
	atomic_fetch_add_explicit(&store->refs, 1, memory_order_relaxed);
	return store;
}

void zbz_store_unref(zbz_store *store) {
	if (store == NULL || atomic_fetch_sub_explicit(&store->refs, 1, memory_order_acq_rel) != 1) return;
	zbz_locks_end(store->locks, store);
	store->ops->close(store->self);
	free_store(store);
}

const zbz_cache_ops *zbz_store_ops(const zbz_store *store) { return store->ops; }
const void *zbz_store_options(const zbz_store *store) { return store->options; }
void zbz_store_caps(const zbz_store *store, zbz_caps *out) { *out = store->caps; }

zbz_store *zbz_store_bottom(zbz_store *store) {
	while (store->inner != NULL) store = store->inner;
	return store;
}
