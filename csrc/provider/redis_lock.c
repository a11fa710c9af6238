/* Locks: a key that holds the holder's token and expires with its lease, as in the pattern that the Redis documentation gives for a single
 * server. Who is refused adds a mark behind the token; only a marked lock's release is told, on one channel per database. */
#include "provider/redis_impl.h"

#include <stdio.h>

static const char take_lock[] = "local v = redis.pcall('GET', KEYS[1])\n"
                                "if type(v) == 'table' and v.err then return v end\n"
                                "if not v then\n"
                                "  v = redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])\n"
                                "  if v.err then return v end\n"
                                "  return ''\n"
                                "end\n"
                                "local holder = string.sub(v, 1, #ARGV[1])\n"
                                "if holder == ARGV[1] then return '' end\n"
                                "if #v == #ARGV[1] then redis.pcall('APPEND', KEYS[1], '+') end\n"
                                "return holder .. redis.call('PTTL', KEYS[1])\n";

static const char drop_lock[] = "local v = redis.pcall('GET', KEYS[1])\n"
                                "if type(v) == 'table' and v.err then return v end\n"
                                "if not v or string.sub(v, 1, #ARGV[1]) ~= ARGV[1] then return 0 end\n"
                                "local gone = redis.pcall('DEL', KEYS[1])\n"
                                "if type(gone) == 'table' then return gone end\n"
                                "if #v > #ARGV[1] then redis.pcall('PUBLISH', ARGV[2], ARGV[3]) end\n"
                                "return 1\n";

enum { CHANNEL_ROOM = 48, NAME_MAX_N = 128 };

zbz_status redis_locks_init(redis_self *self, zbz_err *err) {
	zbz_status s = redis_script_name(self, take_lock, self->take_lock, err);
	return s == ZBZ_OK ? redis_script_name(self, drop_lock, self->drop_lock, err) : s;
}

/* Channels know no databases. */
static zbz_bytes channel_of(const redis_self *self, char room[CHANNEL_ROOM]) {
	int n = snprintf(room, CHANNEL_ROOM, ZBZ_RESERVED "unlock:%lld", (long long)self->target.database);
	return zbz_b(room, (size_t)n);
}

static int64_t digits(zbz_bytes text) {
	int64_t v = 0;
	size_t i;
	if (text.n == 0 || text.n > 18) return -1;
	for (i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9') return -1;
		v = v * 10 + (text.p[i] - '0');
	}
	return v;
}

static zbz_status read_holder(zbz_bytes answer, zbz_holder *holder, zbz_err *err) {
	if (answer.n == 0) return ZBZ_OK;
	if (answer.n < ZBZ_LOCK_TOKEN) return zbz_fail(err, ZBZ_E_CORRUPT, "a lock holds what is no token");
	memcpy(holder->token, answer.p, ZBZ_LOCK_TOKEN);
	holder->left = digits(zbz_b(answer.p + ZBZ_LOCK_TOKEN, answer.n - ZBZ_LOCK_TOKEN));
	return ZBZ_REFUSED;
}

/* May run twice: the second time the token stands there already. */
zbz_status redis_lock(void *ud, zbz_call *c, zbz_bytes name, const uint8_t *token, int64_t lease_ms,
                      zbz_holder *holder) {
	redis_self *self = ud;
	redis_answer answer = { 0 };
	redis_attempt a;
	zbz_buf text = { 0 };
	char ms[24];
	zbz_bytes argv[3] = { zbz_b(token, ZBZ_LOCK_TOKEN), { ms, 0 }, { "", 0 } };
	zbz_status s;
	argv[1].n = (size_t)snprintf(ms, sizeof ms, "%lld", (long long)lease_ms);
	redis_attempt_init(&a, self, c, true);
	do {
		zbz_buf_reset(&text);
		s = redis_attempt_begin(&a);
		if (s == ZBZ_OK) s = redis_script_run(&a, self->take_lock, take_lock, name, argv, "b", &answer, &text);
	} while (redis_attempt_again(&a, s));
	if (s == ZBZ_OK) s = read_holder(zbz_buf_bytes(&text), holder, &c->err);
	zbz_buf_clear(&text);
	return s;
}

zbz_status redis_unlock(void *ud, zbz_call *c, zbz_bytes name, const uint8_t *token, zbz_outcome outcome) {
	redis_self *self = ud;
	redis_answer answer = { 0 };
	redis_attempt a;
	char channel[CHANNEL_ROOM], note[1 + ZBZ_LOCK_TOKEN + NAME_MAX_N];
	zbz_bytes argv[3] = { zbz_b(token, ZBZ_LOCK_TOKEN), channel_of(self, channel), zbz_b(note, 1 + ZBZ_LOCK_TOKEN) };
	zbz_status s;
	if (name.n > NAME_MAX_N) return zbz_fail(&c->err, ZBZ_E_ARGUMENT, "the name of a lock is too long");
	note[0] = (char)('0' + outcome);
	memcpy(note + 1, token, ZBZ_LOCK_TOKEN);
	memcpy(note + argv[2].n, name.p, name.n);
	argv[2].n += name.n;
	redis_attempt_init(&a, self, c, true);
	do {
		s = redis_attempt_begin(&a);
		if (s == ZBZ_OK) s = redis_script_run(&a, self->drop_lock, drop_lock, name, argv, "i", &answer, NULL);
	} while (redis_attempt_again(&a, s));
	if (s != ZBZ_OK) return s;
	return answer.integer == 1 || a.doubtful ? ZBZ_OK : ZBZ_MISS;
}

/* ---- the channel ---------------------------------------------------------------------------------------------------- */

typedef struct unlock_watch {
	void (*fn)(void *ud, zbz_bytes name, const uint8_t *token, zbz_outcome outcome);
	void *ud, *subscription;
} unlock_watch;

static void on_message(void *ud, zbz_bytes channel, zbz_bytes note) {
	const unlock_watch *w = ud;
	const size_t head = 1 + ZBZ_LOCK_TOKEN;
	(void)channel;
	if (note.p == NULL)
		w->fn(w->ud, note, NULL, ZBZ_OUTCOME_UNKNOWN);
	else if (note.n > head && note.p[0] >= '0' && note.p[0] <= '0' + ZBZ_OUTCOME_FAILED)
		w->fn(w->ud, zbz_b(note.p + head, note.n - head), (const uint8_t *)note.p + 1, (zbz_outcome)(note.p[0] - '0'));
}

zbz_status redis_on_unlock(void *ud, zbz_call *c,
                           void (*fn)(void *ud, zbz_bytes name, const uint8_t *token, zbz_outcome outcome), void *fn_ud,
                           void **watch) {
	unlock_watch *w = zbz_malloc(sizeof *w);
	char room[CHANNEL_ROOM];
	zbz_bytes channel = channel_of(ud, room);
	zbz_status s;
	if (!w) return zbz_fail_nomem(&c->err);
	*w = (unlock_watch){ fn, fn_ud, NULL };
	s = redis_subscribe(ud, c, &channel, 1, false, on_message, w, &w->subscription);
	if (s == ZBZ_OK)
		*watch = w;
	else
		zbz_free(w);
	return s;
}

void redis_off_unlock(void *ud, void *watch) {
	unlock_watch *w = watch;
	redis_unsubscribe(ud, w->subscription);
	zbz_free(w);
}
