/* Parked calls: parsed here, run by the pool, pushed when their owner comes back for them. What a host for an event loop is
 * built on; it does the waiting.
 *
 *   submit(handle, ...)      -> false, results...       answered at once (a memory tier, a failure before any I/O)
 *                            -> ticket, id, left_ms     under way; poll_next hands out the id when it is done
 *   finish(ticket, handle)   -> the results
 *
 * A ticket is a box: whoever drops it (a killed coroutine) drops the answer with it, and the call itself still runs. */
#include "park.h"

#include "mail.h"

typedef struct ticket_box {
	zbz_box head;
	parked *p;
} ticket_box;

/* Any thread, but for what is lent: that is given back or up where Lua is, or after its state has gone. */
static void parked_free(parked *p) {
	if (p->r.lent != NULL) {
		*p->r.lent = NULL;
	} else if (p->r.orphaned) {
		zbz_flight_leave(p->r.flight);
		zbz_table_keys_close(p->r.listing);
	}
	if (p->r.undo != NULL) p->r.undo(&p->r);
	if (p->r.store != NULL) zbz_store_unref(p->r.store);
	zbz_table_free(p->r.t);
	zbz_keep_unref(p->r.keep);
	zbz_buf_clear(&p->out);
	zbz_free(p);
}

static void drop(zbz_job *job) {
	parked *p = zbz_parked_of(job);
	if (p->ticket != NULL) p->ticket->p = NULL;
	parked_free(p);
}

void zbz_park_run(zbz_job *job) {
	parked *p = zbz_parked_of(job);
	if (atomic_load(&p->abandoned)) {
		p->r.s = zbz_fail(&p->r.c.err, ZBZ_E_TIMEOUT, "the deadline passed before the call began");
	} else {
		p->r.s = p->r.verb->run(&p->r);
	}
}

bool zbz_park_drained(zbz_bind *b, zbz_job *job, uint64_t *id) {
	parked *p;
	if (job->drop != drop) return false;
	p = zbz_parked_of(job);
	*id = job->ticket;
	p->done = true;
	if (p->unattended) b->unattended--;
	if (p->ticket == NULL) parked_free(p);
	return true;
}

/* Nobody asks for the answer, and that is all there is: no reason to stay for a worker that wants to end. */
static void leave_alone(zbz_bind *b, parked *p) {
	p->ticket = NULL;
	if (p->done) {
		parked_free(p);
	} else if (p->r.verb == NULL || p->r.verb->effect == ZBZ_READS) {
		p->unattended = true;
		b->unattended++;
	}
}

static void ticket_release(lua_State *L, void *self) {
	ticket_box *box = self;
	parked *p = box->p;
	box->p = NULL;
	if (p != NULL) leave_alone(zbz_bind_of(L), p);
}

/* ---- submit ---- */

/* Takes the store's reference over. NULL when out of memory: nothing has happened. */
static parked *copy_of(const zbz_request *r, const void *self, bool in_order) {
	parked *p = zbz_calloc(1, sizeof(*p) + zbz_request_size(r));
	if (p == NULL) return NULL;
	p->r = *r;
	zbz_request_own(&p->r, (char *)(p + 1));
	p->r.parked = true;
	p->r.buf = &p->out;
	p->r.words = NULL;
	p->self = self;
	if (p->r.t != NULL) zbz_table_ref(p->r.t);
	zbz_keep_ref(p->r.keep);
	p->job.run = zbz_park_run;
	p->job.drop = drop;
	if (in_order)
		zbz_park_row(p);
	else
		zbz_park_kin(p);
	return p;
}

static bool store_answers_here(const zbz_store_box *s) {
	zbz_caps caps;
	if (s->store == NULL) return true;
	memset(&caps, 0, sizeof(caps));
	zbz_store_caps(s->store, &caps);
	return caps.inline_ok;
}

/* Answers without waiting, or is no open handle: then the call itself tells so. */
static bool answers_here(lua_State *L, const zbz_bind *b, int idx) {
	const zbz_table_box *t = zbz_box_test(L, b, idx, ZBZ_BOX_TABLE);
	const zbz_cache_box *c = t != NULL ? NULL : zbz_box_test(L, b, idx, ZBZ_BOX_CACHE);
	const zbz_store_box *s;
	if (t != NULL) return t->t == NULL || zbz_table_inline(t->t);
	if (c != NULL) return c->cache == NULL || zbz_cache_inline(c->cache);
	if (zbz_watch_box_waits(L, b, idx)) return false;
	if ((s = zbz_box_test(L, b, idx, ZBZ_BOX_STORE)) != NULL) return store_answers_here(s);
	return zbz_box_test(L, b, idx, ZBZ_BOX_LISTING) == NULL && zbz_box_test(L, b, idx, ZBZ_BOX_SUBSCRIPTION) == NULL;
}

static int at_once(lua_State *L, int n) {
	lua_pushboolean(L, 0);
	lua_insert(L, -1 - n);
	return n + 1;
}

static void give_scratch(zbz_bind *b, const zbz_request *r) {
	if (r->buf != NULL) zbz_scratch_give(b, r->buf);
	if (r->words != NULL) zbz_scratch_give(b, r->words);
}

static int push_ticket(lua_State *L, int shell, const parked *p) {
	int64_t deadline = p->r.verb != NULL ? p->r.c.deadline : ZBZ_NEVER;
	lua_pushvalue(L, shell);
	zbz_push_int(L, (int64_t)p->job.ticket);
	if (deadline == ZBZ_NEVER) return 2;
	deadline -= zbz_mono(p->r.c.clock);
	zbz_push_int(L, deadline > 0 ? deadline : 0);
	return 3;
}

/* The request goes on its way, or fails here and now. */
static int send_off(lua_State *L, zbz_bind *b, zbz_request *r, ticket_box *ticket, int shell, bool in_order) {
	parked *p = copy_of(r, lua_touserdata(L, 1), in_order);
	zbz_mailbox *mb = p != NULL ? zbz_mail_box(b, &r->c.err) : NULL;
	if (p == NULL) zbz_fail_nomem(&r->c.err);
	if (mb == NULL || zbz_submit(mb, &p->job, &r->c.err) < 0) {
		r->s = r->c.err.status;
		if (p != NULL) {
			p->r.lent = NULL;
			p->r.store = NULL;
			p->r.undo = NULL;
			parked_free(p);
		}
		if (r->store != NULL) zbz_store_unref(r->store);
		return at_once(L, zbz_request_push(L, b, r));
	}
	give_scratch(b, r);
	p->ticket = ticket;
	ticket->p = p;
	if (p->r.lent != NULL) *p->r.lent = &p->r;
	return push_ticket(L, shell, p);
}

/* A read that a local tier can answer needs no thread. Nothing has happened when it cannot. */
static bool answers_now(zbz_request *r) {
	if (r->t == NULL || !zbz_table_inline_hits(r->t)) return false;
	r->c.no_wait = true;
	r->s = r->verb->run(r);
	r->c.no_wait = false;
	if (r->s != ZBZ_AGAIN) return true;
	r->s = ZBZ_OK;
	return false;
}

/* As for a blocking call, and what verbs set themselves is cleared, for it is copied. */
static void parse(lua_State *L, zbz_bind *b, zbz_request *r, const zbz_verb *verb) {
	memset(&r->put, 0, sizeof(*r) - offsetof(zbz_request, put));
	zbz_request_clear(r, verb);
	verb->parse(L, b, r);
}

/* The same where nothing can wait: true and the results, or false. */
static int try_now(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_request r;
	int n;
	lua_settop(L, ZBZ_VERB_ARGS);
	parse(L, b, &r, lua_touserdata(L, lua_upvalueindex(2)));
	if (r.s < 0 || answers_now(&r)) {
		n = zbz_request_push(L, b, &r);
		lua_pushboolean(L, 1);
		lua_insert(L, -1 - n);
		return n + 1;
	}
	give_scratch(b, &r);
	lua_pushboolean(L, 0);
	return 1;
}

static int submit(lua_State *L, bool in_order) {
	zbz_bind *b = zbz_bind_of(L);
	const zbz_verb *verb = lua_touserdata(L, lua_upvalueindex(2));
	ticket_box *ticket;
	zbz_request r;
	if (!verb->waits && answers_here(L, b, 1)) return at_once(L, zbz_request_call(L, verb));
	lua_settop(L, ZBZ_VERB_ARGS);
	ticket = zbz_box_new(L, ZBZ_BOX_TICKET, sizeof(*ticket));
	parse(L, b, &r, verb);
	if (r.s >= 0 && verb->tries && answers_now(&r)) return at_once(L, zbz_request_push(L, b, &r));
	if (r.s >= 0) return send_off(L, b, &r, ticket, ZBZ_VERB_ARGS + 1, in_order);
	if (r.store != NULL) zbz_store_unref(r.store);
	return at_once(L, zbz_request_push(L, b, &r));
}

/* Upvalues: the record, the verb. */
static int submit_free(lua_State *L) { return submit(L, false); }
static int submit_in_order(lua_State *L) { return submit(L, true); }

bool zbz_park_send(zbz_bind *b, const zbz_request *r) {
	zbz_mailbox *mb = zbz_mail_peek(b);
	parked *p = mb != NULL ? copy_of(r, NULL, false) : NULL;
	zbz_err err;
	if (p == NULL) return false;
	if (zbz_submit(mb, &p->job, &err) == ZBZ_OK) return true;
	p->r.undo = NULL;
	parked_free(p);
	return false;
}

/* ---- the end of somebody else's load ---- */

static void ended(void *ud) { zbz_complete(ud); }

int zbz_park_on(lua_State *L, zbz_status (*arm)(void *thing, void (*fn)(void *ud), void *ud, zbz_err *err),
                void *thing) {
	zbz_bind *b = zbz_bind_of(L);
	ticket_box *ticket = zbz_box_new(L, ZBZ_BOX_TICKET, sizeof(*ticket));
	zbz_where at = zbz_at("fetch");
	int shell = lua_gettop(L);
	zbz_err err;
	zbz_mailbox *mb = zbz_mail_box(b, &err);
	parked *p = mb != NULL ? zbz_calloc(1, sizeof(*p)) : NULL;
	if (p == NULL) {
		if (mb != NULL) zbz_fail_nomem(&err);
		return zbz_push_failure(L, &err, &at);
	}
	p->job.drop = drop;
	if (zbz_reserve(mb, &p->job, &err) < 0) {
		zbz_free(p);
		return zbz_push_failure(L, &err, &at);
	}
	p->ticket = ticket;
	ticket->p = p;
	if (arm(thing, ended, &p->job, &err) < 0) {
		zbz_complete(&p->job); /* wakes at once; the caller looks and asks again */
	}
	return push_ticket(L, shell, p);
}

/* ---- the end of a wait ---- */

/* The handle at index 1 is that of the call, and may have been collected meanwhile in a state that closes. */
static void find_box(lua_State *L, const zbz_bind *b, zbz_request *r) {
	if (r->box == NULL) return;
	r->box = zbz_box_test(L, b, 1, ZBZ_BOX_TABLE);
	if (r->box == NULL) r->box = zbz_listing_table(L, b, 1);
	if (r->box == NULL) zbz_box_mismatch(L, 1, ZBZ_BOX_TABLE, "finish");
}

/* finish(ticket, handle): with the handle at index 1, as in a blocking call. */
static int finish(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	ticket_box *ticket = zbz_box_check(L, b, 1, ZBZ_BOX_TICKET, "finish");
	parked *p = ticket->p;
	int n;
	if (p == NULL) return luaL_error(L, "zbz: finish: the ticket was used already");
	if (!p->done) return luaL_error(L, "zbz: finish: the call is still under way");
	lua_settop(L, 2);
	lua_insert(L, 1);
	if (p->r.verb == NULL) {
		n = 0;
	} else {
		if (lua_touserdata(L, 1) != p->self) return luaL_error(L, "zbz: finish: another handle than that of the call");
		find_box(L, b, &p->r);
		n = zbz_request_push(L, b, &p->r);
	}
	/* A finalizer that ran meanwhile has not taken it: it stands on our stack. */
	ticket->p = NULL;
	parked_free(p);
	return n;
}

/* The caller gives up: the answer is dropped when it comes, a call that has not begun does not begin. */
static int abandon(lua_State *L) {
	ticket_box *box = zbz_box_check(L, zbz_bind_of(L), 1, ZBZ_BOX_TICKET, "abandon");
	if (box->p != NULL) atomic_store(&box->p->abandoned, true);
	ticket_release(L, box);
	return 0;
}

/* May an event loop not be held up from now on? What is given up then is given up aside. */
static int hosted(lua_State *L) {
	zbz_bind_of(L)->hosted = lua_toboolean(L, 1) != 0;
	return 0;
}

/* Is it a handle whose calls answer without waiting, or wait for nobody else? */
static int is_inline(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	lua_pushboolean(L, answers_here(L, b, 1) || zbz_watch_box_local(L, b, 1));
	return 1;
}

/* ---- doors ---- */

static void push_closure(lua_State *L, lua_CFunction fn, const zbz_verb *verb) {
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_pushlightuserdata(L, (void *)(uintptr_t)verb);
	lua_pushcclosure(L, fn, 2);
}

/* Adds to the table at `idx` what may be tried where nothing can wait. */
static void add_tries(lua_State *L, int idx, const zbz_verb *const *verbs) {
	for (; *verbs != NULL; verbs++) {
		if (!(*verbs)->tries) continue;
		push_closure(L, try_now, *verbs);
		lua_setfield(L, idx, (*verbs)->name);
	}
}

/* Adds submit closures to the table at `idx`, and to the one at `idx` + 1 those of what can be queued. */
static void add_doors(lua_State *L, int idx, const zbz_verb *const *verbs) {
	for (; *verbs != NULL; verbs++) {
		push_closure(L, submit_free, *verbs);
		lua_setfield(L, idx, (*verbs)->name);
		if ((*verbs)->effect != ZBZ_QUEUES) continue;
		push_closure(L, submit_in_order, *verbs);
		lua_setfield(L, idx + 1, (*verbs)->name);
	}
}

static const luaL_Reg functions[] = {
	{ "finish", finish }, { "abandon", abandon }, { "inline", is_inline }, { "hosted", hosted }, { NULL, NULL },
};

void zbz_open_park(lua_State *L) {
	int at = lua_gettop(L) + 1;
	zbz_class(L, ZBZ_BOX_TICKET, "zbz.ticket", ticket_release, NULL, NULL);
	lua_newtable(L);
	lua_newtable(L);
	add_doors(L, at, zbz_table_verbs);
	add_doors(L, at, zbz_count_verbs);
	add_doors(L, at, zbz_batch_verbs);
	add_doors(L, at, zbz_keys_verbs);
	add_doors(L, at, zbz_fetch_verbs);
	add_doors(L, at, zbz_lock_verbs);
	add_doors(L, at, zbz_l1_verbs);
	lua_setfield(L, 1, "queueable");
	lua_setfield(L, 1, "table_doors");
	lua_newtable(L);
	add_tries(L, at, zbz_table_verbs);
	add_tries(L, at, zbz_batch_verbs);
	add_tries(L, at, zbz_fetch_verbs);
	add_tries(L, at, zbz_l1_verbs);
	lua_setfield(L, 1, "table_tries");
	lua_newtable(L);
	lua_newtable(L);
	add_doors(L, at, zbz_cache_verbs);
	add_doors(L, at, zbz_command_verbs);
	add_doors(L, at, zbz_mail_verbs);
	add_doors(L, at, zbz_close_verbs);
	lua_setfield(L, 1, "queueable_whole");
	lua_setfield(L, 1, "cache_doors");
	lua_newtable(L);
	lua_newtable(L);
	add_doors(L, at, zbz_watch_verbs);
	lua_pop(L, 1);
	lua_setfield(L, 1, "watch_doors");
	lua_newtable(L);
	lua_newtable(L);
	add_doors(L, at, zbz_close_verbs);
	lua_pop(L, 1);
	lua_setfield(L, 1, "handle_doors");
	zbz_functions(L, 1, functions);
}
