/* Nested values as MessagePack, leniently: a log line is better with a hole than not there. Allocates nothing in Lua. */
#include "log.h"

#include "codec.h"
#include "number.h"

#include <stdlib.h>

#define DEPTH_MAX 12
#define KEYS_MAX  64   /* of one table */
#define ITEMS_MAX 1000 /* of one value: tables that share tables multiply */
#define BYTES_MAX ((size_t)1 << 20)

typedef struct packer {
	lua_State *L;
	const zbz_log_hub *hub;
	zbz_buf *out;
	const void *open[DEPTH_MAX]; /* tables we are inside of */
	int depth;
	unsigned items;
} packer;

static void put_value(packer *p, int idx);

static void put_raw(packer *p, const void *bytes, size_t n) { zbz_buf_append(p->out, bytes, n, NULL); }

static void put_text(packer *p, zbz_bytes s) {
	if (s.n > BYTES_MAX) s.n = BYTES_MAX;
	zbz_pack_str(p->out, s, NULL);
}

static void put_word(packer *p, const char *word) { put_text(p, zbz_bstr(word)); }

static void put_double(packer *p, double d) {
	uint64_t bits;
	unsigned char b[9];
	int i;
	memcpy(&bits, &d, 8);
	b[0] = 0xcb;
	for (i = 0; i < 8; i++) b[1 + i] = (unsigned char)(bits >> (56 - 8 * i));
	put_raw(p, b, sizeof b);
}

static void put_number(packer *p, int idx) {
	int64_t i;
	double d;
	if (zbz_number_at(p->L, idx, &i, &d))
		zbz_pack_int(p->out, i, NULL);
	else
		put_double(p, d);
}

/* ---- order of keys: numbers, then texts, by their bytes ---- */

typedef struct entry {
	int idx; /* of the key on the stack */
	bool text;
	double number;
	zbz_bytes name;
} entry;

static int by_key(const void *x, const void *y) {
	const entry *a = x, *b = y;
	size_t n = a->name.n < b->name.n ? a->name.n : b->name.n;
	int d;
	if (a->text != b->text) return a->text ? 1 : -1;
	if (!a->text) return a->number < b->number ? -1 : a->number > b->number;
	d = n > 0 ? memcmp(a->name.p, b->name.p, n) : 0;
	return d != 0 ? d : (a->name.n > b->name.n) - (a->name.n < b->name.n);
}

/* Leaves the keys on the stack from `first` on; their number. Keys of other types are counted in *odd. */
static size_t collect(packer *p, int idx, int first, entry *list, bool *more) {
	lua_State *L = p->L;
	size_t n = 0;
	*more = false;
	lua_pushnil(L);
	while (lua_next(L, idx)) {
		int type = lua_type(L, -2);
		lua_pop(L, 1);
		if (type != LUA_TSTRING && type != LUA_TNUMBER) {
			*more = true;
			continue;
		}
		if (n == KEYS_MAX) {
			*more = true;
			lua_pop(L, 1);
			break;
		}
		list[n].idx = first + (int)n;
		list[n].text = type == LUA_TSTRING;
		list[n].number = type == LUA_TNUMBER ? (double)lua_tonumber(L, -1) : 0;
		list[n].name = type == LUA_TSTRING ? zbz_string_at(L, -1) : zbz_b(NULL, 0);
		n++;
		lua_pushvalue(L, -1);
	}
	return n;
}

static void put_map(packer *p, int idx) {
	lua_State *L = p->L;
	entry list[KEYS_MAX];
	int first = lua_gettop(L) + 1;
	bool more;
	size_t n = collect(p, idx, first, list, &more), i;
	qsort(list, n, sizeof *list, by_key);
	zbz_pack_map(p->out, n + more, NULL);
	for (i = 0; i < n; i++) {
		if (list[i].text)
			put_text(p, list[i].name);
		else
			put_number(p, list[i].idx);
		lua_pushvalue(L, list[i].idx);
		lua_rawget(L, idx);
		put_value(p, lua_gettop(L));
		lua_pop(L, 1);
	}
	if (more) {
		put_word(p, "...");
		put_word(p, "and more");
	}
	lua_settop(L, first - 1);
}

static void put_list(packer *p, int idx, size_t n) {
	size_t shown = n > KEYS_MAX * 4 ? KEYS_MAX * 4 : n, i;
	zbz_pack_array(p->out, shown + (shown < n), NULL);
	for (i = 1; i <= shown; i++) {
		lua_rawgeti(p->L, idx, (int)i);
		put_value(p, lua_gettop(p->L));
		lua_pop(p->L, 1);
	}
	if (shown < n) put_word(p, "...");
}

/* zbz.array{}: of the empty tables, a list. */
static bool is_marked(packer *p, int idx) {
	bool yes;
	if (!lua_getmetatable(p->L, idx)) return false;
	zbz_codec_push_array_mt(p->L);
	yes = lua_rawequal(p->L, -1, -2) != 0;
	lua_pop(p->L, 2);
	return yes;
}

/* Nothing but 1..n? */
static bool is_list(packer *p, int idx, size_t n) {
	lua_State *L = p->L;
	size_t count = 0;
	if (n == 0 && !is_marked(p, idx)) return false;
	lua_pushnil(L);
	while (lua_next(L, idx)) {
		lua_pop(L, 1);
		if (lua_type(L, -1) != LUA_TNUMBER || ++count > n) {
			lua_pop(L, 1);
			return false;
		}
	}
	return count == n;
}

static bool inside(const packer *p, const void *table) {
	int i;
	for (i = 0; i < p->depth; i++) {
		if (p->open[i] == table) return true;
	}
	return false;
}

/* {value} with one of the log's own metatables, inside something else: a secret stays one. */
static bool put_wrapped(packer *p, int idx) {
	const void *mt;
	int i;
	if (!lua_getmetatable(p->L, idx)) return false;
	mt = lua_topointer(p->L, -1);
	lua_pop(p->L, 1);
	for (i = 0; i < ZBZ_WRAPS && p->hub->typed_mt[i] != mt; i++) {}
	if (i == ZBZ_WRAPS) return false;
	if (i == ZBZ_WRAP_SECRET || i == ZBZ_WRAP_PII) {
		put_word(p, "***");
	} else {
		lua_rawgeti(p->L, idx, 1);
		put_value(p, lua_gettop(p->L));
		lua_pop(p->L, 1);
	}
	return true;
}

static void put_table(packer *p, int idx) {
	const void *table = lua_topointer(p->L, idx);
	size_t n = (size_t)lua_rawlen(p->L, idx);
	if (inside(p, table)) {
		put_word(p, "(cycle)");
	} else if (p->depth == DEPTH_MAX || !lua_checkstack(p->L, KEYS_MAX + 10)) {
		put_word(p, "(too deep)");
	} else if (!put_wrapped(p, idx)) {
		p->open[p->depth++] = table;
		if (is_list(p, idx, n))
			put_list(p, idx, n);
		else
			put_map(p, idx);
		p->depth--;
	}
}

static void put_value(packer *p, int idx) {
	lua_State *L = p->L;
	const unsigned char nil = 0xc0;
	if (++p->items > ITEMS_MAX || p->out->n > BYTES_MAX) {
		put_word(p, "...");
		return;
	}
	switch (lua_type(L, idx)) {
	case LUA_TSTRING: put_text(p, zbz_string_at(L, idx)); break;
	case LUA_TNUMBER: put_number(p, idx); break;
	case LUA_TBOOLEAN: put_raw(p, lua_toboolean(L, idx) ? "\xc3" : "\xc2", 1); break;
	case LUA_TTABLE: put_table(p, idx); break;
	case LUA_TFUNCTION: put_word(p, "(function)"); break;
	case LUA_TTHREAD: put_word(p, "(coroutine)"); break;
	case LUA_TUSERDATA: put_word(p, "(userdata)"); break;
	case LUA_TLIGHTUSERDATA:
		if (lua_touserdata(L, idx) != NULL) {
			put_word(p, "(light userdata)");
			break;
		}
		/* fall through */
	case LUA_TNIL: put_raw(p, &nil, 1); break;
	default: put_word(p, "(cdata)"); break;
	}
}

void zbz_log_pack(lua_State *L, const zbz_log_hub *hub, int idx, zbz_buf *out) {
	packer p = { L, hub, out, { NULL }, 0, 0 };
	size_t from = out->n;
	const unsigned char nil = 0xc0;
	put_value(&p, idx);
	if (out->n == from) zbz_buf_append(out, &nil, 1, NULL);
}
