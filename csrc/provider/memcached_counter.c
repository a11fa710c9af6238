/* Counters. */
#include <stdio.h>

#include "memcached_impl.h"

static bool count_parse(zbz_bytes v, uint64_t *out) {
	size_t n = zbz_mc_counter_trim(v);
	*out = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned d = (unsigned char)v.p[i] - '0';
		if (d > 9 || *out > (UINT64_MAX - d) / 10) return false;
		*out = *out * 10 + d;
	}
	return n > 0;
}

static zbz_status incr_done(zbz_mc_one *x, const zbz_meta_reply *r, zbz_err *err) {
	uint64_t v;
	if (r->code == ZBZ_META_NS || r->code == ZBZ_META_NF)
		return ZBZ_AGAIN; /* another client made or removed it in between */
	if (r->code != ZBZ_META_VA || !count_parse(r->value, &v)) return zbz_mc_odd(r, err);
	x->number = (int64_t)v; /* negative: beyond what we can say */
	return ZBZ_OK;
}

static uint64_t magnitude(int64_t v) { return v < 0 ? 0 - (uint64_t)v : (uint64_t)v; }

static zbz_status beyond(zbz_call *c) {
	return zbz_fail(&c->err, ZBZ_E_ARGUMENT, "the counter would leave the range of 64-bit integers");
}

static int64_t first_value(const zbz_incr *how) {
	return how->has_initial ? how->initial : how->delta > 0 ? how->delta : 0;
}

/* One step, made by the server; it wraps at 2^64, so a step beyond our range is taken back. */
static zbz_status incr_native(zbz_mc *mc, zbz_call *c, zbz_bytes key, const zbz_incr *how, int64_t *value) {
	char flags[120];
	zbz_mc_one x = { .done = incr_done };
	snprintf(flags, sizeof flags, " N%lld J%lld D%llu%s v", (long long)zbz_mc_ttl(c, how->expire_at),
	         (long long)first_value(how), (unsigned long long)magnitude(how->delta), how->delta < 0 ? " MD" : "");
	zbz_status s = zbz_mc_one_line(mc, c, &x, key, "ma", flags, false);
	*value = x.number;
	if (s != ZBZ_OK || x.number >= 0) return s;
	if (how->delta > 0) {
		snprintf(flags, sizeof flags, " D%lld MD v", (long long)how->delta);
		zbz_mc_one_line(mc, c, &x, key, "ma", flags, false);
	}
	return beyond(c);
}

/* Hashed keys have their key before the value, which the server cannot count: read, add, write if nobody else did. */
static zbz_status incr_framed(zbz_mc *mc, zbz_call *c, zbz_bytes key, const zbz_incr *how, int64_t *value) {
	zbz_buf old = { 0 };
	zbz_meta meta;
	char digits[24];
	uint64_t v = 0, d = magnitude(how->delta);
	zbz_write w = { .key = key, .expire_at = how->expire_at, .only = ZBZ_ONLY_ABSENT, .version = &meta.version };
	zbz_status s = zbz_mc_get(mc, c, key, &old, &meta);
	if (s == ZBZ_OK && !count_parse(zbz_buf_bytes(&old), &v))
		s = zbz_fail(&c->err, ZBZ_E_TYPE, "the value is no integer");
	zbz_buf_clear(&old);
	if (s < 0) return s;
	if (s == ZBZ_OK) {
		w.only = ZBZ_ONLY_VERSION;
		w.expire_at = meta.expire_at;
		v = how->delta >= 0 ? v + d : v > d ? v - d : 0;
	} else {
		v = (uint64_t)first_value(how);
	}
	if (v > INT64_MAX) return beyond(c);
	w.value = zbz_b(digits, (size_t)snprintf(digits, sizeof digits, "%llu", (unsigned long long)v));
	*value = (int64_t)v;
	s = zbz_mc_set(mc, c, &w, NULL);
	return s == ZBZ_REFUSED || s == ZBZ_E_CONFLICT ? ZBZ_AGAIN : s;
}

zbz_status zbz_mc_incr(void *self, zbz_call *c, zbz_bytes key, const zbz_incr *how, int64_t *value) {
	zbz_mc *mc = self;
	zbz_mc_key wire;
	if (first_value(how) < 0) return zbz_fail(&c->err, ZBZ_E_ARGUMENT, "memcached has no negative counters");
	zbz_mc_key_make(key, &wire);
	for (int i = 0; i < 1000; i++) {
		zbz_status s = wire.framed ? incr_framed(mc, c, key, how, value) : incr_native(mc, c, key, how, value);
		if (s != ZBZ_AGAIN) return s;
		if (zbz_call_left(c) == 0) return zbz_fail(&c->err, ZBZ_E_TIMEOUT, "the counter is too busy");
	}
	return zbz_fail(&c->err, ZBZ_E_UNAVAILABLE, "the counter is too busy");
}
