/* Many keys in one call. Keys that are refused do not stop the others: the good ones go to the store packed together,
 * and the answers are spread over the caller's array afterwards. */
#include "front.h"

typedef struct batch {
	table_op op;
	size_t n, good;
	void *arena;         /* the two below, and the full keys' bytes */
	zbz_bytes *keys;     /* full keys of the good ones, packed */
	zbz_status *verdict; /* by position: OK goes to the store */
} batch;

static zbz_status refuse(batch *b, size_t i, zbz_status s) {
	b->verdict[i] = s;
	count_add(&b->op.counts->errors, 1);
	return s;
}

/* Bytes the arena needs for n keys; 0 when the sum does not fit. */
static size_t arena_size(const zbz_table *t, const zbz_bytes *keys, size_t n) {
	size_t each = sizeof(zbz_bytes) + sizeof(zbz_status) + t->prefix.n, total, i;
	if (n > (SIZE_MAX / 4) / each) return 0;
	total = n * each;
	for (i = 0; i < n; i++) {
		if (keys[i].n > SIZE_MAX / 2 - total) return 0;
		total += keys[i].n;
	}
	return total;
}

static void lay_out(batch *b, size_t n) {
	b->keys = b->arena;
	b->verdict = (zbz_status *)(b->keys + n);
}

static void build_keys(batch *b, const zbz_bytes *keys) {
	const zbz_bytes prefix = b->op.t->prefix;
	char *p = (char *)(b->verdict + b->n);
	size_t i;
	for (i = 0; i < b->n; i++) {
		b->verdict[i] = ZBZ_OK;
		if (zbz_op_check_key(&b->op, keys[i].n, &b->op.c->err) != ZBZ_OK) {
			refuse(b, i, ZBZ_E_KEY);
			continue;
		}
		memcpy(p, prefix.p, prefix.n);
		memcpy(p + prefix.n, keys[i].p, keys[i].n);
		if (key_reserved(zbz_b(p, prefix.n + keys[i].n))) {
			zbz_key_refuse_reserved(&b->op.c->err);
			refuse(b, i, ZBZ_E_KEY);
			continue;
		}
		b->keys[b->good++] = zbz_b(p, prefix.n + keys[i].n);
		p += prefix.n + keys[i].n;
	}
}

static zbz_status begin(batch *b, zbz_table *t, zbz_call *c, const zbz_bytes *keys, size_t n) {
	zbz_status s = zbz_op_open(&b->op, t, c);
	size_t size;
	if (s != ZBZ_OK) {
		count_add(&b->op.counts->errors, n);
		return s;
	}
	b->n = n;
	b->good = 0;
	size = arena_size(t, keys, n);
	b->arena = size != 0 ? zbz_malloc(size) : NULL;
	if (b->arena == NULL) {
		count_add(&b->op.counts->errors, n);
		zbz_op_end(&b->op);
		return zbz_fail_nomem(&c->err);
	}
	lay_out(b, n);
	build_keys(b, keys);
	return ZBZ_OK;
}

static void end(batch *b) {
	zbz_free(b->arena);
	zbz_op_end(&b->op);
}

static void touch_all(const batch *b) {
	size_t i;
	if (zbz_flights_idle(b->op.slot->flights)) return;
	for (i = 0; i < b->good; i++) zbz_flights_touch(b->op.slot->flights, b->keys[i]);
}

/* From the back, so that no packed answer is overwritten before it has moved. */
static void spread(const batch *b, zbz_status *status) {
	size_t i = b->n, j = b->good;
	while (i-- > 0) status[i] = b->verdict[i] == ZBZ_OK ? status[--j] : b->verdict[i];
}

static void fill(zbz_status *status, size_t n, zbz_status with) {
	size_t i;
	for (i = 0; i < n; i++) status[i] = with;
}

/* ---- get ---- */

static void open_found(batch *b, zbz_buf *out, zbz_found *f) {
	zbz_bytes stored, value;
	zbz_entry entry;
	if (f->status != ZBZ_OK) return;
	stored = zbz_b(out->p + f->off, f->n);
	if (!zbz_envelope_is(stored)) return;
	atomic_store_explicit(&b->op.t->sealed, true, memory_order_relaxed);
	f->status = zbz_envelope_open(stored, b->op.c->now, &value, &entry, &b->op.c->err);
	if (f->status != ZBZ_OK) return;
	if (!entry_live(&entry)) {
		f->status = ZBZ_MISS;
		return;
	}
	f->off = (size_t)(value.p - out->p);
	f->n = value.n;
}

static void spread_found(const batch *b, zbz_found *found) {
	size_t i = b->n, j = b->good;
	while (i-- > 0) {
		if (b->verdict[i] == ZBZ_OK)
			found[i] = found[--j];
		else
			found[i] = (zbz_found){ .status = b->verdict[i] };
	}
}

static void finish_found(batch *b, zbz_buf *out, zbz_found *found) {
	uint64_t hits = 0, misses = 0;
	size_t i;
	for (i = 0; i < b->good; i++) {
		open_found(b, out, &found[i]);
		if (found[i].status == ZBZ_OK)
			hits++;
		else if (found[i].status == ZBZ_MISS)
			misses++;
	}
	count_add(&b->op.counts->hits, hits);
	count_add(&b->op.counts->misses, misses);
	count_add(&b->op.counts->errors, b->good - hits - misses);
	spread_found(b, found);
}

zbz_status zbz_table_get_many(zbz_table *t, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_buf *out,
                              zbz_found *found) {
	batch b;
	size_t start = out->n;
	zbz_status s;
	if (n == 0) return ZBZ_OK;
	s = begin(&b, t, c, keys, n);
	if (s != ZBZ_OK) return s;
	if (b.good != 0) s = zbz_store_get_many(b.op.slot->store, c, b.keys, b.good, out, found);
	if (s == ZBZ_OK) {
		finish_found(&b, out, found);
	} else {
		out->n = start;
		if (s != ZBZ_AGAIN) count_add(&b.op.counts->errors, b.good);
	}
	end(&b);
	return s;
}

/* ---- set ---- */

enum { ALONE = ZBZ_AGAIN }; /* a verdict: has a condition, is written by itself */

static zbz_status verdict_of(const batch *b, zbz_bytes value, const zbz_put *put, size_t *room) {
	zbz_seal seal;
	int64_t physical;
	size_t n = value.n;
	zbz_status s = zbz_put_check(put, &b->op.c->err);
	bool seals;
	if (s != ZBZ_OK) return s;
	seals = zbz_put_seal(b->op.t, b->op.c->now, value, put, &seal, &physical);
	if (seals) n = ZBZ_ENVELOPE_HEAD + (put->negative ? 0 : value.n);
	s = zbz_op_check_value(&b->op, n, &b->op.c->err);
	if (s != ZBZ_OK) return s;
	if (put->only != ZBZ_ALWAYS) return (zbz_status)ALONE;
	if (seals) *room += n;
	return ZBZ_OK;
}

/* Judges the values and packs the keys that stay; the room is what all envelopes together need. */
static void judge(batch *b, const zbz_bytes *values, const zbz_put *const *puts, size_t *room) {
	size_t i, from = 0, to = 0;
	for (i = 0; i < b->n; i++) {
		zbz_status s;
		if (b->verdict[i] != ZBZ_OK) continue;
		s = verdict_of(b, values[i], puts != NULL && puts[i] != NULL ? puts[i] : &zbz_put_defaults, room);
		if (s == ZBZ_OK)
			b->keys[to++] = b->keys[from];
		else if (s == (zbz_status)ALONE)
			b->verdict[i] = s;
		else
			refuse(b, i, s);
		from++;
	}
	b->good = to;
}

/* The room is reserved, so the envelopes do not move while the writes point into them. */
static zbz_status prepare(batch *b, const zbz_bytes *values, const zbz_put *const *puts, zbz_buf *sealed,
                          zbz_write *writes) {
	size_t i, j = 0;
	for (i = 0; i < b->n; i++) {
		const zbz_put *put = puts != NULL && puts[i] != NULL ? puts[i] : &zbz_put_defaults;
		zbz_seal seal;
		zbz_write *w = &writes[j];
		zbz_status s;
		size_t at = sealed->n;
		if (b->verdict[i] != ZBZ_OK) continue;
		*w = (zbz_write){ b->keys[j++], values[i], 0, ZBZ_ALWAYS, NULL };
		if (!zbz_put_seal(b->op.t, b->op.c->now, values[i], put, &seal, &w->expire_at)) continue;
		s = zbz_envelope_seal(&seal, values[i], sealed, &b->op.c->err);
		if (s != ZBZ_OK) return s;
		w->value = zbz_b(sealed->p + at, sealed->n - at);
	}
	return ZBZ_OK;
}

static void count_writes(batch *b, const zbz_status *status, size_t n, atomic_uint_least64_t *done) {
	uint64_t good = 0, lost = 0, bad = 0;
	size_t i;
	for (i = 0; i < n; i++) {
		if (status[i] >= 0)
			good++;
		else
			bad++;
		if (status[i] == ZBZ_E_UNAVAILABLE || status[i] == ZBZ_E_TIMEOUT) lost++;
	}
	count_add(done, good);
	count_add(&b->op.counts->errors, bad);
	count_add(&b->op.counts->lost_writes, lost);
}

static zbz_status write_packed(batch *b, const zbz_bytes *values, const zbz_put *const *puts, size_t room,
                               zbz_status *status) {
	zbz_buf sealed = { 0 };
	zbz_write *writes = zbz_calloc(b->good, sizeof *writes);
	zbz_status s = writes != NULL ? ZBZ_OK : zbz_fail_nomem(&b->op.c->err);
	sealed.max = SIZE_MAX;
	if (s == ZBZ_OK && room != 0) {
		s = zbz_buf_grow(&sealed, room, &b->op.c->err);
		atomic_store_explicit(&b->op.t->sealed, true, memory_order_relaxed);
	}
	if (s == ZBZ_OK) s = prepare(b, values, puts, &sealed, writes);
	if (s == ZBZ_OK) {
		touch_all(b);
		s = zbz_store_set_many(b->op.slot->store, b->op.c, writes, b->good, status);
		touch_all(b);
	}
	if (s != ZBZ_OK) fill(status, b->good, s);
	count_writes(b, status, b->good, &b->op.counts->sets);
	zbz_buf_clear(&sealed);
	zbz_free(writes);
	return s;
}

zbz_status zbz_table_set_many(zbz_table *t, zbz_call *c, const zbz_bytes *keys, const zbz_bytes *values,
                              const zbz_put *const *puts, size_t n, zbz_status *status) {
	batch b;
	size_t room = 0, i;
	zbz_status s;
	if (n == 0) return ZBZ_OK;
	s = begin(&b, t, c, keys, n);
	if (s != ZBZ_OK) {
		fill(status, n, s);
		return s;
	}
	judge(&b, values, puts, &room);
	if (b.good != 0) s = write_packed(&b, values, puts, room, status);
	spread(&b, status);
	end(&b);
	for (i = 0; i < n; i++) {
		if (status[i] != (zbz_status)ALONE) continue;
		status[i] = zbz_table_set(t, c, keys[i], values[i], puts[i], NULL);
		if (status[i] >= 0) s = ZBZ_OK; /* something can be said */
	}
	return s;
}

/* ---- delete ---- */

zbz_status zbz_table_del_many(zbz_table *t, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_status *status) {
	batch b;
	zbz_status s;
	if (n == 0) return ZBZ_OK;
	s = begin(&b, t, c, keys, n);
	if (s != ZBZ_OK) {
		fill(status, n, s);
		return s;
	}
	if (b.good != 0) {
		touch_all(&b);
		s = zbz_store_del_many(b.op.slot->store, c, b.keys, b.good, status);
		touch_all(&b);
		if (s != ZBZ_OK) fill(status, b.good, s);
		count_writes(&b, status, b.good, &b.op.counts->deletes);
	}
	spread(&b, status);
	end(&b);
	return s;
}
