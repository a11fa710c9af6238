/* The options of an output. */
#include "output.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define SPOOL_LEAST (1 << 20)

static const zbz_option common[] = {
	{ "type", NULL, ZBZ_OPT_TEXT, offsetof(zbz_stream_options, type), NULL, NULL, 0, 0, "The kind of output" },
	{ "account", NULL, ZBZ_OPT_TEXT, offsetof(zbz_stream_options, account), "", NULL, 0, 0,
	  "What its counters stand under if nothing else tells it from others of its type: memory, null" },
	{ "policy", NULL, ZBZ_OPT_ENUM, offsetof(zbz_stream_options, policy), "block", "block|drop_newest|drop_oldest", 0,
	  0, "What a record meets when the ring is full" },
	{ "block_for", NULL, ZBZ_OPT_DURATION, offsetof(zbz_stream_options, block_for), "1s", NULL, 0, 3600000,
	  "With policy block: the longest wait of one record; then it is dropped and counted" },
	{ "ring", NULL, ZBZ_OPT_TEXT, offsetof(zbz_stream_options, ring), "/dev/shm", NULL, 0, 0,
	  "Directory of the rings that outlive a crash; on a disk they outlive the host's restart as well" },
	{ "ring_size", NULL, ZBZ_OPT_SIZE, offsetof(zbz_stream_options, ring_size), "4MB", NULL, ZBZ_RING_LEAST, 1 << 30,
	  "Room for records of one process that are not written yet; rounded up to a power of two" },
	{ "sync", NULL, ZBZ_OPT_ENUM, offsetof(zbz_stream_options, sync), "none", "none|group", 0, 0,
	  "group: on stable storage a few milliseconds after the write, many records at a time; flush waits for it" },
	{ "batch_size", NULL, ZBZ_OPT_SIZE, offsetof(zbz_stream_options, batch_size), "256KB", NULL, 1, ZBZ_BATCH_BYTES_MAX,
	  "Most bytes of text in one write; a larger record goes alone" },
	{ "batch_wait", NULL, ZBZ_OPT_DURATION, offsetof(zbz_stream_options, batch_wait), "0s", NULL, 0, 3600000,
	  "How long a batch may fill before less than batch_size is written; flush and closing do not wait for it" },
	{ "flush_level", NULL, ZBZ_OPT_ENUM, offsetof(zbz_stream_options, flush_level), "off",
	  "off|trace|debug|info|warn|error|fatal", 0, 0,
	  "From this level on a record ends the wait: the batch it is in is written at once" },
	{ "spool", NULL, ZBZ_OPT_TEXT, offsetof(zbz_stream_options, spool), NULL, NULL, 0, 0,
	  "Directory on disk for records while the output fails or hangs: a ring that is half full then moves there" },
	{ "spool_size", NULL, ZBZ_OPT_SIZE, offsetof(zbz_stream_options, spool_size), "1GB", NULL, SPOOL_LEAST, 0,
	  "Bound of the spool; when it is full, records stay in the ring, and policy decides" },
	{ "retry_timeout", NULL, ZBZ_OPT_DURATION, offsetof(zbz_stream_options, retry_timeout), NULL, NULL, 0, 0,
	  "A record older than this when an attempt has failed goes to the dead letters; 0: never" },
	{ "max_retry_delay", NULL, ZBZ_OPT_DURATION, offsetof(zbz_stream_options, max_retry_delay), "30s", NULL, 1, 3600000,
	  "Longest pause between two attempts of a failing output" },
	{ "linger", NULL, ZBZ_OPT_DURATION, offsetof(zbz_stream_options, linger), "2s", NULL, 0, 3600000,
	  "How long closing waits for the records to be written; what is left stays in the ring" },
	{ "dead_letter", NULL, ZBZ_OPT_TEXT, offsetof(zbz_stream_options, dead_letter), NULL, NULL, 0, 0,
	  "File for records that the output refuses for good; without it they are only counted" },
	{ "dead_letter_size", NULL, ZBZ_OPT_SIZE, offsetof(zbz_stream_options, dead_letter_size), "16MB", NULL, 0, 0,
	  "Bound of that file" },
};
#define COMMON (sizeof common / sizeof *common)

static zbz_status join(const zbz_sink_ops *ops, zbz_stream_setup *setup, zbz_err *err) {
	size_t n = 0;
	while (ops->options[n].name != NULL) n++;
	setup->list = zbz_calloc(COMMON + n + 1, sizeof *setup->list);
	setup->values = zbz_calloc(1, ZBZ_SINK_OPTIONS_AT + ops->options_size);
	if (setup->list == NULL || setup->values == NULL) return zbz_fail_nomem(err);
	memcpy(setup->list, common, sizeof common);
	for (size_t i = 0; i < COMMON; i++) {
		zbz_option *o = &setup->list[i];
		if (strcmp(o->name, "batch_size") == 0 && ops->batch_size != NULL) o->dflt = ops->batch_size;
		if (strcmp(o->name, "batch_wait") == 0 && ops->batch_wait != NULL) o->dflt = ops->batch_wait;
	}
	memcpy(setup->list + COMMON, ops->options, (n + 1) * sizeof *setup->list);
	for (size_t i = 0; i < n; i++) setup->list[COMMON + i].offset += ZBZ_SINK_OPTIONS_AT;
	return ZBZ_OK;
}

/* The file is made when it is needed: a misspelt directory would not be seen before. */
static zbz_status check_dead_letter(const char *path, zbz_err *err) {
	const char *slash = strrchr(path, '/');
	int n = slash == NULL || slash == path ? 1 : (int)(slash - path);
	char dir[PATH_MAX];
	struct stat st;
	if (n >= PATH_MAX) return zbz_fail_option(err, "dead_letter", "the path is too long");
	snprintf(dir, sizeof dir, "%.*s", n, slash == NULL ? "." : path);
	if (stat(dir, &st) == 0 && S_ISDIR(st.st_mode)) return ZBZ_OK;
	return zbz_fail_option(err, "dead_letter", "there is no directory %.200s", dir);
}

zbz_status zbz_setup_parse(const zbz_config *cfg, const zbz_sink_ops **ops, zbz_stream_setup *setup, zbz_err *err) {
	const char *type = zbz_config_text(cfg, "type");
	zbz_status status;
	const zbz_stream_options *o;
	*setup = (zbz_stream_setup){ NULL, NULL };
	if (type == NULL) return zbz_fail_option(err, "type", "names the kind of output, like \"file\" or \"console\"");
	status = zbz_sink_find(type, ops, err);
	if (status == ZBZ_OK) status = join(*ops, setup, err);
	if (status == ZBZ_OK) {
		status = zbz_options_parse(cfg, setup->list, setup->values, err);
		if (status != ZBZ_OK) { /* they are released already */
			zbz_free(setup->values);
			setup->values = NULL;
		}
	}
	o = setup->values;
	if (status == ZBZ_OK && !(*ops)->terminal && o->ring[0] != '/')
		status = zbz_fail_option(err, "ring", "expects an absolute path, got '%.40s'", o->ring);
	if (status == ZBZ_OK && o->spool != NULL && (*ops)->terminal)
		status = zbz_fail_option(err, "spool", "an output of type %s ends with the process and has none", (*ops)->name);
	if (status == ZBZ_OK && o->spool != NULL && o->spool[0] != '/')
		status = zbz_fail_option(err, "spool", "expects an absolute path, got '%.40s'", o->spool);
	if (status == ZBZ_OK && o->dead_letter != NULL) status = check_dead_letter(o->dead_letter, err);
	if (status != ZBZ_OK) zbz_setup_clear(setup);
	return status;
}

zbz_status zbz_setup_open(const zbz_sink_ops *ops, const zbz_stream_setup *setup, const zbz_clock *clock, void **sink,
                          zbz_buf *identity, zbz_err *err) {
	zbz_status status = ops->open(sink, (const char *)setup->values + ZBZ_SINK_OPTIONS_AT, clock, err);
	if (status != ZBZ_OK) return status;
	if (ops->identity != NULL) status = ops->identity(*sink, identity, err);
	if (status == ZBZ_OK && !ops->terminal && identity->n == 0)
		status = zbz_fail(err, ZBZ_E_ARGUMENT, "the sink '%s' does not tell what it writes to", ops->name);
	if (status == ZBZ_OK) return ZBZ_OK;
	ops->close(*sink);
	zbz_buf_clear(identity);
	return status;
}

void zbz_setup_clear(zbz_stream_setup *setup) {
	if (setup->values != NULL && setup->list != NULL) zbz_options_clear(setup->list, setup->values);
	zbz_free(setup->values);
	zbz_free(setup->list);
	*setup = (zbz_stream_setup){ NULL, NULL };
}
