/* Names of fields, prepared once: how they begin in each format, and whether their values must not be seen. */
#include "front.h"

#include "base/hash.h"

#define SLOTS (4 * ZBZ_KEYS_MAX)

/* Names that a record uses itself: a field of that name gets another one, or JSON would have it twice. */
static const char *const reserved[] = { "time", "level", "logger", "message", "msg", "truncated" };

static zbz_bytes cut_name(zbz_bytes name) {
	if (name.n <= ZBZ_KEY_BYTES) return name;
	for (name.n = ZBZ_KEY_BYTES; name.n > ZBZ_KEY_BYTES - 4 && ((unsigned char)name.p[name.n] & 0xC0) == 0x80;
	     name.n--) {}
	return name;
}

/* With U+FFFD for what is no UTF-8, as it will be seen: two names that look alike are one. */
static zbz_bytes mend(zbz_bytes name, char room[ZBZ_KEY_BYTES]) {
	const unsigned char *p = (const unsigned char *)name.p, *end = p + name.n;
	size_t n = 0;
	while (p < end) {
		size_t len = *p < 0x80 ? 1 : zbz_utf8_length(p, end);
		if (n + (len == 0 ? 3 : len) > ZBZ_KEY_BYTES) break;
		memcpy(room + n, len == 0 ? "\xEF\xBF\xBD" : (const char *)p, len == 0 ? 3 : len);
		n += len == 0 ? 3 : len;
		p += len == 0 ? 1 : len;
	}
	return zbz_b(room, n);
}

/* *skip: where the name begins in what is shown, when that is all of the difference. */
static zbz_bytes shown(zbz_bytes name, char room[ZBZ_KEY_BYTES], size_t *skip) {
	*skip = 0;
	for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
		if (!zbz_bytes_eq(name, zbz_bstr(reserved[i]))) continue;
		memcpy(room, "fields.", 7);
		memcpy(room + 7, name.p, name.n);
		*skip = 7;
		return zbz_b(room, name.n + 7);
	}
	name = cut_name(name);
	return zbz_utf8_span(name.p, name.n) < name.n ? mend(name, room) : name;
}

/* Without what the patterns find in it; before it is cut, which would hide that from them. */
static zbz_bytes scanned(const zbz_log_view *view, zbz_bytes name, char room[ZBZ_KEY_BYTES]) {
	unsigned scan = view->snapshot->set.scan;
	zbz_buf clean = { 0 };
	if (scan == 0 || !zbz_redact_scan(scan, name, &clean)) return name;
	name.n = clean.n < ZBZ_KEY_BYTES ? clean.n : ZBZ_KEY_BYTES;
	if (name.n > 0) memcpy(room, clean.p, name.n);
	zbz_buf_clear(&clean);
	return zbz_b(room, name.n);
}

static char *put_plain(char *p, zbz_bytes name) {
	size_t i = 0;
	*p++ = ' ';
	if (name.n == 0) *p++ = '_';
	while (i < name.n) {
		unsigned char c = (unsigned char)name.p[i];
		bool bad = c <= 0x20 || c >= 0x7F || c == '=' || c == '"' || c == '\\';
		*p++ = bad ? '_' : (char)c;
		i++;
	}
	*p++ = '=';
	return p;
}

static uint64_t order_of(zbz_bytes name) {
	uint64_t order = 0;
	for (size_t i = 0; i < 8; i++) order = order << 8 | (i < name.n ? (unsigned char)name.p[i] : 0);
	return order;
}

static bool is_duration(const zbz_log_settings *set, zbz_bytes name) {
	for (size_t i = 0; i < set->durations_n; i++) {
		if (zbz_glob_match(zbz_bstr(set->durations[i]), name)) return true;
	}
	return false;
}

/* If a rule fits this name of it. */
static void hide(const zbz_log_view *view, zbz_log_key *k, zbz_bytes name) {
	if (k->redact == ZBZ_REDACT_NONE) k->redact = (uint8_t)zbz_redact_of(view->snapshot, name);
	k->special = k->special || k->redact != ZBZ_REDACT_NONE;
}

static zbz_log_key *make(const zbz_log_view *view, zbz_bytes name) {
	zbz_log_key *k = zbz_malloc(sizeof(*k) + name.n + 6 * name.n + 32 + name.n + 24);
	char *p;
	if (k == NULL) return NULL;
	p = k->text;
	if (name.n > 0) memcpy(p, name.p, name.n);
	p += name.n;
	k->n = (uint16_t)name.n;
	k->order = order_of(name);
	*p++ = ',';
	p = zbz_put_json(p, name.p, name.n);
	*p++ = ':';
	k->json_n = (uint16_t)(p - k->text - k->n);
	p = put_plain(p, name);
	k->plain_n = (uint16_t)(p - k->text - k->n - k->json_n);
	k->redact = ZBZ_REDACT_NONE;
	k->duration = is_duration(&view->snapshot->set, name);
	k->special = k->duration;
	hide(view, k, name);
	return k;
}

zbz_log_key *zbz_key_nameless(const zbz_log_view *view) {
	zbz_log_key *k = make(view, zbz_bstr("?"));
	if (k == NULL) return NULL;
	k->redact = ZBZ_REDACT_MASK;
	k->special = true;
	return k;
}

/* Under its own name, or behind the "fields." of a reserved one. */
static zbz_log_key_slot *slot_of(zbz_log_keys *keys, zbz_bytes name) {
	size_t at = (size_t)zbz_hash_inline(name) & (SLOTS - 1);
	for (;; at = (at + 1) & (SLOTS - 1)) {
		zbz_log_key_slot *slot = &keys->slots[at];
		if (slot->key == NULL) return slot;
		if ((size_t)slot->key->n != name.n + slot->skip) continue;
		if (name.n == 0 || memcmp(slot->key->text + slot->skip, name.p, name.n) == 0) return slot;
	}
}

static const zbz_log_key *learn(zbz_log_view *view, zbz_bytes name) {
	char room[ZBZ_KEY_BYTES], clean[ZBZ_KEY_BYTES];
	zbz_log_keys *keys = &view->keys;
	size_t skip;
	zbz_bytes s = shown(scanned(view, name, clean), room, &skip);
	zbz_log_key_slot *slot = slot_of(keys, s);
	zbz_log_key *k = slot->key;
	if (k == NULL) {
		if (keys->n >= SLOTS / 2) return view->nameless;
		k = make(view, s);
		if (k == NULL) return view->nameless;
		slot->key = k;
		slot->skip = 0;
		keys->n++;
	}
	hide(view, k, name);
	if (skip == 0) return k;
	slot = slot_of(keys, name);
	slot->key = k;
	slot->skip = (uint16_t)skip;
	keys->n++;
	return k;
}

const zbz_log_key *zbz_log_key_of(zbz_log_view *view, zbz_bytes name) {
	zbz_log_keys *keys = &view->keys;
	const zbz_log_key *k;
	if (name.p == NULL) name.p = "";
	if (ZBZ_UNLIKELY(keys->slots == NULL)) {
		keys->slots = zbz_calloc(SLOTS, sizeof(*keys->slots));
		if (keys->slots == NULL) return view->nameless;
	}
	k = slot_of(keys, name)->key;
	return ZBZ_LIKELY(k != NULL) ? k : learn(view, name);
}

void zbz_keys_clear(zbz_log_keys *keys) {
	for (size_t i = 0; keys->n > 0 && i < SLOTS; i++) {
		if (keys->slots[i].key == NULL) continue;
		if (keys->slots[i].skip == 0) zbz_free(keys->slots[i].key);
		keys->slots[i].key = NULL;
		keys->n--;
	}
}
