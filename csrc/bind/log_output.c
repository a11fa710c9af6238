/* Outputs, as the Lua part opens and asks them. */
#include "config.h"
#include "log.h"

#include <time.h>
#include <unistd.h>

static void output_release(lua_State *L, void *self) {
	zbz_output_box *box = self;
	zbz_output *output = box->output;
	zbz_keep *keep = box->keep;
	(void)L;
	box->output = NULL;
	box->keep = NULL;
	zbz_output_unref(output);
	zbz_keep_unref(keep);
}

static zbz_output_box *output_arg(lua_State *L, const char *op) {
	zbz_output_box *box = zbz_box_check(L, zbz_bind_of(L), 1, ZBZ_BOX_OUTPUT, op);
	if (box->output == NULL) luaL_error(L, "zbz: %s: the output is closed", op);
	return box;
}

static void begin(zbz_call *c, int64_t timeout_ms) {
	memset(c, 0, sizeof(*c));
	c->clock = zbz_clock_system();
	c->now = zbz_wall(c->clock);
	c->deadline = timeout_ms < 0 ? ZBZ_NEVER : zbz_mono(c->clock) + timeout_ms;
}

/* log_output{type=, ...}: an output, or nil, err */
static int log_output(lua_State *L) {
	zbz_where at = zbz_at("output");
	zbz_output_box *box;
	zbz_config_box *cfg;
	zbz_status status;
	zbz_err err;
	luaL_checktype(L, 1, LUA_TTABLE);
	box = zbz_box_new(L, ZBZ_BOX_OUTPUT, sizeof(*box));
	box->keep = zbz_keep_new(NULL);
	if (box->keep == NULL) return luaL_error(L, "zbz: output: out of memory");
	cfg = zbz_config_from(L, 1, "output", box->keep);
	memset(&err, 0, sizeof(err));
	status = zbz_output_open(cfg->cfg, zbz_clock_system(), &box->output, &err);
	if (status < 0) return zbz_push_failure(L, &err, &at);
	lua_pop(L, 1);
	return 1;
}

/* log_recover({type=, ...}, timeout_ms): the number of records, or nil, err */
static int log_recover(lua_State *L) {
	zbz_where at = zbz_at("recover");
	int64_t timeout = zbz_ms_arg(L, 2, "recover", "the deadline", -1);
	zbz_keep *keep = NULL;
	zbz_config_box *cfg;
	uint64_t records = 0;
	zbz_call c;
	zbz_status status;
	luaL_checktype(L, 1, LUA_TTABLE);
	keep = zbz_keep_new(NULL);
	if (keep == NULL) return luaL_error(L, "zbz: recover: out of memory");
	cfg = zbz_config_from(L, 1, "recover", keep);
	begin(&c, timeout);
	status = zbz_output_recover(cfg->cfg, &c, &records);
	zbz_keep_unref(keep);
	if (status < 0) return zbz_push_failure(L, &c.err, &at);
	zbz_push_int(L, (int64_t)records);
	return 1;
}

static int output_flush(lua_State *L) {
	zbz_output_box *box = output_arg(L, "flush");
	zbz_where at = zbz_at("flush");
	zbz_call c;
	begin(&c, zbz_ms_arg(L, 2, "flush", "the deadline", -1));
	if (zbz_output_flush(box->output, &c) < 0) return zbz_push_failure(L, &c.err, &at);
	lua_pushboolean(L, 1);
	return 1;
}

static int output_reopen(lua_State *L) {
	zbz_output_box *box = output_arg(L, "reopen");
	zbz_where at = zbz_at("reopen");
	zbz_call c;
	begin(&c, zbz_ms_arg(L, 2, "reopen", "the deadline", -1));
	if (zbz_output_reopen(box->output, &c) < 0) return zbz_push_failure(L, &c.err, &at);
	lua_pushboolean(L, 1);
	return 1;
}

/* log_append(output, level, logger, line[, labels]): labels as zbz_record_head has them; a line that Lua has formatted; was there room? */
static int log_append(lua_State *L) {
	zbz_output_box *box = output_arg(L, "append");
	zbz_record_head head;
	struct timespec t;
	zbz_err err;
	memset(&head, 0, sizeof(head));
	if (zbz_level_parse(zbz_string_arg(L, 2, "append", "the level"), &head.level, &err) < 0)
		return luaL_error(L, "zbz: append: %s", err.text);
	head.logger = zbz_string_arg(L, 3, "append", "the logger");
	if (!lua_isnoneornil(L, 5)) head.labels = zbz_string_arg(L, 5, "append", "the labels");
	clock_gettime(CLOCK_REALTIME, &t);
	head.at = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
	lua_pushboolean(L, zbz_output_append(box->output, &head, zbz_string_arg(L, 4, "append", "the line")));
	return 1;
}

/* log_line(text): as one line, that no terminal obeys */
static int log_line(lua_State *L) {
	zbz_bytes text = zbz_string_arg(L, 1, "line", "the text");
	zbz_buf *line = zbz_scratch_take(L, zbz_bind_of(L));
	zbz_status status = zbz_log_tame(text, line, NULL);
	if (status == ZBZ_OK) lua_pushlstring(L, line->p, line->n);
	zbz_scratch_give(zbz_bind_of(L), line);
	return status == ZBZ_OK ? 1 : luaL_error(L, "zbz: line: out of memory");
}

/* read(clear): what a memory output holds */
static int output_read(lua_State *L) {
	zbz_output_box *box = output_arg(L, "read");
	zbz_where at = zbz_at("read");
	zbz_buf *text = zbz_scratch_take(L, zbz_bind_of(L));
	zbz_status status;
	zbz_call c;
	begin(&c, 10000);
	status = zbz_output_read(box->output, &c, lua_toboolean(L, 2) != 0, text);
	if (status >= 0) lua_pushlstring(L, text->p, text->n);
	zbz_scratch_give(zbz_bind_of(L), text);
	return status < 0 ? zbz_push_failure(L, &c.err, &at) : 1;
}

/* leave(): closing begins, close waits for its end */
static int output_leave(lua_State *L) {
	zbz_output_leave(output_arg(L, "leave")->output);
	return 0;
}

static int output_never_wait(lua_State *L) {
	zbz_output_never_wait(output_arg(L, "never_wait")->output, lua_toboolean(L, 2) != 0);
	return 0;
}

static void set_count(lua_State *L, const char *name, uint64_t v) {
	zbz_push_int(L, v > INT64_MAX ? INT64_MAX : (int64_t)v);
	lua_setfield(L, -2, name);
}

static void set_words(lua_State *L, const char *name, const char *words) {
	if (words[0] == '\0') return;
	lua_pushstring(L, words);
	lua_setfield(L, -2, name);
}

static void push_levels(lua_State *L, const uint64_t *levels) {
	lua_createtable(L, 0, ZBZ_LEVEL_OFF);
	for (int i = ZBZ_LEVEL_TRACE; i < ZBZ_LEVEL_OFF; i++) set_count(L, zbz_level_name((zbz_level)i), levels[i]);
}

static int push_stats(lua_State *L, const zbz_output_stats *stats) {
	zbz_output_stats st = *stats;
	lua_createtable(L, 0, 28);
	push_levels(L, st.levels);
	lua_setfield(L, -2, "levels");
	set_count(L, "records", st.records);
	set_count(L, "bytes", st.bytes);
	set_count(L, "written", st.written);
	set_count(L, "written_bytes", st.written_bytes);
	set_count(L, "dropped_full", st.dropped_full);
	set_count(L, "dropped_large", st.dropped_large);
	set_count(L, "dropped_closed", st.dropped_closed);
	set_count(L, "retries", st.retries);
	set_count(L, "dead_letters", st.dead_letters);
	set_count(L, "dead_letters_lost", st.dead_letters_lost);
	set_count(L, "recovered", st.recovered);
	set_count(L, "syncs", st.syncs);
	set_count(L, "damaged", st.damaged);
	set_count(L, "set_aside", st.set_aside);
	set_count(L, "ring_size", st.ring_size);
	set_count(L, "batch_size", st.batch_size);
	set_count(L, "lag", st.lag);
	set_count(L, "failures", st.failures);
	set_count(L, "spooled", st.spooled);
	set_count(L, "spooled_bytes", st.spooled_bytes);
	lua_pushnumber(L, (lua_Number)st.spool_age / 1000);
	lua_setfield(L, -2, "spool_age");
	set_words(L, "last_error", st.last_error);
	set_words(L, "spool_error", st.spool_error);
	lua_pushboolean(L, st.writer);
	lua_setfield(L, -2, "writer");
	return 1;
}

static int output_stats(lua_State *L) {
	zbz_output_stats st;
	zbz_output_stats_read(output_arg(L, "stats")->output, &st);
	return push_stats(L, &st);
}

/* account(): the account of the program's counters, as text of 8 bytes; log_account(it): the stats there */
static int output_account(lua_State *L) {
	uint64_t account = zbz_output_account(output_arg(L, "account")->output);
	lua_pushlstring(L, (const char *)&account, sizeof account);
	return 1;
}

static int log_account(lua_State *L) {
	zbz_bytes text = zbz_string_arg(L, 1, "account", "the account");
	zbz_output_stats st;
	uint64_t account;
	if (text.n != sizeof account) return luaL_error(L, "zbz: account: expects 8 bytes");
	memcpy(&account, text.p, sizeof account);
	zbz_account_read(account, &st);
	return push_stats(L, &st);
}

static int output_type(lua_State *L) {
	lua_pushstring(L, zbz_output_ops(output_arg(L, "type")->output)->name);
	return 1;
}

/* log_types(): names of the kinds of outputs */
static int log_types(lua_State *L) {
	const char *name;
	size_t i;
	lua_newtable(L);
	for (i = 0; (name = zbz_sink_name_at(i)) != NULL; i++) {
		lua_pushstring(L, name);
		lua_rawseti(L, -2, (int)i + 1);
	}
	return 1;
}

static int log_isatty(lua_State *L) {
	lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
	return 1;
}

/* log_unseal(text, key) -> value; log_sealed_with(text) -> id of the key; nil, err */
static int log_unseal(lua_State *L) {
	zbz_bytes text = zbz_string_arg(L, 1, "decrypt", "the text"), key = zbz_string_arg(L, 2, "decrypt", "the key");
	zbz_buf *out = zbz_scratch_take(L, zbz_bind_of(L));
	zbz_err err;
	zbz_status status = zbz_log_unseal(text, key, out, &err);
	if (status == ZBZ_OK) lua_pushlstring(L, out->p, out->n);
	zbz_scratch_give(zbz_bind_of(L), out);
	return status == ZBZ_OK ? 1 : zbz_push_trouble(L, &err, "decrypt");
}

static int log_sealed_with(lua_State *L) {
	zbz_bytes id;
	zbz_err err;
	if (zbz_log_sealed_with(zbz_string_arg(L, 1, "decrypt", "the text"), &id, &err) != ZBZ_OK)
		return zbz_push_trouble(L, &err, "decrypt");
	lua_pushlstring(L, id.p, id.n);
	return 1;
}

static const luaL_Reg methods[] = {
	{ "flush", output_flush },
	{ "reopen", output_reopen },
	{ "stats", output_stats },
	{ "account", output_account },
	{ "read", output_read },
	{ "type", output_type },
	{ "leave", output_leave },
	{ "never_wait", output_never_wait },
	{ NULL, NULL },
};
static const luaL_Reg functions[] = {
	{ "log_output", log_output },
	{ "log_recover", log_recover },
	{ "log_types", log_types },
	{ "log_isatty", log_isatty },
	{ "log_append", log_append },
	{ "log_account", log_account },
	{ "log_line", log_line },
	{ "log_unseal", log_unseal },
	{ "log_sealed_with", log_sealed_with },
	{ NULL, NULL },
};

void zbz_open_log_output(lua_State *L) {
	zbz_class(L, ZBZ_BOX_OUTPUT, "zbz.Output", output_release, "close", methods);
	zbz_functions(L, 1, functions);
}
