/* After a record: what outputs that are written in Lua get of it, and of records about records. */
#include "log.h"

#define NOTES 2

typedef struct taken_note {
	uint64_t own;
	zbz_level level;
	size_t from, n; /* of its text */
} taken_note;

/* Functions of the Lua part never raise; what they are given was redacted by the formatter. */
static void deliver(lua_State *L, const zbz_logger_box *box, zbz_level level, uint64_t own, zbz_bytes line) {
	zbz_bytes name = zbz_logger_name(box->logger);
	int i;
	zbz_push_slot(L, ZBZ_SLOT_LOG_CALLS);
	lua_rawgeti(L, -1, ZBZ_LOG_DELIVER);
	lua_remove(L, -2);
	lua_pushlstring(L, line.p, line.n);
	lua_pushstring(L, zbz_level_name(level));
	lua_pushlstring(L, name.p, name.n);
	lua_newtable(L);
	for (i = 0; i < ZBZ_LOG_OUTPUTS_MAX; i++) {
		if ((own >> i & 1) == 0) continue;
		lua_pushinteger(L, i + 1);
		lua_rawseti(L, -2, (int)lua_rawlen(L, -2) + 1);
	}
	if (lua_pcall(L, 4, 0, 0) != 0) lua_pop(L, 1);
}

/* Those functions may log, and so may a finalizer any time: what the notes are borrowed from ends then. */
static size_t take_notes(const zbz_logger_box *box, taken_note notes[NOTES], zbz_buf *line) {
	size_t n = 0;
	zbz_bytes text;
	while (n < NOTES && (notes[n].own = zbz_logger_note(box->logger, n, &notes[n].level, &text)) != 0) {
		notes[n].from = line->n;
		notes[n].n = text.n;
		if (zbz_buf_append(line, text.p, text.n, NULL) != ZBZ_OK) break;
		n++;
	}
	return n;
}

static void deliver_notes(lua_State *L, const zbz_logger_box *box, const taken_note *notes, size_t n,
                          const zbz_buf *line) {
	size_t i;
	for (i = 0; i < n && box->logger != NULL; i++)
		deliver(L, box, notes[i].level, notes[i].own, zbz_b(line->p + notes[i].from, notes[i].n));
}

void zbz_log_settle(lua_State *L, zbz_bind *b, zbz_logger_box *box) {
	taken_note notes[NOTES];
	zbz_buf *line = box->hub->own ? zbz_scratch_take(L, b) : NULL;
	if (box->logger != NULL) zbz_logger_settle(box->logger);
	if (line == NULL) return;
	if (box->logger != NULL) deliver_notes(L, box, notes, take_notes(box, notes, line), line);
	zbz_scratch_give(b, line);
}

void zbz_log_finish(lua_State *L, zbz_bind *b, zbz_logger_box *box, zbz_level level, zbz_bytes msg, zbz_log_call *c,
                    bool ordered, zbz_buf *line) {
	taken_note notes[NOTES];
	size_t notes_n, n;
	uint64_t own;
	bool ok;
	zbz_call_settle(c);
	own = zbz_logger_write(box->logger, level, msg, c->fields, c->n + (c->cut ? 1 : 0), ordered);
	if (line == NULL) return;
	ok = own != 0 && zbz_logger_render(box->logger, ZBZ_FORMAT_JSON, line, NULL) == ZBZ_OK;
	n = line->n;
	notes_n = take_notes(box, notes, line);
	deliver_notes(L, box, notes, notes_n, line);
	if (ok && box->logger != NULL) deliver(L, box, level, own, zbz_b(line->p, n));
	zbz_scratch_give(b, line);
}
