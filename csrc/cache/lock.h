/* The insides of locks, shared by the files that implement them.
 *
 *   lock.c        the object: taking, releasing, its end
 *   lock_wait.c   who waits, who is woken; the thread that watches the host-wide locks
 *   lock_hub.c    a store's channel on which its backend tells of releases
 *   host_*.c      the host-wide locks themselves */
#ifndef ZBZ_CACHE_LOCK_H
#define ZBZ_CACHE_LOCK_H

#include <pthread.h>
#include <stdatomic.h>

#include <zbz/table.h>

#include "callback.h"
#include "core/store.h"
#include "host.h"

enum { ZBZ_LOCK_NAME = sizeof ZBZ_RESERVED - 1 + 5 + 2 * ZBZ_LOCK_ID };

struct zbz_lock {
	atomic_uint refs;
	unsigned generation; /* of the process that made it */
	zbz_reach reach;
	zbz_store *store;              /* NULL: no backend of ours */
	const void *owner;             /* whose lock it is */
	uint8_t id[ZBZ_LOCK_ID];       /* host */
	char name[ZBZ_LOCK_NAME];      /* cluster */
	uint8_t token[ZBZ_LOCK_TOKEN]; /* cluster; drawn anew after each release */
	bool tokened;
	unsigned tries;       /* refused in a row without being woken: how long to wait before the next */
	zbz_host_claim claim; /* host: ours while held, else the holder's */
	int64_t patience;
	bool own;
	/* under the lock of lock_wait.c */
	zbz_lock *next, **at; /* among those that are held, or that wait; at NULL: neither */
	bool held, waits, ended;
	bool trying; /* whose token the answer will name is not known yet: what is told meanwhile is kept in `told` */
	bool told, told_gap;
	uint8_t told_token[ZBZ_LOCK_TOKEN];
	zbz_outcome told_outcome, outcome;
	zbz_holder holder;
	callback *callbacks;
	pthread_cond_t cond;
};

/* ---- lock_wait.c ---- */

void zbz_locks_enter(void);
void zbz_locks_leave(void);
/* Forgets what the last try told, wakes whoever waited on it. */
void zbz_lock_begin_try(zbz_lock *l);
void zbz_lock_note_held(zbz_lock *l);
/* Notes the holder; from now on its end is told. False: nobody will tell, look now and then. */
bool zbz_lock_note_refused(zbz_lock *l, const zbz_holder *holder);
/* To hear what is told from before a try on. */
void zbz_lock_listen(zbz_lock *l);
bool zbz_lock_is_held(zbz_lock *l);
/* Of the parent: who waits on it is not here. */
void zbz_lock_forget(zbz_lock *l);
/* Neither held nor waiting. */
void zbz_lock_delist(zbz_lock *l);
/* One release was told of, or (name.p NULL) may have been missed. */
static inline bool zbz_lock_hears(const zbz_lock *l, const zbz_locks *hub) {
	return l->reach == ZBZ_REACH_CLUSTER && zbz_store_locks(l->store) == hub;
}
void zbz_locks_tell(const zbz_locks *hub, zbz_bytes name, const uint8_t *token, zbz_outcome outcome);

/* ---- lock_hub.c ---- */

/* Will releases be told? Never waits. */
bool zbz_locks_stand(const zbz_locks *hub);
/* Makes it so if it can be done; false: not, or not yet. */
bool zbz_locks_raise(zbz_locks *hub, zbz_store *store, zbz_call *c);

#endif
