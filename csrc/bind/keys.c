/* Listing and clearing a table. */
#include "table.h"

#define PAGE ((size_t)500)

typedef struct listing_box {
	zbz_box head;
	zbz_listing *listing;
	zbz_table_box *table; /* pinned; its userdata is kept by this box's own table */
	zbz_keep *keep;
	zbz_buf page;
	size_t at; /* next key in the page */
	int64_t deadline;
	bool last; /* the page is the last one */
} listing_box;

static void listing_release(lua_State *L, void *self) {
	listing_box *box = self;
	zbz_listing *listing = box->listing;
	zbz_table_box *table = box->table;
	zbz_keep *keep = box->keep;
	box->listing = NULL;
	box->table = NULL;
	box->keep = NULL;
	zbz_buf_clear(&box->page);
	box->at = 0;
	zbz_table_keys_close(listing);
	if (table != NULL) zbz_table_unpin(table);
	zbz_keep_unref(keep);
}

/* ---- the iterator ---- */

/* Until there is a key or the end: a page may be empty. */
static zbz_status next_page(listing_box *box, zbz_call *c) {
	while (box->at == box->page.n && !box->last) {
		size_t n = 0;
		zbz_status s;
		zbz_buf_reset(&box->page);
		box->at = 0;
		zbz_table_begin(box->table->t, c, box->deadline);
		s = zbz_table_keys_next(box->listing, c, PAGE, &box->page, &n);
		if (s < 0) return s;
		box->last = s == ZBZ_END;
	}
	return box->at == box->page.n ? ZBZ_END : ZBZ_OK;
}

static size_t take_length(listing_box *box) {
	const unsigned char *p = (const unsigned char *)box->page.p + box->at;
	size_t n = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
	box->at += 4;
	return n;
}

static int push_listing_failure(lua_State *L, listing_box *box, const zbz_err *err) {
	zbz_err kept = *err;
	zbz_where at = zbz_at_key("keys", box->table, zbz_b(NULL, 0));
	int n = zbz_push_failure(L, &kept, &at);
	listing_release(L, box);
	return n;
}

/* By way of the scratch buffer: a finalizer that runs while the string is made could ask this listing for its next
 * page. */
static int push_next(lua_State *L, listing_box *box) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_buf *key = zbz_scratch_take(L, b);
	zbz_where at = zbz_at("keys");
	zbz_err err;
	size_t n = take_length(box);
	zbz_status s = zbz_buf_append(key, box->page.p + box->at, n, &err);
	box->at += n;
	if (s == ZBZ_OK) lua_pushlstring(L, key->p, key->n);
	zbz_scratch_give(b, key);
	return s == ZBZ_OK ? 1 : zbz_push_failure(L, &err, &at);
}

/* Upvalues: the record, the listing. */
static int next_key(lua_State *L) {
	listing_box *box = lua_touserdata(L, lua_upvalueindex(2));
	zbz_call c;
	zbz_status s;
	if (box->listing == NULL) {
		lua_pushnil(L);
		return 1;
	}
	if (box->at == box->page.n) {
		s = next_page(box, &c);
		if (s < 0) return push_listing_failure(L, box, &c.err);
		if (s == ZBZ_END) {
			listing_release(L, box);
			lua_pushnil(L);
			return 1;
		}
	}
	return push_next(L, box);
}

static int table_keys(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_table_box *t = zbz_table_check(L, b, 1, "keys");
	zbz_bytes pattern = lua_isnoneornil(L, 2) ? zbz_bstr("*") : zbz_string_arg(L, 2, "keys", "the pattern");
	int64_t deadline = zbz_deadline_arg(L, 3, "keys");
	zbz_where at = zbz_at_key("keys", t, zbz_b(NULL, 0));
	listing_box *box;
	zbz_call c;
	lua_settop(L, 3);
	box = zbz_box_new(L, ZBZ_BOX_LISTING, sizeof(*box));
	lua_createtable(L, 1, 0);
	lua_pushvalue(L, 1);
	lua_rawseti(L, -2, 1);
	zbz_setenv(L, 4);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_pushvalue(L, 4);
	lua_pushcclosure(L, next_key, 2);
	if (t->t == NULL) return zbz_raise(L, "zbz: keys: the table is closed");
	zbz_table_begin(t->t, &c, deadline);
	if (zbz_table_keys_open(t->t, &c, pattern, &box->listing) < 0) {
		box->listing = NULL;
		return zbz_push_failure(L, &c.err, &at);
	}
	box->table = t;
	t->listings++;
	box->keep = zbz_keep_ref(t->keep);
	box->deadline = deadline;
#if LUA_VERSION_NUM >= 504
	lua_pushnil(L);
	lua_pushnil(L);
	lua_pushvalue(L, 4);
	return 4;
#else
	return 1;
#endif
}

static int table_clear(lua_State *L) {
	zbz_table_box *t = zbz_table_check(L, zbz_bind_of(L), 1, "clear");
	zbz_where at = zbz_at_key("clear", t, zbz_b(NULL, 0));
	uint64_t removed = 0;
	zbz_call c;
	zbz_table_begin(t->t, &c, zbz_deadline_arg(L, 2, "clear"));
	if (zbz_table_clear(t->t, &c, &removed) < 0) return zbz_push_failure(L, &c.err, &at);
	lua_pushboolean(L, 1);
	zbz_push_int(L, removed > INT64_MAX ? INT64_MAX : (int64_t)removed);
	return 2;
}

const luaL_Reg zbz_table_keys_methods[] = { { "keys", table_keys }, { "clear", table_clear }, { NULL, NULL } };

void zbz_open_keys(lua_State *L) { zbz_class(L, ZBZ_BOX_LISTING, "zbz.listing", listing_release, NULL, NULL); }
