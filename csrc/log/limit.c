/* Limits of one logger in one view: sampling, a token bucket, repeats. */
#include "front.h"

#include "base/hash.h"

#define SECOND INT64_C(1000000000)

static bool sampled_out(zbz_log_limits *l, const zbz_log_meaning *m, int64_t at, zbz_level level) {
	int64_t over;
	if (at / SECOND != l->second) {
		l->second = at / SECOND;
		memset(l->seen, 0, sizeof l->seen);
	}
	over = ++l->seen[level] - m->sample_first;
	if (over <= 0) return false;
	return m->sample_then <= 0 || over % m->sample_then != 0;
}

static bool over_rate(zbz_log_limits *l, const zbz_log_meaning *m, int64_t at) {
	if (!l->started) {
		l->started = true;
		l->tokens = (double)m->burst;
		l->tokens_at = at;
	}
	if (at > l->tokens_at) {
		l->tokens += (double)(at - l->tokens_at) / 1e9 * (double)m->rate;
		if (l->tokens > (double)m->burst) l->tokens = (double)m->burst;
	}
	l->tokens_at = at; /* a clock set back costs nothing but the time */
	if (l->tokens < 1) return true;
	l->tokens -= 1;
	return false;
}

zbz_verdict zbz_limit(zbz_log_limits *l, const zbz_log_meaning *m, int64_t at, zbz_level level) {
	if (m->sample_first > 0 && sampled_out(l, m, at, level)) return ZBZ_SAMPLED_OUT;
	if (m->rate > 0 && over_rate(l, m, at)) return ZBZ_OVER_RATE;
	return ZBZ_TAKE;
}

static uint64_t mix(uint64_t h, uint64_t v) {
	uint64_t pair[2] = { h, v };
	return zbz_hash_inline(zbz_b(pair, sizeof pair));
}

uint64_t zbz_limit_hash(zbz_level level, zbz_bytes msg, const zbz_field *fields, size_t n) {
	uint64_t h = mix((uint64_t)level, zbz_hash_inline(msg));
	for (size_t i = 0; i < n; i++) {
		const zbz_field *f = &fields[i];
		bool text = f->type == ZBZ_FIELD_TEXT || f->type == ZBZ_FIELD_BYTES || f->type >= ZBZ_FIELD_PACK;
		uint64_t v = f->type == ZBZ_FIELD_NULL ? 0 : f->type == ZBZ_FIELD_BOOL ? f->v.b : f->v.u;
		h = mix(h, zbz_hash_inline(zbz_key_name(f->key)));
		h = mix(h, (uint64_t)f->type + 16);
		h = mix(h, text ? zbz_hash_inline(f->v.s) : v);
	}
	return h;
}
