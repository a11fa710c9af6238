/* The server's own commands, for programs that want them: those without a data block, one key each, sent as one pipeline. The words may
 * hold no byte that could end the line. Keys are the server's own here, not coded.
 *
 * A reply as MessagePack: a line is a string; a value is [line, value]; several of either are an array. */
#include "memcached_impl.h"
#include "zbz/pack.h"

typedef enum verb_kind { ONE_REPLY, UNTIL_END, KEYLESS = 4 } verb_kind;

static const struct verb {
	const char *name;
	unsigned kind;
	size_t key, min, max; /* which word is the key; words in all, 0: any number */
} verbs[] = { { "mg", ONE_REPLY, 1, 2, 0 },
	          { "md", ONE_REPLY, 1, 2, 0 },
	          { "ma", ONE_REPLY, 1, 2, 0 },
	          { "me", ONE_REPLY, 1, 2, 2 },
	          { "touch", ONE_REPLY, 1, 3, 3 },
	          { "incr", ONE_REPLY, 1, 3, 3 },
	          { "decr", ONE_REPLY, 1, 3, 3 },
	          { "delete", ONE_REPLY, 1, 2, 2 },
	          { "get", UNTIL_END, 1, 2, 2 },
	          { "gets", UNTIL_END, 1, 2, 2 },
	          { "gat", UNTIL_END, 2, 3, 3 },
	          { "gats", UNTIL_END, 2, 3, 3 },
	          { "mn", ONE_REPLY | KEYLESS, 0, 1, 1 },
	          { "version", ONE_REPLY | KEYLESS, 0, 1, 1 },
	          { "flush_all", ONE_REPLY | KEYLESS, 0, 1, 2 },
	          { "stats", UNTIL_END | KEYLESS, 0, 1, 2 } };

#define MAX_LINE 2000

typedef struct native {
	const struct verb **verbs;
	zbz_buf *replies; /* of each command: the packed lines */
	uint32_t *lines;
} native;

static const struct verb *verb_find(zbz_bytes word) {
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
		if (zbz_bytes_eq(word, zbz_bstr(verbs[i].name))) return &verbs[i];
	return NULL;
}

static zbz_status word_check(zbz_bytes w, zbz_err *err) {
	if (w.n == 0) return zbz_fail(err, ZBZ_E_ARGUMENT, "a word of a memcached command is empty");
	for (size_t i = 0; i < w.n; i++)
		if ((unsigned char)w.p[i] <= 0x20 || w.p[i] == 0x7f)
			return zbz_fail(err, ZBZ_E_ARGUMENT, "a word of a memcached command holds the byte 0x%02x",
			                (unsigned char)w.p[i]);
	return ZBZ_OK;
}

/* A command that asks for silence would leave its reply to the next one. */
static bool is_quiet(const struct verb *v, zbz_bytes w, size_t i) {
	return i > v->key && v->name[0] == 'm' && v->name[2] == '\0' && w.p[0] == 'q';
}

static zbz_status command_check(const zbz_bytes *argv, size_t n, size_t servers, const struct verb **out,
                                zbz_err *err) {
	size_t total = 0;
	const struct verb *v = n > 0 ? verb_find(argv[0]) : NULL;
	if (v == NULL)
		return zbz_fail(
		    err, ZBZ_E_UNSUPPORTED,
		    "not a command of one line that memcached.command can send; mg md ma me get incr stats ... are");
	if (n < v->min || (v->max > 0 && n > v->max))
		return zbz_fail(err, ZBZ_E_ARGUMENT, "command %s has a wrong number of words", v->name);
	for (size_t i = 0; i < n; i++) {
		zbz_status s = word_check(argv[i], err);
		if (s != ZBZ_OK) return s;
		if (is_quiet(v, argv[i], i) || zbz_bytes_eq(argv[i], zbz_bstr("noreply")))
			return zbz_fail(err, ZBZ_E_ARGUMENT, "command %s: q and noreply cannot be sent, every command is answered",
			                v->name);
		total += argv[i].n + 1;
	}
	if (total > MAX_LINE)
		return zbz_fail(err, ZBZ_E_TOO_LARGE, "command %s is longer than %d bytes", v->name, MAX_LINE);
	if (v->key > 0 && argv[v->key].n > ZBZ_MC_KEY_MAX)
		return zbz_fail(err, ZBZ_E_KEY, "command %s: a key of memcached has at most 250 bytes", v->name);
	if (v->kind & KEYLESS && servers > 1)
		return zbz_fail(err, ZBZ_E_UNSUPPORTED, "command %s has no key and there are several servers", v->name);
	*out = v;
	return ZBZ_OK;
}

static zbz_status pack_reply(zbz_buf *b, const zbz_meta_reply *r, zbz_err *err) {
	zbz_status s = ZBZ_OK;
	if (r->code == ZBZ_META_ERROR) {
		zbz_status meaning = zbz_bytes_has_prefix(r->line, zbz_bstr("CLIENT_ERROR"))   ? ZBZ_E_ARGUMENT
		                     : zbz_bytes_has_prefix(r->line, zbz_bstr("SERVER_ERROR")) ? ZBZ_E_UNAVAILABLE
		                                                                               : ZBZ_E_UNSUPPORTED;
		return zbz_pack_error(b, meaning, meaning == ZBZ_E_UNAVAILABLE, r->line, err);
	}
	bool value = r->code == ZBZ_META_VA || r->code == ZBZ_META_VALUE;
	if (value) s = zbz_pack_array(b, 2, err);
	if (s == ZBZ_OK) s = zbz_pack_str(b, r->line, err);
	return s == ZBZ_OK && value ? zbz_pack_str(b, r->value, err) : s;
}

static zbz_status native_reply(zbz_mc_lane *l, size_t index, const zbz_meta_reply *r, zbz_err *err) {
	native *x = l->ud;
	size_t i = l->ids[index];
	bool until_end = x->verbs[i]->kind & UNTIL_END, error = r->code == ZBZ_META_ERROR;
	if (until_end && (zbz_bytes_eq(r->line, zbz_bstr("END")) || zbz_bytes_eq(r->line, zbz_bstr("RESET"))))
		return ZBZ_OK;
	if (error) x->lines[i] = 0, x->replies[i].n = 0;
	x->lines[i] += !error;
	zbz_status s = pack_reply(&x->replies[i], r, err);
	return s < 0 ? s : until_end && !error ? ZBZ_AGAIN : ZBZ_OK;
}

static zbz_status command_write(const zbz_bytes *argv, size_t n, zbz_buf *out, zbz_err *err) {
	zbz_status s = ZBZ_OK;
	for (size_t i = 0; i < n && s == ZBZ_OK; i++) {
		s = zbz_buf_append(out, argv[i].p, argv[i].n, err);
		if (s == ZBZ_OK) s = zbz_buf_append(out, i + 1 < n ? " " : "\r\n", i + 1 < n ? 1 : 2, err);
	}
	return s;
}

static size_t command_server(zbz_mc *mc, const struct verb *v, const zbz_bytes *argv) {
	zbz_mc_key key;
	if (v->key == 0) return 0;
	key.n = argv[v->key].n;
	memcpy(key.text, argv[v->key].p, key.n);
	return zbz_mc_server_of(mc, &key);
}

/* Splits the commands over the servers, keeping their order on each. */
static zbz_status native_plan(zbz_mc *mc, zbz_call *c, const zbz_bytes *argv, const size_t *ends, size_t count,
                              native *x, zbz_mc_lane *lanes, size_t *ids) {
	size_t at = 0;
	for (size_t i = 0; i < count; i++) {
		size_t from = i > 0 ? ends[i - 1] : 0;
		zbz_status s = command_check(argv + from, ends[i] - from, mc->n, &x->verbs[i], &c->err);
		if (s != ZBZ_OK) return s;
	}
	for (size_t k = 0; k < mc->n; k++) {
		lanes[k] = (zbz_mc_lane){ .server = k, .reply = native_reply, .ud = x, .ids = ids + at };
		for (size_t i = 0; i < count; i++) {
			size_t from = i > 0 ? ends[i - 1] : 0;
			if (command_server(mc, x->verbs[i], argv + from) != k) continue;
			zbz_status s = command_write(argv + from, ends[i] - from, &lanes[k].out, &c->err);
			if (s != ZBZ_OK) return s;
			ids[at++] = i;
			lanes[k].expect++;
		}
	}
	return ZBZ_OK;
}

static zbz_status native_emit(const native *x, size_t count, zbz_buf *out, zbz_err *err) {
	zbz_status s = ZBZ_OK;
	for (size_t i = 0; i < count && s == ZBZ_OK; i++) {
		bool array = x->verbs[i]->kind & UNTIL_END && (x->lines[i] > 0 || x->replies[i].n == 0);
		if (array) s = zbz_pack_array(out, x->lines[i], err);
		if (s == ZBZ_OK) s = zbz_buf_append(out, x->replies[i].p, x->replies[i].n, err);
	}
	return s;
}

zbz_status zbz_mc_command(void *self, zbz_call *c, const zbz_bytes *argv, const size_t *ends, size_t count,
                          zbz_buf *out) {
	zbz_mc *mc = self;
	native x = { .verbs = zbz_calloc(count, sizeof *x.verbs),
		         .replies = zbz_calloc(count, sizeof *x.replies),
		         .lines = zbz_calloc(count, sizeof *x.lines) };
	zbz_mc_lane *lanes = zbz_calloc(mc->n, sizeof *lanes);
	size_t *ids = zbz_calloc(count, sizeof *ids);
	bool whole = x.verbs != NULL && x.replies != NULL && x.lines != NULL && lanes != NULL && ids != NULL;
	zbz_status s = whole ? native_plan(mc, c, argv, ends, count, &x, lanes, ids) : zbz_fail_nomem(&c->err);
	if (s == ZBZ_OK) s = zbz_mc_exchange(mc, c, lanes, mc->n, false);
	if (s == ZBZ_OK) s = native_emit(&x, count, out, &c->err);
	for (size_t k = 0; lanes != NULL && k < mc->n; k++) zbz_buf_clear(&lanes[k].out);
	for (size_t i = 0; x.replies != NULL && i < count; i++) zbz_buf_clear(&x.replies[i]);
	zbz_free(x.verbs);
	zbz_free(x.replies);
	zbz_free(x.lines);
	zbz_free(lanes);
	zbz_free(ids);
	return s;
}
