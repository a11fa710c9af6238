/* From the Lua part's flat tables to the log's settings. What is wrong here is a defect of ours, not a user's, but for zero
 * bytes in names: plain Lua errors. */
#include "log.h"

/* Memory that lives while it stands on the stack. */
static void *give(lua_State *L, size_t n) {
	void *p;
	luaL_checkstack(L, 8, "zbz");
	p = zbz_newuserdata(L, n > 0 ? n : 1);
	memset(p, 0, n > 0 ? n : 1);
	return p;
}

/* Pushes the list `name` of the table at idx (or an empty one); its length. */
static size_t push_list(lua_State *L, int idx, const char *name) {
	luaL_checkstack(L, 8, "zbz");
	lua_getfield(L, idx, name);
	if (!lua_istable(L, -1)) {
		lua_pop(L, 1);
		lua_newtable(L);
	}
	return (size_t)lua_rawlen(L, -1);
}

/* The text on top. What ends at a zero byte here would be another name. */
static const char *whole(lua_State *L, const char *what) {
	size_t n;
	const char *text = lua_tolstring(L, -1, &n);
	if (text != NULL && strlen(text) != n) luaL_error(L, "zbz: log: %s: '%s...' contains a zero byte", what, text);
	return text;
}

static const char *text_of(lua_State *L, int idx, const char *name) {
	const char *text;
	lua_getfield(L, idx, name);
	if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING)
		luaL_error(L, "zbz: log: %s is a %s", name, luaL_typename(L, -1));
	text = whole(L, name);
	lua_pop(L, 1); /* the table keeps it */
	return text;
}

static zbz_bytes bytes_of(lua_State *L, int idx, const char *name) {
	zbz_bytes s = { NULL, 0 };
	lua_getfield(L, idx, name);
	if (lua_type(L, -1) == LUA_TSTRING) s = zbz_string_at(L, -1);
	lua_pop(L, 1);
	return s;
}

static bool flag_of(lua_State *L, int idx, const char *name) {
	bool v;
	lua_getfield(L, idx, name);
	v = lua_toboolean(L, -1) != 0;
	lua_pop(L, 1);
	return v;
}

static int64_t int_of(lua_State *L, int idx, const char *name) {
	int64_t v = 0;
	lua_getfield(L, idx, name);
	if (!lua_isnil(L, -1)) zbz_int_at(L, lua_gettop(L), &v);
	lua_pop(L, 1);
	return v;
}

static zbz_level level_of(lua_State *L, int idx, const char *name) {
	const char *text = text_of(L, idx, name);
	zbz_level level = (zbz_level)0;
	zbz_err err;
	if (text != NULL && zbz_level_parse(zbz_bstr(text), &level, &err) < 0) luaL_error(L, "zbz: log: no level %s", text);
	return level;
}

static zbz_format format_of(lua_State *L, int idx) {
	const char *text = text_of(L, idx, "format");
	zbz_format format = ZBZ_FORMAT_INHERIT;
	zbz_err err;
	if (text != NULL && zbz_format_parse(zbz_bstr(text), &format, &err) < 0)
		luaL_error(L, "zbz: log: no format %s", text);
	return format;
}

static zbz_redact redact_of(lua_State *L, int idx, const char *name) {
	static const char *const names[] = { "none", "mask", "hash", "partial", "ip", "encrypt" };
	const char *text = text_of(L, idx, name);
	int i;
	for (i = 0; text != NULL && i < 6; i++) {
		if (strcmp(text, names[i]) == 0) return (zbz_redact)i;
	}
	return ZBZ_REDACT_NONE;
}

static const char *const *texts_of(lua_State *L, int idx, const char *name, size_t *n) {
	size_t i;
	const char **list;
	*n = push_list(L, idx, name);
	list = give(L, *n * sizeof(*list));
	for (i = 0; i < *n; i++) {
		lua_rawgeti(L, -2, (int)i + 1);
		list[i] = whole(L, name);
		if (list[i] == NULL) luaL_error(L, "zbz: log: %s holds a %s", name, luaL_typename(L, -1));
		lua_pop(L, 1);
	}
	return list;
}

static void read_condition(lua_State *L, int idx, zbz_log_condition *c) {
	static const char *const ops[] = { "eq", "ne", "lt", "le", "gt", "ge", "glob", "exists", "given" };
	const char *op = text_of(L, idx, "op");
	int i;
	for (i = 0; op != NULL && i < 9; i++) {
		if (strcmp(op, ops[i]) == 0) c->op = (zbz_log_op)i;
	}
	c->field = text_of(L, idx, "field");
	c->or_next = flag_of(L, idx, "or_next");
	lua_getfield(L, idx, "value");
	switch (lua_type(L, -1)) {
	case LUA_TNUMBER:
		c->type = ZBZ_FIELD_DOUBLE;
		c->number = (double)lua_tonumber(L, -1);
		break;
	case LUA_TBOOLEAN:
		c->type = ZBZ_FIELD_BOOL;
		c->boolean = lua_toboolean(L, -1) != 0;
		break;
	default:
		c->type = ZBZ_FIELD_TEXT;
		c->text = zbz_string_at(L, -1);
		break;
	}
	lua_pop(L, 1);
}

static const zbz_log_condition *where_of(lua_State *L, int idx, size_t *n) {
	size_t i;
	zbz_log_condition *list;
	int at;
	*n = push_list(L, idx, "where");
	at = lua_gettop(L);
	list = give(L, *n * sizeof(*list));
	for (i = 0; i < *n; i++) {
		lua_rawgeti(L, at, (int)i + 1);
		read_condition(L, lua_gettop(L), &list[i]);
		lua_pop(L, 1);
	}
	return list;
}

static void read_output(lua_State *L, int idx, zbz_log_output_spec *o) {
	zbz_output_box *box;
	o->name = text_of(L, idx, "name");
	o->format = format_of(L, idx);
	o->always = flag_of(L, idx, "always");
	o->human = flag_of(L, idx, "human");
	o->colour = flag_of(L, idx, "colour");
	o->level = level_of(L, idx, "level");
	lua_getfield(L, idx, "output");
	box = zbz_box_test(L, zbz_bind_of(L), lua_gettop(L), ZBZ_BOX_OUTPUT);
	o->output = box != NULL ? box->output : NULL;
	lua_pop(L, 1);
	o->where = where_of(L, idx, &o->where_n);
	o->metadata = texts_of(L, idx, "metadata", &o->metadata_n);
}

static void read_logger(lua_State *L, int idx, zbz_log_logger_spec *l) {
	l->name = text_of(L, idx, "name");
	l->parent = text_of(L, idx, "parent");
	l->level = level_of(L, idx, "level");
	l->format = format_of(L, idx);
	l->sample_first = int_of(L, idx, "sample_first");
	l->sample_then = int_of(L, idx, "sample_then");
	l->rate = int_of(L, idx, "rate");
	l->burst = int_of(L, idx, "burst");
	l->dedup_ms = int_of(L, idx, "dedup_ms");
	lua_getfield(L, idx, "outputs");
	l->has_outputs = lua_istable(L, -1);
	lua_pop(L, 1);
	l->outputs = texts_of(L, idx, "outputs", &l->outputs_n);
}

static void read_route(lua_State *L, int idx, zbz_log_route_spec *r) {
	r->logger = text_of(L, idx, "logger");
	r->lowest = level_of(L, idx, "lowest");
	r->highest = level_of(L, idx, "highest");
	r->where = where_of(L, idx, &r->where_n);
	r->outputs = texts_of(L, idx, "outputs", &r->outputs_n);
}

static void read_rule(lua_State *L, int idx, zbz_log_redact_rule *r) {
	r->key = text_of(L, idx, "key");
	r->how = redact_of(L, idx, "how");
}

/* Every item of a list of tables by its reader; the items stay on the stack, and so what they borrow. */
#define READ_LIST(name, type, reader, list, count)                                        \
	do {                                                                                  \
		size_t i_, n_ = push_list(L, idx, name);                                          \
		int at_ = lua_gettop(L);                                                          \
		type *own_ = give(L, n_ * sizeof(type));                                          \
		for (i_ = 0; i_ < n_; i_++) {                                                     \
			lua_rawgeti(L, at_, (int)i_ + 1);                                             \
			if (!lua_istable(L, -1)) luaL_error(L, "zbz: log: %s holds no tables", name); \
			reader(L, lua_gettop(L), &own_[i_]);                                          \
		}                                                                                 \
		out->list = own_;                                                                 \
		out->count = n_;                                                                  \
	} while (0)

void zbz_log_settings_read(lua_State *L, int idx, zbz_log_settings *out) {
	memset(out, 0, sizeof(*out));
	READ_LIST("outputs", zbz_log_output_spec, read_output, outputs, outputs_n);
	READ_LIST("loggers", zbz_log_logger_spec, read_logger, loggers, loggers_n);
	READ_LIST("routes", zbz_log_route_spec, read_route, routes, routes_n);
	READ_LIST("redact", zbz_log_redact_rule, read_rule, redact, redact_n);
	out->scan = (unsigned)int_of(L, idx, "scan");
	out->secret = redact_of(L, idx, "secret");
	out->pii = redact_of(L, idx, "pii");
	out->hmac_key = bytes_of(L, idx, "key");
	out->cipher_id = bytes_of(L, idx, "cipher_id");
	out->cipher_key = bytes_of(L, idx, "cipher_key");
	out->durations = texts_of(L, idx, "durations", &out->durations_n);
	out->duration_ms = flag_of(L, idx, "duration_ms");
	out->max_record = (size_t)int_of(L, idx, "max_record");
}
