/* Reads of one table that wait for a thread at the same time are one batch: what each of them costs the machine is mostly the way to
 * the server and back. The answers are those that each alone would have had. */
#include "park.h"

typedef struct company { /* of one kin */
	zbz_bytes *keys;
	zbz_found *found;
	parked **members;
	size_t n, count; /* members, keys */
	zbz_call c;      /* with the earliest deadline */
	zbz_buf out;
} company;

static bool is_single(const parked *p) { return p->r.verb->together == ZBZ_KEY; }
static size_t keys_of(const parked *p) { return is_single(p) ? 1 : p->r.count; }

static bool lay_out(company *all, const zbz_job *list) {
	size_t n = 0, keys = 0;
	char *at;
	for (; list != NULL; list = list->next, n++) keys += keys_of(zbz_parked_of((zbz_job *)(uintptr_t)list));
	memset(all, 0, sizeof(*all));
	at = zbz_calloc(1, keys * (sizeof(*all->keys) + sizeof(*all->found)) + n * sizeof(*all->members));
	if (at == NULL) return false;
	all->keys = (zbz_bytes *)(void *)at;
	all->found = (zbz_found *)(void *)(all->keys + keys);
	all->members = (parked **)(void *)(all->found + keys);
	return true;
}

static void admit(company *all, parked *p) {
	if (all->n == 0) all->c = p->r.c;
	if (p->r.c.deadline < all->c.deadline) all->c.deadline = p->r.c.deadline;
	all->c.each = is_single(p);
	memcpy(all->keys + all->count, is_single(p) ? &p->r.key : p->r.keys, keys_of(p) * sizeof(*all->keys));
	all->count += keys_of(p);
	all->members[all->n++] = p;
}

static bool gather(company *all, zbz_job *list) {
	if (!lay_out(all, list)) return false;
	for (; list != NULL; list = list->next) {
		parked *p = zbz_parked_of(list);
		if (atomic_load(&p->abandoned))
			zbz_park_run(list);
		else
			admit(all, p);
	}
	return true;
}

/* The earliest deadline ends the batch; whoever has more time goes on alone. So does what failed for a reason of its own. */
static void refuse_all(company *all, zbz_status s) {
	bool early = s == ZBZ_E_TIMEOUT && zbz_call_left(&all->c) == 0;
	size_t i;
	for (i = 0; i < all->n; i++) {
		parked *p = all->members[i];
		p->job.alone = early ? zbz_call_left(&p->r.c) > 0 : s != ZBZ_E_TIMEOUT && s != ZBZ_E_UNAVAILABLE;
		p->r.s = s;
		p->r.c.err = all->c.err;
	}
}

/* Values mostly stand in the order of their keys: a member takes the stretch that has all of its own. */
static zbz_status hand_over(const company *all, const zbz_found *from, size_t n, parked *p) {
	size_t begin = SIZE_MAX, end = 0, i;
	for (i = 0; i < n; i++) {
		if (from[i].status < 0) p->job.alone = true;
		if (from[i].status != ZBZ_OK) continue;
		if (from[i].off < begin) begin = from[i].off;
		if (from[i].off + from[i].n > end) end = from[i].off + from[i].n;
	}
	for (i = 0; i < n && !is_single(p); i++) {
		p->r.found[i] = from[i];
		if (from[i].status == ZBZ_OK) p->r.found[i].off -= begin;
	}
	if (end == 0 || p->job.alone) return ZBZ_OK;
	return zbz_buf_append(&p->out, all->out.p + begin, end - begin, &p->r.c.err);
}

static void spread(company *all) {
	const zbz_found *from = all->found;
	size_t i;
	for (i = 0; i < all->n; i++) {
		parked *p = all->members[i];
		zbz_status s = hand_over(all, from, keys_of(p), p);
		p->r.s = s < 0 || !is_single(p) ? s : from->status;
		from += keys_of(p);
	}
}

static void run_together(zbz_job *list) {
	company all;
	zbz_status s = ZBZ_OK;
	if (list->next == NULL || !gather(&all, list)) {
		for (; list != NULL; list = list->next) zbz_park_run(list);
		return;
	}
	if (all.n > 0) s = zbz_table_get_many(all.members[0]->r.t, &all.c, all.keys, all.count, &all.out, all.found);
	if (s < 0)
		refuse_all(&all, s);
	else
		spread(&all);
	zbz_buf_clear(&all.out);
	zbz_free(all.keys);
}

void zbz_park_kin(parked *p) {
	const zbz_request *r = &p->r;
	if (r->verb->together == ZBZ_ALONE || keys_of(p) == 0 || !zbz_table_batches(r->t)) return;
	p->job.kin = (const char *)r->t + (is_single(p) ? 0 : 1); /* keys one by one, or lists of them: not both in one */
	p->job.run_kin = run_together;
}
