#include "parting.h"

#include "base/fork.h"
#include "mail.h"
#include "request.h"

static void give_up(zbz_parting *p) {
	zbz_feeds_free(p->feeds);
	if (p->cache != NULL) zbz_cache_close(p->cache);
	zbz_cache_unref(p->cache);
	zbz_store_unref(p->store);
	zbz_keep_unref(p->keep);
	memset(p, 0, sizeof(*p));
}

static void give_up_copy(void *ud) {
	give_up(ud);
	zbz_free(ud);
}

static zbz_parting *copy_of(const zbz_parting *p) {
	zbz_parting *copy = zbz_malloc(sizeof(*copy));
	if (copy != NULL) *copy = *p;
	return copy;
}

static bool is_inline(const zbz_store *store) {
	zbz_caps caps;
	memset(&caps, 0, sizeof(caps));
	zbz_store_caps(store, &caps);
	return caps.inline_ok;
}

/* Memory is given up as fast as it is used. */
static bool waits(const zbz_parting *p) {
	return p->feeds != NULL || (p->cache != NULL && !zbz_cache_inline(p->cache)) ||
	       (p->store != NULL && !is_inline(p->store));
}

/* Only where calls have gone through the pool already: before that, as in a master process that will fork, no thread may start, and
 * nothing is under way. */
static bool has_loop(const zbz_bind *b) {
	return b->hosted && b->mail != NULL && b->mail->generation == zbz_fork_generation();
}

void zbz_part(const zbz_bind *b, zbz_parting *p) {
	zbz_parting *copy = has_loop(b) && waits(p) ? copy_of(p) : NULL;
	if (copy != NULL)
		zbz_aside(give_up_copy, copy);
	else
		give_up(p);
}

/* ---- close, as a call that can be parked ---- */

static void undo_close(zbz_request *r) {
	if (r->ud != NULL) zbz_aside(give_up_copy, r->ud);
	r->ud = NULL;
}

static bool take(lua_State *L, const zbz_bind *b, zbz_parting *p) {
	void *box;
	memset(p, 0, sizeof(*p));
	if ((box = zbz_box_test(L, b, 1, ZBZ_BOX_CACHE)) != NULL)
		zbz_cache_take(L, box, p);
	else if ((box = zbz_box_test(L, b, 1, ZBZ_BOX_SUBSCRIPTION)) != NULL)
		zbz_subscription_take(L, box, p);
	else
		zbz_store_take(L, zbz_box_check(L, b, 1, ZBZ_BOX_STORE, "close"), p);
	return p->feeds != NULL || p->cache != NULL || p->store != NULL || p->keep != NULL;
}

static void parse_close(lua_State *L, zbz_bind *b, zbz_request *r) {
	zbz_parting p;
	r->ud = NULL;
	if (!take(L, b, &p)) return;
	r->undo = undo_close;
	r->ud = copy_of(&p);
	if (r->ud == NULL)
		give_up(&p);
	else
		r->keep = p.keep;
}

static zbz_status run_close(zbz_request *r) {
	if (r->ud != NULL) give_up_copy(r->ud);
	r->ud = NULL;
	return ZBZ_OK;
}

static int push_close(lua_State *L, zbz_bind *b, zbz_request *r) {
	lua_pushboolean(L, 1);
	return 1;
}

static const zbz_verb close_verb = { "close", parse_close, run_close, push_close, ZBZ_QUEUES,
	                                 false,   false,       ZBZ_ALONE, false };
static const zbz_verb *const verbs[] = { &close_verb, NULL };
const zbz_verb *const *const zbz_close_verbs = verbs;

int zbz_handle_close(lua_State *L) { return zbz_request_call(L, &close_verb); }
