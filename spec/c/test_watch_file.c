/* The source of files: what a path means, events that nobody reads, forks, and memory that runs out. */
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "faults.h"
#include "watch_rig.h"

#include "provider/source_path.c"

/* ---- what a path means ---- */

static char folder[64];

static void shell(const char *script) {
	char line[600];
	snprintf(line, sizeof line, "cd %s && %s", folder, script);
	CHECK(system(line) == 0);
}

/* "kind dir name|..." with the folder as "@". */
static void trail_text(const char *key, char *out, size_t room, bool *there) {
	zbz_trail trail = { .n = 0 };
	zbz_err err;
	char path[200];
	size_t i, n = 0;
	snprintf(path, sizeof path, "%s/%s", folder, key);
	out[0] = '\0';
	CHECK(zbz_trail_walk(path, &trail, &err) == ZBZ_OK);
	*there = trail.there;
	for (i = 0; i < trail.n; i++) {
		const zbz_spot *s = &trail.spots[i];
		const char *dir = zbz_trail_text(&trail, s->path);
		if (strncmp(dir, folder, strlen(folder)) != 0) continue;
		n += (size_t)snprintf(out + n, room - n, "%c @%s %s|", "nfs"[s->kind], dir + strlen(folder),
		                      zbz_trail_text(&trail, s->name));
	}
	zbz_buf_clear(&trail.text);
}

static void trails_name_every_link_and_the_file(void) {
	char text[1000];
	bool there;
	shell("mkdir -p ..1 sub && echo x > ..1/app && ln -s ..1 ..data && ln -s ..data/app app && echo y > sub/plain && "
	      "ln -s loop loop && ln -s $PWD/sub/plain far");
	trail_text("sub/plain", text, sizeof text, &there);
	CHECK(there);
	CHECK_STR(text, "s @ |s @/sub |f @/sub plain|s @/sub/plain |");
	trail_text("app", text, sizeof text, &there);
	CHECK(there);
	CHECK_STR(text, "s @ |n @ app|n @ ..data|s @/..1 |f @/..1 app|s @/..1/app |");
	trail_text("none/deep/file", text, sizeof text, &there);
	CHECK(!there);
	CHECK_STR(text, "s @ |n @ none|");
	trail_text("sub/none", text, sizeof text, &there);
	CHECK(!there);
	CHECK_STR(text, "s @ |s @/sub |f @/sub none|");
	trail_text("far", text, sizeof text, &there); /* absolute: the way begins at the root once more */
	CHECK(there && strstr(text, "n @ far|") != NULL && strstr(text, "f @/sub plain|") != NULL);
	trail_text("sub/../sub/./plain", text, sizeof text, &there);
	CHECK(there && strstr(text, "f @/sub plain|") != NULL);
	trail_text("sub/plain/more", text, sizeof text, &there);
	CHECK(!there);
}

static void trails_end(void) {
	zbz_trail trail = { .n = 0 };
	zbz_err err;
	char path[5000];
	snprintf(path, sizeof path, "%s/loop", folder);
	CHECK(zbz_trail_walk(path, &trail, &err) == ZBZ_E_UNAVAILABLE);
	memset(path, 'a', sizeof path - 1);
	path[0] = '/';
	path[sizeof path - 1] = '\0';
	CHECK(zbz_trail_walk(path, &trail, &err) == ZBZ_E_KEY);
	path[300] = '\0'; /* one name that is too long */
	CHECK(zbz_trail_walk(path, &trail, &err) == ZBZ_E_KEY);
	zbz_buf_clear(&trail.text);
}

static void mounts_are_found_by_their_path(void) {
	const char *text = "22 27 0:21 / /sys rw,nosuid - sysfs sysfs rw\n"
	                   "612 27 8:1 /var/lib/kubelet/x /etc/app/app.json rw - ext4 /dev/sda1 rw\n"
	                   "613 27 8:1 / /mnt/with\\040blank\\134 rw - ext4 /dev/sda1 rw\n";
	CHECK(zbz_mount_point(text, "/sys"));
	CHECK(zbz_mount_point(text, "/etc/app/app.json"));
	CHECK(zbz_mount_point(text, "/mnt/with blank\\"));
	CHECK(!zbz_mount_point(text, "/etc/app"));
	CHECK(!zbz_mount_point(text, "/etc/app/app.jso"));
	CHECK(!zbz_mount_point(text, "/etc/app/app.jsonx"));
	CHECK(!zbz_mount_point("", "/sys"));
	CHECK(!zbz_mount_point("22 27 0:21", "/sys"));
}

/* ---- files ---- */

static zbz_source *file_source(bool polling) {
	zbz_config *cfg = zbz_config_new();
	zbz_source *source = NULL;
	zbz_err err;
	CHECK(zbz_config_set_text(cfg, "provider", zbz_bstr("file"), &err) == ZBZ_OK);
	CHECK(zbz_config_set_text(cfg, "dir", zbz_bstr(folder), &err) == ZBZ_OK);
	CHECK(zbz_config_set_bool(cfg, "polling", polling, &err) == ZBZ_OK);
	CHECK(zbz_source_open(cfg, NULL, &source, &err) == ZBZ_OK);
	zbz_config_free(cfg);
	return source;
}

static void open_on_file(owner *o, bool polling, const char *key, const zbz_watch_opts *opts) {
	zbz_watch_opts with = *opts;
	memset(o, 0, sizeof *o);
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->told, NULL);
	with.on_news = on_news;
	with.ud = o;
	o->source = file_source(polling);
	CHECK(zbz_watch_open(o->source, zbz_bstr(key), &with, &o->w, &o->err) == ZBZ_OK);
}

static void watches_files_and_polls_them(void) {
	int polling;
	for (polling = 0; polling < 2; polling++) {
		owner o;
		zbz_watch_info info;
		const zbz_watch_opts opts = { .debounce = 5, .poll = polling != 0 ? 10 : 0 };
		shell("echo one > f");
		open_on_file(&o, polling != 0, "f", &opts);
		CHECK(owner_begin(&o) == ZBZ_OK);
		CHECK(owner_take(&o) == ZBZ_NEWS_VALUE && value_is(&o, "one\n"));
		zbz_watch_info_read(o.w, &info);
		CHECK(info.mode == (polling != 0 ? ZBZ_SOURCE_POLLED : ZBZ_SOURCE_WATCHED));
		shell("echo two > f");
		CHECK(owner_await(&o) == ZBZ_NEWS_VALUE && value_is(&o, "two\n"));
		shell("echo six > f.new && touch -r f f.new && mv f.new f"); /* same size, same time */
		CHECK(owner_await(&o) == ZBZ_NEWS_VALUE && value_is(&o, "six\n"));
		owner_close(&o);
	}
}

static void files_of_exactly_the_limit_are_read(void) {
	owner o;
	shell("printf 12345 > f");
	open_on_file(&o, false, "f", &(zbz_watch_opts){ .max_size = 5 });
	CHECK(owner_begin(&o) == ZBZ_OK);
	CHECK(owner_take(&o) == ZBZ_NEWS_VALUE && value_is(&o, "12345"));
	shell("printf 123456 > f");
	CHECK(owner_await(&o) == ZBZ_NEWS_ERROR && o.err.status == ZBZ_E_TOO_LARGE);
	owner_close(&o);
}

/* ---- events that nobody reads ---- */

static struct stall {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	unsigned hints;
	bool waits, hold;
} stall = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, false, true };

/* What no hint may do: wait. The source's thread reads no events meanwhile. */
static void wait_in_hint(void *ud) {
	pthread_mutex_lock(&stall.lock);
	stall.waits = true;
	pthread_cond_broadcast(&stall.moved);
	while (stall.hold) pthread_cond_wait(&stall.moved, &stall.lock);
	pthread_mutex_unlock(&stall.lock);
}

static void count_hint(void *ud) {
	pthread_mutex_lock(&stall.lock);
	stall.hints++;
	pthread_cond_broadcast(&stall.moved);
	pthread_mutex_unlock(&stall.lock);
}

static void an_overflow_means_that_everything_changed(void) {
	zbz_source *source = file_source(false);
	zbz_call c = a_call();
	void *app, *trigger;
	shell("mkdir many && touch many/app many/trigger");
	CHECK(zbz_source_subscribe(source, &c, zbz_bstr("many/app"), count_hint, NULL, &app) == ZBZ_OK);
	CHECK(zbz_source_subscribe(source, &c, zbz_bstr("many/trigger"), wait_in_hint, NULL, &trigger) == ZBZ_OK);
	shell("echo 1 > many/trigger");
	pthread_mutex_lock(&stall.lock);
	while (!stall.waits) pthread_cond_wait(&stall.moved, &stall.lock);
	pthread_mutex_unlock(&stall.lock);
	shell("cd many && seq -f 'other%.0f' 18000 | xargs touch"); /* 36,000 events; the kernel keeps 16,384 */
	shell("echo two > many/app");                               /* no longer among them */
	pthread_mutex_lock(&stall.lock);
	CHECK(stall.hints == 0);
	stall.hold = false;
	pthread_cond_broadcast(&stall.moved);
	while (stall.hints == 0) pthread_cond_wait(&stall.moved, &stall.lock);
	CHECK(stall.hints == 1); /* for the overflow, not for the write */
	pthread_mutex_unlock(&stall.lock);
	zbz_source_unsubscribe(source, app);
	zbz_source_unsubscribe(source, trigger);
	zbz_source_unref(source);
	shell("rm -rf many");
}

static void a_forked_child_begins_anew(void) {
	owner o, child;
	int status;
	pid_t pid;
	shell("echo one > f");
	open_on_file(&o, false, "f", &quick);
	CHECK(owner_begin(&o) == ZBZ_OK);
	CHECK(owner_take(&o) == ZBZ_NEWS_VALUE);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		zbz_watch_info info;
		bool fine;
		zbz_watch_info_read(o.w, &info);
		fine = !info.running && owner_begin(&o) == ZBZ_E_CLOSED && owner_take(&o) == ZBZ_NEWS_NONE;
		memset(&child, 0, sizeof child);
		pthread_mutex_init(&child.lock, NULL);
		pthread_cond_init(&child.told, NULL);
		fine = fine && zbz_watch_open(o.source, zbz_bstr("f"), &(zbz_watch_opts){ .on_news = on_news, .ud = &child },
		                              &child.w, &child.err) == ZBZ_OK;
		fine = fine && owner_begin(&child) == ZBZ_OK && owner_take(&child) == ZBZ_NEWS_VALUE;
		fine = fine && system("true") == 0;
		shell("echo two > f");
		fine = fine && owner_await(&child) == ZBZ_NEWS_VALUE && value_is(&child, "two\n");
		zbz_watch_close(o.w);
		zbz_watch_close(child.w);
		_exit(fine ? 0 : 1);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(owner_await(&o) == ZBZ_NEWS_VALUE && value_is(&o, "two\n")); /* the child took nothing away */
	owner_close(&o);
}

/* ---- memory that runs out ---- */

/* Everything once; what fails says why, and what is told in the end is right. */
static void whole_life(void) {
	zbz_config *cfg = zbz_config_new();
	zbz_source *source = NULL;
	zbz_watch *w = NULL;
	zbz_call c = a_call();
	zbz_buf out = { 0 };
	zbz_watch_opts opts = { .debounce = -1 };
	bool fine = cfg != NULL && zbz_config_set_text(cfg, "provider", zbz_bstr("file"), &c.err) == ZBZ_OK &&
	            zbz_config_set_text(cfg, "dir", zbz_bstr(folder), &c.err) == ZBZ_OK &&
	            zbz_source_open(cfg, NULL, &source, &c.err) == ZBZ_OK &&
	            zbz_watch_open(source, zbz_bstr("app"), &opts, &w, &c.err) == ZBZ_OK;
	if (fine && zbz_watch_begin(w, &c) == ZBZ_OK) {
		CHECK(zbz_watch_take(w, &out, &c.err) == ZBZ_NEWS_VALUE && zbz_bytes_eq(zbz_buf_bytes(&out), zbz_bstr("x\n")));
		zbz_watch_hint(w);
	}
	zbz_watch_close(w);
	zbz_source_unref(source);
	zbz_config_free(cfg);
	zbz_buf_clear(&out);
	settle();
}

static void nothing_leaks_when_memory_runs_out(void) {
	long n, live;
	whole_life(); /* what lasts as long as the process is there now */
	for (n = 1; n < 500; n++) {
		bool failed;
		faults_begin(n);
		whole_life();
		failed = faults_end(&live);
		CHECK(live == 0);
		if (!failed) break;
	}
	CHECK(n > 10 && n < 500);
}

static void sources_are_checked(void) {
	zbz_source_ops half = fake_ops;
	zbz_source *source;
	zbz_watch *w;
	zbz_call c = a_call();
	zbz_buf out = { 0 };
	void *sub;
	fake *f = fake_new("x");
	half.unsubscribe = NULL;
	CHECK(zbz_source_of(&half, f, &source, &c.err) == ZBZ_E_ARGUMENT && source == NULL);
	half.subscribe = NULL;
	half.abi++;
	CHECK(zbz_source_of(&half, f, &source, &c.err) == ZBZ_E_ARGUMENT);
	half.abi--;
	CHECK(zbz_source_of(&half, f, &source, &c.err) == ZBZ_OK);
	CHECK(zbz_source_get(source, &c, zbz_b("", 0), NULL, &out) == ZBZ_E_KEY);
	CHECK(zbz_source_get(source, &c, zbz_b("a\0b", 3), NULL, &out) == ZBZ_E_KEY);
	CHECK(zbz_source_subscribe(source, &c, zbz_bstr("k"), NULL, NULL, &sub) == ZBZ_E_UNSUPPORTED && sub == NULL);
	CHECK_STR(c.err.provider, "fake");
	CHECK(zbz_watch_open(source, zbz_bstr("k"), &(zbz_watch_opts){ .poll = -1 }, &w, &c.err) == ZBZ_E_ARGUMENT);
	zbz_source_unref(source);
	zbz_source_unref(NULL);
	CHECK(f->closed);
	free(f);
	source = file_source(false);
	CHECK(zbz_source_get(source, &c, zbz_bstr("../x"), NULL, &out) == ZBZ_E_KEY);
	CHECK(zbz_source_get(source, &c, zbz_bstr("/etc/passwd"), NULL, &out) == ZBZ_E_KEY);
	CHECK(zbz_source_get(source, &c, zbz_bstr("a/.."), NULL, &out) == ZBZ_E_KEY);
	CHECK(zbz_source_get(source, &c, zbz_bstr("..1/app"), NULL, &out) == ZBZ_OK && out.n == 2);
	CHECK(zbz_source_get(source, &c, zbz_bstr("none"), NULL, &out) == ZBZ_MISS && out.n == 2);
	CHECK(zbz_source_get(source, &c, zbz_bstr("sub"), NULL, &out) == ZBZ_E_TYPE);
	shell("mkfifo pipe");
	CHECK(zbz_source_get(source, &c, zbz_bstr("pipe"), NULL, &out) == ZBZ_E_TYPE);
	zbz_source_unref(source);
	zbz_buf_clear(&out);
}

int main(void) {
	snprintf(folder, sizeof folder, "/tmp/zbz-watch-XXXXXX");
	if (mkdtemp(folder) == NULL) return 1;
	RUN(trails_name_every_link_and_the_file);
	RUN(trails_end);
	RUN(mounts_are_found_by_their_path);
	RUN(watches_files_and_polls_them);
	RUN(files_of_exactly_the_limit_are_read);
	RUN(an_overflow_means_that_everything_changed);
	RUN_IF(CHILD_THREADS, a_forked_child_begins_anew);
	RUN(nothing_leaks_when_memory_runs_out);
	RUN(sources_are_checked);
	{
		char line[100];
		snprintf(line, sizeof line, "rm -rf %s", folder);
		CHECK(system(line) == 0);
	}
	return DONE();
}
