/* Which sinks there are, and what each of the built-in ones does with bad input. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>

#include "log_help.h"

static zbz_err err;
static bool says(const char *part) { return strstr(err.text, part) != NULL; }

static void built_in(void) {
	const zbz_sink_ops *ops;
	const char *const names[] = { "file", "console", "memory", "null", "tcp", "udp", "unix", "syslog", "storage" };
	for (size_t i = 0; i < 9; i++) {
		CHECK_STR(zbz_sink_name_at(i), names[i]);
		CHECK(zbz_sink_find(names[i], &ops, &err) == ZBZ_OK && strcmp(ops->name, names[i]) == 0 &&
		      ops->summary != NULL);
	}
	CHECK_STR(zbz_sink_name_at(9), "loki"); /* a plug-in, named without being loaded */
	CHECK(zbz_sink_name_at(10) == NULL);
	CHECK(zbz_sink_find("consle", &ops, &err) == ZBZ_E_UNKNOWN_PROVIDER && says("nearest: console") && says("memory"));
	CHECK_STR(err.option, "type");
	CHECK(zbz_sink_find("../x", &ops, &err) == ZBZ_E_UNKNOWN_PROVIDER);
}

static void registered(void) {
	const zbz_sink_ops *ops;
	zbz_sink_ops bad = told_sink;
	CHECK(zbz_sink_register(&told_sink, &err) == ZBZ_OK && zbz_sink_register(&told_sink, &err) == ZBZ_OK);
	CHECK(zbz_sink_find("told", &ops, &err) == ZBZ_OK && ops == &told_sink);
	CHECK_STR(zbz_sink_name_at(10), "told");
	bad.abi++;
	CHECK(zbz_sink_register(&bad, &err) == ZBZ_E_ARGUMENT && says("interface"));
	bad = told_sink;
	CHECK(zbz_sink_register(&bad, &err) == ZBZ_E_ARGUMENT && says("registered as 'told' already"));
	bad.name = "No Good";
	CHECK(zbz_sink_register(&bad, &err) == ZBZ_E_ARGUMENT);
	bad.name = "nowrite";
	bad.write = NULL;
	CHECK(zbz_sink_register(&bad, &err) == ZBZ_E_ARGUMENT && says("'nowrite' lacks"));
}

static const char plugin[] =
    "#include <zbz/sink.h>\n"
    "static zbz_status o(void **s, const void *p, const zbz_clock *c, zbz_err *e) { *s = zbz_malloc(1); return ZBZ_OK; "
    "}\n"
    "static zbz_status w(void *s, zbz_call *c, const zbz_record *r, size_t n, size_t *d) { *d = n; return ZBZ_OK; }\n"
    "static const zbz_option none[1];\n"
    "const zbz_sink_ops *zbz_sink_plugin(void);\nconst zbz_sink_ops *zbz_sink_plugin(void) {\n"
    "static const zbz_sink_ops ops = { .abi = ZBZ_ABI, .name = NAME, .terminal = true, .options = none, .open = o, "
    ".close = zbz_free, "
    ".write = w };\nreturn &ops; }\n";

static bool build(const char *file, const char *name) {
	char command[600], path[120];
	FILE *f;
	snprintf(path, sizeof path, "%s/sink.c", work);
	f = fopen(path, "w");
	if (f == NULL || fputs(plugin, f) < 0 || fclose(f) != 0) return false;
	snprintf(command, sizeof command,
	         "${CC:-cc} -shared -fPIC -DNAME='\"%s\"' -I\"$(dirname %s)/../../csrc/include\" -o %s/%s.so %s", name,
	         __FILE__, work, file, path);
	return system(command) == 0;
}

static void in_a_plugin(void) {
	const zbz_sink_ops *ops;
	zbz_output *o;
	CHECK(build("third", "third") && build("misnamed", "other"));
	CHECK(zbz_sink_find("third", &ops, &err) == ZBZ_E_UNKNOWN_PROVIDER);
	CHECK(zbz_plugin_dir(work, &err) == ZBZ_OK);
	CHECK(log_open("type=third", &o, &err) == ZBZ_OK);
	say(o, "x\n");
	CHECK(flush(o, 5000) == ZBZ_OK && numbers(o).written == 1);
	zbz_output_unref(o);
	CHECK(zbz_sink_find("misnamed", &ops, &err) == ZBZ_E_UNSUPPORTED && says("'other'"));
	CHECK(zbz_plugin_dir(NULL, &err) == ZBZ_OK);
}

/* ---- memory ---- */

static void memory_is_bounded(void) {
	zbz_output *o;
	zbz_call c = log_call(5000);
	zbz_buf out = { 0 };
	char line[2000];
	CHECK(log_open("type=memory size=1KB", &o, &err) == ZBZ_OK);
	for (int i = 0; i < 1000; i++) {
		snprintf(line, sizeof line, "line %03d\n", i);
		say(o, line);
	}
	CHECK(zbz_output_read(o, &c, false, &out) == ZBZ_OK);
	CHECK(out.n <= 1024 && out.n > 1000 && out.n % 9 == 0);
	CHECK(memcmp(out.p + out.n - 9, "line 999\n", 9) == 0 && memcmp(out.p, "line 8", 6) == 0);
	memset(line, 'x', sizeof line - 1);
	line[sizeof line - 1] = '\0';
	say(o, line); /* larger than all of it: refused for good */
	say(o, "after\n");
	zbz_buf_reset(&out);
	CHECK(zbz_output_read(o, &c, true, &out) == ZBZ_OK && memcmp(out.p + out.n - 6, "after\n", 6) == 0);
	CHECK(numbers(o).dead_letters == 1);
	zbz_buf_clear(&out);
	zbz_output_unref(o);
	CHECK(log_open("type=null", &o, &err) == ZBZ_OK);
	CHECK(zbz_output_read(o, &c, true, &out) == ZBZ_E_UNSUPPORTED);
	zbz_output_unref(o);
}

/* ---- console ---- */

/* Standard error as a pipe that is full at first: the rest goes out when somebody reads, no line is torn or twice. */
static void slow_console(void) {
	enum { LINES = 3000 };
	zbz_output *o;
	int ends[2], saved = dup(STDERR_FILENO), bad = 0;
	char line[64], buffer[4096];
	size_t n = 0, want = 0;
	FILE *in;
	CHECK(pipe(ends) == 0 && fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
	dup2(ends[1], STDERR_FILENO);
	CHECK(log_open("type=console stream=stderr", &o, &err) == ZBZ_OK);
	for (int i = 0; i < LINES; i++) {
		want += (size_t)snprintf(line, sizeof line, "%d a line of the console, forty bytes or so\n", i);
		say(o, line);
	}
	CHECK(flush(o, 100) == ZBZ_E_TIMEOUT); /* more than a pipe holds */
	in = fdopen(ends[0], "r");
	for (int i = 0; i < LINES && fgets(buffer, sizeof buffer, in) != NULL; i++, n += strlen(buffer)) {
		snprintf(line, sizeof line, "%d a line of the console, forty bytes or so\n", i);
		bad += strcmp(buffer, line) != 0;
	}
	CHECK(flush(o, 5000) == ZBZ_OK);
	zbz_output_unref(o);
	dup2(saved, STDERR_FILENO);
	CHECK(bad == 0 && n == want);
	fclose(in);
	close(ends[1]);
	close(saved);
}

/* Nobody will ever read: the records are given up and counted, the program goes on. */
static void broken_console(void) {
	zbz_output *o;
	int ends[2], saved = dup(STDERR_FILENO);
	CHECK(pipe(ends) == 0);
	dup2(ends[1], STDERR_FILENO);
	close(ends[0]);
	close(ends[1]);
	CHECK(log_open("type=console stream=stderr", &o, &err) == ZBZ_OK);
	say(o, "x\n");
	say(o, "y\n");
	CHECK(flush(o, 5000) == ZBZ_OK);
	dup2(saved, STDERR_FILENO);
	close(saved);
	CHECK(numbers(o).dead_letters == 2);
	zbz_output_unref(o);
	CHECK(log_open("type=console stream=both", &o, &err) == ZBZ_E_CONFIG);
	CHECK_STR(err.option, "stream");
}

int main(void) {
	if (!dirs_make()) return 1;
	RUN(built_in);
	RUN(registered);
	RUN(in_a_plugin);
	RUN(memory_is_bounded);
	RUN(slow_console);
	RUN(broken_console);
	dirs_remove();
	return DONE();
}
