/* Fields made ready for a line: durations in one unit, in order, each name once. */
#include "logger.h"

#include <math.h>

/* ---- durations ---- */

static void in_ms(zbz_log_view *view, zbz_field *f, double ms) {
	char name[ZBZ_KEY_BYTES];
	size_t n = f->key->n < sizeof name - 3 ? f->key->n : sizeof name - 3;
	memcpy(name, f->key->text, n);
	memcpy(name + n, "_ms", 3);
	f->key = zbz_log_key_of(view, zbz_b(name, n + 3));
	if (ms == floor(ms) && fabs(ms) < 9e15) {
		f->type = ZBZ_FIELD_INT;
		f->v.i = (int64_t)ms;
	} else {
		f->type = ZBZ_FIELD_DOUBLE;
		f->v.d = ms;
	}
}

void zbz_field_settle(zbz_log_view *view, zbz_field *f) {
	double seconds, ns;
	switch (f->type) {
	case ZBZ_FIELD_DURATION: seconds = (double)f->v.i / 1e9; break;
	case ZBZ_FIELD_INT: seconds = (double)f->v.i; break;
	case ZBZ_FIELD_DOUBLE: seconds = f->v.d; break;
	default: return;
	}
	if (f->type != ZBZ_FIELD_DURATION && !f->key->duration) return;
	if (view->snapshot->set.duration_ms) {
		/* 0.042 * 1000 is 42.00000000000001 */
		double ms = seconds * 1000, whole = floor(ms + 0.5);
		in_ms(view, f, fabs(ms - whole) < 1e-6 ? whole : ms);
		return;
	}
	ns = floor(seconds * 1e9 + 0.5);
	if (f->type == ZBZ_FIELD_DURATION || !(fabs(ns) < 9e18)) return;
	f->type = ZBZ_FIELD_DURATION;
	f->v.i = (int64_t)ns;
}

/* ---- order ---- */

static int name_order(const zbz_log_key *a, const zbz_log_key *b) {
	size_t n = a->n < b->n ? a->n : b->n;
	int d = memcmp(a->text, b->text, n);
	return d != 0 ? d : (int)a->n - (int)b->n;
}

static bool before(const zbz_log_key *a, const zbz_log_key *b) {
	if (ZBZ_LIKELY(a->order != b->order)) return a->order < b->order;
	return a != b && name_order(a, b) < 0;
}

void zbz_fields_sort(zbz_field *fields, size_t n) {
	for (size_t i = 1; i < n; i++) {
		zbz_field f = fields[i];
		size_t k = i;
		for (; k > 0 && before(f.key, fields[k - 1].key); k--) fields[k] = fields[k - 1];
		if (k != i) fields[k] = f;
	}
}

size_t zbz_fields_unique(zbz_field *fields, size_t n) {
	size_t kept = 0;
	for (size_t i = 0; i < n; i++) {
		bool again = false;
		for (size_t k = i + 1; k < n && !again; k++) again = fields[k].key == fields[i].key;
		if (again) continue;
		if (kept != i) fields[kept] = fields[i];
		kept++;
	}
	return kept;
}
