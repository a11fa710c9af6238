/* The insides of flights, shared by the two files that implement them. */
#ifndef ZBZ_CACHE_TRIP_H
#define ZBZ_CACHE_TRIP_H

#include <pthread.h>
#include <stdatomic.h>

#include "atfork.h"
#include "callback.h"
#include "flight.h"

typedef struct trip trip;

struct zbz_flight {
	trip *of;
	bool leads;
	bool joined_moved;
};

struct trip {
	zbz_flights *fs;
	trip *next;          /* in its bucket */
	uint64_t hash, born; /* born: number of the trip, rising */
	const void *owner;
	pthread_cond_t cond; /* landed, or a commit has ended */
	size_t refs, waiters;
	callback *callbacks;
	zbz_flight leader;
	zbz_landing how;
	char *result;
	size_t result_n, key_n;
	bool moved, committing, landed;
	bool orphan; /* begun before a fork: its leader is in the parent */
	char key[];
};

struct zbz_flights {
	atfork_node fork;
	pthread_mutex_t lock;
	atomic_size_t flying; /* trips in the map; read without the lock */
	size_t refs;          /* the owner and every trip */
	uint64_t births;
	trip **buckets;
	size_t mask;
};

/* Under the lock: where the trip of this key hangs, or where it would (*at NULL). */
trip **zbz_trip_at(zbz_flights *fs, uint64_t hash, zbz_bytes key);
/* Gives back one reference; the lock is held and is released. */
void zbz_trip_unref_and_unlock(zbz_flights *fs, trip *t);

#endif
