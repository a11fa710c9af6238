#include "memory_engine.h"
#include "memory_policy.h"
#include "memory_room.h"

static size_t size_of_entry(const void *block) { return zbz_mem_size(block); }

/* What the first entry costs beside its block: an index of four, a table of chunks. */
enum { FIRST = 256, GIVE_BACK = 8 };

zbz_status zbz_mem_init(zbz_mem *m, const zbz_mem_config *config, int64_t now, zbz_err *err) {
	memset(m, 0, sizeof *m);
	m->config = *config;
	m->policy = config->policy;
	m->max_size = config->max_size;
	m->max_items = config->max_items;
	m->epoch = now;
	m->cleanup_interval = config->cleanup_interval > 0 ? config->cleanup_interval : 1;
	m->next_cleanup = now + m->cleanup_interval;
	zbz_arena_init(&m->arena, m->max_size, size_of_entry);
	zbz_index_init(&m->index, m->max_size < 1 << 20);
	zbz_expiry_init(&m->expiry, &m->arena);
	return m->policy->open(m) ? ZBZ_OK : zbz_fail_nomem(err);
}

void zbz_mem_clear(zbz_mem *m) {
	if (m->policy != NULL) m->policy->close(m);
	zbz_index_clear(&m->index);
	zbz_arena_clear(&m->arena);
	zbz_free(m->words);
}

/* ---- telling of changes ---- */

enum { WORDS_LEAST = 16, WORDS_MOST = 16384, WORDS_SHARE = 1024 /* bytes of max_size for each */ };

const uint32_t *zbz_mem_word(zbz_mem *m, uint64_t hash) {
	uint32_t n = WORDS_LEAST;
	if (m->words == NULL) {
		while (n < WORDS_MOST && n < m->max_size / WORDS_SHARE) n *= 2;
		m->words = zbz_calloc(n, sizeof *m->words);
		m->word_mask = n - 1;
	}
	return m->words != NULL ? &m->words[hash & m->word_mask] : NULL;
}

static void move_word(uint32_t *word) { __atomic_store_n(word, *word + 1, __ATOMIC_RELEASE); }

/* Before whatever changes: by the time the call returns nobody takes the former content for the present one. */
static inline void tell(zbz_mem *m, uint64_t hash) {
	if (m->words != NULL) move_word(&m->words[hash & m->word_mask]);
}

static void tell_all(zbz_mem *m) {
	uint32_t i;
	if (m->words == NULL) return;
	for (i = 0; i <= m->word_mask; i++) move_word(&m->words[i]);
}

/* ---- finding ---- */

uint32_t zbz_mem_find_hash(zbz_mem *m, uint64_t hash) {
	const zbz_segment *s = zbz_index_segment(&m->index, hash);
	uint32_t tag = zbz_index_tag(hash);
	const uint64_t *slot;
	if (s->used == 0) return 0;
	for (slot = &s->slots[zbz_index_home(s, tag)]; *slot != 0 && (uint32_t)(*slot >> 32) <= tag; slot++)
		if ((uint32_t)(*slot >> 32) == tag) return (uint32_t)*slot;
	return 0;
}

void zbz_mem_prefetch_entry(zbz_mem *m, uint64_t hash) {
	const zbz_segment *s = zbz_index_segment(&m->index, hash);
	uint32_t tag = zbz_index_tag(hash);
	const uint64_t *slot;
	if (s->used == 0) return;
	for (slot = &s->slots[zbz_index_home(s, tag)]; *slot != 0 && (uint32_t)(*slot >> 32) <= tag; slot++)
		if ((uint32_t)(*slot >> 32) == tag) __builtin_prefetch(zbz_mem_at(m, (uint32_t)*slot));
}

void zbz_mem_bury(zbz_mem *m, uint32_t id) {
	m->expired++;
	zbz_mem_remove(m, id, zbz_mem_hash(zbz_mem_at(m, id)), false);
}

/* ---- removing ---- */

void zbz_mem_remove(zbz_mem *m, uint32_t id, uint64_t hash, bool evicted) {
	zbz_mem_entry *e = zbz_mem_at(m, id);
	tell(m, hash);
	m->policy->remove(m, id, e, hash, evicted);
	zbz_index_drop(&m->index, hash, id);
	if (zbz_mem_expire(e) != 0) zbz_expiry_unlink(&m->expiry, id);
	m->items--;
	m->live -= zbz_mem_weight(m, e);
	zbz_arena_free(&m->arena, id, zbz_mem_size(e));
}

void zbz_mem_remove_all(zbz_mem *m) {
	tell_all(m);
	m->policy->drop(m);
	zbz_index_clear(&m->index);
	zbz_expiry_init(&m->expiry, &m->arena);
	zbz_arena_clear(&m->arena);
	m->items = m->live = m->hollow_tried = 0;
}

/* ---- writing ---- */

typedef struct put {
	uint64_t hash;
	zbz_bytes key, value;
	int64_t expire_at, now;
	size_t bytes;
} put;

static void fill(zbz_mem_entry *e, const put *p) {
	e->klen = (uint16_t)p->key.n;
	e->word = (e->word & ZBZ_BLOCK_MARKS) | (uint32_t)p->value.n | (p->expire_at != 0 ? ZBZ_MEM_HAS_TTL : 0);
	if (p->expire_at != 0) {
		memset(e + 1, 0, ZBZ_MEM_TTL_BYTES);
		zbz_mem_set_expire(e, p->expire_at);
	}
	memcpy(zbz_mem_key(e), p->key.p, p->key.n);
	if (p->value.n != 0) memcpy(zbz_mem_value(e), p->value.p, p->value.n);
}

static void add_entry(zbz_mem *m, uint32_t id, const put *p) {
	zbz_mem_entry *e = zbz_mem_at(m, id);
	fill(e, p);
	e->hits = e->pol = 0;
	e->prev = e->next = 0;
	e->stamp = zbz_mem_stamp(m, p->now);
	e->version = ++m->version;
	m->items++;
	m->live += zbz_mem_weight(m, e);
	zbz_index_add(&m->index, p->hash, id);
	if (p->expire_at != 0) zbz_expiry_link(&m->expiry, id, p->now);
	m->policy->insert(m, id, e, p->hash);
}

static void inherit(zbz_mem_entry *n, const zbz_mem_entry *e) {
	n->hits = e->hits;
	n->pol = e->pol;
	n->prev = e->prev;
	n->next = e->next;
}

/* The entry `from` takes the block `to`, perhaps its own, and new content; its place in the policy stays. */
static void replace(zbz_mem *m, uint32_t from, uint32_t to, const put *p) {
	zbz_mem_entry *e = zbz_mem_at(m, from), *n = zbz_mem_at(m, to);
	size_t weight = zbz_mem_weight(m, e), size = zbz_mem_size(e);
	int64_t delta;
	tell(m, p->hash);
	if (m->policy->by_expiry) m->policy->remove(m, from, e, p->hash, false);
	if (zbz_mem_expire(e) != 0) zbz_expiry_unlink(&m->expiry, from);
	if (from != to) inherit(n, e);
	fill(n, p);
	n->version = ++m->version;
	n->stamp = zbz_mem_stamp(m, p->now);
	delta = (int64_t)zbz_mem_weight(m, n) - (int64_t)weight;
	m->live = (uint64_t)((int64_t)m->live + delta);
	if (from != to) zbz_index_move(&m->index, p->hash, from, to);
	if (p->expire_at != 0) zbz_expiry_link(&m->expiry, to, p->now);
	if (m->policy->by_expiry)
		m->policy->insert(m, to, n, p->hash);
	else if (from != to || delta != 0)
		m->policy->moved(m, n, from, to, delta);
	if (from != to) zbz_arena_free(&m->arena, from, size);
	m->policy->hit(m, to, n, p->hash);
}

/* A block alone grows where it is: twice its memory may not be there. MISS when the entry had to make room itself. */
static zbz_status grow_alone(zbz_mem *m, uint64_t hash, zbz_bytes key, size_t bytes, uint32_t *id, zbz_err *err) {
	for (;;) {
		size_t held, wanted = zbz_mem_cost(bytes);
		*id = zbz_mem_find(m, key, hash);
		if (*id == 0) return ZBZ_MISS;
		held = zbz_arena_alone_bytes(&m->arena, *id);
		if (held >= bytes) return ZBZ_OK;
		if (zbz_mem_total(m) - zbz_mem_cost(held) + wanted <= m->max_size) break;
		if (!zbz_mem_yield(m, wanted)) return zbz_mem_too_large(m, bytes, err);
	}
	return zbz_arena_resize_alone(&m->arena, *id, bytes) ? ZBZ_OK : zbz_fail_nomem(err);
}

static bool rewritable(const zbz_mem *m, uint32_t id, const put *p) {
	return !zbz_arena_is_alone(&m->arena, id) && !zbz_arena_alone(&m->arena, p->bytes) &&
	       zbz_arena_round(&m->arena, p->bytes) == zbz_mem_weight(m, zbz_mem_at(m, id));
}

static zbz_status put_alone(zbz_mem *m, const put *p, zbz_err *err) {
	uint32_t id;
	zbz_status status = grow_alone(m, p->hash, p->key, p->bytes, &id, err);
	if (status != ZBZ_OK) return status;
	replace(m, id, id, p);
	if (zbz_arena_alone_bytes(&m->arena, id) != p->bytes)
		zbz_arena_resize_alone(&m->arena, id, p->bytes); /* or stay larger */
	return ZBZ_OK;
}

static zbz_status put_entry(zbz_mem *m, const put *p, zbz_err *err) {
	uint32_t id = zbz_mem_find(m, p->key, p->hash), to;
	zbz_status status;
	if (id == 0 || m->policy->by_expiry || !rewritable(m, id, p)) { /* what is rewritten in place needs no room */
		status = zbz_mem_reserve_tables(m, p->hash, id != 0, err);
		if (status != ZBZ_OK) return status;
		id = zbz_mem_find(m, p->key, p->hash); /* may have been moved or evicted for it */
	}
	if (id != 0 && rewritable(m, id, p)) {
		replace(m, id, id, p);
		return ZBZ_OK;
	}
	if (id != 0 && zbz_arena_is_alone(&m->arena, id) && zbz_arena_alone(&m->arena, p->bytes)) {
		status = put_alone(m, p, err);
		if (status != ZBZ_MISS) return status;
	}
	status = zbz_mem_reserve_block(m, p->bytes, &to, err);
	if (status != ZBZ_OK) return status;
	id = zbz_mem_find(m, p->key, p->hash);
	if (id != 0)
		replace(m, id, to, p);
	else
		add_entry(m, to, p);
	return ZBZ_OK;
}

static bool hopeless(const zbz_mem *m, const put *p) {
	return p->key.n > ZBZ_MEM_KEY_MAX || p->value.n > ZBZ_MEM_VALUE_MAX ||
	       zbz_mem_cost(p->bytes) + FIRST + m->fixed > m->max_size;
}

zbz_status zbz_mem_put(zbz_mem *m, uint64_t hash, zbz_bytes key, zbz_bytes value, int64_t expire_at, int64_t now,
                       uint32_t *version, zbz_err *err) {
	put p = { hash, key, value, expire_at, now, zbz_mem_bytes(key.n, value.n, expire_at != 0) };
	zbz_status status;
	if (hopeless(m, &p)) return zbz_mem_too_large(m, p.bytes, err);
	zbz_mem_find_live(m, key, hash, now); /* a dead entry has no say in what follows */
	status = put_entry(m, &p, err);
	if (status == ZBZ_E_TOO_LARGE && m->items == 0) { /* what is in the way is not entries any more */
		zbz_mem_remove_all(m);
		status = put_entry(m, &p, err);
	}
	if (status == ZBZ_OK) *version = m->version;
	return status;
}

/* ---- another expiry ---- */

static void set_expiry(zbz_mem *m, uint32_t id, uint64_t hash, int64_t expire_at, int64_t now) {
	zbz_mem_entry *e = zbz_mem_at(m, id);
	tell(m, hash);
	if (m->policy->by_expiry) m->policy->remove(m, id, e, hash, false);
	if (zbz_mem_expire(e) != 0) zbz_expiry_unlink(&m->expiry, id);
	zbz_mem_set_expire(e, expire_at);
	if (expire_at != 0) zbz_expiry_link(&m->expiry, id, now);
	if (m->policy->by_expiry) m->policy->insert(m, id, e, hash);
}

/* Makes place for the expiry within a block that stands alone. */
static zbz_status widen_alone(zbz_mem *m, uint64_t hash, zbz_bytes key, size_t bytes, uint32_t *id, zbz_err *err) {
	zbz_status status = grow_alone(m, hash, key, bytes, id, err);
	zbz_mem_entry *e;
	size_t weight;
	int64_t delta;
	if (status != ZBZ_OK) return status;
	e = zbz_mem_at(m, *id);
	weight = zbz_mem_weight(m, e);
	memmove(zbz_mem_key(e) + ZBZ_MEM_TTL_BYTES, zbz_mem_key(e), e->klen + zbz_mem_vlen(e));
	memset(e + 1, 0, ZBZ_MEM_TTL_BYTES);
	e->word |= ZBZ_MEM_HAS_TTL;
	delta = (int64_t)zbz_mem_weight(m, e) - (int64_t)weight;
	m->live = (uint64_t)((int64_t)m->live + delta);
	m->policy->moved(m, e, *id, *id, delta);
	return ZBZ_OK;
}

/* Copies a shared entry into a block with place for the expiry. */
static zbz_status widen_shared(zbz_mem *m, put *p, zbz_err *err) {
	uint32_t id, to, version;
	const zbz_mem_entry *e;
	zbz_status status = zbz_mem_reserve_block(m, p->bytes, &to, err);
	if (status != ZBZ_OK) return status;
	id = zbz_mem_find(m, p->key, p->hash);
	if (id == 0) {
		zbz_arena_free(&m->arena, to, p->bytes);
		return ZBZ_MISS;
	}
	e = zbz_mem_at(m, id);
	version = e->version;
	p->value = zbz_b(zbz_mem_value(e), zbz_mem_vlen(e));
	replace(m, id, to, p);
	zbz_mem_at(m, to)->version = version;
	return ZBZ_OK;
}

zbz_status zbz_mem_expire_at(zbz_mem *m, uint64_t hash, zbz_bytes key, int64_t expire_at, int64_t now, zbz_err *err) {
	uint32_t id = zbz_mem_find(m, key, hash);
	put p = { hash, key, zbz_b(NULL, 0), expire_at, now, 0 };
	zbz_status status;
	if (id == 0) return ZBZ_MISS;
	if (m->policy->by_expiry && !m->policy->reserve(m)) return zbz_fail_nomem(err);
	id = zbz_mem_find(m, key, hash); /* reserving may have moved it */
	if (id == 0) return ZBZ_MISS;
	if (zbz_mem_has_ttl(zbz_mem_at(m, id))) {
		set_expiry(m, id, hash, expire_at, now);
		return ZBZ_OK;
	}
	if (expire_at == 0) return ZBZ_OK;
	p.bytes = zbz_mem_size(zbz_mem_at(m, id)) + ZBZ_MEM_TTL_BYTES;
	if (zbz_mem_cost(p.bytes) + FIRST + m->fixed > m->max_size) return zbz_mem_too_large(m, p.bytes, err);
	if (!zbz_arena_is_alone(&m->arena, id)) return widen_shared(m, &p, err);
	status = widen_alone(m, hash, key, p.bytes, &id, err);
	if (status == ZBZ_OK) set_expiry(m, id, hash, expire_at, now);
	return status;
}

/* ---- dead entries ---- */

void zbz_mem_reap(zbz_mem *m, int64_t now, unsigned budget) {
	uint32_t id;
	if (m->expiry.total == 0) return;
	for (; budget > 0 && (id = zbz_expiry_due(&m->expiry, now)) != 0; budget--) zbz_mem_bury(m, id);
}

void zbz_mem_cleanup(zbz_mem *m, int64_t now) {
	zbz_expiry_at at = { 0, 0, false };
	uint32_t id;
	int n;
	m->next_cleanup = now + m->cleanup_interval;
	zbz_mem_reap(m, now, UINT32_MAX);
	while (m->expiry.total != 0 && (id = zbz_expiry_due_exactly(&m->expiry, now, &at)) != 0) zbz_mem_bury(m, id);
	zbz_index_tidy(&m->index);
	for (n = 0; n < GIVE_BACK && m->arena.hollow > m->arena.cut / 2 && zbz_mem_empty_a_chunk(m, 0); n++)
		zbz_arena_trim(&m->arena);
}
