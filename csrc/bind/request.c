/* The three steps of a call in a row, and its end. */
#include "request.h"

static int push_failure(lua_State *L, const zbz_request *r) {
	zbz_where at = zbz_at(r->verb->name);
	at.key = r->key;
	if (r->box != NULL) at = zbz_at_key(r->verb->name, r->box, r->key);
	if (!r->verb->extra_nil) return zbz_push_failure(L, &r->c.err, &at);
	lua_pushnil(L);
	return 1 + zbz_push_failure(L, &r->c.err, &at);
}

int zbz_request_push(lua_State *L, zbz_bind *b, zbz_request *r) {
	int top = lua_gettop(L), n = r->s < 0 ? 0 : r->verb->push(L, b, r);
	if (r->buf != NULL && !r->parked) zbz_scratch_give(b, r->buf);
	if (r->words != NULL && !r->parked) zbz_scratch_give(b, r->words);
	if (r->s >= 0) return n;
	if (r->undo != NULL && !r->parked) r->undo(r);
	if (r->failed != NULL) r->failed(L, r);
	lua_settop(L, top);
	return push_failure(L, r);
}

int zbz_request_call(lua_State *L, const zbz_verb *verb) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_request r;
	zbz_request_clear(&r, verb);
	verb->parse(L, b, &r);
	if (r.s >= 0) r.s = verb->run(&r);
	if (r.store != NULL) zbz_store_unref(r.store);
	return zbz_request_push(L, b, &r);
}
