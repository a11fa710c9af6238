/* The Loki sink and LOKI_URL, the stub (spec/services/loki_stub.lua), which decodes by its own means: rules of the server, forks, a server
 * that hangs, memory that fails. */
#include "log_help.h"

#include "faults.h"

static zbz_err err;
static const char *url;

static long ask(const char *what, const char *key) {
	char cmd[300], text[1 << 16];
	const char *at;
	size_t n;
	FILE *f;
	snprintf(cmd, sizeof cmd, "curl -s -m 20 %s/stub/%s", url, what);
	f = popen(cmd, "r");
	if (f == NULL) return -1;
	n = fread(text, 1, sizeof text - 1, f);
	text[n] = '\0';
	pclose(f);
	at = key != NULL ? strstr(text, key) : NULL;
	return at != NULL ? atol(at + strlen(key)) : -1;
}
static void tell_stub(const char *what, const char *body) {
	char cmd[400];
	snprintf(cmd, sizeof cmd, "curl -s -m 20 -X POST --data-binary '%s' %s/stub/%s", body, url, what);
	CHECK(system(cmd) == 0);
}
static bool await_pushes(long n) {
	int64_t until = ms_now() + 20000;
	do {
		if (ask("pushes", "\"came\":") >= n) return true;
	} while (ms_now() < until);
	return false;
}
static void say_at(zbz_output *o, int64_t at, const char *line) {
	zbz_record_head head = { .at = at, .level = ZBZ_LEVEL_INFO, .logger = zbz_bstr("app") };
	CHECK(zbz_output_append(o, &head, zbz_bstr(line)));
}
static int64_t now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
static zbz_output *open_stub(const char *more) {
	char options[500];
	zbz_output *o;
	snprintf(options, sizeof options, "type=loki url=%s max_retry_delay=50ms %s", url, more);
	CHECK(log_open(options, &o, &err) == ZBZ_OK);
	return o;
}

static void by_the_servers_own_rules(void) {
	const int64_t hour = INT64_C(3600000000000);
	int64_t now = now_ns();
	zbz_output *o = open_stub("labels=app=rules");
	char dead[120];
	snprintf(dead, sizeof dead, "%s/dead", work);
	tell_stub("forget", "");
	say_at(o, now, "newest\n");
	CHECK(flush(o, 10000) == ZBZ_OK && ask("pushes", "\"stored\":") == 1);
	say_at(o, now - 2 * hour, "behind 1\n");
	say_at(o, now - 2 * hour + 1, "behind 2\n");
	CHECK(flush(o, 10000) == ZBZ_OK && numbers(o).dead_letters == 2);
	say_at(o, now + 1, "good\n");
	CHECK(flush(o, 10000) == ZBZ_OK && ask("pushes", "\"stored\":") == 2 && numbers(o).dead_letters == 2);
	CHECK(strstr(numbers(o).last_error, "Loki answered 400: entry with timestamp") != NULL);
	CHECK(ask("pushes", "\"refused_again\":") == 0);
	zbz_output_unref(o);
}

/* The connection of the parent is not the child's: each has its own, and neither disturbs the other. */
static void forked(void) {
	zbz_output *o = open_stub("labels=app=fork");
	pid_t pid;
	int status = 1;
	if (!CHILD_THREADS) {
		zbz_output_unref(o);
		return;
	}
	tell_stub("forget", "");
	say_at(o, now_ns(), "parent 1\n");
	CHECK(flush(o, 10000) == ZBZ_OK);
	pid = fork();
	if (pid == 0) {
		say_at(o, now_ns(), "child\n");
		status = flush(o, 10000) == ZBZ_OK ? 0 : 1;
		zbz_output_unref(o);
		_exit(status);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	say_at(o, now_ns(), "parent 2\n");
	CHECK(flush(o, 10000) == ZBZ_OK);
	CHECK(ask("pushes", "\"stored\":") == 3 && ask("pushes", "\"repeated\":") == 0);
	CHECK(numbers(o).retries == 0);
	zbz_output_unref(o);
}

/* A server that does not answer holds up neither the closing nor the end of the program. */
static void ends_while_it_hangs(void) {
	int64_t before;
	pid_t pid;
	int status = 1;
	zbz_output *o;
	tell_stub("forget", "");
	tell_stub("answers", "[{\"hang\":true,\"times\":1000}]");
	o = open_stub("labels=app=hang linger=50ms timeout=2s");
	say_at(o, now_ns(), "x\n");
	CHECK(await_pushes(1));
	before = zbz_mono(zbz_clock_system());
	zbz_output_unref(o);
	CHECK(zbz_mono(zbz_clock_system()) - before < 1500);
	if (!CHILD_THREADS) return;
	pid = fork();
	if (pid == 0) {
		o = open_stub("labels=app=hang2 linger=50ms timeout=2s");
		say_at(o, now_ns(), "y\n");
		exit(await_pushes(2) ? 7 : 8);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
	tell_stub("answers", "[]");
}

static void opening_without_memory(const char *options) {
	long live, n = 1;
	bool failed = true;
	zbz_output *o;
	CHECK(log_open(options, &o, &err) == ZBZ_OK); /* loads the plug-in, which stays */
	zbz_output_unref(o);
	for (; failed && n < 1000; n++) {
		zbz_config *cfg = log_config(options);
		zbz_status s;
		faults_begin(n);
		s = zbz_output_open(cfg, zbz_clock_system(), &o, &err);
		if (s == ZBZ_OK) zbz_output_unref(o);
		failed = faults_end(&live);
		zbz_config_free(cfg);
		CHECK(live == 0);
		CHECK(s == ZBZ_OK || (failed && s == ZBZ_E_INTERNAL));
	}
	CHECK(n > 10 && n < 1000);
}

int main(void) {
	char options[300];
	url = getenv("LOKI_URL");
	if (url == NULL || !dirs_make()) {
		fprintf(stderr, "LOKI_URL and directories are needed\n");
		return 1;
	}
	snprintf(options, sizeof options, "type=loki url=%s labels=app=x,env=y tenant=t username=u password=p", url);
	check_name = "opening_without_memory";
	opening_without_memory(options);
	RUN(by_the_servers_own_rules);
	RUN(forked);
	RUN(ends_while_it_hangs);
	dirs_remove();
	return DONE();
}
