/* The doorbell of a mailbox, for hosts whose sockets can only connect: a unix socket that one connection is taken from, ours. */
#include "pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int listen_at(const struct sockaddr_un *at) {
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), saved;
	if (fd < 0) return -1;
	if (bind(fd, (const struct sockaddr *)at, sizeof *at) == 0 && listen(fd, 1) == 0) return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static void remove_path(const char *path) {
	char dir[ZBZ_BELL_PATH];
	char *slash;
	unlink(path);
	snprintf(dir, sizeof dir, "%s", path);
	slash = strrchr(dir, '/');
	if (slash != NULL) {
		*slash = '\0';
		rmdir(dir);
	}
}

/* In a directory that only this user may enter. */
static bool make_path(char path[ZBZ_BELL_PATH], const char *parent) {
	if (snprintf(path, ZBZ_BELL_PATH, "%s/zbz-XXXXXX", parent) >= ZBZ_BELL_PATH - 5 || mkdtemp(path) == NULL)
		return false;
	strcat(path, "/bell");
	return true;
}

zbz_status zbz_mailbox_listen(zbz_mailbox *mb, char path[ZBZ_BELL_PATH], zbz_err *err) {
	const char *parent = getenv("TMPDIR");
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	zbz_status status = ZBZ_OK;
	int fd;
	if ((parent == NULL || !make_path(path, parent)) && !make_path(path, "/tmp") && !make_path(path, "/dev/shm"))
		return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "no directory for the wake socket");
	snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
	fd = listen_at(&at);
	if (fd < 0) {
		zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "no wake socket");
		remove_path(path);
		return ZBZ_E_UNAVAILABLE;
	}
	zbz_engine_enter();
	if (mb->listener >= 0 || mb->closed)
		status = zbz_fail(err, ZBZ_E_UNAVAILABLE, "the mailbox listens already, or is closed");
	else
		mb->listener = fd;
	zbz_engine_leave();
	if (status != ZBZ_OK) {
		close(fd);
		remove_path(path);
	}
	return status;
}

static bool is_ours(int fd) {
	struct ucred peer = { 0 };
	socklen_t n = sizeof peer;
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 && peer.pid == getpid();
}

zbz_status zbz_mailbox_accept(zbz_mailbox *mb, const char *path, zbz_err *err) {
	int listener, fd, old;
	zbz_engine_enter();
	listener = mb->listener;
	mb->listener = -1;
	zbz_engine_leave();
	remove_path(path);
	if (listener < 0) return zbz_fail(err, ZBZ_E_ARGUMENT, "the mailbox does not listen");
	do fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	while (fd >= 0 && !is_ours(fd) && close(fd) == 0);
	close(listener);
	if (fd < 0)
		return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "nobody of this process connected to the wake socket");
	zbz_engine_enter();
	old = mb->bell[1];
	if (mb->bell[0] >= 0) close(mb->bell[0]);
	mb->bell[0] = -1; /* the host reads its own end */
	mb->bell[1] = fd;
	mb->rung = false;
	zbz_engine_leave();
	if (old >= 0) close(old);
	zbz_mailbox_kick(mb);
	return ZBZ_OK;
}

void zbz_mailbox_kick(zbz_mailbox *mb) {
	zbz_engine_enter();
	mb->rung = false;
	zbz_mailbox_ring(mb);
	pthread_cond_broadcast(&mb->arrived);
	zbz_engine_leave();
}
