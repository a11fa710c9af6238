/* A place where a call can be held: the test waits until it has come, and lets it go. */
#ifndef SPEC_GATE_H
#define SPEC_GATE_H

#include <pthread.h>
#include <string.h>

#include <zbz/bytes.h>

static struct gate {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	const char *op; /* the operation to hold; NULL none */
	int held, seen; /* waiting here now; operations that passed or came */
} gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0, 0 };

static void gate_hook(const char *op, zbz_bytes key) {
	pthread_mutex_lock(&gate.lock);
	gate.seen++;
	if (gate.op != NULL && strcmp(gate.op, op) == 0) {
		gate.held++;
		pthread_cond_broadcast(&gate.moved);
		while (gate.op != NULL) pthread_cond_wait(&gate.moved, &gate.lock);
		gate.held--;
	}
	pthread_mutex_unlock(&gate.lock);
}

static void gate_close(const char *op) {
	pthread_mutex_lock(&gate.lock);
	gate.op = op;
	pthread_mutex_unlock(&gate.lock);
}

static void gate_await(int held) {
	pthread_mutex_lock(&gate.lock);
	while (gate.held < held) pthread_cond_wait(&gate.moved, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

static void gate_open(void) {
	pthread_mutex_lock(&gate.lock);
	gate.op = NULL;
	pthread_cond_broadcast(&gate.moved);
	pthread_mutex_unlock(&gate.lock);
}

#endif
