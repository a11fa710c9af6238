/* Listing and removing in a filesystem: folders, what is no object, and a place that fails. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include "bucket_rig.h"

static int dirs_fail;

ZBZ_API DIR *opendir(const char *path) {
	int fd;
	if (dirs_fail != 0 || strstr(path, "/locked/") != NULL) {
		errno = dirs_fail != 0 ? dirs_fail : EACCES;
		return NULL;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? NULL : fdopendir(fd);
}

static int shell(const char *fmt) {
	char cmd[600];
	snprintf(cmd, sizeof cmd, "cd '%s' && %s", place, fmt);
	return system(cmd);
}

/* What others have put there is no object, or one like any other; nothing of it goes with an object. */
static void what_is_no_object(void) {
	zbz_bucket *b = fresh("filesystem");
	CHECK(put(b, "d/a", "1") == ZBZ_OK);
	CHECK(shell("touch .zbz-new.1 d/.zbz-new.1 \"$(printf 'd/a\\001b')\"") == 0);
	CHECK(shell("mkfifo d/pipe && ln -s a d/link && ln -s . d/circle && ln -s nothing d/broken && mkdir d/empty "
	            "d/locked") == 0);
	CHECK_STR(listed(b, "", "", 1), "d/.zbz-new.1 d/a d/link");
	CHECK(take_away(b, "d/pipe") == ZBZ_OK && shell("test -p d/pipe") == 0);
	CHECK(take_away(b, "d/link") == ZBZ_OK && shell("test ! -L d/link") == 0 && there(b, "d/a"));
	CHECK(take_away(b, "d/circle") == ZBZ_OK && shell("test -L d/circle") == 0);
	CHECK(take_away(b, "d/a") == ZBZ_OK && shell("test -d d/empty") == 0);
	CHECK(take_away(b, ".zbz-new.1") == ZBZ_E_KEY && shell("test -e .zbz-new.1") == 0);
	zbz_bucket_unref(b);
}

static void folders_go_with_their_last(void) {
	zbz_bucket *b = fresh("filesystem");
	CHECK(put(b, "x/y/z/1", "") == ZBZ_OK && put(b, "x/2", "") == ZBZ_OK);
	CHECK(take_away(b, "x/y/z/1") == ZBZ_OK && shell("test ! -e x/y && test -e x/2") == 0);
	CHECK(take_away(b, "x/2") == ZBZ_OK && shell("test ! -e x") == 0 && shell("test -d .") == 0);
	zbz_bucket_unref(b);
}

/* One puts into a folder what another takes out of it, and the folder with it. */
static void *put_often(void *bucket) {
	intptr_t failed = 0;
	for (int i = 0; i < 500; i++) failed += put(bucket, "race/in/here", "v") != ZBZ_OK;
	return (void *)failed;
}

static void folders_come_and_go_at_once(void) {
	zbz_bucket *b = fresh("filesystem");
	pthread_t id;
	void *failed;
	CHECK(pthread_create(&id, NULL, put_often, b) == 0);
	for (int i = 0; i < 1000; i++) CHECK(take_away(b, "race/in/here") == ZBZ_OK);
	pthread_join(id, &failed);
	CHECK(failed == NULL);
	zbz_bucket_unref(b);
}

static void the_place_fails(void) {
	zbz_bucket *b = fresh("filesystem");
	zbz_call c = log_call(5000);
	zbz_buf page = { 0 };
	size_t n;
	CHECK(put(b, "a", "1") == ZBZ_OK);
	dirs_fail = EIO;
	CHECK(zbz_bucket_list(b, &c, zbz_bstr(""), zbz_bstr(""), 1, &page, &n) == ZBZ_E_UNAVAILABLE);
	CHECK(strstr(c.err.text, place) != NULL && c.err.sys_errno == EIO);
	dirs_fail = EACCES;
	CHECK(zbz_bucket_list(b, &c, zbz_bstr(""), zbz_bstr(""), 1, &page, &n) == ZBZ_E_UNAVAILABLE);
	dirs_fail = 0;
	CHECK(shell("cd .. && rm -rf $OLDPWD") == 0);
	CHECK_STR(listed(b, "", "", 10), "");
	CHECK(take_away(b, "a") == ZBZ_OK);
	CHECK(put(b, "c", "3") == ZBZ_OK);
	CHECK_STR(listed(b, "", "", 10), "c");
	CHECK(shell("cd .. && rm -rf $OLDPWD && touch $OLDPWD") == 0);
	CHECK(zbz_bucket_list(b, &c, zbz_bstr(""), zbz_bstr(""), 1, &page, &n) == ZBZ_E_UNAVAILABLE);
	zbz_bucket_unref(b);
	zbz_buf_clear(&page);
}

static void the_deadline(void) {
	zbz_bucket *b = fresh("filesystem");
	zbz_call c = log_call(5000);
	zbz_buf page = { 0 };
	size_t n;
	CHECK(shell("seq -f f%05.0f 3000 | xargs touch") == 0);
	c.deadline = 0;
	CHECK(zbz_bucket_list(b, &c, zbz_bstr(""), zbz_bstr(""), 10, &page, &n) == ZBZ_E_TIMEOUT && n == 0);
	zbz_bucket_unref(b);
	zbz_buf_clear(&page);
}

/* More entries that lead to nothing than a page would keep: it goes on behind them. */
static void folders_without_objects(void) {
	zbz_bucket *b = fresh("filesystem");
	CHECK(shell("seq -f d%03.0f/deep/er 300 | xargs mkdir -p && touch d150/deep/er/one z") == 0);
	for (size_t limit = 1; limit < 4; limit++) CHECK_STR(listed(b, "", "", limit), "d150/deep/er/one z");
	zbz_bucket_unref(b);
}

int main(void) {
	if (!dirs_make()) return 1;
	RUN(what_is_no_object);
	RUN(folders_go_with_their_last);
	RUN(folders_come_and_go_at_once);
	RUN(the_place_fails);
	RUN(the_deadline);
	RUN(folders_without_objects);
	dirs_remove();
	return DONE();
}
