/* Loggers: a name, and fields that go with every record. */
#include "logger.h"

static zbz_log_node *node_of(zbz_log_view *view, zbz_bytes name) {
	zbz_log_node *node;
	if (name.n > ZBZ_LOG_NAME_MAX) name.n = ZBZ_LOG_NAME_MAX;
	for (node = view->nodes; node != NULL; node = node->next) {
		if (!zbz_bytes_eq(zbz_b(node->name, node->name_n), name)) continue;
		node->refs++;
		return node;
	}
	node = zbz_calloc(1, sizeof(*node) + name.n + 1);
	if (node == NULL) return NULL;
	node->view = view;
	node->refs = 1;
	node->name_n = name.n;
	if (name.n > 0) memcpy(node->name, name.p, name.n);
	node->next = view->nodes;
	view->nodes = node;
	return node;
}

static void node_unref(zbz_log_node *node) {
	zbz_log_node **at;
	if (--node->refs > 0) return;
	for (at = &node->view->nodes; *at != node; at = &(*at)->next) {}
	*at = node->next;
	zbz_node_clear(node);
	zbz_free(node);
}

zbz_logger *zbz_logger_new(zbz_log_view *view, zbz_bytes name) {
	zbz_logger *l = zbz_calloc(1, sizeof(*l));
	if (l == NULL) return NULL;
	l->node = node_of(view, name.p != NULL ? name : zbz_b("", 0));
	if (l->node != NULL) return l;
	zbz_free(l);
	return NULL;
}

static bool has_text(const zbz_field *f) {
	return f->type == ZBZ_FIELD_TEXT || f->type == ZBZ_FIELD_BYTES || f->type >= ZBZ_FIELD_PACK;
}

static size_t weight(const zbz_field *fields, size_t n) {
	size_t sum = 0;
	for (size_t i = 0; i < n; i++) sum += fields[i].key->n + (has_text(&fields[i]) ? fields[i].v.s.n : 0);
	return sum;
}

/* Copies what the fields borrow; names wait for the next turn. */
static char *adopt(zbz_bound *to, const zbz_field *from, char *room) {
	to->field = *from;
	to->field.key = NULL;
	to->name = zbz_b(room, from->key->n);
	room = zbz_put(room, from->key->text, from->key->n);
	if (!has_text(from)) return room;
	to->field.v.s = zbz_b(room, from->v.s.n);
	return from->v.s.n > 0 ? zbz_put(room, from->v.s.p, from->v.s.n) : room;
}

static bool among(const zbz_field *fields, size_t n, const zbz_log_key *key) {
	for (size_t i = 0; i < n; i++) {
		if (fields[i].key == key) return true;
	}
	return false;
}

zbz_logger *zbz_logger_with(zbz_logger *l, const zbz_field *fields, size_t n) {
	zbz_logger *made = zbz_calloc(1, sizeof(*made));
	zbz_field all[2 * ZBZ_LOG_FIELDS_MAX];
	size_t all_n = 0, size;
	char *room;
	if (made == NULL) return NULL;
	zbz_logger_bind(l);
	for (size_t i = 0; i < l->bound_n; i++) {
		all[all_n] = l->bound[i].field;
		if (!among(fields, n, all[all_n].key)) all_n++;
	}
	for (size_t i = 0; i < n && i < ZBZ_LOG_FIELDS_MAX; i++) {
		if (!among(fields + i + 1, n - i - 1, fields[i].key)) all[all_n++] = fields[i];
	}
	if (all_n > ZBZ_LOG_FIELDS_MAX) all_n = ZBZ_LOG_FIELDS_MAX;
	zbz_fields_sort(all, all_n);
	size = (all_n + 1) * sizeof(*made->bound) + weight(all, all_n);
	made->bound = zbz_malloc(size);
	if (made->bound == NULL) {
		zbz_free(made);
		return NULL;
	}
	room = (char *)(made->bound + all_n + 1);
	for (size_t i = 0; i < all_n; i++) room = adopt(&made->bound[i], &all[i], room);
	made->bound_n = all_n;
	made->weight = sizeof(*made) + 2 * size; /* its own, and the text they become */
	made->node = l->node;
	made->node->refs++;
	return made;
}

size_t zbz_logger_weight(const zbz_logger *l) { return l->weight; }

void zbz_logger_free(zbz_logger *l) {
	if (l == NULL) return;
	if (l->node->view->last_of == l) l->node->view->last_of = NULL;
	for (int f = 0; f < ZBZ_FORMATS; f++) zbz_buf_clear(&l->texts[f]);
	zbz_buf_clear(&l->redacted);
	zbz_free(l->shown);
	zbz_free(l->bound);
	node_unref(l->node);
	zbz_free(l);
}

zbz_bytes zbz_logger_name(const zbz_logger *l) { return zbz_b(l->node->name, l->node->name_n); }

bool zbz_logger_plan(zbz_logger *l) { return l->node->turn == l->node->view->turn || zbz_node_plan(l->node); }

zbz_level zbz_logger_level(zbz_logger *l) {
	zbz_log_view_begin(l->node->view);
	return zbz_logger_plan(l) ? l->node->means.level : ZBZ_LEVEL_OFF;
}

unsigned zbz_logger_mask(zbz_logger *l, unsigned *own) {
	zbz_log_view_begin(l->node->view);
	if (own != NULL) *own = 0;
	if (!zbz_logger_plan(l)) return 0;
	if (own != NULL) *own = l->node->own_mask;
	return l->node->mask;
}

bool zbz_logger_wants(zbz_logger *l, zbz_level level, unsigned *turn) {
	*turn = zbz_log_view_begin(l->node->view);
	if (ZBZ_UNLIKELY(l->node->turn != *turn) && !zbz_node_plan(l->node)) return false;
	return (l->node->mask >> level & 1) != 0;
}

uint64_t zbz_logger_asks(const zbz_logger *l, zbz_level level) {
	return (unsigned)level < ZBZ_LEVEL_OFF ? l->node->asks[level] : 0;
}

void zbz_logger_given(zbz_logger *l, uint64_t answers) { l->node->view->given = answers; }

const zbz_field *zbz_logger_bound(const zbz_logger *l, size_t i, zbz_bytes *name) {
	if (i >= l->bound_n) return NULL;
	*name = l->bound[i].name;
	return &l->bound[i].field;
}

/* ---- bound fields, under the configuration of now ---- */

bool zbz_logger_bind(zbz_logger *l) {
	zbz_log_view *view = l->node->view;
	const zbz_log_snapshot *s = view->snapshot;
	if (l->turn == view->turn || l->bound_n == 0) return true;
	if (l->shown == NULL) l->shown = zbz_malloc(l->bound_n * sizeof(*l->shown));
	if (l->shown == NULL) return false;
	for (int f = 0; f < ZBZ_FORMATS; f++) zbz_buf_clear(&l->texts[f]);
	for (size_t i = 0; i < l->bound_n; i++) {
		l->bound[i].field.key = zbz_log_key_of(view, l->bound[i].name);
		l->shown[i] = l->bound[i].field;
		zbz_field_settle(view, &l->shown[i]);
	}
	l->redacted.n = 0;
	zbz_redact_fields(s, l->shown, l->bound_n, &l->redacted);
	l->turn = view->turn;
	return true;
}

zbz_bytes zbz_logger_bound_text(zbz_logger *l, zbz_format format) {
	zbz_buf *b = &l->texts[format];
	size_t most = zbz_fields_most(l->shown, l->bound_n), limit = l->node->view->snapshot->set.max_record / 2;
	bool *cut = &l->cut[format];
	char *end;
	if (b->n > 0) return zbz_buf_bytes(b);
	if (most > limit) most = limit;
	if (zbz_buf_reserve(b, most, NULL) != ZBZ_OK) return zbz_b(NULL, 0);
	end = b->p + most;
	*cut = false;
	if (format == ZBZ_FORMAT_JSON) {
		end = zbz_fields_json(l->shown, l->bound_n, b->p, end, cut);
	} else {
		bool console = format != ZBZ_FORMAT_LOGFMT, colour = format == ZBZ_FORMAT_COLOUR;
		end = zbz_fields_plain(l->shown, l->bound_n, console, colour, b->p, end, cut);
	}
	b->n = (size_t)(end - b->p);
	return zbz_buf_bytes(b);
}
