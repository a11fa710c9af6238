/* The file source's ear: one inotify instance, one thread. What it hears of a subscription's spots becomes a hint; the trail is laid anew
 * before every read, so moved directories, exchanged links and directories made anew are followed. */
#include "source_file.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fork.h"

#define LAY_MAX         8    /* times a trail that moves under us is laid */
#define WRITING_MS      300  /* after a write the file is taken to be half written this long */
#define WRITING_MOST_MS 2000 /* and no longer, however long somebody goes on */
#define MADE_MS         50   /* after a file appeared */
#define EVENT_ROOM      65536

#define NAME_MASK                                                                                                    \
	(IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | \
	 IN_MOVE_SELF)
#define SELF_MASK (IN_DELETE_SELF | IN_MOVE_SELF)
#define FILE_MASK (IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

/* ---- forks: the child closes what it shares with its parent, and begins anew when asked ---- */

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static file_listener *all;

static void before_fork(void) {
	file_listener *l;
	pthread_mutex_lock(&all_lock);
	for (l = all; l != NULL; l = l->next) pthread_mutex_lock(&l->lock);
}

static void after_fork_parent(void) {
	file_listener *l;
	for (l = all; l != NULL; l = l->next) pthread_mutex_unlock(&l->lock);
	pthread_mutex_unlock(&all_lock);
}

static void after_fork_child(void) {
	file_listener *l;
	for (l = all; l != NULL; l = l->next) {
		if (l->fd >= 0) close(l->fd);
		if (l->wake >= 0) close(l->wake);
		l->fd = l->wake = -1;
		l->subs = NULL;
		l->n = 0;
		l->generation = zbz_fork_generation();
		pthread_mutex_init(&l->plan, NULL); /* who held it is not here */
		pthread_mutex_unlock(&l->lock);
	}
	pthread_mutex_unlock(&all_lock);
}

static void watch_forks(void) { pthread_atfork(before_fork, after_fork_parent, after_fork_child); }

zbz_status zbz_file_listener_init(file_listener *l, const zbz_clock *clock) {
	pthread_mutex_init(&l->plan, NULL);
	pthread_mutex_init(&l->lock, NULL);
	l->fd = l->wake = -1;
	l->clock = clock;
	l->generation = zbz_fork_generation();
	return ZBZ_OK;
}

/* Late: at a fork a listener's lock is taken before that of whom it hints. */
static void enlist(file_listener *l) {
	pthread_once(&once, watch_forks);
	pthread_mutex_lock(&all_lock);
	if (l->prev == NULL && l->next == NULL && all != l) {
		l->next = all;
		if (all != NULL) all->prev = l;
		all = l;
	}
	pthread_mutex_unlock(&all_lock);
}

static void delist(file_listener *l) {
	pthread_mutex_lock(&all_lock);
	if (l->prev != NULL)
		l->prev->next = l->next;
	else if (all == l)
		all = l->next;
	if (l->next != NULL) l->next->prev = l->prev;
	pthread_mutex_unlock(&all_lock);
}

/* ---- what is heard ---- */

static void note_write(file_sub *sub, uint32_t mask, int64_t now) {
	if ((mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) != 0) {
		sub->writing_since = sub->quiet_at = 0;
		sub->settled = true;
	} else if ((mask & IN_CREATE) != 0) {
		sub->quiet_at = now + MADE_MS;
		sub->settled = false;
	} else if ((mask & IN_MODIFY) != 0) {
		if (sub->writing_since == 0) sub->writing_since = now;
		sub->quiet_at = now + WRITING_MS;
		if (sub->quiet_at > sub->writing_since + WRITING_MOST_MS) sub->quiet_at = sub->writing_since + WRITING_MOST_MS;
		sub->settled = false;
	}
}

static bool concerns(const file_sub *sub, const file_spot *spot, const struct inotify_event *e, const char *name) {
	if (spot->wd != e->wd) return false;
	if (e->len == 0) return true; /* of the watched thing itself, not of a name in it */
	return spot->kind != ZBZ_SPOT_SELF && strcmp(sub->names.p + spot->name, name) == 0;
}

static void hear(file_sub *sub, const struct inotify_event *e, const char *name, int64_t now) {
	bool hint = false;
	size_t i;
	for (i = 0; i < sub->n; i++) {
		const file_spot *spot = &sub->spots[i];
		if (!concerns(sub, spot, e, name)) continue;
		hint = true;
		if (spot->kind != ZBZ_SPOT_NAME) note_write(sub, e->mask, now);
	}
	if (hint) sub->on_hint(sub->ud);
}

/* The kernel has dropped events: everything may have changed. */
static void hear_overflow(file_listener *l) {
	file_sub *sub;
	for (sub = l->subs; sub != NULL; sub = sub->next) {
		sub->writing_since = sub->quiet_at = 0;
		sub->settled = false;
		sub->on_hint(sub->ud);
	}
}

static void forget_wd(file_listener *l, int wd) {
	size_t i;
	for (i = 0; i < l->n && l->wds[i].wd != wd; i++) {}
	if (i < l->n) l->wds[i] = l->wds[--l->n];
}

static void hear_all(file_listener *l, const char *p, size_t n) {
	int64_t now = zbz_mono(l->clock);
	file_sub *sub;
	pthread_mutex_lock(&l->lock);
	while (n >= sizeof(struct inotify_event)) {
		struct inotify_event e;
		const char *name = p + sizeof e;
		memcpy(&e, p, sizeof e);
		if ((e.mask & IN_Q_OVERFLOW) != 0) hear_overflow(l);
		for (sub = l->subs; sub != NULL; sub = sub->next) hear(sub, &e, name, now);
		if ((e.mask & IN_IGNORED) != 0) forget_wd(l, e.wd);
		p += sizeof e + e.len;
		n -= sizeof e + e.len;
	}
	pthread_mutex_unlock(&l->lock);
}

static void *listen_on(void *ud) {
	file_listener *l = ud;
	_Alignas(struct inotify_event) char events[EVENT_ROOM];
	struct pollfd fds[2] = { { .fd = l->fd, .events = POLLIN }, { .fd = l->wake, .events = POLLIN } };
	for (;;) {
		ssize_t n;
		if (poll(fds, 2, -1) < 0 && errno != EINTR) return NULL;
		if (fds[1].revents != 0) return NULL;
		n = read(fds[0].fd, events, sizeof events);
		if (n > 0) hear_all(l, events, (size_t)n);
	}
}

/* ---- the thread ---- */

static void begin(file_listener *l) {
	sigset_t mask, before;
	int problem;
	l->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	problem = l->fd < 0 || l->wake < 0;
	if (problem == 0) {
		sigfillset(&mask);
		pthread_sigmask(SIG_SETMASK, &mask, &before);
		problem = pthread_create(&l->thread, NULL, listen_on, l);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	if (problem == 0) {
		pthread_setname_np(l->thread, "zbz-inotify");
		return;
	}
	if (l->fd >= 0) close(l->fd);
	if (l->wake >= 0) close(l->wake);
	l->fd = l->wake = -1;
}

void zbz_file_listener_clear(file_listener *l) {
	delist(l);
	if (l->fd >= 0 && l->generation == zbz_fork_generation()) {
		uint64_t one = 1;
		while (write(l->wake, &one, sizeof one) < 0 && errno == EINTR) {}
		pthread_join(l->thread, NULL);
	}
	if (l->fd >= 0) close(l->fd);
	if (l->wake >= 0) close(l->wake);
	zbz_free(l->wds);
	pthread_mutex_destroy(&l->lock);
	pthread_mutex_destroy(&l->plan);
}

void zbz_file_listen(file_listener *l, file_sub *sub) {
	enlist(l);
	pthread_mutex_lock(&l->lock);
	sub->next = l->subs;
	if (l->subs != NULL) l->subs->prev = sub;
	l->subs = sub;
	pthread_mutex_unlock(&l->lock);
}

/* ---- trails ---- */

static file_wd *find_wd(file_listener *l, int wd) {
	size_t i;
	for (i = 0; i < l->n; i++)
		if (l->wds[i].wd == wd) return &l->wds[i];
	return NULL;
}

/* Room for n more is there. */
static void use_wd(file_listener *l, int wd) {
	file_wd *known = find_wd(l, wd);
	if (known != NULL)
		known->users++;
	else
		l->wds[l->n++] = (file_wd){ wd, 1 };
}

static void leave_wd(file_listener *l, int wd) {
	file_wd *known = find_wd(l, wd);
	if (known == NULL || --known->users > 0) return;
	forget_wd(l, wd);
	inotify_rm_watch(l->fd, wd);
}

void zbz_file_unlisten(file_listener *l, file_sub *sub) {
	size_t i;
	pthread_mutex_lock(&l->plan);
	pthread_mutex_lock(&l->lock);
	for (i = 0; i < sub->n; i++) leave_wd(l, sub->spots[i].wd);
	if (sub->prev != NULL)
		sub->prev->next = sub->next;
	else if (l->subs == sub)
		l->subs = sub->next;
	if (sub->next != NULL) sub->next->prev = sub->prev;
	pthread_mutex_unlock(&l->lock);
	pthread_mutex_unlock(&l->plan);
}

/* File systems where others write behind the kernel's back, and those that make their files up. */
static bool is_silent(const char *dir) {
	static const uint32_t magics[] = {
		0x6969,     /* nfs */
		0x65735546, /* fuse */
		0xFF534D42, /* cifs */
		0xFE534D42, /* smb2 */
		0x517B,     /* smb */
		0x01021997, /* 9p */
		0x00C36400, /* ceph */
		0x5346414F, /* afs */
		0x6B414653, /* afs of the kernel */
		0x0BD00BD0, /* lustre */
		0x47504653, /* gpfs */
		0x786F4256, /* vboxsf */
		0x9FA0,     /* proc */
		0x62656572  /* sysfs */
	};
	struct statfs fs;
	size_t i;
	if (statfs(dir, &fs) != 0) return false;
	for (i = 0; i < sizeof magics / sizeof *magics; i++)
		if ((uint32_t)fs.f_type == magics[i]) return true;
	return false;
}

/* A trail that the kernel watches, not yet the subscription's. */
typedef struct laid {
	file_spot spots[ZBZ_TRAIL_MAX];
	size_t n;
	bool heard;
} laid;

static void add_watches(file_listener *l, const zbz_trail *trail, laid *out) {
	size_t i;
	out->n = 0;
	out->heard = l->fd >= 0;
	for (i = 0; i < trail->n && l->fd >= 0; i++) {
		const zbz_spot *spot = &trail->spots[i];
		const char *path = zbz_trail_text(trail, spot->path);
		struct stat st;
		uint32_t mask = IN_MASK_ADD | NAME_MASK | IN_ONLYDIR;
		int wd;
		if (spot->kind == ZBZ_SPOT_SELF)
			mask = IN_MASK_ADD | (stat(path, &st) == 0 && S_ISREG(st.st_mode) ? FILE_MASK : SELF_MASK);
		wd = inotify_add_watch(l->fd, path, mask);
		if (wd >= 0)
			out->spots[out->n++] = (file_spot){ spot->kind, wd, spot->name };
		else if (spot->kind != ZBZ_SPOT_SELF && errno != ENOENT && errno != ENOTDIR)
			out->heard = false;
		if (spot->kind == ZBZ_SPOT_FILE && is_silent(path)) out->heard = false;
	}
}

static bool same_spots(const file_sub *sub, const zbz_trail *trail, const laid *next) {
	size_t i;
	if (sub->n != next->n) return false;
	for (i = 0; i < next->n; i++) {
		const file_spot *a = &sub->spots[i], *b = &next->spots[i];
		if (a->wd != b->wd || a->kind != b->kind) return false;
		if (strcmp(sub->names.p + a->name, zbz_trail_text(trail, b->name)) != 0) return false;
	}
	return true;
}

static zbz_status keep_trail(file_listener *l, file_sub *sub, zbz_trail *trail, const laid *next, zbz_err *err) {
	file_spot *spots = zbz_malloc((next->n > 0 ? next->n : 1) * sizeof *spots);
	file_spot *old;
	zbz_buf names;
	size_t i, n;
	if (spots == NULL) return zbz_fail_nomem(err);
	pthread_mutex_lock(&l->lock);
	if (l->cap - l->n < next->n) {
		file_wd *wds = zbz_realloc(l->wds, (l->n + next->n) * sizeof *wds);
		if (wds == NULL) {
			pthread_mutex_unlock(&l->lock);
			zbz_free(spots);
			return zbz_fail_nomem(err);
		}
		l->wds = wds;
		l->cap = l->n + next->n;
	}
	memcpy(spots, next->spots, next->n * sizeof *spots);
	for (i = 0; i < next->n; i++) use_wd(l, spots[i].wd);
	old = sub->spots;
	n = sub->n;
	names = sub->names;
	sub->spots = spots;
	sub->n = next->n;
	sub->names = trail->text;
	trail->text = names;
	for (i = 0; i < n; i++) leave_wd(l, old[i].wd);
	pthread_mutex_unlock(&l->lock);
	zbz_free(old);
	return ZBZ_OK;
}

/* A mount of one file shows the file that was there when it was made, for ever. The trail's text is the subscription's by now. */
static void look_for_mount(file_sub *sub, const zbz_trail *trail) {
	zbz_buf text = { 0 };
	sub->bound = false;
	if (!trail->there || trail->n == 0 || trail->spots[trail->n - 1].kind != ZBZ_SPOT_SELF) return;
	if (zbz_file_read("/proc/self/mountinfo", true, &text, NULL) == ZBZ_OK && zbz_buf_putc(&text, '\0', NULL) == ZBZ_OK)
		sub->bound = zbz_mount_point(text.p, sub->names.p + trail->spots[trail->n - 1].path);
	zbz_buf_clear(&text);
	snprintf(sub->note, sizeof sub->note,
	         "%.90s is a mount of its own (a subPath?): a file that replaces it is never seen", sub->path);
}

/* One round: *changed tells that the trail was not the one we had. */
static zbz_status lay_once(file_listener *l, file_sub *sub, zbz_trail *trail, bool *changed, zbz_err *err) {
	laid next;
	zbz_status s = zbz_trail_walk(sub->path, trail, err);
	if (s != ZBZ_OK) return s;
	add_watches(l, trail, &next);
	*changed = !same_spots(sub, trail, &next);
	sub->heard = next.heard;
	if (!*changed) return ZBZ_OK;
	s = keep_trail(l, sub, trail, &next, err);
	if (s == ZBZ_OK) look_for_mount(sub, trail);
	return s;
}

zbz_status zbz_file_lay(file_listener *l, file_sub *sub, bool *there, zbz_err *err) {
	zbz_trail trail = { .n = 0 };
	zbz_status s = ZBZ_OK;
	bool changed = true;
	int round;
	pthread_mutex_lock(&l->plan);
	if (l->fd < 0) begin(l);
	for (round = 0; s == ZBZ_OK && changed && round < LAY_MAX; round++) s = lay_once(l, sub, &trail, &changed, err);
	pthread_mutex_unlock(&l->plan);
	*there = trail.there;
	zbz_buf_clear(&trail.text);
	return s;
}

bool zbz_file_is_written(file_listener *l, file_sub *sub, bool *settled) {
	bool writing;
	pthread_mutex_lock(&l->lock);
	writing = sub->quiet_at > zbz_mono(l->clock);
	if (!writing) sub->quiet_at = sub->writing_since = 0;
	*settled = sub->settled;
	pthread_mutex_unlock(&l->lock);
	return writing;
}
