/* Former log files are packed on a thread of their own, at the lowest priority: neither a caller nor the writer waits for it. A packed file
 * has another name until it is whole and on the disk; only then the original goes. */
#include "sink_file.h"

#include "base/signals.h"
#include "core/config.h"
#include "core/registry.h"
#include "packer.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOWEST 19

struct zbz_log_packing {
	const zbz_packer *packer;
	const zbz_log_file *file;
	pthread_mutex_t lock;
	pthread_t id;
	bool started, running, asked; /* started: to be joined; asked: once more */
	_Atomic bool stop;
};

zbz_status zbz_log_packing_open(zbz_log_file *f, zbz_err *err) {
	const void *table;
	zbz_status status = zbz_plugin_table("gzip", "zlib1g", "zbz_packer_plugin", &table, err);
	if (status != ZBZ_OK) {
		if (err != NULL) snprintf(err->option, sizeof err->option, "compress");
		return status;
	}
	f->packing = zbz_calloc(1, sizeof *f->packing);
	if (f->packing == NULL) return zbz_fail_nomem(err);
	f->packing->packer = table;
	f->packing->file = f;
	pthread_mutex_init(&f->packing->lock, NULL);
	return ZBZ_OK;
}

void zbz_log_packing_close(zbz_log_file *f) {
	zbz_log_packing *p = f->packing;
	if (p == NULL) return;
	atomic_store(&p->stop, true);
	if (p->started) pthread_join(p->id, NULL);
	pthread_mutex_destroy(&p->lock);
	zbz_free(p);
	f->packing = NULL;
}

/* ---- the thread ---- */

static bool pack_into(const zbz_log_packing *p, int dir, int from, const char *aside, const struct stat *st) {
	const struct timespec times[2] = { st->st_atim, st->st_mtim }; /* its age is that of what is in it */
	int to = openat(dir, aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, st->st_mode & 0777);
	bool ok = to >= 0 && p->packer->file(from, to, &p->stop, NULL) == ZBZ_OK && fdatasync(to) == 0;
	if (ok) futimens(to, times);
	if (to >= 0) close(to);
	return ok;
}

static void pack_one(const zbz_log_packing *p, int dir, const char *name) {
	char packed[NAME_MAX + 1], aside[NAME_MAX + 1];
	struct stat st;
	int from;
	if (snprintf(packed, sizeof packed, "%s%s", name, p->packer->suffix) >= (int)sizeof packed ||
	    snprintf(aside, sizeof aside, "%s.tmp", packed) >= (int)sizeof aside)
		return;
	from = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (from < 0) return;
	if (fstat(from, &st) == 0 && S_ISREG(st.st_mode)) {
		if (pack_into(p, dir, from, aside, &st) && renameat(dir, aside, dir, packed) == 0)
			unlinkat(dir, name, 0);
		else
			unlinkat(dir, aside, 0);
	}
	close(from);
}

static void pack_all(const zbz_log_packing *p) {
	size_t suffix = strlen(p->packer->suffix);
	zbz_list names;
	int dir;
	if (zbz_log_past(p->file, &names, &dir) != ZBZ_OK) return;
	for (size_t i = 0; i < names.n && !atomic_load(&p->stop); i++) {
		size_t n = strlen(names.items[i]);
		if (n > suffix && strcmp(names.items[i] + n - suffix, p->packer->suffix) != 0) pack_one(p, dir, names.items[i]);
	}
	close(dir);
	zbz_list_clear(&names);
}

static void *run(void *arg) {
	zbz_log_packing *p = arg;
	bool more = true;
	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), LOWEST); /* of this thread alone, on Linux */
	pthread_setname_np(pthread_self(), "zbz-log-pack");
	while (more) {
		pack_all(p);
		pthread_mutex_lock(&p->lock);
		more = p->asked && !atomic_load(&p->stop);
		p->asked = false;
		p->running = more;
		pthread_mutex_unlock(&p->lock);
	}
	return NULL;
}

static bool start(zbz_log_packing *p) {
	sigset_t block, before;
	bool ok;
	zbz_signals_of_threads(&block);
	pthread_sigmask(SIG_SETMASK, &block, &before);
	ok = pthread_create(&p->id, NULL, run, p) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ok;
}

void zbz_log_pack(zbz_log_file *f) {
	zbz_log_packing *p = f->packing;
	bool running;
	if (p == NULL) return;
	pthread_mutex_lock(&p->lock);
	running = p->running;
	p->asked = running;
	p->running = true;
	pthread_mutex_unlock(&p->lock);
	if (running) return;
	if (p->started) pthread_join(p->id, NULL); /* it has ended, or is about to */
	p->started = start(p);
	if (!p->started) p->running = false; /* the next rotation tries again */
}
