/* One call: which outputs, redaction, one formatting per format. */
#include "logger.h"

#include <zbz/pack.h>

#include <time.h>

#define SECOND INT64_C(1000000000)

int64_t zbz_log_now(const zbz_log *log) {
	struct timespec t;
	if (log->clock != NULL) return zbz_wall(log->clock) * 1000000;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

/* ---- 1. Fields ---- */

/* One walk over what every record has to be asked. */
typedef struct survey {
	bool odd;     /* something to settle or to hide, by its name, its type or its guard */
	bool rising;  /* in order, and so without repeats; false where the first bytes of two names are the same */
	bool repeats; /* certain when it says no */
} survey;

static inline survey look_at(const zbz_field *fields, size_t n) {
	survey s = { false, true, false };
	uint64_t seen = 0, last = 0;
	for (size_t i = 0; i < n; i++) {
		const zbz_field *f = &fields[i];
		uint64_t at = (uint64_t)(uintptr_t)f->key, bit = (uint64_t)1 << ((at >> 5 ^ at >> 11) & 63);
		s.odd |= f->key->special | (f->guard != ZBZ_GUARD_NONE) | (f->type >= ZBZ_FIELD_DURATION);
		s.rising &= i == 0 || f->key->order > last;
		s.repeats |= (seen & bit) != 0;
		seen |= bit;
		last = f->key->order;
	}
	return s;
}

/* ---- 2. Which outputs ---- */

static uint64_t choose(const zbz_log_node *node, zbz_level level, const zbz_log_facts *facts) {
	const zbz_log_snapshot *s = node->view->snapshot;
	uint64_t out = 0;
	bool routed = false;
	for (size_t i = 0; i < node->routes_n; i++) {
		const zbz_log_route_spec *r = &s->set.routes[node->routes[i]];
		if (level < r->lowest || (r->highest != 0 && level > r->highest)) continue;
		if (!zbz_conditions_hold(r->where, r->where_n, facts)) continue;
		out |= s->route_outputs[node->routes[i]];
		routed = true;
	}
	if (!routed) out = node->means.outputs;
	out = (out | s->always) & node->accepts[level];
	for (size_t i = 0; s->filters && i < s->set.outputs_n; i++) {
		const zbz_log_output_spec *o = &s->slots[i];
		if ((out >> i & 1) != 0 && !zbz_conditions_hold(o->where, o->where_n, facts)) out &= ~((uint64_t)1 << i);
	}
	return out;
}

uint64_t zbz_logger_targets(zbz_logger *l, zbz_level level, const zbz_field *fields, size_t n) {
	zbz_field base[ZBZ_LOG_FIELDS_MAX];
	zbz_log_facts facts = { fields, base, n, l->bound_n, l->node->view->given };
	if (ZBZ_LIKELY(!l->node->choosy)) return l->node->targets[level];
	for (size_t i = 0; i < l->bound_n; i++) base[i] = l->bound[i].field;
	return choose(l->node, level, &facts);
}

/* ---- 3. Out ---- */

static zbz_status pack_label(zbz_buf *b, const zbz_field *f) {
	char text[ZBZ_SCALAR_TEXT];
	zbz_status status = zbz_pack_str(b, zbz_key_name(f->key), NULL);
	if (status != ZBZ_OK) return status;
	if (f->type == ZBZ_FIELD_TEXT) return zbz_pack_str(b, zbz_b(f->v.s.p, f->v.s.n < 1024 ? f->v.s.n : 1024), NULL);
	return zbz_pack_str(b, zbz_b(text, (size_t)(zbz_put_scalar(text, f, false) - text)), NULL);
}

static const zbz_field *named(const zbz_field *fields, size_t n, zbz_bytes name) {
	for (size_t i = 0; i < n; i++) {
		bool flat = fields[i].type < ZBZ_FIELD_PACK && fields[i].type != ZBZ_FIELD_BYTES;
		if (flat && zbz_bytes_eq(zbz_key_name(fields[i].key), name)) return &fields[i];
	}
	return NULL;
}

/* The metadata an output asked for, as a map of texts. */
static zbz_bytes labels(zbz_logger *l, const zbz_log_output_spec *o, const zbz_line *line) {
	const zbz_field *found[16];
	zbz_buf *b = &l->node->view->labels;
	size_t n = 0;
	for (size_t i = 0; i < o->metadata_n && n < 16; i++) {
		zbz_bytes name = zbz_bstr(o->metadata[i]);
		found[n] = named(line->fields, line->n, name);
		if (found[n] == NULL && l->bound_n > 0) found[n] = named(l->shown, l->bound_n, name);
		if (found[n] != NULL) n++;
	}
	b->n = 0;
	if (n == 0 || zbz_pack_map(b, n, NULL) != ZBZ_OK) return zbz_b(NULL, 0);
	for (size_t i = 0; i < n; i++) {
		if (pack_label(b, found[i]) != ZBZ_OK) return zbz_b(NULL, 0);
	}
	return zbz_buf_bytes(b);
}

static bool put_bound(zbz_logger *l, zbz_format format, zbz_line *line) {
	if (l->bound_n == 0 || line->base != NULL) return true;
	line->bound = zbz_logger_bound_text(l, format);
	line->cut = line->cut || l->cut[format];
	return line->bound.p != NULL;
}

/* A bound field that the call names anew must not stand twice. */
static void merge_bound(zbz_logger *l, zbz_line *line, zbz_field *room) {
	size_t n = 0;
	bool clash = false;
	for (size_t i = 0; i < l->bound_n; i++) {
		bool named_anew = false;
		for (size_t k = 0; k < line->n && !named_anew; k++) named_anew = line->fields[k].key == l->shown[i].key;
		if (named_anew)
			clash = true;
		else
			room[n++] = l->shown[i];
	}
	if (!clash) return;
	line->base = room;
	line->base_n = n;
}

static bool begin_line(zbz_logger *l, zbz_level level, zbz_format format, zbz_line *line) {
	line->head = zbz_node_head(l->node, format, level);
	return line->head.p != NULL && put_bound(l, format, line);
}

static size_t room_for(const zbz_log_view *view, const zbz_line *line) {
	size_t most = zbz_line_most(line), limit = view->snapshot->set.max_record;
	if (most < ZBZ_LINE_LEAST) most = ZBZ_LINE_LEAST;
	return most < limit ? most : limit;
}

static void head_for(zbz_logger *l, zbz_level level, const zbz_log_output_spec *o, const zbz_line *line,
                     zbz_record_head *head) {
	head->at = line->at;
	head->level = level;
	head->logger = zbz_logger_name(l);
	head->labels = o->metadata_n > 0 ? labels(l, o, line) : zbz_b(NULL, 0);
}

static bool write_direct(zbz_logger *l, zbz_level level, zbz_line *line, size_t at) {
	zbz_log_view *view = l->node->view;
	const zbz_log_output_spec *o = &view->snapshot->slots[at];
	zbz_format format = (zbz_format)l->node->format[at];
	zbz_record_head head;
	size_t room;
	bool cut;
	char *p;
	if (!begin_line(l, level, format, line)) return false;
	room = room_for(view, line);
	head_for(l, level, o, line, &head);
	p = zbz_output_reserve(o->output, &head, room);
	if (p == NULL) return false;
	zbz_output_commit(o->output, zbz_line_write(line, format, p, room, &cut));
	if (ZBZ_UNLIKELY(cut)) zbz_count(&view->tally.at->truncated);
	return true;
}

/* Several outputs: no lock of one is held while another is waited for. */
static bool write_several(zbz_logger *l, zbz_level level, zbz_line *line, uint64_t outputs) {
	zbz_log_view *view = l->node->view;
	bool any = false;
	for (zbz_format format = ZBZ_FORMAT_JSON; format < ZBZ_FORMATS; format++) {
		size_t n = 0, room;
		bool cut = false;
		for (size_t i = 0; i < view->snapshot->set.outputs_n; i++) {
			const zbz_log_output_spec *o = &view->snapshot->slots[i];
			zbz_record_head head;
			if ((outputs >> i & 1) == 0 || l->node->format[i] != format) continue;
			if (n == 0) {
				view->text.n = 0;
				if (!begin_line(l, level, format, line)) break;
				room = room_for(view, line);
				if (zbz_buf_reserve(&view->text, room, NULL) != ZBZ_OK) break;
				n = zbz_line_write(line, format, view->text.p, room, &cut);
			}
			head_for(l, level, o, line, &head);
			if (zbz_output_append(o->output, &head, zbz_b(view->text.p, n)))
				any = true;
			else
				zbz_count(&view->tally.at->lost);
		}
		if (cut) zbz_count(&view->tally.at->truncated);
	}
	return any;
}

/* ---- 4. The call ---- */

static void set_date(zbz_log_view *view, int64_t at) {
	int64_t second = at / SECOND;
	if (second == view->second) return;
	view->second = second;
	zbz_put_date(view->date, second);
}

static void clean(zbz_logger *l, zbz_field *fields, size_t n, zbz_bytes *msg) {
	zbz_log_view *view = l->node->view;
	const zbz_log_snapshot *s = view->snapshot;
	bool wanted = s->set.scan != 0, found;
	size_t kept;
	for (size_t i = 0; i < n; i++) {
		zbz_field *f = &fields[i];
		if (!f->key->special && f->guard == ZBZ_GUARD_NONE && f->type < ZBZ_FIELD_DURATION) continue;
		zbz_field_settle(view, f);
		wanted = wanted || zbz_redact_wanted(s, f);
	}
	if (!wanted) return;
	zbz_buf_reset(&view->redacted);
	found = s->set.scan != 0 && zbz_redact_scan(s->set.scan, *msg, &view->redacted);
	kept = view->redacted.n;
	zbz_redact_fields(s, fields, n, &view->redacted);
	if (found) *msg = zbz_b(kept > 0 ? view->redacted.p : "", kept);
}

uint64_t zbz_logger_emit(zbz_logger *l, zbz_level level, int64_t at, uint64_t outputs, zbz_bytes msg, zbz_field *fields,
                         size_t n, bool ordered, bool cut) {
	zbz_log_view *view = l->node->view;
	uint64_t own = outputs & view->snapshot->own;
	zbz_field base[ZBZ_LOG_FIELDS_MAX];
	zbz_line *line = &view->last;
	bool any;
	survey s = look_at(fields, n);
	set_date(view, at);
	if (ZBZ_UNLIKELY(s.odd || view->snapshot->set.scan != 0)) {
		clean(l, fields, n, &msg);
		s = look_at(fields, n);
	}
	if (!ordered && !s.rising) zbz_fields_sort(fields, n);
	if (!s.rising && s.repeats) n = zbz_fields_unique(fields, n);
	line->at = at;
	line->date = view->date;
	line->bound = zbz_b("", 0);
	line->base = NULL;
	line->base_n = 0;
	line->msg = msg;
	line->fields = fields;
	line->n = n;
	line->cut = cut;
	if (l->bound_n > 0) merge_bound(l, line, base);
	view->last_of = l;
	view->last_level = level;
	outputs &= ~own;
	if (outputs == 0) {
		any = own != 0;
	} else if ((outputs & (outputs - 1)) == 0) {
		any = write_direct(l, level, line, (size_t)__builtin_ctzll(outputs));
		if (!any) zbz_count(&view->tally.at->lost);
	} else {
		any = write_several(l, level, line, outputs);
	}
	if (any || own != 0) zbz_count(&view->tally.at->levels[level]);
	line->base = NULL; /* it was this call's own */
	line->base_n = 0;
	return own;
}

static bool limited(const zbz_log_meaning *m) { return m->sample_first > 0 || m->rate > 0 || m->dedup_ms > 0; }

static uint64_t write_record(zbz_logger *l, zbz_level level, zbz_bytes msg, zbz_field *fields, size_t n, bool ordered) {
	zbz_log_view *view = l->node->view;
	bool cut = n > ZBZ_LOG_FIELDS_MAX;
	uint64_t outputs;
	int64_t at;
	if (msg.p == NULL) msg.p = "";
	if (ZBZ_UNLIKELY(view->notes_n > 0)) zbz_notes_clear(view);
	if ((unsigned)level >= ZBZ_LEVEL_OFF || (l->node->mask >> level & 1) == 0 || l->node->turn != view->turn) return 0;
	if (cut) n = ZBZ_LOG_FIELDS_MAX;
	if (l->bound_n > 0 && !zbz_logger_bind(l)) return 0;
	outputs = zbz_logger_targets(l, level, fields, n);
	if (ZBZ_UNLIKELY(outputs == 0)) {
		zbz_count(&view->tally.at->nowhere);
		return 0;
	}
	at = zbz_log_now(view->log);
	if (at < 0) at = 0;
	if (limited(&l->node->means) && !zbz_logger_admits(l, level, at, msg, fields, n)) return 0;
	return zbz_logger_emit(l, level, at, outputs, msg, fields, n, ordered, cut);
}

uint64_t zbz_logger_write(zbz_logger *l, zbz_level level, zbz_bytes msg, zbz_field *fields, size_t n, bool ordered) {
	uint64_t own = write_record(l, level, msg, fields, n, ordered);
	l->node->view->given = UINT64_MAX;
	return own;
}

zbz_status zbz_logger_render(zbz_logger *l, zbz_format format, zbz_buf *out, zbz_err *err) {
	zbz_log_view *view = l->node->view;
	zbz_field base[ZBZ_LOG_FIELDS_MAX];
	zbz_line line = view->last;
	zbz_status status;
	size_t room;
	bool cut;
	if (view->last_of != l) return zbz_fail(err, ZBZ_E_ARGUMENT, "there was no such call");
	if (format == ZBZ_FORMAT_INHERIT || format >= ZBZ_FORMATS) format = ZBZ_FORMAT_JSON;
	if (l->bound_n > 0) merge_bound(l, &line, base);
	if (!begin_line(l, view->last_level, format, &line)) return zbz_fail_nomem(err);
	room = room_for(view, &line);
	status = zbz_buf_reserve(out, room, err);
	if (status == ZBZ_OK) out->n += zbz_line_write(&line, format, out->p + out->n, room, &cut);
	return status;
}
