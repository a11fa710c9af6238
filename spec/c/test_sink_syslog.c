/* The output syslog: what its messages look like byte by byte, how they are framed, and whether a real rsyslogd understands them. */
#include "net_rig.h"

#include <limits.h>

#include <zbz/pack.h>

static zbz_bytes labels(zbz_buf *b, size_t n, const char *const *texts) {
	zbz_buf_reset(b);
	zbz_pack_map(b, n, NULL);
	for (size_t i = 0; i < 2 * n; i++) zbz_pack_str(b, zbz_bstr(texts[i]), NULL);
	return zbz_buf_bytes(b);
}

static zbz_status write_one(rig *g, zbz_level level, const char *logger, zbz_bytes side, const char *text) {
	zbz_record r = {
		.head = { .at = INT64_C(1795617845123456789), .level = level, .logger = zbz_bstr(logger), .labels = side },
		.text = zbz_bstr(text)
	};
	g->c = log_call(PATIENCE);
	return g->ops->write(g->self, &g->c, &r, 1, &g->done);
}

/* ---- options ---- */

static void wrong_options(void) {
	CHECK(rig_refuses("syslog facility=local8", "facility", "local7"));
	CHECK(rig_refuses("syslog app=", "app", "1 to 48"));
	CHECK(rig_refuses("syslog app=0123456789012345678901234567890123456789012345678", "app", "1 to 48"));
	CHECK(rig_refuses("syslog hostname=h\xC3\xA9", "hostname", "visible ASCII"));
	CHECK(rig_refuses("syslog element=zbz", "element", "ENTERPRISE"));
	CHECK(rig_refuses("syslog element=zbz@x", "element", "ENTERPRISE"));
	CHECK(rig_refuses("syslog element=z=z@1", "element", "ENTERPRISE"));
	CHECK(rig_refuses("syslog max_message=100", "max_message", "1"));
	CHECK(rig_refuses("syslog protocol=relp", "protocol", "unix"));
	CHECK(rig_refuses("syslog protocol=unix address=x:1", "address", "absolute path"));
	CHECK(rig_refuses("syslog protocol=tcp address=x", "address", "without a port"));
	CHECK(rig_refuses("syslog address=/dev/log tls=true", "tls", "tcp"));
	CHECK(rig_refuses("syslog address=x:1 protocol=udp tls=true", "tls", "tcp"));
}

/* What two outputs must not share a writer over. */
static void identities(void) {
	static const char *const lines[] = { "syslog app=a hostname=h",
		                                 "syslog app=b hostname=h",
		                                 "syslog app=a hostname=i",
		                                 "syslog app=a hostname=h facility=mail",
		                                 "syslog app=a hostname=h element=x@1",
		                                 "syslog app=a hostname=h address=h protocol=udp",
		                                 "syslog app=a hostname=h address=h:514" };
	enum { N = sizeof lines / sizeof *lines };
	zbz_buf names[N];
	rig g;
	memset(names, 0, sizeof names);
	for (int i = 0; i < N; i++) {
		CHECK(rig_open(&g, lines[i]) == ZBZ_OK && g.ops->identity(g.self, &names[i], &err) == ZBZ_OK);
		for (int k = 0; k < i; k++) CHECK(!zbz_bytes_eq(zbz_buf_bytes(&names[i]), zbz_buf_bytes(&names[k])));
		rig_close(&g);
	}
	for (int i = 0; i < N; i++) zbz_buf_clear(&names[i]);
}

/* ---- messages ---- */

#define DATE "2026-11-25T14:44:05.123456Z"

/* One datagram each. */
static void messages(void) {
	static const struct {
		zbz_level level;
		const char *logger, *text, *want; /* behind the pri, up to the pid; and from the msgid on */
		int pri;
	} cases[] = {
		{ ZBZ_LEVEL_TRACE, "", "t\n", "- - t", 167 },
		{ ZBZ_LEVEL_DEBUG, "a.b", "d\n", "a.b - d", 167 },
		{ ZBZ_LEVEL_INFO, "a b\xC3\xA9", "two\nlines\n", "a_b__ - two\nlines", 166 },
		{ ZBZ_LEVEL_WARN, "0123456789012345678901234567890123", "w\n", "01234567890123456789012345678901 - w", 164 },
		{ ZBZ_LEVEL_ERROR, "e", "\n", "e - ", 163 },
		{ ZBZ_LEVEL_FATAL, "f", "\xE2\x82\xAC\n", "f - \xE2\x82\xAC", 162 },
	};
	receiver r;
	rig g;
	char path[100], line[300], want[2000];
	size_t n = 0;
	snprintf(path, sizeof path, "%s/log", work);
	CHECK(receiver_start(&r, AF_UNIX, SOCK_DGRAM, 0, path));
	snprintf(line, sizeof line, "syslog address=%s facility=local4 app=shop hostname=web-1", path);
	CHECK(rig_open(&g, line) == ZBZ_OK);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		CHECK(write_one(&g, cases[i].level, cases[i].logger, zbz_b(NULL, 0), cases[i].text) == ZBZ_OK && g.done == 1);
		n += (size_t)snprintf(want + n, sizeof want - n, "<%d>1 " DATE " web-1 shop %d %s", cases[i].pri, (int)getpid(),
		                      cases[i].want);
	}
	CHECK(receiver_has(&r, want) && r.datagrams == (int)(sizeof cases / sizeof *cases));
	rig_close(&g);
	receiver_end(&r);
}

static void structured_data(void) {
	static const char *const pairs[] = { "trace_id", "0af7", "we ird=]\"\xC3\xA9", "q\"b\\c]d\n\xFF\xC3\xA9" };
	receiver r;
	rig g;
	zbz_buf side = { 0 };
	char line[300], want[800];
	CHECK(receiver_start(&r, AF_INET, SOCK_DGRAM, 0, NULL));
	snprintf(line, sizeof line, "syslog address=%s protocol=udp app=a hostname=h element=shop@1.2", r.address);
	CHECK(rig_open(&g, line) == ZBZ_OK);
	CHECK(write_one(&g, ZBZ_LEVEL_INFO, "l", labels(&side, 2, pairs), "m\n") == ZBZ_OK);
	snprintf(want, sizeof want,
	         "<14>1 " DATE
	         " h a %d l [shop@1.2 trace_id=\"0af7\" we_ird_____=\"q\\\"b\\\\c\\]d?\xEF\xBF\xBD\xC3\xA9\"] m",
	         (int)getpid());
	CHECK(receiver_has(&r, want));
	for (size_t n = 0; n < side.n; n++) /* broken metadata is left out, the message goes */
		CHECK(write_one(&g, ZBZ_LEVEL_INFO, "l", zbz_b(side.p, n), "m\n") == ZBZ_OK);
	zbz_buf_clear(&side);
	rig_close(&g);
	receiver_end(&r);
}

/* Labels that leave no room are left out whole; the text is cut between two characters. */
static void too_long(void) {
	static char value[3000], text[5000];
	const char *const pairs[] = { "a", "1", "big", value, "z", "2" };
	receiver r;
	rig g;
	zbz_buf side = { 0 };
	char line[300], head[200];
	int n;
	memset(value, 'v', sizeof value - 1);
	for (size_t i = 0; i + 2 < sizeof text; i += 2) memcpy(text + i, "\xC3\xA9", 2);
	CHECK(receiver_start(&r, AF_INET, SOCK_DGRAM, 0, NULL));
	snprintf(line, sizeof line, "syslog address=%s protocol=udp app=a hostname=h max_message=1024", r.address);
	CHECK(rig_open(&g, line) == ZBZ_OK);
	CHECK(write_one(&g, ZBZ_LEVEL_INFO, "l", labels(&side, 3, pairs), text) == ZBZ_OK);
	n = snprintf(head, sizeof head, "<14>1 " DATE " h a %d l [zbz@32473 a=\"1\" z=\"2\"] ", (int)getpid());
	CHECK(receiver_await(&r, 1023) && r.n <= 1024 && r.n >= 1023 && memcmp(r.text, head, (size_t)n) == 0);
	CHECK(memcmp(r.text + r.n - 3, "...", 3) == 0 && (r.n - 3 - (size_t)n) % 2 == 0);
	zbz_buf_clear(&side);
	rig_close(&g);
	receiver_end(&r);
}

/* A message's length stands before it, whatever it holds. */
static void octets_are_counted(void) {
	receiver r;
	rig g;
	char line[300], message[300], want[800];
	size_t n = 0;
	CHECK(receiver_start(&r, AF_INET, SOCK_STREAM, 0, NULL));
	snprintf(line, sizeof line, "syslog address=%s app=a hostname=h", r.address);
	CHECK(rig_open(&g, line) == ZBZ_OK);
	CHECK(rig_write(&g, "one\ntwo\n", PATIENCE) == ZBZ_OK && g.done == 2);
	CHECK(write_one(&g, ZBZ_LEVEL_INFO, "app", zbz_b(NULL, 0), "three\nin\nlines\n") == ZBZ_OK);
	for (int i = 0; i < 3; i++) {
		static const char *const texts[] = { "one", "two", "three\nin\nlines" };
		int k = snprintf(message, sizeof message, "<14>1 %s h a %d app - %s",
		                 i < 2 ? "1970-01-01T00:00:00.000000Z" : DATE, (int)getpid(), texts[i]);
		n += (size_t)snprintf(want + n, sizeof want - n, "%d %s", k, message);
	}
	CHECK(receiver_has(&r, want));
	rig_close(&g);
	receiver_end(&r);
}

/* Frames of a connection, whole ones, in order; the number of different messages. */
static int count_frames(const char *p, size_t n, unsigned char *seen, int most, int *torn) {
	const char *end = p + n;
	int fresh = 0;
	while (p < end) {
		char *after;
		unsigned long size = strtoul(p, &after, 10);
		int i;
		if (*after != ' ' || size > 300) {
			++*torn;
			return fresh;
		}
		if (after + 1 + size > end) return fresh; /* the end of a connection */
		p = after + 1 + size;
		i = atoi(p - LINE_N + 1); /* the text stands last, without its newline */
		if (i < 0 || i >= most || after[1] != '<') {
			++*torn;
			return fresh;
		}
		fresh += seen[i] == 0;
		seen[i] = 1;
	}
	return fresh;
}

/* Resets while frames are under way: each connection begins with a length. */
static void frames_after_resets(void) {
	enum { N = 4000 };
	static unsigned char seen[N];
	receiver r;
	zbz_output *o;
	char line[300];
	int torn = 0, found = 0;
	CHECK(receiver_start(&r, AF_INET, SOCK_STREAM, 0, NULL));
	RECEIVER_SET(&r, reset_at, 100000);
	snprintf(line, sizeof line, "type=syslog address=%s app=a hostname=h max_retry_delay=50ms", r.address);
	CHECK(log_open(line, &o, &err) == ZBZ_OK);
	for (int i = 0; i < N; i++) say_line(o, i);
	CHECK(flush(o, PATIENCE) == ZBZ_OK && numbers(o).written == N);
	zbz_output_unref(o);
	CHECK(receiver_await_ends(&r, 2));
	for (int i = 0; i < r.connections; i++) {
		size_t to = i + 1 < r.connections ? r.begins[i + 1] : r.n;
		found += count_frames(r.text + r.begins[i], to - r.begins[i], seen, N, &torn);
	}
	CHECK(torn == 0 && r.connections >= 2);
	CHECK((N - found) * 100 <= 131072 && seen[N - 1] == 1); /* what was acknowledged and not read when the reset came */
	receiver_end(&r);
}

/* Half of a write is out when other records of the same texts come: none of these is taken for one that was sent. */
static void same_texts(void) {
	enum { MANY = 1500 };
	static char ticks[5 * MANY + 1];
	receiver r;
	rig g;
	char path[100], line[300];
	snprintf(path, sizeof path, "%s/ticks", work);
	for (int i = 0; i < MANY; i++) memcpy(ticks + (size_t)i * 5, "tick\n", 5);
	CHECK(receiver_start(&r, AF_UNIX, SOCK_DGRAM, 0, path));
	RECEIVER_SET(&r, hang, true);
	snprintf(line, sizeof line, "syslog address=%s timeout=100ms", path);
	CHECK(rig_open(&g, line) == ZBZ_OK && rig_write(&g, ticks, PATIENCE) == ZBZ_E_TIMEOUT && g.done == 0);
	RECEIVER_SET(&r, hang, false);
	rig_time++;
	for (int i = 0; i < 100 && rig_write(&g, ticks, PATIENCE) == ZBZ_E_TIMEOUT; i++) {}
	CHECK(g.done == MANY && receiver_await_count(&r, &r.datagrams, MANY + 1));
	rig_close(&g);
	receiver_end(&r);
}

/* ---- rsyslogd ---- */

/* The file of the server, once it has so many lines. */
static char *messages_of(const char *path, int lines) {
	static char text[1 << 20];
	for (int i = 0; i < PATIENCE; i++) {
		FILE *f = fopen(path, "r");
		size_t n = f != NULL ? fread(text, 1, sizeof text - 1, f) : 0;
		int have = 0;
		if (f != NULL) fclose(f);
		text[n] = '\0';
		for (size_t k = 0; k < n; k++) have += text[k] == '\n';
		if (have >= lines) return text;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return text;
}

static void understood(void) {
	static const char *const pairs[] = { "trace_id", "0af7", "note", "a \"b\" ]" };
	const char *address = getenv("RSYSLOG_ADDRESS"), *path = getenv("RSYSLOG_SOCKET"), *file = getenv("RSYSLOG_FILE");
	char lines[3][200], want[400];
	const char *apps[] = { "by-udp", "by-tcp", "by-unix" }, *text;
	zbz_buf side = { 0 };
	rig g;
	if (address == NULL || path == NULL || file == NULL) {
		printf("skipped: understood (run it by spec/services/with.lua rsyslog --)\n");
		return;
	}
	snprintf(lines[0], sizeof lines[0], "syslog protocol=udp address=%s app=by-udp hostname=web-1 facility=local4",
	         address);
	snprintf(lines[1], sizeof lines[1], "syslog address=%s app=by-tcp hostname=web-1 facility=local4", address);
	snprintf(lines[2], sizeof lines[2], "syslog address=%s app=by-unix hostname=web-1 facility=local4", path);
	for (int i = 0; i < 3; i++) {
		CHECK(rig_open(&g, lines[i]) == ZBZ_OK);
		CHECK(write_one(&g, ZBZ_LEVEL_ERROR, "pay", labels(&side, 2, pairs), "card \xE2\x82\xAC refused\n") == ZBZ_OK);
		CHECK(write_one(&g, ZBZ_LEVEL_DEBUG, "pay", zbz_b(NULL, 0), "plain\n") == ZBZ_OK);
		CHECK(write_one(&g, ZBZ_LEVEL_INFO, "pay", zbz_b(NULL, 0), "two\nlines\n") == ZBZ_OK);
		rig_close(&g);
	}
	text = messages_of(file, 9);
	for (int i = 0; i < 3; i++) {
		snprintf(want, sizeof want,
		         "local4.err|" DATE
		         "|web-1|%s|%d|pay|[zbz@32473 trace_id=\"0af7\" note=\"a \\\"b\\\" \\]\"]|card \xE2\x82\xAC refused\n",
		         apps[i], (int)getpid());
		CHECK(strstr(text, want) != NULL);
		snprintf(want, sizeof want, "local4.debug|" DATE "|web-1|%s|%d|pay|-|plain\n", apps[i], (int)getpid());
		CHECK(strstr(text, want) != NULL);
		snprintf(want, sizeof want, "local4.info|" DATE "|web-1|%s|%d|pay|-|two#012lines\n", apps[i], (int)getpid());
		CHECK(strstr(text, want) != NULL);
	}
	if (check_failed > 0) fprintf(stderr, "%s", text);
	zbz_buf_clear(&side);
}

/* Counts what comes and keeps nothing. */
static void *swallow(void *ud) {
	static char bytes[1 << 16];
	int fd = accept(*(int *)ud, NULL, NULL);
	int64_t *all = zbz_calloc(1, sizeof *all);
	ssize_t n;
	while ((n = read(fd, bytes, sizeof bytes)) > 0) *all += n;
	close(fd);
	return all;
}

/* The largest batch there can be, of the smallest records: its messages are more than twice as large as its texts. */
static void many_small_ones(void) {
	enum { N = (1 << 26) / 128, EACH = 128 };
	zbz_record *records = zbz_calloc(N, sizeof *records);
	char *texts = zbz_malloc((size_t)N * EACH), line[100];
	int listener = bound(AF_INET, SOCK_STREAM, 0, NULL), tries = 0;
	size_t all = 0;
	pthread_t thread;
	void *bytes;
	rig g;
	CHECK(records != NULL && texts != NULL && listen(listener, 1) == 0);
	memset(texts, 'x', (size_t)N * EACH);
	for (size_t i = 0; i < N; i++) {
		texts[i * EACH + EACH - 1] = '\n';
		records[i].head.level = ZBZ_LEVEL_INFO;
		records[i].head.at = (int64_t)i;
		records[i].text = zbz_b(texts + i * EACH, EACH);
	}
	snprintf(line, sizeof line, "syslog address=127.0.0.1:%d protocol=tcp", port_of(listener));
	CHECK(pthread_create(&thread, NULL, swallow, &listener) == 0);
	CHECK(rig_open(&g, line) == ZBZ_OK);
	for (; all < N && tries < 6; tries++) {
		g.c = log_call(10000);
		g.done = 0;
		CHECK(g.ops->write(g.self, &g.c, records + all, N - all, &g.done) == ZBZ_OK || g.c.err.status == ZBZ_E_TIMEOUT);
		all += g.done;
	}
	CHECK(all == N);
	rig_close(&g);
	shutdown(listener, SHUT_RDWR);
	pthread_join(thread, &bytes);
	CHECK(*(int64_t *)bytes > (int64_t)N * EACH * 3 / 2);
	zbz_free(bytes);
	close(listener);
	zbz_free(records);
	zbz_free(texts);
}

int main(void) {
	if (!dirs_make()) return 2;
	RUN(many_small_ones);
	RUN(wrong_options);
	RUN(identities);
	RUN(messages);
	RUN(structured_data);
	RUN(too_long);
	RUN(octets_are_counted);
	RUN(frames_after_resets);
	RUN(same_texts);
	RUN(understood);
	dirs_remove();
	return DONE();
}
