/* The outputs tcp, udp and unix with receivers of flesh and blood on this machine: that hang, reset, are killed, come back. */
#include "net_rig.h"

#include "faults.h"

static zbz_status open_to(zbz_output **o, const char *type, const char *address, const char *more) {
	char line[400];
	snprintf(line, sizeof line, "type=%s address=%s max_retry_delay=50ms %s", type, address, more);
	return log_open(line, o, &err);
}

/* An output over TCP, and who receives it. */
static zbz_output *tcp_to(receiver *r, bool hangs, const char *more) {
	zbz_output *o = NULL;
	CHECK(receiver_start(r, AF_INET, SOCK_STREAM, 0, NULL));
	if (hangs) RECEIVER_SET(r, hang, true);
	CHECK(open_to(&o, "tcp", r->address, more) == ZBZ_OK);
	return o;
}

static char *text_of(int from, int to) {
	static char text[2048 * LINE_N + 1];
	for (int i = from; i < to; i++) line_make(text + (size_t)(i - from) * LINE_N, i);
	return text;
}

static const char *in_work(const char *name) {
	static char path[200];
	snprintf(path, sizeof path, "%s/%s", work, name);
	return path;
}

/* ---- options ---- */

static void wrong_options(void) {
	char line[300];
	rig r;
	CHECK(rig_refuses("tcp", "address", "is needed: host:port"));
	CHECK(rig_refuses("udp", "address", "is needed: host:port"));
	CHECK(rig_refuses("unix", "address", "is needed: the path"));
	CHECK(rig_refuses("tcp address=localhost", "address", "without a port"));
	CHECK(rig_refuses("tcp address=localhost:", "address", "host:port"));
	CHECK(rig_refuses("tcp address=localhost:0", "address", "1 to 65535"));
	CHECK(rig_refuses("tcp address=localhost:65536", "address", "1 to 65535"));
	CHECK(rig_refuses("tcp address=:514", "address", "host:port"));
	CHECK(rig_refuses("tcp address=::1:514", "address", "host:port"));
	CHECK(rig_refuses("tcp address=[::1", "address", "host:port"));
	CHECK(rig_refuses("tcp address=tcp://x:514", "address", "host:port"));
	CHECK(rig_refuses("tcp address=/dev/log", "address", "host:port"));
	CHECK(rig_refuses("unix address=log.sock", "address", "absolute path"));
	snprintf(line, sizeof line, "unix address=/%0200d", 7);
	CHECK(rig_refuses(line, "address", "at most 107 bytes, this one 201"));
	CHECK(rig_refuses("unix address=/x kind=pipe", "kind", "stream"));
	CHECK(rig_refuses("udp address=x:1 max_message=1MB", "max_message", "65507"));
	CHECK(rig_refuses("tcp address=x:1 timeout=0", "timeout", ""));
	CHECK(rig_refuses("tcp address=x:1 tls_ca=/x", "tls_ca", "without tls = true"));
	CHECK(rig_refuses("tcp address=x:1 tls_server_name=x", "tls_server_name", "without tls = true"));
	CHECK(rig_refuses("tcp address=x:1 tls=true tls_ca=/no/such/file", "tls_ca", "/no/such/file"));
	CHECK(rig_refuses("tcp address=x:1 tls=true tls_key=/no/such/file", "tls_cert", "missing beside tls_key"));
	CHECK(rig_open(&r, "udp address=x:1 tls=true") == ZBZ_E_ARGUMENT && says("tls")); /* it has none */
	CHECK(rig_open(&r, "tcp address=no.such.host.invalid:514") == ZBZ_OK);            /* nothing is looked up yet */
	rig_close(&r);
}

/* ---- tcp ---- */

static void lines_arrive(void) {
	enum { N = 10000 };
	static unsigned char seen[N];
	receiver r;
	zbz_output *o;
	counted c;
	o = tcp_to(&r, false, "");
	for (int i = 0; i < N; i++) say_line(o, i);
	CHECK(flush(o, PATIENCE) == ZBZ_OK && receiver_await(&r, (size_t)N * LINE_N));
	c = receiver_count(&r, seen, N);
	CHECK(c.seen == N && c.torn == 0 && c.doubled == 0 && c.disorder == 0 && receiver_connections(&r) == 1);
	CHECK(numbers(o).written == N && numbers(o).retries == 0);
	zbz_output_unref(o);
	receiver_end(&r);
}

static void ipv6_and_names(void) {
	receiver r;
	char address[160];
	rig g;
	CHECK(receiver_start(&r, AF_INET6, SOCK_STREAM, 0, NULL));
	snprintf(address, sizeof address, "tcp address=%s", r.address);
	CHECK(rig_open(&g, address) == ZBZ_OK && rig_write(&g, "six\n", PATIENCE) == ZBZ_OK && g.done == 1);
	CHECK(receiver_has(&r, "six\n"));
	rig_close(&g);
	receiver_end(&r);
	CHECK(receiver_start(&r, AF_INET, SOCK_STREAM, 0, NULL));
	snprintf(address, sizeof address, "tcp address=localhost:%d", r.port);
	CHECK(rig_open(&g, address) == ZBZ_OK && rig_write(&g, "four\n", PATIENCE) == ZBZ_OK);
	CHECK(receiver_has(&r, "four\n"));
	rig_close(&g);
	receiver_end(&r);
	CHECK(rig_open(&g, "tcp address=no.such.host.invalid:514 timeout=500ms") == ZBZ_OK);
	CHECK(rig_write(&g, "x\n", PATIENCE) < 0 && err.retryable && says("no.such.host.invalid") && g.done == 0);
	rig_close(&g);
}

static void away_and_back(void) {
	receiver r;
	zbz_output *o;
	int port = free_port(SOCK_STREAM);
	char address[40];
	rig g;
	snprintf(address, sizeof address, "tcp address=127.0.0.1:%d", port);
	CHECK(rig_open(&g, address) == ZBZ_OK && rig_write(&g, "x\n", 5000) == ZBZ_E_UNAVAILABLE);
	CHECK(err.retryable && g.done == 0 && says(address + strlen("tcp address=")) && says("refused"));
	rig_close(&g);
	CHECK(open_to(&o, "tcp", address + strlen("tcp address="), "") == ZBZ_OK);
	say(o, "one\n");
	CHECK(await_retries(o, 2) && flush(o, 50) == ZBZ_E_TIMEOUT);
	CHECK(receiver_start(&r, AF_INET, SOCK_STREAM, port, NULL));
	CHECK(flush(o, PATIENCE) == ZBZ_OK && receiver_has(&r, "one\n"));
	receiver_end(&r); /* an end in good order, between two writes */
	CHECK(receiver_start(&r, AF_INET, SOCK_STREAM, port, NULL));
	say(o, "two\n");
	CHECK(flush(o, PATIENCE) == ZBZ_OK && receiver_has(&r, "two\n"));
	CHECK(numbers(o).dead_letters == 0);
	zbz_output_unref(o);
	receiver_end(&r);
}

/* Resets in the midst: everything arrives, every connection begins with a whole line and has none torn before its end. */
static void resets(void) {
	enum { N = 10000, TIMES = 5 };
	static unsigned char seen[N];
	receiver r;
	zbz_output *o;
	counted c;
	o = tcp_to(&r, false, "");
	for (int k = 0; k < TIMES; k++) {
		RECEIVER_SET(&r, reset_at, r.n + 31);
		for (int i = k * (N / TIMES); i < (k + 1) * (N / TIMES); i++) say_line(o, i);
		CHECK(flush(o, PATIENCE) == ZBZ_OK);
	}
	/* What the kernel had acknowledged when a reset threw it away is the one loss there can be: here the reset comes while it reads. */
	c = receiver_count(&r, seen, N);
	CHECK(c.torn == 0 && c.disorder == 0 && receiver_connections(&r) > 1);
	CHECK((N - c.seen) * LINE_N <= TIMES * 131072);
	CHECK(numbers(o).written == N && numbers(o).dead_letters == 0);
	zbz_output_unref(o);
	receiver_end(&r);
}

static void hanging(void) {
	enum { N = 20000 };
	static unsigned char seen[N];
	receiver r;
	zbz_output *o, *other;
	zbz_call call = log_call(5000);
	zbz_buf lines = { 0 };
	counted c;
	int64_t before, took;
	o = tcp_to(&r, true, "timeout=200ms ring_size=8MB");
	CHECK(log_open("type=memory", &other, &err) == ZBZ_OK);
	for (int i = 0; i < N; i++) say_line(o, i);
	before = zbz_mono(zbz_clock_system());
	CHECK(flush(o, 300) == ZBZ_E_TIMEOUT);
	took = zbz_mono(zbz_clock_system()) - before;
	CHECK(took >= 300 && took < 5000 && numbers(o).lag > 0);
	CHECK(await_retries(o, 3));
	say(other, "goes on\n");
	CHECK(zbz_output_read(other, &call, false, &lines) == ZBZ_OK && lines.n == 8);
	RECEIVER_SET(&r, hang, false);
	CHECK(flush(o, PATIENCE) == ZBZ_OK && receiver_await(&r, (size_t)N * LINE_N));
	c = receiver_count(&r, seen, N); /* it kept its connection: nothing came twice */
	CHECK(c.seen == N && c.torn == 0 && c.doubled == 0 && c.disorder == 0 && receiver_connections(&r) == 1);
	zbz_buf_clear(&lines);
	zbz_output_unref(o);
	zbz_output_unref(other);
	receiver_end(&r);
}

/* The same with a ring that is too small and a spool beside it: in turns other records are offered than those half sent. */
static void hanging_with_a_spool(void) {
	enum { N = 20000 };
	static unsigned char seen[N];
	receiver r;
	zbz_output *o;
	counted c;
	char more[300];
	CHECK(mkdir(in_work("spool"), 0700) == 0);
	snprintf(more, sizeof more, "timeout=100ms ring_size=256KB spool=%s", in_work("spool"));
	o = tcp_to(&r, true, more);
	for (int i = 0; i < N; i++) CHECK(say_line(o, i));
	CHECK(await_retries(o, 2));
	RECEIVER_SET(&r, hang, false);
	CHECK(flush(o, PATIENCE) == ZBZ_OK && numbers(o).dropped_full == 0);
	zbz_output_unref(o);
	CHECK(receiver_await_ends(&r, 1));
	c = receiver_count(&r, seen, N);
	CHECK(c.seen == N && c.torn == 0 && c.disorder == 0);
	receiver_end(&r);
}

/* Somebody else's records come while half of a write is out: they must not continue its line. */
static void another_write(void) {
	receiver r;
	rig g;
	char line[200];
	static char big[16 << 20];
	const char *last;
	CHECK(receiver_start(&r, AF_INET, SOCK_STREAM, 0, NULL));
	RECEIVER_SET(&r, hang, true);
	snprintf(line, sizeof line, "tcp address=%s timeout=100ms", r.address);
	CHECK(rig_open(&g, line) == ZBZ_OK);
	memset(big, 'b', sizeof big - 2);
	big[sizeof big - 2] = '\n';
	CHECK(rig_write(&g, big, 5000) == ZBZ_E_TIMEOUT && err.retryable && g.done == 0 && says("in time"));
	CHECK(rig_write(&g, big, 5000) == ZBZ_E_TIMEOUT);
	RECEIVER_SET(&r, hang, false);
	CHECK(rig_write(&g, "small\n", PATIENCE) == ZBZ_OK && g.done == 1);
	CHECK(receiver_await_count(&r, &r.connections, 2) && receiver_await(&r, r.begins[1] + 6));
	pthread_mutex_lock(&r.lock);
	last = r.text + r.begins[1];
	CHECK(r.begins[1] < sizeof big - 1 && r.connections == 2 && memcmp(last, "small\n", 6) == 0);
	pthread_mutex_unlock(&r.lock);
	rig_close(&g);
	receiver_end(&r);
}

/* What it says is thrown away, and closing takes nothing with it. */
static void talkative(void) {
	receiver r;
	rig g;
	char line[200];
	CHECK(receiver_start(&r, AF_INET, SOCK_STREAM, 0, NULL));
	RECEIVER_SET(&r, chatty, true);
	snprintf(line, sizeof line, "tcp address=%s", r.address);
	CHECK(rig_open(&g, line) == ZBZ_OK);
	for (int i = 0; i < 200; i++) CHECK(rig_write(&g, text_of(i, i + 1), PATIENCE) == ZBZ_OK);
	rig_close(&g);
	CHECK(receiver_await(&r, 200 * LINE_N) && receiver_connections(&r) == 1);
	receiver_end(&r);
}

/* ---- unix ---- */

static void unix_kinds(void) {
	receiver r;
	rig g;
	char line[300];
	snprintf(line, sizeof line, "unix address=%s timeout=2s", in_work("s"));
	CHECK(rig_open(&g, line) == ZBZ_OK);
	CHECK(rig_write(&g, "x\n", 5000) == ZBZ_E_UNAVAILABLE && err.retryable && says("/s"));
	CHECK(receiver_start(&r, AF_UNIX, SOCK_STREAM, 0, in_work("s")));
	CHECK(rig_write(&g, "one\ntwo\n", PATIENCE) == ZBZ_OK && g.done == 2 && receiver_has(&r, "one\ntwo\n"));
	receiver_end(&r);
	CHECK(receiver_start(&r, AF_UNIX, SOCK_DGRAM, 0, in_work("s"))); /* the same path, another kind */
	CHECK(rig_write(&g, "three\nfour\n", PATIENCE) == ZBZ_OK && g.done == 2 && receiver_has(&r, "three\nfour\n"));
	CHECK(r.datagrams == 2 && r.sizes[0] == 6 && r.sizes[1] == 5);
	receiver_end(&r);
	rig_close(&g);
	CHECK(receiver_start(&r, AF_UNIX, SOCK_DGRAM, 0, in_work("s")));
	snprintf(line, sizeof line, "unix path=%s kind=stream", in_work("s"));
	CHECK(rig_open(&g, line) == ZBZ_OK && rig_write(&g, "x\n", 2000) == ZBZ_E_UNAVAILABLE && says("wrong type"));
	rig_close(&g);
	receiver_end(&r);
}

/* A write counts when it was read: a receiver that ends with lines unread leaves them to the next. */
static void unread(int type) {
	enum { N = 5000 };
	static unsigned char seen[N];
	receiver r;
	zbz_output *o;
	counted c;
	memset(seen, 0, sizeof seen);
	CHECK(receiver_start(&r, AF_UNIX, type, 0, in_work("s")));
	RECEIVER_SET(&r, hang, true);
	CHECK(open_to(&o, "unix", in_work("s"), "timeout=100ms") == ZBZ_OK);
	for (int i = 0; i < N; i++) say_line(o, i);
	CHECK(flush(o, 100) == ZBZ_E_TIMEOUT && await_retries(o, 2) && numbers(o).written == 0);
	receiver_end(&r);
	CHECK(receiver_start(&r, AF_UNIX, type, 0, in_work("s")));
	CHECK(flush(o, PATIENCE) == ZBZ_OK && receiver_await(&r, (size_t)N * LINE_N));
	if (type == SOCK_DGRAM) r.connections = 1;
	c = receiver_count(&r, seen, N);
	CHECK(c.seen == N && c.torn == 0 && c.doubled == 0 && c.disorder == 0 && numbers(o).written == N);
	zbz_output_unref(o);
	receiver_end(&r);
}
static void unread_stream(void) { unread(SOCK_STREAM); }
static void unread_datagrams(void) { unread(SOCK_DGRAM); }

/* ---- datagrams ---- */

static void cut_datagrams(int family, const char *type, const char *path) {
	receiver r;
	rig g;
	char line[300], text[400];
	CHECK(receiver_start(&r, family, SOCK_DGRAM, 0, path));
	snprintf(line, sizeof line, "%s address=%s max_message=64", type, r.address);
	CHECK(rig_open(&g, line) == ZBZ_OK);
	snprintf(text, sizeof text, "%063d\n%064d\n%059d\xC3\xA9ttt\n%058d\xE2\x82\xAC\xE2\x82\xAC\n", 1, 2, 3, 4);
	CHECK(rig_write(&g, text, PATIENCE) == ZBZ_OK && g.done == 4);
	snprintf(text, sizeof text, "%063d\n%060d...\n%059d...\n%058d...\n", 1, 0, 3, 4);
	CHECK(receiver_has(&r, text) && r.datagrams == 4);
	CHECK(r.sizes[0] == 64 && r.sizes[1] == 64 && r.sizes[2] == 63 && r.sizes[3] == 62);
	rig_close(&g);
	receiver_end(&r);
}

static void datagrams_are_cut(void) {
	cut_datagrams(AF_INET, "udp", NULL);
	cut_datagrams(AF_INET6, "udp", NULL);
	cut_datagrams(AF_UNIX, "unix", in_work("d"));
}

/* Larger than the system lets through: refused for good, its neighbours arrive. */
static void too_large(void) {
	receiver r;
	zbz_output *o;
	static char huge[400000];
	char more[300];
	CHECK(receiver_start(&r, AF_UNIX, SOCK_DGRAM, 0, in_work("d")));
	snprintf(more, sizeof more, "max_message=1MB dead_letter=%s.dead", in_work("x"));
	CHECK(open_to(&o, "unix", r.address, more) == ZBZ_OK);
	memset(huge, 'h', sizeof huge - 2);
	huge[sizeof huge - 2] = '\n';
	say(o, "before\n");
	say(o, huge);
	say(o, "after\n");
	CHECK(flush(o, PATIENCE) == ZBZ_OK && receiver_has(&r, "before\nafter\n"));
	CHECK(numbers(o).dead_letters == 1 && numbers(o).written == 2);
	zbz_output_unref(o);
	receiver_end(&r);
}

/* A port of this machine where nobody listens says so: the records wait. */
static void udp_away_and_back(void) {
	receiver r;
	zbz_output *o;
	int port = free_port(SOCK_DGRAM);
	char address[40];
	snprintf(address, sizeof address, "127.0.0.1:%d", port);
	CHECK(open_to(&o, "udp", address, "") == ZBZ_OK);
	for (int i = 0; i < 20; i++) say_line(o, i);
	CHECK(await_retries(o, 3) && numbers(o).written == 0);
	CHECK(receiver_start(&r, AF_INET, SOCK_DGRAM, port, NULL));
	CHECK(flush(o, PATIENCE) == ZBZ_OK && receiver_has(&r, text_of(0, 20)) && r.datagrams == 20);
	zbz_output_unref(o);
	receiver_end(&r);
}

/* ---- memory ---- */

static void without_memory(void) {
	receiver r;
	char lines[4][200];
	CHECK(receiver_start(&r, AF_UNIX, SOCK_DGRAM, 0, in_work("m")));
	snprintf(lines[0], sizeof lines[0], "unix address=%s", r.address);
	snprintf(lines[1], sizeof lines[1], "syslog address=%s", r.address);
	snprintf(lines[2], sizeof lines[2], "%s", "tcp address=127.0.0.1:9");
	snprintf(lines[3], sizeof lines[3], "%s", "tcp address=127.0.0.1:9 tls=true tls_verify=false");
	for (int k = 0; k < 4; k++) {
		bool failed = true;
		for (long n = 1; failed; n++) {
			rig g;
			long live;
			faults_begin(n);
			if (rig_open(&g, lines[k]) == ZBZ_OK) {
				zbz_status status = rig_write(&g, "x\n", PATIENCE);
				CHECK(status == ZBZ_OK || err.retryable);
				rig_close(&g);
			}
			failed = faults_end(&live);
			CHECK(live == 0);
		}
	}
	receiver_end(&r);
}

int main(void) {
	signal(SIGPIPE, SIG_DFL); /* none of it may raise it */
	if (!dirs_make()) return 2;
	RUN(wrong_options);
	RUN(lines_arrive);
	RUN(ipv6_and_names);
	RUN(away_and_back);
	RUN(resets);
	RUN(hanging);
	RUN(hanging_with_a_spool);
	RUN(another_write);
	RUN(talkative);
	RUN(unix_kinds);
	RUN(unread_stream);
	RUN(unread_datagrams);
	RUN(datagrams_are_cut);
	RUN(too_large);
	RUN(udp_away_and_back);
	RUN(without_memory);
	dirs_remove();
	return DONE();
}
