/* The plan of a segment, and its header. */
#include "shared_layout.h"

#include "base/hash.h"
#include "base/random.h"

#include <string.h>
#include <time.h>

static const char magic[8] = { 'z', 'b', 'z', 's', 'h', 'm', '\n', 0 };

static uint32_t abi(void) { return (uint32_t)(sizeof(pthread_mutex_t) << 16 | sizeof(void *) << 8 | 1); }

/* 64 to 256 shards; fewer where one would be so small that no decent entry fits. */
static uint32_t shards_for(uint64_t size) {
	uint64_t n = 1, least = (uint64_t)128 << 10, good = (uint64_t)512 << 10;
	while (n < 64 && size / (n * 2) >= least) n *= 2;
	while (n >= 64 && n < ZBZ_SHARED_SHARDS_MAX && size / (n * 2) >= good) n *= 2;
	return (uint32_t)n;
}

/* Shards share no line of gates. */
static uint32_t gates_for(uint64_t buckets) { return (uint32_t)(buckets / ZBZ_SHARED_GATED / 16 + 1) * 16; }

void zbz_shared_plan(uint64_t size, uint64_t entry_size, zbz_shared_geometry *g) {
	const uint64_t slots_per_bucket = ZBZ_SHARED_SLOTS, ghost = sizeof(uint16_t);
	const uint64_t per_bucket = slots_per_bucket * (entry_size + ghost) + sizeof(zbz_shared_bucket);
	uint64_t rest, buckets, ghosts, arena;
	memset(g, 0, sizeof *g);
	g->size = size;
	g->entry_size = entry_size;
	g->shards = shards_for(size);
	g->gates =
	    gates_for(size / g->shards / per_bucket); /* without the gates themselves, so perhaps a few more than needed */
	g->shards_at = ZBZ_SHARED_HEADER + (uint64_t)g->shards * g->gates * sizeof(zbz_half);
	g->stride = (size - g->shards_at) / g->shards / 64 * 64;
	rest = g->stride - sizeof(zbz_shared_shard);
	buckets = rest / per_bucket;
	if (buckets < 2) buckets = 2;
	ghosts = (buckets * slots_per_bucket + ZBZ_SHARED_GHOSTS - 1) / ZBZ_SHARED_GHOSTS;
	arena = (rest - buckets * sizeof(zbz_shared_bucket) - ghosts * ZBZ_SHARED_GHOSTS * ghost) / 8;
	g->buckets = (uint32_t)buckets;
	g->ghosts = (uint32_t)ghosts;
	g->buckets_at = sizeof(zbz_shared_shard) / 8;
	g->ghosts_at = g->buckets_at + (uint32_t)(buckets * sizeof(zbz_shared_bucket) / 8);
	g->ring_units[0] = (uint32_t)(arena / 10);
	g->ring_units[1] = (uint32_t)arena - g->ring_units[0];
	g->ring_at[0] = g->ghosts_at + (uint32_t)(ghosts * ZBZ_SHARED_GHOSTS * ghost / 8);
	g->ring_at[1] = g->ring_at[0] + g->ring_units[0];
	g->most_units = (uint32_t)arena / 4;
}

static uint64_t header_check(const zbz_shared_header *h) {
	static const uint64_t key[4] = { 0x9E3779B97F4A7C15u, 0xC2B2AE3D27D4EB4Fu, 0x165667B19E3779F9u,
		                             0x27D4EB2F165667C5u };
	return zbz_hash_keyed(key, zbz_b(h, offsetof(zbz_shared_header, check)));
}

zbz_status zbz_shared_format_lock(zbz_shared_shard *s, zbz_err *err) {
	pthread_mutexattr_t attr;
	int e = pthread_mutexattr_init(&attr);
	if (e != 0) return zbz_fail_errno(err, ZBZ_E_INTERNAL, e, "the lock of a shared segment");
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	e = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	if (e == 0) e = pthread_mutex_init(&s->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	return e == 0 ? ZBZ_OK : zbz_fail_errno(err, ZBZ_E_INTERNAL, e, "the lock of a shared segment");
}

static zbz_shared_shard sample; /* its lock, to compare with */

__attribute__((constructor)) static void make_sample(void) { zbz_shared_format_lock(&sample, NULL); }

/* A lock whose kind is no longer what it was made with would lead the C library astray. */
bool zbz_shared_lock_sound(const zbz_shared_shard *s) {
#ifdef __GLIBC__
	return s->lock.__data.__kind == sample.lock.__data.__kind;
#else
	(void)s;
	return true;
#endif
}

void zbz_shared_empty(const zbz_shared_geometry *g, unsigned char *base, uint32_t shard) {
	zbz_shared_shard *s = zbz_shared_shard_in(g, base, shard);
	zbz_half *gates = zbz_shared_gates_in(g, base, shard);
	zbz_shared_bucket *b = (zbz_shared_bucket *)(void *)((zbz_word *)(void *)s + g->buckets_at), *end = b + g->buckets;
	uint32_t i;
	for (i = 0; i < g->gates; i++) zbz_hstore(&gates[i], zbz_hload(&gates[i]) | 1);
	for (; b < end; b++) {
		zbz_hstore(&b->seq, zbz_hload(&b->seq) | 1);
		zbz_shared_fence(memory_order_release);
		for (i = 0; i < ZBZ_SHARED_SLOTS; i++) zbz_wstore(&b->slot[i], 0);
		zbz_hstore(&b->away, 0);
		atomic_store_explicit(&b->seq, zbz_hload(&b->seq) + 1, memory_order_release);
	}
	for (i = 0; i < g->gates; i++)
		atomic_store_explicit(&gates[i], (zbz_hload(&gates[i]) | 1) + 1, memory_order_release);
	memset((zbz_word *)(void *)s + g->ghosts_at, 0, (size_t)g->ghosts * ZBZ_SHARED_GHOSTS * sizeof(uint16_t));
	for (i = 0; i < 2; i++) {
		zbz_hstore(&s->ring[i].head, 0);
		zbz_hstore(&s->ring[i].tail, 0);
		zbz_hstore(&s->ring[i].used, 0);
		zbz_hstore(&s->ring[i].live, 0);
	}
	zbz_hstore(&s->items, 0);
	zbz_hstore(&s->reap, 0);
	/* the version just given may be half written; one that was given never comes again */
	zbz_hstore(&s->version, zbz_hload(&s->version) + 2);
}

zbz_status zbz_shared_format(unsigned char *base, const zbz_shared_geometry *g, zbz_err *err) {
	zbz_shared_header *h = (zbz_shared_header *)base;
	zbz_status status = zbz_random(h->secret, sizeof h->secret, err);
	uint32_t i, first;
	if (status == ZBZ_OK) status = zbz_random(&h->epoch, sizeof h->epoch, err);
	if (status == ZBZ_OK) status = zbz_random(&first, sizeof first, err);
	for (i = 0; i < g->shards && status == ZBZ_OK; i++) {
		zbz_shared_shard *s = zbz_shared_shard_in(g, base, i);
		status = zbz_shared_format_lock(s, err);
		zbz_hstore(&s->version, first + i); /* no version of an earlier segment comes again soon */
	}
	if (status != ZBZ_OK) return status;
	memcpy(h->magic, magic, sizeof magic);
	h->layout = ZBZ_SHARED_LAYOUT;
	h->abi = abi();
	h->size = g->size;
	h->entry_size = g->entry_size;
	h->check = header_check(h);
	return ZBZ_OK;
}

bool zbz_shared_check_header(const zbz_shared_header *h, uint64_t file_size, zbz_shared_geometry *g) {
	zbz_shared_header copy;
	if (file_size < ZBZ_SHARED_LEAST) return false;
	memcpy(&copy, h, sizeof copy); /* judged once: nobody changes it in between */
	if (memcmp(copy.magic, magic, sizeof magic) != 0 || copy.layout != ZBZ_SHARED_LAYOUT || copy.abi != abi())
		return false;
	if (copy.check != header_check(&copy) || copy.size != file_size || copy.size > ZBZ_SHARED_MOST) return false;
	zbz_shared_plan(copy.size, copy.entry_size, g);
	return true;
}
