/* One configuration: a private copy of the settings, checked, with names of outputs turned into bits. */
#include "front.h"

#include <stdio.h>

struct zbz_log_block {
	zbz_log_block *next;
	_Alignas(16) char bytes[];
};

static void *give(zbz_log_snapshot *s, size_t n) {
	zbz_log_block *b = zbz_calloc(1, sizeof(*b) + n);
	if (b == NULL) return NULL;
	b->next = s->blocks;
	s->blocks = b;
	return b->bytes;
}

static bool copy(zbz_log_snapshot *s, const void *from, size_t n, size_t size, void **out) {
	*out = give(s, n * size + 1);
	if (*out == NULL) return false;
	if (n > 0) memcpy(*out, from, n * size);
	return true;
}

static bool copy_text(zbz_log_snapshot *s, const char **text) {
	void *p;
	if (*text == NULL) return true;
	if (!copy(s, *text, strlen(*text), 1, &p)) return false;
	*text = p;
	return true;
}

static bool copy_texts(zbz_log_snapshot *s, const char *const **list, size_t n) {
	void *p;
	if (!copy(s, *list, n, sizeof **list, &p)) return false;
	*list = p;
	for (size_t i = 0; i < n; i++) {
		if (!copy_text(s, &((const char **)p)[i])) return false;
	}
	return true;
}

static bool copy_where(zbz_log_snapshot *s, const zbz_log_condition **list, size_t n) {
	void *p;
	zbz_log_condition *own;
	if (!copy(s, *list, n, sizeof **list, &p)) return false;
	*list = own = p;
	for (size_t i = 0; i < n; i++) {
		if (!copy_text(s, &own[i].field)) return false;
		if (!copy(s, own[i].text.p, own[i].text.n, 1, &p)) return false;
		own[i].text.p = p;
	}
	return true;
}

/* ---- the parts ---- */

static zbz_status copy_outputs(zbz_log_snapshot *s, zbz_err *err) {
	zbz_log_settings *set = &s->set;
	if (set->outputs_n > ZBZ_LOG_OUTPUTS_MAX)
		return zbz_fail_option(err, "outputs", "%zu outputs are more than %d", set->outputs_n, ZBZ_LOG_OUTPUTS_MAX);
	s->slots = give(s, (set->outputs_n + 1) * sizeof(*s->slots));
	if (s->slots == NULL) return zbz_fail_nomem(err);
	for (size_t i = 0; i < set->outputs_n; i++) {
		zbz_log_output_spec *o = &s->slots[i];
		zbz_status status = zbz_conditions_check(set->outputs[i].where, set->outputs[i].where_n, err);
		if (status != ZBZ_OK) return status;
		*o = set->outputs[i];
		o->output = NULL;
		if (!copy_text(s, &o->name) || !copy_where(s, &o->where, o->where_n) ||
		    !copy_texts(s, &o->metadata, o->metadata_n))
			return zbz_fail_nomem(err);
		for (size_t k = 0; k < i; k++) {
			if (strcmp(s->slots[k].name, o->name) == 0)
				return zbz_fail_option(err, "outputs", "two outputs are named '%.40s'", o->name);
		}
		if (set->outputs[i].output != NULL) {
			o->output = zbz_output_ref(set->outputs[i].output);
			zbz_notice_install(o);
		} else {
			s->own |= (uint64_t)1 << i;
		}
		if (o->always) s->always |= (uint64_t)1 << i;
		if (o->where_n > 0) s->filters = true;
	}
	set->outputs = NULL;
	return ZBZ_OK;
}

static zbz_status bits_of(const zbz_log_snapshot *s, const char *const *names, size_t n, const char *who,
                          uint64_t *bits, zbz_err *err) {
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;
		while (k < s->set.outputs_n && strcmp(s->slots[k].name, names[i]) != 0) k++;
		if (k == s->set.outputs_n)
			return zbz_fail_option(err, "outputs", "%s names the output '%.60s', which does not exist", who, names[i]);
		*bits |= (uint64_t)1 << k;
	}
	return ZBZ_OK;
}

static zbz_status copy_loggers(zbz_log_snapshot *s, zbz_err *err) {
	zbz_log_settings *set = &s->set;
	zbz_log_logger_spec *own;
	zbz_status status = ZBZ_OK;
	void *p;
	if (!copy(s, set->loggers, set->loggers_n, sizeof *own, &p)) return zbz_fail_nomem(err);
	set->loggers = own = p;
	s->logger_outputs = give(s, (set->loggers_n + 1) * sizeof(uint64_t));
	if (s->logger_outputs == NULL) return zbz_fail_nomem(err);
	for (size_t i = 0; i < set->loggers_n && status == ZBZ_OK; i++) {
		char who[96];
		snprintf(who, sizeof who, own[i].name[0] != '\0' ? "the logger '%.60s'" : "the root logger", own[i].name);
		status = bits_of(s, own[i].outputs, own[i].outputs_n, who, &s->logger_outputs[i], err);
		if (status != ZBZ_OK) break;
		own[i].outputs = NULL;
		if (!copy_text(s, &own[i].name) || !copy_text(s, &own[i].parent)) status = zbz_fail_nomem(err);
	}
	return status;
}

static zbz_status copy_routes(zbz_log_snapshot *s, zbz_err *err) {
	zbz_log_settings *set = &s->set;
	zbz_log_route_spec *own;
	zbz_status status = ZBZ_OK;
	void *p;
	if (set->routes_n > UINT16_MAX) return zbz_fail_option(err, "routes", "%zu routes are too many", set->routes_n);
	if (!copy(s, set->routes, set->routes_n, sizeof *own, &p)) return zbz_fail_nomem(err);
	set->routes = own = p;
	s->route_outputs = give(s, (set->routes_n + 1) * sizeof(uint64_t));
	if (s->route_outputs == NULL) return zbz_fail_nomem(err);
	for (size_t i = 0; i < set->routes_n && status == ZBZ_OK; i++) {
		char who[32];
		snprintf(who, sizeof who, "route %zu", i + 1);
		status = zbz_conditions_check(own[i].where, own[i].where_n, err);
		if (status == ZBZ_OK) status = bits_of(s, own[i].outputs, own[i].outputs_n, who, &s->route_outputs[i], err);
		if (status != ZBZ_OK) break;
		own[i].outputs = NULL;
		if (!copy_text(s, &own[i].logger) || !copy_where(s, &own[i].where, own[i].where_n))
			status = zbz_fail_nomem(err);
	}
	return status;
}

static void lower(char *text) {
	for (; *text != '\0'; text++) {
		if (*text >= 'A' && *text <= 'Z') *text = (char)(*text + 32);
	}
}

static zbz_status copy_redaction(zbz_log_snapshot *s, zbz_err *err) {
	zbz_log_settings *set = &s->set;
	bool hashes = set->secret == ZBZ_REDACT_HASH || set->pii == ZBZ_REDACT_HASH;
	bool encrypts = set->secret == ZBZ_REDACT_ENCRYPT || set->pii == ZBZ_REDACT_ENCRYPT;
	zbz_status status = ZBZ_OK;
	zbz_log_redact_rule *own;
	void *p;
	if (!copy(s, set->redact, set->redact_n, sizeof *own, &p)) return zbz_fail_nomem(err);
	set->redact = own = p;
	for (size_t i = 0; i < set->redact_n; i++) {
		if (!copy_text(s, &own[i].key)) return zbz_fail_nomem(err);
		lower((char *)(uintptr_t)own[i].key);
		if (own[i].how == ZBZ_REDACT_HASH) hashes = true;
		if (own[i].how == ZBZ_REDACT_ENCRYPT) encrypts = true;
	}
	if (hashes && set->hmac_key.n < 16) return zbz_fail_option(err, "key", "hashing needs a key of at least 16 bytes");
	s->hashes = set->hmac_key.n >= 16;
	zbz_hmac_begin(&s->hmac, set->hmac_key);
	if (set->cipher_key.n > 0 || set->cipher_id.n > 0)
		status = zbz_log_seal_begin(&s->seal, set->cipher_id, set->cipher_key, err);
	else if (encrypts)
		status = zbz_fail_option(err, "encryption", "to encrypt fields it must give a key and its id");
	if (status != ZBZ_OK) return status;
	set->cipher_key = set->cipher_id = zbz_b(NULL, 0);
	set->hmac_key = zbz_b(NULL, 0);
	if (set->secret == ZBZ_REDACT_NONE) set->secret = ZBZ_REDACT_MASK;
	if (set->pii == ZBZ_REDACT_NONE) set->pii = ZBZ_REDACT_MASK;
	return ZBZ_OK;
}

zbz_status zbz_snapshot_new(const zbz_log_settings *set, zbz_log_snapshot **out, zbz_err *err) {
	zbz_log_snapshot *s = zbz_calloc(1, sizeof(*s));
	zbz_status status;
	if (s == NULL) return zbz_fail_nomem(err);
	s->refs = 1;
	s->set = *set;
	if (s->set.max_record == 0) s->set.max_record = 64 * 1024;
	if (s->set.max_record < ZBZ_LINE_LEAST * 4) s->set.max_record = ZBZ_LINE_LEAST * 4;
	status = copy_outputs(s, err);
	if (status == ZBZ_OK) status = copy_loggers(s, err);
	if (status == ZBZ_OK) status = copy_routes(s, err);
	if (status == ZBZ_OK) status = copy_redaction(s, err);
	if (status == ZBZ_OK && !copy_texts(s, &s->set.durations, s->set.durations_n)) status = zbz_fail_nomem(err);
	if (status != ZBZ_OK) {
		zbz_snapshot_free(s);
		return status;
	}
	*out = s;
	return ZBZ_OK;
}

void zbz_snapshot_free(zbz_log_snapshot *s) {
	if (s == NULL) return;
	for (size_t i = 0; s->slots != NULL && i < s->set.outputs_n; i++) zbz_output_unref(s->slots[i].output);
	while (s->blocks != NULL) {
		zbz_log_block *b = s->blocks;
		s->blocks = b->next;
		zbz_free(b);
	}
	zbz_log_seal_clear(&s->seal);
	zbz_free(s);
}

/* ---- what a name means ---- */

static size_t find(const zbz_log_snapshot *s, zbz_bytes name) {
	size_t i = 0;
	while (i < s->set.loggers_n && !zbz_bytes_eq(zbz_bstr(s->set.loggers[i].name), name)) i++;
	return i;
}

/* The name above: "a.b" below "a", and all below the root. */
static zbz_bytes above(zbz_bytes name) {
	while (name.n > 0 && name.p[name.n - 1] != '.') name.n--;
	if (name.n > 0) name.n--;
	return name;
}

static void take(int64_t *to, int64_t from) {
	if (*to == 0) *to = from;
}

static void inherit(const zbz_log_snapshot *s, size_t i, zbz_log_meaning *m, bool *outputs) {
	const zbz_log_logger_spec *l = &s->set.loggers[i];
	if (m->level == 0) m->level = l->level;
	if (m->format == ZBZ_FORMAT_INHERIT) m->format = l->format;
	if (!*outputs && l->has_outputs) {
		m->outputs = s->logger_outputs[i];
		*outputs = true;
	}
	if (m->sample_first == 0) {
		m->sample_first = l->sample_first;
		m->sample_then = l->sample_then;
	}
	if (m->rate == 0) {
		m->rate = l->rate;
		m->burst = l->burst;
	}
	take(&m->dedup_ms, l->dedup_ms);
}

void zbz_snapshot_resolve(const zbz_log_snapshot *s, zbz_bytes name, zbz_log_meaning *out) {
	bool outputs = false;
	memset(out, 0, sizeof(*out));
	/* Configured parents may form a ring: nobody has more ancestors than there are loggers and dots. */
	for (size_t hops = 0; hops <= s->set.loggers_n + ZBZ_LOG_NAME_MAX; hops++) {
		size_t i = find(s, name);
		if (i < s->set.loggers_n) inherit(s, i, out, &outputs);
		if (name.n == 0) break;
		if (i < s->set.loggers_n && s->set.loggers[i].parent != NULL) {
			name = zbz_bstr(s->set.loggers[i].parent);
		} else {
			name = above(name);
		}
	}
	if (out->level == 0) out->level = ZBZ_LEVEL_INFO;
	if (out->rate > 0 && out->burst <= 0) out->burst = out->rate;
}
