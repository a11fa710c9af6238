/* The L1 of a table: reads whose answer may be kept, and the question whether a kept one is still good. */
#include <math.h>

#include "request.h"

static void forget(zbz_request *r) { zbz_kept_clear(&r->kept); }

/* get_seen(key, deadline_ms, whole): whole as entry, else as get. */
static void parse_seen(lua_State *L, zbz_bind *b, zbz_request *r) {
	int64_t deadline;
	zbz_request_table(L, b, r);
	r->key = zbz_key_arg(L, 2, "get");
	deadline = zbz_ms_arg(L, 3, "get", "deadline", -1);
	r->flag = lua_toboolean(L, 4) != 0;
	r->kept.store = NULL;
	r->undo = forget;
	r->buf = zbz_scratch_take(L, b);
	zbz_request_begin(r, deadline);
}

static zbz_status run_seen(zbz_request *r) {
	zbz_status s;
	memset(&r->entry, 0, sizeof(r->entry));
	s = zbz_table_get_kept(r->t, &r->c, r->key, r->buf, r->flag ? &r->entry : NULL, &r->kept);
	return s == ZBZ_OK && r->entry.negative && r->entry.stale ? ZBZ_MISS : s;
}

/* value, state, age, left, place, stamp, word, seq, expire_at; place 0: not to be kept; word 0: none, else its address; expire_at: wall ms, or infinite. */
static int push_seen(lua_State *L, zbz_bind *b, zbz_request *r) {
	uint32_t place = 0, stamp = 0, seq = 0;
	int64_t expire_at = ZBZ_NO_EXPIRY;
	const volatile uint32_t *word = NULL;
	int n = zbz_entry_push(L, r);
	if (n == 4 && r->box->l1 != NULL) place = zbz_l1_keep(r->box->l1, &r->kept, &stamp);
	zbz_kept_clear(&r->kept);
	r->undo = NULL;
	if (n < 4) return n;
	if (place > 0) word = zbz_l1_word(r->box->l1, place, &seq, &expire_at);
	zbz_push_int(L, place);
	zbz_push_int(L, stamp);
	lua_pushnumber(L, (lua_Number)(uintptr_t)word);
	zbz_push_int(L, seq);
	lua_pushnumber(L, expire_at != ZBZ_NO_EXPIRY ? (lua_Number)expire_at : (lua_Number)HUGE_VAL);
	return 9;
}
static const zbz_verb seen_verb = { "get_seen", parse_seen, run_seen,  push_seen, ZBZ_READS,
	                                false,      false,      ZBZ_ALONE, true };
static int table_get_seen(lua_State *L) { return zbz_request_call(L, &seen_verb); }

static const zbz_verb *const verbs[] = { &seen_verb, NULL };
const zbz_verb *const *const zbz_l1_verbs = verbs;

/* ---- what was kept ---- */

/* NULL for what is no open table with an L1: it has no hits. */
static zbz_l1 *l1_at(lua_State *L) {
	const zbz_table_box *t = zbz_box_test(L, zbz_bind_of(L), 1, ZBZ_BOX_TABLE);
	return t != NULL ? t->l1 : NULL;
}

static int l1_hit(lua_State *L) {
	zbz_l1 *l1 = l1_at(L);
	lua_pushboolean(L, l1 != NULL && zbz_l1_hit(l1, (uint32_t)lua_tonumber(L, 2), (uint32_t)lua_tonumber(L, 3)));
	return 1;
}

/* The times of a place that was hit this moment: expire_at and stored_at, wall ms; math.huge for never, nil for not known. */
static int l1_times(lua_State *L) {
	zbz_l1 *l1 = l1_at(L);
	int64_t expire_at, stored_at;
	if (l1 == NULL) return 0;
	zbz_l1_times(l1, (uint32_t)lua_tointeger(L, 2), &expire_at, &stored_at);
	if (expire_at == ZBZ_NO_EXPIRY) {
		lua_pushnumber(L, (lua_Number)HUGE_VAL);
	} else if (expire_at > 0) {
		zbz_push_int(L, expire_at);
	} else {
		lua_pushnil(L);
	}
	if (stored_at <= 0) return 1;
	zbz_push_int(L, stored_at);
	return 2;
}

static int l1_clear(lua_State *L) {
	zbz_l1 *l1 = l1_at(L);
	if (l1 != NULL) zbz_l1_clear(l1);
	return 0;
}

const luaL_Reg zbz_table_l1_methods[] = { { "get_seen", table_get_seen }, { NULL, NULL } };
static const luaL_Reg functions[] = {
	{ "l1_hit", l1_hit },
	{ "l1_times", l1_times },
	{ "l1_clear", l1_clear },
	{ NULL, NULL },
};

void zbz_open_l1(lua_State *L) { zbz_functions(L, 1, functions); }
