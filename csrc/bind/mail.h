/* The mailbox of a Lua state, as the files of the binding share it. */
#ifndef ZBZ_BIND_MAIL_H
#define ZBZ_BIND_MAIL_H

#include "object.h"

/* Held by the state and by every open subscription: finalizers come in any order, and the last one closes it. */
typedef struct zbz_mail {
	zbz_mailbox *mailbox;
	zbz_job *drained; /* not yet handed out */
	size_t refs;
	unsigned generation; /* of the process it was made in */
} zbz_mail;

/* A message on its way to Lua. */
typedef struct zbz_event {
	zbz_job job;
	uint64_t subscription;
	size_t channel_n, payload_n;
	bool gap;
	char bytes[]; /* channel, payload */
} zbz_event;

void zbz_event_drop(zbz_job *job); /* its job's drop, by which events are told from parked calls */

/* Made on first use, anew in a forked child; NULL and err on failure. */
zbz_mail *zbz_mail_of(zbz_bind *b, zbz_err *err);
void zbz_mail_unref(zbz_mail *mail); /* NULL allowed */
zbz_mailbox *zbz_mail_box(zbz_bind *b, zbz_err *err);
/* NULL when there is none yet. */
zbz_mailbox *zbz_mail_peek(const zbz_bind *b);
/* Is it a parked call? Then it is noted as done (or dropped, when nobody asks), and *id is its number. */
bool zbz_park_drained(zbz_job *job, uint64_t *id);

/* listeners[id] = {fn, box}, of subscriptions and watches; id from the record's subscription_ids. */
void zbz_keep_listener(lua_State *L, uint64_t id, int fn, int box);
void zbz_forget_listener(lua_State *L, uint64_t id);
/* Pushes the function of an open subscription and answers true, or pushes nothing. */
bool zbz_push_listener(lua_State *L, uint64_t id);
/* A gap that could not be told with a message: pushes the function and an empty channel and answers 2, or 0. */
int zbz_push_gap(lua_State *L, zbz_bind *b);

#endif
