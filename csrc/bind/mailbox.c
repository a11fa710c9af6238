/* The mailbox of a Lua state: messages of subscriptions and parked calls that are done, handed out one by one. */
#include <stddef.h>

#include "base/fork.h"
#include "mail.h"
#include "request.h"

#define MAIL_MAX  ((size_t)16384)
#define DRAIN_MAX ((size_t)256)

typedef struct event_box {
	zbz_box head;
	zbz_event *e;
} event_box;

void zbz_event_drop(zbz_job *job) { zbz_free((char *)job - offsetof(zbz_event, job)); }
static zbz_event *event_of(zbz_job *job) { return (zbz_event *)(void *)((char *)job - offsetof(zbz_event, job)); }

void zbz_mail_unref(zbz_mail *mail) {
	zbz_job *job;
	if (mail == NULL || --mail->refs > 0) return;
	while ((job = mail->drained) != NULL) {
		mail->drained = job->next;
		job->drop(job);
	}
	zbz_mailbox_close(mail->mailbox);
	zbz_free(mail);
}

void zbz_mail_close(zbz_bind *b) {
	zbz_mail *mail = b->mail;
	b->mail = NULL;
	zbz_mail_unref(mail);
}

zbz_mail *zbz_mail_of(zbz_bind *b, zbz_err *err) {
	zbz_mail *mail;
	if (b->mail != NULL && b->mail->generation == zbz_fork_generation()) return b->mail;
	zbz_mail_close(b); /* a child's first ask: what its parent subscribed to goes on arriving there */
	if (b->closing) {
		zbz_fail(err, ZBZ_E_CLOSED, "the Lua state is closing");
		return NULL;
	}
	mail = zbz_calloc(1, sizeof(*mail));
	if (mail == NULL) {
		zbz_fail_nomem(err);
		return NULL;
	}
	mail->refs = 1;
	mail->generation = zbz_fork_generation();
	if (zbz_mailbox_new(MAIL_MAX, &mail->mailbox, err) < 0) {
		zbz_free(mail);
		return NULL;
	}
	b->mail = mail;
	return mail;
}

zbz_mailbox *zbz_mail_box(zbz_bind *b, zbz_err *err) {
	zbz_mail *mail = zbz_mail_of(b, err);
	return mail != NULL ? mail->mailbox : NULL;
}

zbz_mailbox *zbz_mail_peek(const zbz_bind *b) { return b->mail != NULL ? b->mail->mailbox : NULL; }

/* ---- poll ---- */

static void event_release(lua_State *L, void *self) {
	event_box *box = self;
	zbz_event *e = box->e;
	box->e = NULL;
	zbz_free(e);
}

static zbz_job *peek(zbz_mail *mail) {
	if (mail == NULL) return NULL;
	if (mail->drained == NULL) mail->drained = zbz_mailbox_drain(mail->mailbox, DRAIN_MAX);
	return mail->drained;
}

static zbz_job *take(zbz_mail *mail) {
	zbz_job *job = mail->drained;
	mail->drained = job->next;
	job->next = NULL;
	return job;
}

static void hold(zbz_job *job, event_box *box) { box->e = event_of(job); }

/* Parked calls that are done give their number. Events of subscriptions that were closed meanwhile are passed over. The box is made
 * before an event is taken, because making it may run a finalizer that polls. */
static int push_event(lua_State *L, zbz_bind *b) {
	event_box *box = NULL;
	zbz_job *job;
	while ((job = peek(b->mail)) != NULL) {
		uint64_t id;
		int n = 2;
		zbz_event *e;
		if (job->drop != zbz_event_drop) {
			take(b->mail);
			if (!zbz_park_drained(b, job, &id)) continue;
			zbz_push_int(L, (int64_t)id);
			return 1;
		}
		if (box == NULL) {
			box = zbz_box_new(L, ZBZ_BOX_EVENT, sizeof(*box));
			continue;
		}
		hold(take(b->mail), box);
		e = box->e;
		if (zbz_push_listener(L, e->subscription)) {
			lua_pushlstring(L, e->bytes, e->channel_n);
			if (!e->gap) {
				lua_pushlstring(L, e->bytes + e->channel_n, e->payload_n);
				n = 3;
			}
			box->e = NULL;
			zbz_free(e);
			return n;
		}
		box->e = NULL;
		zbz_free(e);
	}
	return zbz_push_gap(L, b);
}

static int poll_next(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	int64_t timeout = zbz_ms_arg(L, 1, "poll_next", "timeout", 0), deadline;
	zbz_err err;
	if (timeout < 0) return luaL_error(L, "zbz: poll_next: a negative timeout");
	deadline = zbz_mono(zbz_clock_system());
	deadline = timeout < ZBZ_NEVER - deadline ? deadline + timeout : ZBZ_NEVER;
	lua_settop(L, 0);
	if (zbz_mail_of(b, &err) == NULL) return zbz_push_trouble(L, &err, "poll");
	for (;;) {
		int n = push_event(L, b);
		zbz_status s;
		if (n > 0) return n;
		if (timeout == 0) break;
		s = zbz_mailbox_wait(b->mail->mailbox, deadline, &err);
		if (s == ZBZ_E_TIMEOUT) break;
		if (s < 0) return zbz_push_trouble(L, &err, "poll");
	}
	lua_pushnil(L);
	return 1;
}

static int fd(lua_State *L) {
	zbz_err err;
	zbz_mail *mail = zbz_mail_of(zbz_bind_of(L), &err);
	int number = mail == NULL ? -1 : zbz_mailbox_fd(mail->mailbox, &err);
	if (number < 0) return zbz_push_trouble(L, &err, "fd");
	lua_pushinteger(L, number);
	return 1;
}

static const luaL_Reg functions[] = { { "poll_next", poll_next }, { "fd", fd }, { NULL, NULL } };

void zbz_open_mailbox(lua_State *L) {
	zbz_class(L, ZBZ_BOX_EVENT, "zbz.event", event_release, NULL, NULL);
	zbz_functions(L, 1, functions);
}
