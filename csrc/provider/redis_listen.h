/* Something the server pushes, listened to: a connection and a thread of its own. The thread comes back by itself after a
 * lost connection; silence is probed with PING, so that a dead peer is noticed within the option read_timeout. What is
 * asked for, and what is made of it, is the embedder's: redis_subscribe.c, redis_track.c. */
#ifndef ZBZ_PROVIDER_REDIS_LISTEN_H
#define ZBZ_PROVIDER_REDIS_LISTEN_H

#include <pthread.h>
#include <sys/types.h>

#include "provider/redis_impl.h"

typedef struct redis_listener redis_listener;

/* All on the listener's thread, but free. */
typedef struct redis_listening {
	/* On a fresh connection: asks, and reads with redis_listener_read until what was asked for stands. */
	zbz_status (*ask)(redis_listener *l, int64_t deadline, zbz_err *err);
	zbz_status (*item)(void *l, const zbz_resp_item *item, zbz_err *err); /* a zbz_resp_fn: part of a reply or a push */
	void (*lost)(redis_listener *l);
	void (*back)(redis_listener *l); /* stands again after a loss */
	void (*free)(redis_listener *l); /* the embedder's memory */
} redis_listening;

struct redis_listener { /* embed first, zeroed */
	const redis_listening *how;
	redis_self *self;
	redis_conn *conn;            /* the thread's */
	redis_listener *next, *prev; /* of all */
	pthread_t thread;
	pid_t pid;  /* whose thread it is */
	int wake;   /* eventfd: the thread shall end */
	int fd;     /* of conn, for a forked child */
	bool rests; /* the thread waits, and conn is whole: a forked child may free it; under the lock */
	int64_t first_deadline;
	pthread_mutex_t lock;
	pthread_cond_t told;
	bool known; /* how the first attempt ended */
	zbz_err err;
};

/* Starts the thread and waits for its first attempt. Owns *l from here on: a failure has freed it. */
zbz_status redis_listener_start(redis_listener *l, redis_self *self, const redis_listening *how, zbz_call *c);
/* One piece of what comes in, through how->item. AGAIN: the thread shall end. */
zbz_status redis_listener_read(redis_listener *l, int64_t deadline, zbz_err *err);
/* Waits for the thread, frees. Never on that thread. */
void redis_listener_stop(redis_listener *l);

#endif
