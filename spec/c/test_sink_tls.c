/* TLS of the network outputs, against openssl s_server: who is believed, who is not, and what the error says. */
#include "net_rig.h"

#include <fcntl.h>
#include <sys/prctl.h>

/* ---- certificates ---- */

static bool sh(const char *command) {
	char all[1500];
	snprintf(all, sizeof all, "cd '%s' && { %s; } >/dev/null 2>&1", work, command);
	return system(all) == 0;
}

/* One authority, another one, and certificates: of localhost, of another name, of last year, of a client. */
static bool make_certificates(void) {
	static const char make[] = "key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $1.key; }\n"
	                           "for ca in ca other; do key $ca && openssl req -x509 -new -key $ca.key -subj /CN=$ca "
	                           "-days 30 -out $ca.pem || exit 1; done\n"
	                           "issue() { key $1 && openssl req -new -key $1.key -subj /CN=$1 -out $1.csr && printf "
	                           "\"subjectAltName=$2\\n\" >$1.ext &&\n"
	                           "openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days $3 "
	                           "-extfile $1.ext -out $1.pem; }\n"
	                           "issue good DNS:localhost,IP:127.0.0.1 30 && issue elsewhere DNS:elsewhere.test 30 && "
	                           "issue old DNS:localhost,IP:127.0.0.1 -1 &&\n"
	                           "issue client DNS:client.test 30";
	return sh(make);
}

/* ---- the server ---- */

typedef struct server {
	pid_t pid;
	int port, out; /* what it has received */
	char address[60];
} server;

static bool listening(int port) {
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ok = connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
	close(fd);
	return ok;
}

/* port 0: a free one. client: it wants to see a certificate. */
static bool server_start(server *s, int port, const char *name, bool client) {
	char cert[120], key[120], ca[120], text[8];
	int ends[2];
	snprintf(cert, sizeof cert, "%s/%s.pem", work, name);
	snprintf(key, sizeof key, "%s/%s.key", work, name);
	snprintf(ca, sizeof ca, "%s/ca.pem", work);
	s->port = port != 0 ? port : free_port(SOCK_STREAM);
	snprintf(text, sizeof text, "%d", s->port);
	snprintf(s->address, sizeof s->address, "localhost:%d", s->port);
	if (pipe2(ends, O_CLOEXEC) != 0) return false;
	s->pid = fork();
	if (s->pid == 0) {
		int null = open("/dev/null", O_RDWR);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, STDERR_FILENO);
		dup2(ends[1], STDOUT_FILENO);
		if (pipe(ends) != 0) _exit(1); /* a standard input that never ends */
		dup2(ends[0], STDIN_FILENO);
		execlp("openssl", "openssl", "s_server", "-quiet", "-4", "-accept", text, "-cert", cert, "-key", key, "-CAfile",
		       ca, client ? "-Verify" : NULL, "1", "-verify_return_error", (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	s->out = ends[0];
	for (int i = 0; i < PATIENCE && !listening(s->port); i++) nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	return listening(s->port);
}

static void server_end(server *s) {
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	close(s->out);
}

/* So many bytes that it has received, and what they are. */
static bool server_has(const server *s, const char *want) {
	char got[4096];
	size_t n = 0;
	struct pollfd p = { .fd = s->out, .events = POLLIN };
	while (n < strlen(want) && poll(&p, 1, PATIENCE) == 1) {
		ssize_t k = read(s->out, got + n, sizeof got - n);
		if (k <= 0) break;
		n += (size_t)k;
	}
	if (n == strlen(want) && memcmp(got, want, n) == 0) return true;
	fprintf(stderr, "the server has: %.*s\n", (int)n, got);
	return false;
}

static zbz_status open_tls(rig *g, const char *type, const char *address, const char *more) {
	char line[600];
	snprintf(line, sizeof line, "%s address=%s tls=true %s", type, address, more);
	return rig_open(g, line);
}
static const char *with(const char *ca, const char *more) {
	static char text[400];
	snprintf(text, sizeof text, "tls_ca=%s/%s.pem %s", work, ca, more);
	return text;
}

/* ---- the tests ---- */

static void believed(void) {
	server s;
	rig g;
	char address[40];
	CHECK(server_start(&s, 0, "good", false));
	CHECK(open_tls(&g, "tcp", s.address, with("ca", "")) == ZBZ_OK);
	CHECK(rig_write(&g, "one\ntwo\n", PATIENCE) == ZBZ_OK && g.done == 2 && server_has(&s, "one\ntwo\n"));
	rig_close(&g);
	snprintf(address, sizeof address, "127.0.0.1:%d", s.port); /* an address in the certificate */
	CHECK(open_tls(&g, "tcp", address, with("ca", "")) == ZBZ_OK);
	CHECK(rig_write(&g, "three\n", PATIENCE) == ZBZ_OK && server_has(&s, "three\n"));
	rig_close(&g);
	CHECK(open_tls(&g, "syslog", s.address, with("ca", "hostname=h app=a")) == ZBZ_OK);
	CHECK(rig_write(&g, "msg\n", PATIENCE) == ZBZ_OK);
	{
		char want[200];
		int n = snprintf(want, sizeof want, "<14>1 1970-01-01T00:00:00.000000Z h a %d app - msg", (int)getpid());
		char framed[220];
		snprintf(framed, sizeof framed, "%d %s", n, want);
		CHECK(server_has(&s, framed));
	}
	rig_close(&g);
	server_end(&s);
}

/* Refused, with the reason and the option; nothing has been sent, nothing is lost. */
static void refuses(const char *certificate, const char *more, const char *part, const char *option) {
	server s;
	rig g;
	CHECK(server_start(&s, 0, certificate, false));
	CHECK(open_tls(&g, "tcp", s.address, more) == ZBZ_OK);
	CHECK(rig_write(&g, "secret\n", PATIENCE) == ZBZ_E_DENIED && err.retryable && g.done == 0);
	if (!says(part) || strcmp(err.option, option) != 0) fprintf(stderr, "%s [%s]\n", err.text, err.option);
	CHECK(says(part) && says(s.address));
	CHECK_STR(err.option, option);
	rig_close(&g);
	CHECK(open_tls(&g, "tcp", s.address, "tls_verify=false") == ZBZ_OK);
	CHECK(rig_write(&g, "any\n", PATIENCE) == ZBZ_OK &&
	      server_has(&s, "any\n")); /* the secret has not come before it */
	rig_close(&g);
	server_end(&s);
}

static void not_believed(void) {
	refuses("good", with("other", ""), "tls_ca", "tls_ca");
	refuses("good", "", "tls_ca", "tls_ca"); /* the system does not know it either */
	refuses("elsewhere", with("ca", ""), "tls_server_name", "tls_server_name");
	refuses("good", with("ca", "tls_server_name=elsewhere.test"), "tls_server_name", "tls_server_name");
	refuses("old", with("ca", ""), "expired", "");
}

static void another_name(void) {
	server s;
	rig g;
	CHECK(server_start(&s, 0, "elsewhere", false));
	CHECK(open_tls(&g, "tcp", s.address, with("ca", "tls_server_name=elsewhere.test")) == ZBZ_OK);
	CHECK(rig_write(&g, "x\n", PATIENCE) == ZBZ_OK && server_has(&s, "x\n"));
	rig_close(&g);
	server_end(&s);
}

static void client_certificate(void) {
	server s;
	rig g;
	char more[700];
	CHECK(server_start(&s, 0, "good", true));
	CHECK(open_tls(&g, "tcp", s.address, with("ca", "")) == ZBZ_OK);
	for (int i = 0; i < 5; i++) {
		CHECK(rig_write(&g, "x\n", PATIENCE) == ZBZ_E_DENIED && err.retryable && g.done == 0 && says("certificate"));
		CHECK_STR(err.option, "tls_cert");
	}
	rig_close(&g);
	snprintf(more, sizeof more, "%s tls_cert=%s/client.pem tls_key=%s/client.key", with("ca", ""), work, work);
	CHECK(open_tls(&g, "tcp", s.address, more) == ZBZ_OK);
	CHECK(rig_write(&g, "known\n", PATIENCE) == ZBZ_OK && server_has(&s, "known\n"));
	rig_close(&g);
	snprintf(more, sizeof more, "tcp address=x:1 tls=true tls_cert=%s/client.pem tls_key=%s/good.key", work, work);
	CHECK(rig_refuses(more, "tls_key", "good.key"));
	server_end(&s);
}

/* A server that speaks no TLS, one that says nothing, one that is killed and comes back. */
static void faults(void) {
	receiver r;
	server s;
	rig g;
	int64_t before = zbz_mono(zbz_clock_system());
	CHECK(receiver_start(&r, AF_INET, SOCK_STREAM, 0, NULL));
	CHECK(open_tls(&g, "tcp", r.address, "timeout=200ms") == ZBZ_OK);
	CHECK(rig_write(&g, "x\n", PATIENCE) == ZBZ_E_TIMEOUT && err.retryable && says("handshake"));
	CHECK(zbz_mono(zbz_clock_system()) - before < 5000);
	rig_close(&g);
	RECEIVER_SET(&r, chatty, true);
	CHECK(open_tls(&g, "tcp", r.address, "") == ZBZ_OK);
	CHECK(rig_write(&g, "x\n", PATIENCE) == ZBZ_E_UNAVAILABLE && err.retryable && says("TLS"));
	rig_close(&g);
	receiver_end(&r);
	CHECK(server_start(&s, 0, "good", false));
	CHECK(open_tls(&g, "tcp", s.address, with("ca", "")) == ZBZ_OK);
	CHECK(rig_write(&g, "one\n", PATIENCE) == ZBZ_OK && server_has(&s, "one\n"));
	server_end(&s);
	CHECK(rig_write(&g, "two\n", PATIENCE) == ZBZ_E_UNAVAILABLE && err.retryable && g.done == 0);
	CHECK(server_start(&s, s.port, "good", false));
	CHECK(rig_write(&g, "two\n", PATIENCE) == ZBZ_OK && server_has(&s, "two\n"));
	rig_close(&g);
	server_end(&s);
}

/* Stopped in the midst of a long write, then going on: nothing comes twice. */
static void hanging(void) {
	enum { LINES = 20000 };
	static unsigned char seen[LINES];
	static char text[LINES * LINE_N];
	server s;
	zbz_output *o;
	counted c = { 0 };
	char line[500];
	size_t n = 0;
	CHECK(server_start(&s, 0, "good", false));
	snprintf(line, sizeof line, "type=tcp address=%s tls=true timeout=100ms max_retry_delay=50ms %.200s", s.address,
	         with("ca", ""));
	CHECK(log_open(line, &o, &err) == ZBZ_OK);
	say_line(o, 0);
	CHECK(flush(o, PATIENCE) == ZBZ_OK);
	for (int i = 1; i < LINES; i++) say_line(o, i); /* its output is not read either, so it stops by itself */
	CHECK(await_retries(o, 2) && numbers(o).lag > 0);
	while (n < sizeof text) {
		ssize_t k = read(s.out, text + n, sizeof text - n);
		if (k <= 0) break;
		n += (size_t)k;
	}
	CHECK(n == sizeof text && flush(o, PATIENCE) == ZBZ_OK);
	count_lines(text, n, seen, LINES, &c);
	CHECK(c.seen == LINES && c.torn == 0 && c.doubled == 0 && c.disorder == 0);
	zbz_output_unref(o);
	server_end(&s);
}

int main(void) {
	if (!dirs_make()) return 2;
	if (!make_certificates()) {
		fprintf(stderr, "openssl makes no certificates\n");
		return 2;
	}
	RUN(believed);
	RUN(not_believed);
	RUN(another_name);
	RUN(client_certificate);
	RUN(faults);
	RUN(hanging);
	dirs_remove();
	return DONE();
}
