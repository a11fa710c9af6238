/* Log files that were opened with rights that a later process has not: a server's master may write where its workers may not. What was opened early
 * stays open here, by the name it was asked for, through forks, and serves whoever is refused at the path. */
#include "sink_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

struct zbz_log_kept {
	zbz_log_kept *next;
	char *asked, *path; /* path: as it was resolved */
	int fd;
	unsigned refs;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static zbz_log_kept *list; /* the latest first */

static void enter(void) { pthread_mutex_lock(&lock); }
static void leave(void) { pthread_mutex_unlock(&lock); }

/* Before the streams' own handlers (log/stream.c), so that a fork takes this lock after theirs, as those who close an output do. */
__attribute__((constructor(1000))) static void watch_forks(void) { pthread_atfork(enter, leave, leave); }

static void discard(zbz_log_kept *k) {
	if (k == NULL) return;
	zbz_free(k->asked);
	zbz_free(k->path);
	zbz_free(k);
}

zbz_log_kept *zbz_log_kept_find(const char *asked, const char **path) {
	zbz_log_kept *k;
	enter();
	for (k = list; k != NULL && strcmp(k->asked, asked) != 0;) k = k->next;
	if (k != NULL) {
		k->refs++;
		*path = k->path;
	}
	leave();
	return k;
}

zbz_status zbz_log_keep(const char *asked, const char *path, mode_t mode, zbz_log_kept **out, zbz_err *err) {
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, mode);
	zbz_log_kept *k;
	*out = NULL;
	if (fd < 0 && errno == ENXIO) return ZBZ_OK; /* a pipe that nobody reads yet */
	if (fd < 0) return zbz_fail_errno(err, ZBZ_E_CONFIG, errno, "opening %.160s", path);
	k = zbz_calloc(1, sizeof *k);
	if (k != NULL) k->asked = zbz_strdup(asked);
	if (k != NULL) k->path = zbz_strdup(path);
	if (k == NULL || k->asked == NULL || k->path == NULL) {
		if (fd >= 0) close(fd);
		discard(k);
		return zbz_fail_nomem(err);
	}
	k->fd = fd;
	k->refs = 1;
	enter();
	k->next = list;
	list = k;
	leave();
	*out = k;
	return ZBZ_OK;
}

void zbz_log_kept_close(zbz_log_kept *k) {
	zbz_log_kept **at = &list;
	bool last;
	if (k == NULL) return;
	enter();
	last = --k->refs == 0;
	while (last && *at != k) at = &(*at)->next;
	if (last) *at = k->next;
	leave();
	if (!last) return;
	close(k->fd);
	discard(k);
}

int zbz_log_kept_fd(zbz_log_kept *k) {
	struct stat st;
	int fd = -1;
	if (k == NULL) return -1;
	enter();
	if (fstat(k->fd, &st) == 0 && st.st_nlink > 0) fd = fcntl(k->fd, F_DUPFD_CLOEXEC, 0);
	leave();
	return fd;
}

void zbz_log_kept_renew(zbz_log_kept *k, int fd) {
	if (k == NULL) return;
	enter();
	dup3(fd, k->fd, O_CLOEXEC);
	leave();
}
