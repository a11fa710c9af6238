/* The process-wide list behind atfork.h. */
#include "atfork.h"

#include <pthread.h>
#include <stddef.h>

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t registered = PTHREAD_ONCE_INIT;
static atfork_node *head;

static void prepare(void) {
	atfork_node *node;
	pthread_mutex_lock(&list_lock);
	for (node = head; node != NULL; node = node->next) node->lock(node);
}

static void in_parent(void) {
	atfork_node *node;
	for (node = head; node != NULL; node = node->next) node->unlock(node);
	pthread_mutex_unlock(&list_lock);
}

static void in_child(void) {
	atfork_node *node;
	for (node = head; node != NULL; node = node->next) node->renew(node);
	pthread_mutex_unlock(&list_lock);
}

static void install(void) { pthread_atfork(prepare, in_parent, in_child); }

void zbz_atfork_watch(atfork_node *node) {
	pthread_once(&registered, install);
	pthread_mutex_lock(&list_lock);
	node->prev = NULL;
	node->next = head;
	if (head != NULL) head->prev = node;
	head = node;
	pthread_mutex_unlock(&list_lock);
}

void zbz_atfork_forget(atfork_node *node) {
	pthread_mutex_lock(&list_lock);
	if (node->prev != NULL)
		node->prev->next = node->next;
	else
		head = node->next;
	if (node->next != NULL) node->next->prev = node->prev;
	pthread_mutex_unlock(&list_lock);
}
