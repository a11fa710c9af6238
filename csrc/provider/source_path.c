#include "source_path.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40

typedef struct walker {
	zbz_trail *trail;
	zbz_err *err;
	char at[PATH_MAX];       /* the directory reached; "" is the root */
	char rest[2 * PATH_MAX]; /* still to go */
	unsigned links;
} walker;

static zbz_status too_long(walker *w) { return zbz_fail(w->err, ZBZ_E_KEY, "the path is too long"); }

static zbz_status add_text(walker *w, const char *s, size_t *at) {
	*at = w->trail->text.n;
	return zbz_buf_append(&w->trail->text, s, strlen(s) + 1, w->err);
}

static zbz_status add_spot(walker *w, zbz_spot_kind kind, const char *path, const char *name) {
	zbz_trail *t = w->trail;
	zbz_spot spot = { kind, 0, 0 };
	zbz_status s;
	if (t->n == ZBZ_TRAIL_MAX) return too_long(w);
	s = add_text(w, path[0] != '\0' ? path : "/", &spot.path);
	if (s == ZBZ_OK) s = add_text(w, name, &spot.name);
	if (s == ZBZ_OK) t->spots[t->n++] = spot;
	return s;
}

/* Takes the next component out of rest: its length, 0 at the end, -1 when too long. */
static int next_name(walker *w, char name[NAME_MAX + 1]) {
	char *p = w->rest + strspn(w->rest, "/");
	size_t n = strcspn(p, "/");
	if (n > NAME_MAX) return -1;
	memcpy(name, p, n);
	name[n] = '\0';
	memmove(w->rest, p + n, strlen(p + n) + 1);
	return (int)n;
}

static bool append_name(char path[PATH_MAX], const char *name) {
	size_t n = strlen(path), more = strlen(name);
	if (n + 1 + more >= PATH_MAX) return false;
	path[n] = '/';
	memcpy(path + n + 1, name, more + 1);
	return true;
}

static void go_up(char path[PATH_MAX]) {
	char *slash = strrchr(path, '/');
	if (slash != NULL) *slash = '\0';
}

/* The link's target takes the place of the link. */
static zbz_status follow(walker *w, const char *link) {
	char target[PATH_MAX];
	ssize_t n = readlink(link, target, sizeof target - 1);
	size_t rest = strlen(w->rest);
	if (n < 0) return errno == ENOENT || errno == EINVAL ? ZBZ_AGAIN : ZBZ_MISS;
	if (++w->links > LINKS_MAX) return zbz_fail_errno(w->err, ZBZ_E_UNAVAILABLE, ELOOP, "%s", link);
	if ((size_t)n + 1 + rest >= sizeof w->rest) return too_long(w);
	memmove(w->rest + n + 1, w->rest, rest + 1);
	memcpy(w->rest, target, (size_t)n);
	w->rest[n] = '/';
	if (target[0] == '/') w->at[0] = '\0';
	return ZBZ_OK;
}

/* One component: OK go on, MISS the way ends here. */
static zbz_status step(walker *w, const char *name) {
	char here[PATH_MAX];
	struct stat st;
	bool last = w->rest[strspn(w->rest, "/")] == '\0';
	zbz_status s;
	memcpy(here, w->at, strlen(w->at) + 1);
	if (!append_name(here, name)) return too_long(w);
	if (lstat(here, &st) != 0) {
		s = add_spot(w, last ? ZBZ_SPOT_FILE : ZBZ_SPOT_NAME, w->at, name);
		return s == ZBZ_OK ? ZBZ_MISS : s;
	}
	if (S_ISLNK(st.st_mode)) {
		s = add_spot(w, ZBZ_SPOT_NAME, w->at, name);
		return s == ZBZ_OK ? follow(w, here) : s;
	}
	if (S_ISDIR(st.st_mode) || !last) {
		s = add_spot(w, ZBZ_SPOT_SELF, here, "");
	} else {
		s = add_spot(w, ZBZ_SPOT_FILE, w->at, name);
		if (s == ZBZ_OK) s = add_spot(w, ZBZ_SPOT_SELF, here, "");
	}
	memcpy(w->at, here, strlen(here) + 1);
	return s;
}

static zbz_status walk(walker *w, const char *path) {
	char name[NAME_MAX + 1];
	int n;
	zbz_status s = ZBZ_OK;
	if (strlen(path) >= PATH_MAX) return too_long(w);
	memcpy(w->rest, path, strlen(path) + 1);
	w->at[0] = '\0';
	while (s == ZBZ_OK && (n = next_name(w, name)) != 0) {
		if (n < 0) return too_long(w);
		if (strcmp(name, ".") == 0) continue;
		if (strcmp(name, "..") == 0)
			go_up(w->at);
		else
			s = step(w, name);
	}
	return s;
}

zbz_status zbz_trail_walk(const char *path, zbz_trail *trail, zbz_err *err) {
	walker w = { .trail = trail, .err = err };
	zbz_status s = ZBZ_AGAIN;
	int tries;
	/* A link that is exchanged under the walk is walked anew. */
	for (tries = 0; s == ZBZ_AGAIN && tries < 8; tries++) {
		trail->n = 0;
		trail->text.n = 0;
		w.links = 0;
		s = walk(&w, path);
	}
	trail->there = s == ZBZ_OK;
	return s < 0 ? s : ZBZ_OK;
}

/* ---- mounts ---- */

/* mountinfo writes blanks and backslashes as \ooo. */
static bool same_path(const char *field, size_t n, const char *path) {
	size_t i;
	for (i = 0; i < n; path++) {
		unsigned char c = (unsigned char)field[i++];
		if (c == '\\' && i + 3 <= n) {
			c = (unsigned char)((field[i] - '0') << 6 | (field[i + 1] - '0') << 3 | (field[i + 2] - '0'));
			i += 3;
		}
		if (c != (unsigned char)*path) return false;
	}
	return *path == '\0';
}

bool zbz_mount_point(const char *mounts, const char *path) {
	const char *line = mounts;
	while (*line != '\0') {
		size_t len = strcspn(line, "\n");
		const char *p = line, *end = line + len;
		int field;
		for (field = 0; field < 4 && p < end; field++) { /* id, parent, device, root */
			p += strcspn(p, " \n");
			if (p < end) p++;
		}
		if (p < end && same_path(p, strcspn(p, " \n"), path)) return true;
		line = end + (*end == '\n');
	}
	return false;
}
