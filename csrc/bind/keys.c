/* Listing and clearing a table. */
#include "base/page.h"
#include "request.h"

#define PAGE ((size_t)500)

typedef struct listing_box {
	zbz_box head;
	zbz_listing *listing;
	zbz_table *t; /* referenced; its handle is kept by this one's own table, for errors */
	zbz_keep *keep;
	zbz_buf page;
	size_t at; /* next key in the page */
	int64_t deadline;
	bool last; /* the page is the last one */
	zbz_request *lent_to;
} listing_box;

static void listing_release(lua_State *L, void *self) {
	listing_box *box = self;
	zbz_listing *listing = box->listing;
	zbz_table *t = box->t;
	zbz_keep *keep = box->keep;
	box->listing = NULL;
	box->t = NULL;
	box->keep = NULL;
	zbz_buf_clear(&box->page);
	box->at = 0;
	if (box->lent_to != NULL) {
		box->lent_to->lent = NULL;
		box->lent_to->orphaned = true;
		box->lent_to = NULL;
	} else {
		zbz_table_keys_close(listing);
	}
	zbz_table_free(t);
	zbz_keep_unref(keep);
}

/* ---- the iterator ---- */

static listing_box *listing_at(lua_State *L, zbz_bind *b, int idx) {
	return zbz_box_check(L, b, idx, ZBZ_BOX_LISTING, "keys");
}

zbz_table_box *zbz_listing_table(lua_State *L, const zbz_bind *b, int idx) {
	zbz_table_box *t;
	if (zbz_box_test(L, b, idx, ZBZ_BOX_LISTING) == NULL) return NULL;
	zbz_getenv(L, idx);
	lua_rawgeti(L, -1, 1);
	t = zbz_box_test(L, b, lua_gettop(L), ZBZ_BOX_TABLE);
	lua_pop(L, 2);
	return t;
}

/* Can the iterator go on without a further page? */
static bool has_next(const listing_box *box) { return box->listing == NULL || box->at < box->page.n || box->last; }

static void parse_page(lua_State *L, zbz_bind *b, zbz_request *r) {
	listing_box *box = listing_at(L, b, 1);
	if (box->listing == NULL || box->t == NULL) {
		memset(&r->c.err, 0, sizeof(r->c.err));
		r->s = zbz_fail(&r->c.err, ZBZ_E_CLOSED, "the listing has ended");
		return;
	}
	r->box = zbz_listing_table(L, b, 1);
	r->t = box->t;
	r->keep = box->keep;
	r->listing = box->listing;
	r->lent = &box->lent_to;
	r->buf = zbz_scratch_take(L, b);
	zbz_request_begin(r, box->deadline);
}

/* Until there is a key or the end: a page may be empty. */
static zbz_status run_page(zbz_request *r) {
	zbz_status s = ZBZ_OK;
	while (r->buf->n == 0 && s == ZBZ_OK) {
		size_t n = 0;
		s = zbz_table_keys_next(r->listing, &r->c, PAGE, r->buf, &n);
	}
	return s;
}

/* The box stands at index 1, or whoever finishes a parked page puts it there. */
static int push_page(lua_State *L, zbz_bind *b, zbz_request *r) {
	listing_box *box = listing_at(L, b, 1);
	zbz_status s;
	if (box->listing != r->listing) r->s = ZBZ_END;
	if (box->listing == r->listing) {
		zbz_buf_reset(&box->page);
		box->at = 0;
		box->last = r->s == ZBZ_END;
		s = zbz_buf_append(&box->page, r->buf->p, r->buf->n, &r->c.err);
		if (s < 0) r->s = s;
	}
	lua_pushboolean(L, 1);
	return 1;
}
static const zbz_verb page_verb = {
	"keys", parse_page, run_page, push_page, ZBZ_READS, false, false, ZBZ_ALONE, false
};

/* By way of the scratch buffer: a finalizer that runs while the string is made could ask this listing for its next
 * page. */
static int push_next(lua_State *L, listing_box *box) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_buf *key = zbz_scratch_take(L, b);
	zbz_where at = zbz_at("keys");
	zbz_err err;
	zbz_bytes next = zbz_page_take(zbz_buf_bytes(&box->page), &box->at);
	zbz_status s = zbz_buf_append(key, next.p, next.n, &err);
	if (s == ZBZ_OK) lua_pushlstring(L, key->p, key->n);
	zbz_scratch_give(b, key);
	return s == ZBZ_OK ? 1 : zbz_push_failure(L, &err, &at);
}

/* Upvalues: the record, the listing. */
static int next_key(lua_State *L) {
	listing_box *box = listing_at(L, zbz_bind_of(L), lua_upvalueindex(2));
	if (!has_next(box)) {
		lua_settop(L, 0);
		lua_pushvalue(L, lua_upvalueindex(2));
		if (zbz_request_call(L, &page_verb) == 2) {
			listing_release(L, box);
			return 2;
		}
	}
	if (box->listing != NULL && box->at < box->page.n) return push_next(L, box);
	listing_release(L, box);
	lua_pushnil(L);
	return 1;
}

/* Leaves the iterator and the box at indices 5 and 4; or the results of a failure, how many of them. */
static int open_listing(lua_State *L) {
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
	box->t = zbz_table_ref(t->t);
	box->keep = zbz_keep_ref(t->keep);
	box->deadline = deadline;
	return 0;
}

static int table_keys(lua_State *L) {
	int failed = open_listing(L);
	if (failed > 0) return failed;
#if LUA_VERSION_NUM >= 504
	lua_pushnil(L);
	lua_pushnil(L);
	lua_pushvalue(L, 4);
	return 4;
#else
	return 1;
#endif
}

/* iterator, listing: for those who fetch the pages themselves. */
static int listing(lua_State *L) {
	int failed = open_listing(L);
	if (failed > 0) return failed;
	lua_pushvalue(L, 4);
	return 2;
}

/* listing -> does its iterator need a page first? */
static int listing_dry(lua_State *L) {
	lua_pushboolean(L, !has_next(listing_at(L, zbz_bind_of(L), 1)));
	return 1;
}

static void parse_clear(lua_State *L, zbz_bind *b, zbz_request *r) {
	zbz_request_table(L, b, r);
	zbz_request_begin(r, zbz_deadline_arg(L, 2, "clear"));
}
static zbz_status run_clear(zbz_request *r) {
	uint64_t removed = 0;
	zbz_status s = zbz_table_clear(r->t, &r->c, &removed);
	r->number = removed > INT64_MAX ? INT64_MAX : (int64_t)removed;
	return s;
}
static int push_clear(lua_State *L, zbz_bind *b, zbz_request *r) {
	lua_pushboolean(L, 1);
	zbz_push_int(L, r->number);
	return 2;
}
static const zbz_verb clear_verb = { "clear", parse_clear, run_clear, push_clear, ZBZ_CHANGES,
	                                 false,   false,       ZBZ_ALONE, false };
static int table_clear(lua_State *L) { return zbz_request_call(L, &clear_verb); }

static const zbz_verb *const verbs[] = { &clear_verb, &page_verb, NULL };
const zbz_verb *const *const zbz_keys_verbs = verbs;

const luaL_Reg zbz_table_keys_methods[] = { { "keys", table_keys }, { "clear", table_clear }, { NULL, NULL } };

static const luaL_Reg functions[] = { { "listing", listing }, { "listing_dry", listing_dry }, { NULL, NULL } };

void zbz_open_keys(lua_State *L) {
	zbz_class(L, ZBZ_BOX_LISTING, "zbz.listing", listing_release, NULL, NULL);
	zbz_functions(L, 1, functions);
}
