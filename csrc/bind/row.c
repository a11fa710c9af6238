/* The order of writes that nobody waits for. A cache is a row, so that its end comes last; the key of an entry is its place there. */
#include "park.h"

#include "base/hash.h"

static uint64_t place_of(uint64_t table, zbz_bytes key) {
	return (uint64_t)1 << (zbz_hash_fold(table, zbz_hash(key)) & 63);
}

static uint64_t places_of(const zbz_request *r) {
	uint64_t table = zbz_hash(zbz_table_prefix(r->t)) | 1, places = 0;
	if (r->key.p != NULL) places |= place_of(table, r->key);
	for (size_t i = 0; i < r->count && r->keys != NULL; i++) places |= place_of(table, r->keys[i]);
	return places;
}

void zbz_park_row(parked *p) {
	p->job.places = p->r.t != NULL ? places_of(&p->r) : UINT64_MAX;
	p->job.row = p->job.places != 0 ? p->r.keep : NULL;
}
