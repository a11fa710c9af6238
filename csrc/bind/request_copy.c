/* A request's own copy of all it borrows from Lua, in one block behind it. */
#include "park.h"

static void *carve(char **at, size_t n, size_t size) {
	void *p = *at;
	*at += n * size;
	return p;
}

static void own(char **at, zbz_bytes *v) {
	if (v->n > 0) memcpy(*at, v->p, v->n);
	v->p = *at;
	*at += v->n;
}

size_t zbz_request_size(const zbz_request *r) {
	size_t n = r->key.n + r->value.n, i;
	if (r->keys != NULL) n += r->count * sizeof(*r->keys);
	if (r->values != NULL) n += r->count * (sizeof(*r->values) + sizeof(*r->each) + sizeof(*r->puts));
	if (r->found != NULL) n += r->count * sizeof(*r->found);
	n += r->commands * sizeof(*r->ends);
	if (r->status != NULL) n += r->count * sizeof(*r->status);
	for (i = 0; i < r->count; i++) n += r->keys[i].n + (r->values != NULL ? r->values[i].n : 0);
	return n;
}

/* What is widest stands first, so everything is aligned. */
static void copy_arrays(zbz_request *r, char **at) {
	zbz_bytes *keys = r->keys, *values = r->values;
	zbz_put *each = r->each;
	size_t *ends = r->ends, n = r->count, i;
	if (each != NULL) r->each = memcpy(carve(at, n, sizeof(*each)), each, n * sizeof(*each));
	if (keys != NULL) r->keys = memcpy(carve(at, n, sizeof(*keys)), keys, n * sizeof(*keys));
	if (values != NULL) r->values = memcpy(carve(at, n, sizeof(*values)), values, n * sizeof(*values));
	if (each != NULL) r->puts = carve(at, n, sizeof(*r->puts));
	for (i = 0; each != NULL && i < n; i++) r->puts[i] = &r->each[i];
	if (r->found != NULL) r->found = carve(at, n, sizeof(*r->found));
	if (ends != NULL) r->ends = memcpy(carve(at, r->commands, sizeof(*ends)), ends, r->commands * sizeof(*ends));
	if (r->status != NULL) r->status = carve(at, n, sizeof(*r->status));
	for (i = 0; i < n; i++) {
		own(at, &r->keys[i]);
		if (values != NULL) own(at, &r->values[i]);
	}
}

void zbz_request_own(zbz_request *r, char *at) {
	copy_arrays(r, &at);
	own(&at, &r->key);
	own(&at, &r->value);
}
