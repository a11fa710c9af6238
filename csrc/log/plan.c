/* What a logger's name means under a configuration: levels, formats, outputs, and how its lines begin. */
#include "front.h"

static zbz_format format_at(const zbz_log_output_spec *o, zbz_format of_logger) {
	zbz_format format = o->format != ZBZ_FORMAT_INHERIT ? o->format : of_logger;
	if (format == ZBZ_FORMAT_INHERIT) format = o->human ? ZBZ_FORMAT_CONSOLE : ZBZ_FORMAT_JSON;
	return format == ZBZ_FORMAT_CONSOLE && o->colour ? ZBZ_FORMAT_COLOUR : format;
}

static bool find_routes(zbz_log_node *node, const zbz_log_snapshot *s) {
	uint16_t *list = NULL;
	zbz_bytes name = zbz_b(node->name, node->name_n);
	node->routes_n = 0;
	if (s->set.routes_n > 0) {
		list = zbz_realloc(node->routes, s->set.routes_n * sizeof(*list));
		if (list == NULL) return false;
		node->routes = list;
	}
	for (size_t i = 0; i < s->set.routes_n; i++) {
		const zbz_log_route_spec *r = &s->set.routes[i];
		if (r->logger == NULL || zbz_glob_match(zbz_bstr(r->logger), name)) list[node->routes_n++] = (uint16_t)i;
	}
	return true;
}

static bool at_level(const zbz_log_route_spec *r, zbz_level level) {
	return level >= r->lowest && (r->highest == 0 || level <= r->highest);
}

/* All that a level may reach, whatever the fields are; *fixed when they do not matter. */
static uint64_t reach(const zbz_log_node *node, const zbz_log_snapshot *s, zbz_level level, uint64_t *fixed,
                      bool *choosy) {
	uint64_t routed = 0;
	bool some = false, sure = false;
	for (size_t i = 0; i < node->routes_n; i++) {
		const zbz_log_route_spec *r = &s->set.routes[node->routes[i]];
		if (!at_level(r, level)) continue;
		routed |= s->route_outputs[node->routes[i]];
		some = true;
		if (r->where_n == 0) sure = true;
		if (r->where_n > 0) *choosy = true;
	}
	*fixed = (some ? routed : node->means.outputs) | s->always;
	return ((sure ? routed : routed | node->means.outputs) | s->always) & node->accepts[level];
}

static uint64_t asked_at(const zbz_log_node *node, const zbz_log_snapshot *s, zbz_level level) {
	uint64_t bits = 0;
	for (size_t i = 0; i < node->routes_n; i++) {
		const zbz_log_route_spec *r = &s->set.routes[node->routes[i]];
		if (at_level(r, level)) bits |= zbz_conditions_ask(r->where, r->where_n);
	}
	for (size_t i = 0; i < s->set.outputs_n; i++) {
		if ((node->accepts[level] >> i & 1) != 0) bits |= zbz_conditions_ask(s->slots[i].where, s->slots[i].where_n);
	}
	return bits;
}

bool zbz_node_plan(zbz_log_node *node) {
	const zbz_log_snapshot *s = node->view->snapshot;
	zbz_snapshot_resolve(s, zbz_b(node->name, node->name_n), &node->means);
	node->mask = node->own_mask = 0;
	node->choosy = s->filters;
	for (int f = 0; f < ZBZ_FORMATS; f++) zbz_buf_clear(&node->heads[f]);
	if (!find_routes(node, s)) return false;
	for (size_t i = 0; i < s->set.outputs_n; i++)
		node->format[i] = (uint8_t)format_at(&s->slots[i], node->means.format);
	for (zbz_level level = ZBZ_LEVEL_TRACE; level < ZBZ_LEVEL_OFF; level++) {
		uint64_t all;
		node->accepts[level] = 0;
		for (size_t i = 0; i < s->set.outputs_n; i++) {
			if (level >= s->slots[i].level) node->accepts[level] |= (uint64_t)1 << i;
		}
		node->asks[level] = asked_at(node, s, level);
		all = reach(node, s, level, &node->targets[level], &node->choosy);
		node->targets[level] &= node->accepts[level];
		if (level < node->means.level || all == 0) continue;
		node->mask |= 1u << level;
		if ((all & s->own) != 0) node->own_mask |= 1u << level;
	}
	node->turn = node->view->turn;
	return true;
}

/* ---- how lines begin ---- */

static zbz_status put_json_head(zbz_buf *b, zbz_level level, zbz_bytes name) {
	char logger[6 * ZBZ_LOG_NAME_MAX + 32];
	if (name.n == 0) return zbz_buf_printf(b, NULL, "Z\",\"level\":\"%s\",\"message\":", zbz_level_name(level));
	*zbz_put_json(logger, name.p, name.n) = '\0';
	return zbz_buf_printf(b, NULL, "Z\",\"level\":\"%s\",\"logger\":%s,\"message\":", zbz_level_name(level), logger);
}

static zbz_status put_logfmt_head(zbz_buf *b, zbz_level level, zbz_bytes name) {
	char logger[6 * ZBZ_LOG_NAME_MAX + 32];
	bool plain = name.n > 0;
	for (size_t i = 0; i < name.n; i++) {
		unsigned char c = (unsigned char)name.p[i];
		if (c <= 0x20 || c >= 0x7F || c == '"' || c == '=' || c == '\\') plain = false;
	}
	if (name.n == 0) return zbz_buf_printf(b, NULL, "Z level=%s msg=", zbz_level_name(level));
	if (plain) {
		memcpy(logger, name.p, name.n);
		logger[name.n] = '\0';
	} else {
		*zbz_put_quoted(logger, name.p, name.n) = '\0';
	}
	return zbz_buf_printf(b, NULL, "Z level=%s logger=%s msg=", zbz_level_name(level), logger);
}

static zbz_status put_console_head(zbz_buf *b, zbz_level level, zbz_bytes name, bool colour) {
	static const char *const shown[] = { "", "TRACE", "DEBUG", "INFO ", "WARN ", "ERROR", "FATAL" };
	static const char *const paint[] = { "", "\033[2m", "\033[36m", "\033[32m", "\033[33m", "\033[31m", "\033[1;31m" };
	char logger[6 * ZBZ_LOG_NAME_MAX + 32];
	*zbz_put_tame(logger, name.p, name.n) = '\0';
	return zbz_buf_printf(b, NULL, "Z %s%s%s %s%s", colour ? paint[level] : "", shown[level], colour ? "\033[0m" : "",
	                      logger, name.n > 0 ? ": " : "");
}

static zbz_status put_head(zbz_buf *b, zbz_format format, zbz_level level, zbz_bytes name) {
	switch (format) {
	case ZBZ_FORMAT_LOGFMT: return put_logfmt_head(b, level, name);
	case ZBZ_FORMAT_CONSOLE: return put_console_head(b, level, name, false);
	case ZBZ_FORMAT_COLOUR: return put_console_head(b, level, name, true);
	default: return put_json_head(b, level, name);
	}
}

zbz_bytes zbz_node_head(zbz_log_node *node, zbz_format format, zbz_level level) {
	zbz_buf *b = &node->heads[format];
	size_t *at = node->head_at[format];
	if (b->n > 0) return zbz_b(b->p + at[level], at[level + 1] - at[level]);
	for (zbz_level i = ZBZ_LEVEL_TRACE; i < ZBZ_LEVEL_OFF; i++) {
		at[i] = b->n;
		if (put_head(b, format, i, zbz_b(node->name, node->name_n)) != ZBZ_OK) {
			zbz_buf_clear(b);
			return zbz_b(NULL, 0);
		}
		at[i + 1] = b->n;
	}
	return zbz_b(b->p + at[level], at[level + 1] - at[level]);
}

/* ---- what an output says of itself ---- */

/* The format travels in the pointer: nothing has to live as long as the output does. */
static size_t put_notice(void *ud, const zbz_record_head *head, zbz_bytes message, char *to, size_t room) {
	zbz_format format = (zbz_format)(uintptr_t)ud;
	char date[ZBZ_DATE_TEXT + 1];
	zbz_line line;
	zbz_buf b = { 0 };
	bool cut;
	size_t n = 0;
	memset(&line, 0, sizeof line);
	line.at = head->at >= 0 ? head->at : 0;
	zbz_put_date(date, line.at / 1000000000);
	line.date = date;
	line.bound = zbz_b("", 0);
	line.msg = message;
	if (put_head(&b, format, head->level, head->logger) == ZBZ_OK) {
		line.head = zbz_buf_bytes(&b);
		if (room >= zbz_line_most(&line)) n = zbz_line_write(&line, format, to, room, &cut);
	}
	zbz_buf_clear(&b);
	return n;
}

void zbz_notice_install(const zbz_log_output_spec *o) {
	zbz_output_on_notice(o->output, put_notice, (void *)(uintptr_t)format_at(o, ZBZ_FORMAT_INHERIT));
}

void zbz_node_clear(zbz_log_node *node) {
	for (int f = 0; f < ZBZ_FORMATS; f++) zbz_buf_clear(&node->heads[f]);
	zbz_free(node->routes);
	node->routes = NULL;
}
