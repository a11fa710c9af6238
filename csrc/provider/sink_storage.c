/* Sink `storage`: one object in a bucket for each batch.
 *
 * The object's name is made of the mark that the journal keeps: the time, a number of this writer, a count. So who finishes a batch after a death or
 * an unclear answer asks for the object of that name, and writes it again under the same one if it is not there: exactly once. */
#include "sink_storage.h"

#include "core/registry.h"
#include "base/random.h"
#include "packer.h"

#include <stdio.h>
#include <time.h>

#define STAMP "%Y%m%dT%H%M%S"

enum { STAMP_N = 20, WRITER_N = 16, COUNT_MAX_N = 18 }; /* with .123Z; digits */

typedef struct storage_options {
	zbz_bucket *bucket;
	char *prefix;
	int compress;
	int64_t keep, keep_for;
} storage_options;

static const zbz_option storage_option_list[] = {
	{ "bucket", NULL, ZBZ_OPT_BUCKET, offsetof(storage_options, bucket), NULL, NULL, 0, 0,
	  "Where to: {provider=\"filesystem\", base_dir=...} or {provider=\"memory\"}" },
	{ "prefix", NULL, ZBZ_OPT_TEXT, offsetof(storage_options, prefix), "%Y/%m/%d/", NULL, 0, 0,
	  "Begins the objects' names; with the time (UTC) in it as strftime has it" },
	{ "compress", NULL, ZBZ_OPT_ENUM, offsetof(storage_options, compress), "none", "none|gzip", 0, 0,
	  "Objects are packed; gzip needs zlib" },
	{ "keep", NULL, ZBZ_OPT_INT, offsetof(storage_options, keep), NULL, NULL, 0, 0,
	  "How many former objects of this prefix stay, whoever wrote them; 0: all" },
	{ "keep_for", NULL, ZBZ_OPT_DURATION, offsetof(storage_options, keep_for), NULL, NULL, 0, 0,
	  "How long former objects stay; 0: for ever" },
	{ NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL }
};

typedef struct storage {
	zbz_bucket *bucket;
	char *prefix;
	const zbz_packer *packer; /* NULL: objects are plain */
	uint64_t writer, count;   /* writer: by chance, so that no two are alike */
	zbz_sink_mark mark;       /* of the object that is being written: ms, writer, count * 2 + packed */
	zbz_buf packed;
	zbz_retain retain;
} storage;

/* ---- names ---- */

bool zbz_storage_name(const char *prefix, const zbz_sink_mark *m, char out[ZBZ_OBJECT_NAME_MAX + 1], size_t *n) {
	time_t seconds = (time_t)(m->device / 1000);
	char stamp[32];
	struct tm tm;
	int end;
	if (gmtime_r(&seconds, &tm) == NULL) return false;
	*n = prefix[0] != '\0' ? strftime(out, ZBZ_OBJECT_NAME_MAX, prefix, &tm) : 0;
	if ((*n == 0 && prefix[0] != '\0') || strftime(stamp, sizeof stamp, STAMP, &tm) == 0) return false;
	end = snprintf(out + *n, ZBZ_OBJECT_NAME_MAX + 1 - *n, "%s.%03uZ-%016llx-%06llu.log%s", stamp,
	               (unsigned)(m->device % 1000), (unsigned long long)m->inode, (unsigned long long)(m->size / 2),
	               m->size % 2 != 0 ? ".gz" : "");
	*n += (size_t)end;
	return *n <= ZBZ_OBJECT_NAME_MAX;
}

static size_t digits_before(zbz_bytes text, size_t at) {
	size_t from = at;
	while (from > 0 && text.p[from - 1] >= '0' && text.p[from - 1] <= '9') from--;
	return at - from;
}

/* Read by and by, then made again: what is the same is one. */
bool zbz_storage_mark(const char *prefix, zbz_bytes name, zbz_sink_mark *m) {
	char copy[STAMP_N + WRITER_N + COUNT_MAX_N + 8], made[ZBZ_OBJECT_NAME_MAX + 1];
	struct tm tm = { 0 };
	unsigned ms;
	unsigned long long writer, count;
	bool packed = name.n > 3 && memcmp(name.p + name.n - 3, ".gz", 3) == 0;
	size_t end = name.n - (packed ? 3 : 0), count_n, tail_n;
	if (end < 4 || memcmp(name.p + end - 4, ".log", 4) != 0) return false;
	count_n = digits_before(name, end -= 4);
	tail_n = STAMP_N + 1 + WRITER_N + 1 + count_n;
	if (count_n > COUNT_MAX_N || end < tail_n) return false;
	snprintf(copy, sizeof copy, "%.*s", (int)tail_n, name.p + end - tail_n);
	if (sscanf(copy, "%4d%2d%2dT%2d%2d%2d.%3uZ-%16llx-%18llu", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
	           &tm.tm_min, &tm.tm_sec, &ms, &writer, &count) != 9)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	m->device = (uint64_t)timegm(&tm) * 1000 + ms;
	m->inode = writer;
	m->size = count * 2 + packed;
	return zbz_storage_name(prefix, m, made, &tail_n) && zbz_bytes_eq(name, zbz_b(made, tail_n));
}

/* What a name would be is known before anything is written. */
static zbz_status check_prefix(const storage *s, zbz_err *err) {
	const zbz_sink_mark sample = { 0, 0, 0 };
	char name[ZBZ_OBJECT_NAME_MAX + 1];
	zbz_object_info info;
	zbz_call c = { .clock = zbz_clock_system(), .deadline = 0 };
	size_t n;
	if (!zbz_storage_name(s->prefix, &sample, name, &n)) return zbz_fail_option(err, "prefix", "is too long");
	if (zbz_bucket_stat(s->bucket, &c, zbz_b(name, n), &info) != ZBZ_E_KEY) return ZBZ_OK;
	return zbz_fail_option(err, "prefix", "makes no name of an object: %s", c.err.text);
}

/* ---- open and close ---- */

static void storage_close(void *self) {
	storage *s = self;
	zbz_bucket_unref(s->bucket);
	zbz_buf_clear(&s->packed);
	zbz_retain_clear(&s->retain);
	zbz_free(s->prefix);
	zbz_free(s);
}

static zbz_status find_packer(storage *s, zbz_err *err) {
	const void *table;
	zbz_status status = zbz_plugin_table("gzip", "zlib1g", "zbz_packer_plugin", &table, err);
	if (status == ZBZ_OK)
		s->packer = table;
	else if (err != NULL)
		snprintf(err->option, sizeof err->option, "compress");
	return status;
}

static zbz_status storage_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	const storage_options *o = options;
	storage *s;
	zbz_status status;
	(void)clock; /* each call brings the time */
	if (o->bucket == NULL) return zbz_fail_option(err, "bucket", "is needed: {provider=\"filesystem\", base_dir=...}");
	s = zbz_calloc(1, sizeof *s);
	if (s == NULL) return zbz_fail_nomem(err);
	s->bucket = zbz_bucket_ref(o->bucket);
	s->prefix = zbz_strdup(o->prefix);
	zbz_retain_init(&s->retain, s->bucket, s->prefix, o->keep, o->keep_for);
	status = s->prefix != NULL ? zbz_random(&s->writer, sizeof s->writer, err) : zbz_fail_nomem(err);
	if (status == ZBZ_OK && o->compress != 0) status = find_packer(s, err);
	if (status == ZBZ_OK) status = check_prefix(s, err);
	if (status == ZBZ_OK)
		*self = s;
	else
		storage_close(s);
	return status;
}

static zbz_status storage_identity(void *self, zbz_buf *out, zbz_err *err) {
	const storage *s = self;
	zbz_status status = zbz_bucket_identity(s->bucket, out, err);
	if (status == ZBZ_OK) status = zbz_buf_putc(out, '\0', err);
	return status == ZBZ_OK ? zbz_buf_append(out, s->prefix, strlen(s->prefix), err) : status;
}

/* ---- writing ---- */

/* The order of names is that of the records, also when another writer has just died; unless a clock was set back by a second or more. */
static uint64_t time_after(const storage *s, int64_t now, const zbz_sink_mark *last) {
	uint64_t least = last->device + (last->inode != s->writer);
	return least > (uint64_t)now && least - (uint64_t)now < 1000 ? least : (uint64_t)now;
}

static zbz_status storage_mark(void *self, zbz_call *c, uint64_t least, zbz_sink_mark *mark, uint64_t *room) {
	storage *s = self;
	(void)least, (void)room;
	s->mark = (zbz_sink_mark){ time_after(s, c->now, mark), s->writer, ++s->count * 2 + (s->packer != NULL) };
	*mark = s->mark;
	return ZBZ_OK;
}

static zbz_status bad_name(zbz_call *c) { return zbz_fail(&c->err, ZBZ_E_CONFIG, "the object would have no name"); }

/* All of it or nothing. */
static zbz_status storage_landed(void *self, zbz_call *c, const zbz_sink_mark *mark, uint64_t *bytes) {
	storage *s = self;
	char name[ZBZ_OBJECT_NAME_MAX + 1];
	zbz_object_info info;
	size_t n;
	zbz_status status;
	s->mark = *mark;
	*bytes = 0;
	if (!zbz_storage_name(s->prefix, mark, name, &n)) return bad_name(c);
	status = zbz_bucket_stat(s->bucket, c, zbz_b(name, n), &info);
	if (status == ZBZ_OK) *bytes = INT64_MAX;
	return status < 0 ? status : ZBZ_OK;
}

/* Whatever it is, it may be mended: room, rights, a network. No record is at fault, so none is given up here. */
static zbz_status later(zbz_call *c, zbz_status status) {
	if (status < 0) c->err.retryable = true;
	return status;
}

static zbz_status storage_write(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done) {
	storage *s = self;
	char name[ZBZ_OBJECT_NAME_MAX + 1];
	zbz_bytes body = zbz_record_run(records, n);
	size_t name_n;
	zbz_status status = ZBZ_OK;
	*done = 0;
	if (!zbz_storage_name(s->prefix, &s->mark, name, &name_n)) return later(c, bad_name(c));
	if (s->mark.size % 2 != 0) {
		s->packed.n = 0;
		if (s->packer == NULL) status = find_packer(s, &c->err); /* a batch of former options */
		if (status == ZBZ_OK) status = s->packer->bytes(body, &s->packed, &c->err);
		body = zbz_buf_bytes(&s->packed);
	}
	if (status == ZBZ_OK) status = zbz_bucket_put(s->bucket, c, zbz_b(name, name_n), body);
	if (status == ZBZ_OK) *done = n;
	later(c, status);
	zbz_retain_after(&s->retain, c, &s->mark, status);
	return status;
}

const zbz_sink_ops zbz_sink_storage = {
	.abi = ZBZ_ABI,
	.name = "storage",
	.summary = "an object in a bucket for each batch",
	.batch_size = "4MB",
	.batch_wait = "60s",
	.options_size = sizeof(storage_options),
	.options = storage_option_list,
	.open = storage_open,
	.close = storage_close,
	.write = storage_write,
	.mark = storage_mark,
	.landed = storage_landed,
	.identity = storage_identity,
};
