/* What limits keep back, and the records that tell of it. */
#include "logger.h"

/* For the outputs that the caller writes himself, after this call. */
static void keep_note(zbz_logger *l, zbz_level level, uint64_t own) {
	zbz_log_view *view = l->node->view;
	zbz_log_note *n = &view->notes[view->notes_n];
	if (view->notes_n == sizeof view->notes / sizeof *view->notes) return;
	n->own = own;
	n->level = level;
	n->from = view->noted.n;
	if (zbz_logger_render(l, ZBZ_FORMAT_JSON, &view->noted, NULL) != ZBZ_OK) return;
	n->n = view->noted.n - n->from;
	view->notes_n++;
}

uint64_t zbz_logger_note(const zbz_logger *l, size_t i, zbz_level *level, zbz_bytes *line) {
	const zbz_log_view *view = l->node->view;
	if (i >= view->notes_n) return 0;
	*level = view->notes[i].level;
	*line = zbz_b(view->noted.p + view->notes[i].from, view->notes[i].n);
	return view->notes[i].own;
}

/* A record of our own: about records. */
static void note(zbz_logger *l, zbz_level level, int64_t at, zbz_bytes msg, const char *name, uint64_t count) {
	zbz_log_view *view = l->node->view;
	zbz_field f = { zbz_log_key_of(view, zbz_bstr(name)), ZBZ_FIELD_UINT, ZBZ_GUARD_NONE, { false } };
	uint64_t outputs, own;
	f.v.u = count;
	outputs = zbz_logger_targets(l, level, &f, 1);
	own = outputs != 0 ? zbz_logger_emit(l, level, at, outputs, msg, &f, 1, false, false) : 0;
	if (own != 0) keep_note(l, level, own);
}

static uint64_t bound_hash(const zbz_logger *l) {
	zbz_field base[ZBZ_LOG_FIELDS_MAX];
	if (l->bound_n == 0) return 0;
	for (size_t i = 0; i < l->bound_n; i++) base[i] = l->bound[i].field;
	return zbz_limit_hash(ZBZ_LEVEL_TRACE, zbz_b("", 0), base, l->bound_n);
}

/* With the bound fields of the records it counts; where others have come by meanwhile, without any. */
static void tell_repeats(zbz_logger *l, int64_t at) {
	zbz_log_limits *lim = &l->node->limits;
	zbz_logger bare = { .node = l->node };
	uint64_t n = lim->repeats;
	if (n == 0) return;
	lim->repeats = 0;
	note(lim->bound == bound_hash(l) ? l : &bare, lim->level, at, zbz_b(lim->msg, lim->msg_n), "repeated", n);
	if (l->node->view->last_of == &bare) l->node->view->last_of = NULL;
}

/* Cut only when the patterns have seen all of it: half of what they look for they would not know. */
static void remember(zbz_log_limits *lim, unsigned scan, zbz_bytes msg) {
	zbz_buf clean = { 0 };
	if (scan != 0 && zbz_redact_scan(scan, msg, &clean)) msg = zbz_buf_bytes(&clean);
	lim->msg_n = zbz_fit(msg.p, msg.n, sizeof lim->msg);
	if (lim->msg_n > 0) memcpy(lim->msg, msg.p, lim->msg_n);
	zbz_buf_clear(&clean);
}

/* true: this record is one of a row that has begun with one to be seen, and counted. */
static bool repeats(zbz_logger *l, zbz_level level, int64_t at, zbz_bytes msg, const zbz_field *fields, size_t n) {
	zbz_log_limits *lim = &l->node->limits;
	uint64_t bound = bound_hash(l), hash = zbz_limit_hash(level, msg, fields, n) ^ bound;
	if (lim->shown && hash == lim->hash && at >= lim->first_at &&
	    (at - lim->first_at) / 1000000 < l->node->means.dedup_ms) {
		lim->repeats++;
		return true;
	}
	tell_repeats(l, at);
	lim->shown = false;
	lim->hash = hash;
	lim->first_at = at;
	lim->level = level;
	lim->bound = bound;
	remember(lim, l->node->view->snapshot->set.scan, msg);
	return false;
}

bool zbz_logger_admits(zbz_logger *l, zbz_level level, int64_t at, zbz_bytes msg, const zbz_field *fields, size_t n) {
	zbz_log_view *view = l->node->view;
	zbz_log_limits *lim = &l->node->limits;
	if (l->node->means.dedup_ms > 0 && repeats(l, level, at, msg, fields, n)) {
		zbz_count(&view->tally.at->repeated);
		return false;
	}
	switch (zbz_limit(lim, &l->node->means, at, level)) {
	case ZBZ_SAMPLED_OUT: zbz_count(&view->tally.at->sampled); return false;
	case ZBZ_OVER_RATE:
		lim->limited++;
		zbz_count(&view->tally.at->limited);
		return false;
	default: lim->shown = true; break;
	}
	if (lim->limited > 0) {
		uint64_t missed = lim->limited;
		lim->limited = 0;
		note(l, ZBZ_LEVEL_WARN, at, zbz_bstr("records were over the rate limit"), "limited", missed);
	}
	return true;
}

void zbz_logger_settle(zbz_logger *l) {
	unsigned turn;
	int64_t at = zbz_log_now(l->node->view->log);
	zbz_log_limits *lim = &l->node->limits;
	zbz_notes_clear(l->node->view);
	zbz_logger_wants(l, ZBZ_LEVEL_FATAL, &turn);
	if (l->node->turn != turn || (l->bound_n > 0 && !zbz_logger_bind(l))) return;
	tell_repeats(l, at);
	lim->hash = 0;
	lim->shown = false;
	if (lim->limited > 0) {
		uint64_t missed = lim->limited;
		lim->limited = 0;
		note(l, ZBZ_LEVEL_WARN, at, zbz_bstr("records were over the rate limit"), "limited", missed);
	}
}
