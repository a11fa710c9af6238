/* A page of a filesystem bucket's objects, in the order of their names, out of directories that have none. Of each directory on the way the first few
 * entries that may matter are kept, so a page needs no more memory where there are a million files; what lies before the page is never opened.
 * A directory's place in the order is that of its name with a slash behind. Links to files are objects; links to directories are not followed: there may be
 * circles. */
#include "bucket_filesystem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { LOOK_AT_CLOCK = 1024 }; /* entries */

/* What a page is asked for, how far it is, and the path of the directory it is at. */
typedef struct walk {
	zbz_call *c;
	zbz_bytes prefix, after;
	size_t limit, *n, base_n; /* base_n: of the path, with the slash: what follows is a name */
	zbz_buf *out;
	char path[PATH_MAX];
	size_t path_n;
} walk;

/* The first of a directory's entries behind `floor`; each ends with a slash if it is a directory. */
typedef struct choice {
	char **items;
	size_t n, cap, most; /* 2 * most at times */
	bool cut;            /* there are more */
	char *floor;         /* NULL: none */
} choice;

static zbz_status trouble(walk *w, int e) {
	return zbz_fail_errno(&w->c->err, ZBZ_E_UNAVAILABLE, e, "listing %.140s", w->path);
}

/* ---- 1. What a page wants ---- */

static int compare(zbz_bytes a, zbz_bytes b) {
	size_t n = a.n < b.n ? a.n : b.n;
	int order = n > 0 ? memcmp(a.p, b.p, n) : 0;
	return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

/* Puts the entry behind the path of its directory; false: it is too long to be an object or lead to one. */
static bool enter(walk *w, const char *entry, size_t n) {
	if (w->path_n - w->base_n + n > ZBZ_OBJECT_NAME_MAX || w->path_n + n >= sizeof w->path) return false;
	memcpy(w->path + w->path_n, entry, n + 1);
	return true;
}

static bool in_page(const walk *w, zbz_bytes name, bool dir) {
	if (dir && zbz_bytes_has_prefix(w->prefix, name)) return true;
	return zbz_bytes_has_prefix(name, w->prefix) &&
	       (compare(name, w->after) > 0 || (dir && zbz_bytes_has_prefix(w->after, name)));
}

static bool wanted(walk *w, const char *entry) {
	size_t n = strlen(entry);
	bool is;
	if (w->path_n == w->base_n && strncmp(entry, ZBZ_OBJECT_ASIDE, sizeof ZBZ_OBJECT_ASIDE - 1) == 0) return false;
	if (!enter(w, entry, n)) return false;
	is = in_page(w, zbz_b(w->path + w->base_n, w->path_n - w->base_n + n), entry[n - 1] == '/');
	w->path[w->path_n] = '\0';
	return is;
}

/* ---- 2. The entries of a directory ---- */

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void cut(choice *k) {
	qsort(k->items, k->n, sizeof *k->items, by_name);
	for (; k->n > k->most; k->cut = true) zbz_free(k->items[--k->n]);
}

/* Behind those it has. */
static void go_on(choice *k) {
	if (k->n == 0) return;
	zbz_free(k->floor);
	k->floor = k->items[--k->n];
	while (k->n > 0) zbz_free(k->items[--k->n]);
}

static void clear(choice *k) {
	while (k->n > 0) zbz_free(k->items[--k->n]);
	zbz_free(k->items);
	zbz_free(k->floor);
}

static zbz_status keep(choice *k, const char *entry, zbz_err *err) {
	char *copy;
	if (k->n == 2 * k->most) cut(k);
	if (k->cut && strcmp(entry, k->items[k->most - 1]) > 0) return ZBZ_OK;
	if (k->n == k->cap) {
		size_t cap = k->cap == 0 ? 16 : 2 * k->cap;
		char **items = zbz_realloc(k->items, cap * sizeof *items);
		if (items == NULL) return zbz_fail_nomem(err);
		k->items = items;
		k->cap = cap;
	}
	copy = zbz_strdup(entry);
	if (copy == NULL) return zbz_fail_nomem(err);
	k->items[k->n++] = copy;
	return ZBZ_OK;
}

/* The entry as the order sees it; false: it is neither a file nor a directory. */
static bool spell(const walk *w, DIR *d, const struct dirent *e, char out[NAME_MAX + 2]) {
	unsigned char type = e->d_type;
	struct stat st;
	if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) return false;
	if (type == DT_UNKNOWN && fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		type = S_ISDIR(st.st_mode) ? DT_DIR : S_ISLNK(st.st_mode) ? DT_LNK : S_ISREG(st.st_mode) ? DT_REG : DT_UNKNOWN;
	if (type != DT_DIR && type != DT_REG && type != DT_LNK) return false;
	snprintf(out, NAME_MAX + 2, "%s%s", e->d_name, type == DT_DIR ? "/" : "");
	return true;
}

/* The base may be missing before the first object; folders may go meanwhile, or be others' own (lost+found). */
static zbz_status cannot_open(walk *w, int e) {
	bool below = w->path_n > w->base_n;
	return e == ENOENT || (below && (e == ENOTDIR || e == EACCES)) ? ZBZ_OK : trouble(w, e);
}

static zbz_status choose(walk *w, choice *k) {
	DIR *d = opendir(w->path);
	const struct dirent *e;
	char entry[NAME_MAX + 2];
	zbz_status status = ZBZ_OK;
	k->cut = false;
	if (d == NULL) return cannot_open(w, errno);
	for (size_t i = 1; status == ZBZ_OK && (errno = 0, e = readdir(d)) != NULL; i++) {
		if (i % LOOK_AT_CLOCK == 0 && zbz_call_left(w->c) == 0)
			status = zbz_fail(&w->c->err, ZBZ_E_TIMEOUT, "the deadline passed while listing %.140s", w->path);
		else if (spell(w, d, e, entry) && (k->floor == NULL || strcmp(entry, k->floor) > 0) && wanted(w, entry))
			status = keep(k, entry, &w->c->err);
	}
	if (status == ZBZ_OK && errno != 0) status = trouble(w, errno);
	closedir(d);
	if (k->n > 0) cut(k);
	return status;
}

/* ---- 3. The way through them ---- */

static zbz_status list_dir(walk *w);

static zbz_status list_file(walk *w) {
	const zbz_bytes name = zbz_bstr(w->path + w->base_n);
	zbz_object_info info;
	zbz_status status;
	struct stat st;
	if (!zbz_object_name_ok(name)) return ZBZ_OK;
	if (stat(w->path, &st) != 0) return errno == ENOENT || errno == ELOOP ? ZBZ_OK : trouble(w, errno);
	if (!S_ISREG(st.st_mode)) return ZBZ_OK;
	info.size = (uint64_t)st.st_size;
	info.modified = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	status = zbz_object_page_add(w->out, name, &info, &w->c->err);
	if (status == ZBZ_OK) ++*w->n;
	return status;
}

static zbz_status list_entry(walk *w, const char *entry) {
	size_t n = strlen(entry), before = w->path_n;
	zbz_status status;
	if (*w->n == w->limit) return ZBZ_AGAIN;
	if (!enter(w, entry, n)) return ZBZ_OK;
	w->path_n += entry[n - 1] == '/' ? n : 0;
	status = w->path_n > before ? list_dir(w) : list_file(w);
	w->path_n = before;
	w->path[before] = '\0';
	return status;
}

/* AGAIN: the page is full. A directory whose first entries have led to nothing is read again for the next ones. */
static zbz_status list_dir(walk *w) {
	choice k = { .most = w->limit - *w->n + 1, .cut = true };
	zbz_status status = ZBZ_OK;
	while (status == ZBZ_OK && k.cut) {
		status = choose(w, &k);
		for (size_t i = 0; status == ZBZ_OK && i < k.n; i++) status = list_entry(w, k.items[i]);
		go_on(&k);
	}
	clear(&k);
	return status;
}

zbz_status zbz_files_list(const char *base, zbz_call *c, zbz_bytes prefix, zbz_bytes after, size_t limit, zbz_buf *out,
                          size_t *n) {
	walk w = { .c = c, .prefix = prefix, .after = after, .limit = limit, .n = n, .out = out };
	zbz_status status;
	int length = snprintf(w.path, sizeof w.path, "%s/", base);
	if (length >= (int)sizeof w.path) return trouble(&w, ENAMETOOLONG);
	w.path_n = w.base_n = (size_t)length;
	status = list_dir(&w);
	return status == ZBZ_OK ? ZBZ_END : status == ZBZ_AGAIN ? ZBZ_OK : status;
}
