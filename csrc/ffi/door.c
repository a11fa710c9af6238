#include "door.h"

#include "log.h"

#include <stddef.h>

/* Declared in Lua as well: zbz/ffi/doors.lua. */
_Static_assert(offsetof(zbz_door, serial) == 0 && offsetof(zbz_door, number) == 8 && offsetof(zbz_door, p) == 16 &&
                   offsetof(zbz_door, n) == 16 + sizeof(void *) && offsetof(zbz_door, closed) == 20 + sizeof(void *),
               "the part of the record that Lua declares");
_Static_assert(offsetof(zbz_table_box, l1) == 5 * sizeof(void *) && offsetof(zbz_l1_face, hits) == 0 &&
                   offsetof(zbz_l1_face, cache_epoch) == 8 && offsetof(zbz_l1_face, used) == 8 + sizeof(void *) &&
                   offsetof(zbz_l1_face, epoch) == 8 + 2 * sizeof(void *) &&
                   offsetof(zbz_l1_face, generation) == 12 + 2 * sizeof(void *),
               "what Lua declares of a table's L1");

/* What a handle's userdata holds; NULL once that was collected. When the state closes the boxes go, whatever userdata is left. */
static zbz_table_box *box_of(void *shell, const zbz_door *d) {
	return shell != NULL && !d->closed ? *(zbz_table_box **)shell : NULL;
}

/* A call that must not wait: where the store cannot answer at once, the method in C sees to it. */
static zbz_table *begin(const zbz_table_box *box, zbz_door *d) {
	zbz_table *t = box != NULL ? box->t : NULL;
	bool answers = t != NULL && zbz_table_inline(t);
	if (!answers && (t == NULL || !zbz_table_inline_hits(t))) return NULL;
	d->serial++;
	zbz_buf_reset(&d->buf);
	zbz_table_begin(t, &d->c, -1);
	d->c.no_wait = !answers;
	return t;
}

int32_t zbz_door_get(void *self, const char *key, uint32_t n, zbz_door *d) {
	const zbz_table_box *box = box_of(self, d);
	zbz_table *t = begin(box, d);
	if (t == NULL) return ZBZ_DOOR_ELSEWHERE;
	d->s = zbz_table_get(t, &d->c, zbz_b(key, n), &d->buf);
	if (d->s == ZBZ_AGAIN) return ZBZ_DOOR_ELSEWHERE;
	if (d->s == ZBZ_MISS) return ZBZ_DOOR_MISS;
	if (d->s != ZBZ_OK) return ZBZ_DOOR_REST;
	return zbz_door_value((zbz_codec)box->codec, zbz_buf_bytes(&d->buf), d);
}

int32_t zbz_door_get_raw(void *self, const char *key, uint32_t n, zbz_door *d) {
	const zbz_table_box *box = box_of(self, d);
	zbz_table *t = begin(box, d);
	if (t == NULL) return ZBZ_DOOR_ELSEWHERE;
	d->s = zbz_table_get_raw(t, &d->c, zbz_b(key, n), &d->buf);
	if (d->s == ZBZ_AGAIN) return ZBZ_DOOR_ELSEWHERE;
	if (d->s == ZBZ_MISS) return ZBZ_DOOR_MISS;
	return d->s == ZBZ_OK ? zbz_door_value(ZBZ_CODEC_BYTES, zbz_buf_bytes(&d->buf), d) : ZBZ_DOOR_REST;
}

int32_t zbz_door_entry(void *self, const char *key, uint32_t n, zbz_door *d) {
	const zbz_table_box *box = box_of(self, d);
	zbz_table *t = begin(box, d);
	zbz_entry *e = &d->entry;
	if (t == NULL) return ZBZ_DOOR_ELSEWHERE;
	memset(e, 0, sizeof *e);
	d->s = zbz_table_entry(t, &d->c, zbz_b(key, n), true, &d->buf, e);
	if (d->s == ZBZ_AGAIN) return ZBZ_DOOR_ELSEWHERE;
	if (d->s == ZBZ_OK && e->negative && e->stale) d->s = ZBZ_MISS;
	if (d->s != ZBZ_OK || e->negative || e->stale || e->lease) return ZBZ_DOOR_REST;
	return zbz_door_value((zbz_codec)box->codec, zbz_buf_bytes(&d->buf), d);
}

/* Leaves in n what the place's word holds now. */
int32_t zbz_door_l1_hit(void *self, uint32_t place, uint32_t stamp, zbz_door *d) {
	const zbz_table_box *box = box_of(self, d);
	int64_t expire_at;
	if (box == NULL || box->l1 == NULL || !zbz_l1_hit(box->l1, place, stamp)) return false;
	zbz_l1_word(box->l1, place, &d->n, &expire_at);
	return true;
}

const zbz_door_address zbz_doors[] = {
	{ "get", (void (*)(void))zbz_door_get },
	{ "get_raw", (void (*)(void))zbz_door_get_raw },
	{ "entry", (void (*)(void))zbz_door_entry },
	{ "l1_hit", (void (*)(void))zbz_door_l1_hit },
	{ "log_event", (void (*)(void))zbz_door_log_event },
	{ "log_fields", (void (*)(void))zbz_door_log_fields },
	{ NULL, NULL },
};
