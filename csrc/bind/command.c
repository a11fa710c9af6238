/* The backend's own commands and details: what comes back as MessagePack. */
#include <math.h>
#include <stdio.h>

#include "request.h"

#define WORDS_MAX ((size_t)1 << 20)

/* Both arrays stand in one userdata; the words' bytes in the scratch buffer, so `argv` is filled once that has
 * stopped moving. */
typedef struct pipeline {
	zbz_bytes *argv;
	size_t *ends;
	size_t count, words;
} pipeline;

static size_t list_size(lua_State *L, int idx) {
	size_t n;
	if (!lua_istable(L, idx)) luaL_error(L, "zbz: command: a list of commands expected, each a list of words");
	n = lua_rawlen(L, idx);
	if (n == 0 || n > WORDS_MAX) luaL_error(L, "zbz: command: a list of 1 to %d entries expected", (int)WORDS_MAX);
	return n;
}

static void measure(lua_State *L, pipeline *p) {
	size_t i;
	p->count = list_size(L, 2);
	p->words = 0;
	for (i = 1; i <= p->count; i++) {
		lua_rawgeti(L, 2, (int)i);
		p->words += list_size(L, lua_gettop(L));
		lua_pop(L, 1);
	}
	if (p->words > WORDS_MAX) luaL_error(L, "zbz: command: too many words");
}

static zbz_status add_number(lua_State *L, zbz_buf *text, zbz_err *err) {
	int64_t whole;
	lua_Number n;
	if (zbz_int_at(L, lua_gettop(L), &whole)) return zbz_buf_printf(text, err, "%lld", (long long)whole);
	n = lua_tonumber(L, -1);
	if (n != n || isinf(n)) return zbz_fail(err, ZBZ_E_ARGUMENT, "a word is NaN or infinite");
	return zbz_buf_printf(text, err, "%.17g", (double)n);
}

/* The word on the top; its bytes are not yet final, so only the length is noted. */
static zbz_status add_word(lua_State *L, zbz_buf *text, zbz_bytes *word, zbz_err *err) {
	size_t before = text->n;
	zbz_status s;
	if (lua_type(L, -1) == LUA_TSTRING) {
		zbz_bytes v = zbz_string_at(L, lua_gettop(L));
		s = zbz_buf_append(text, v.p, v.n, err);
	} else if (lua_type(L, -1) == LUA_TNUMBER) {
		s = add_number(L, text, err);
	} else {
		s = zbz_fail(err, ZBZ_E_ARGUMENT, "words are strings or numbers, got %s", luaL_typename(L, -1));
	}
	word->n = text->n - before;
	return s;
}

static zbz_status add_command(lua_State *L, pipeline *p, size_t *word, zbz_buf *text, zbz_err *err) {
	zbz_status s = ZBZ_OK;
	int list = lua_gettop(L);
	size_t n = lua_istable(L, list) ? lua_rawlen(L, list) : 0, i;
	if (n == 0 || n > p->words - *word) return zbz_fail(err, ZBZ_E_ARGUMENT, "the commands changed during the call");
	for (i = 1; i <= n && s == ZBZ_OK; i++) {
		lua_rawgeti(L, list, (int)i);
		s = add_word(L, text, &p->argv[(*word)++], err);
		lua_pop(L, 1);
	}
	return s;
}

static zbz_status gather(lua_State *L, pipeline *p, zbz_buf *text, zbz_err *err) {
	zbz_status s = ZBZ_OK;
	size_t i, word = 0, at = 0;
	for (i = 0; i < p->count && s == ZBZ_OK; i++) {
		lua_rawgeti(L, 2, (int)i + 1);
		s = add_command(L, p, &word, text, err);
		p->ends[i] = word;
		lua_pop(L, 1);
	}
	for (i = 0; i < word; i++) {
		p->argv[i].p = text->p + at;
		at += p->argv[i].n;
	}
	return s;
}

static void push_reply_error(lua_State *L, zbz_bytes reply) {
	zbz_err err;
	zbz_where at = zbz_at("command");
	zbz_bytes text = reply.n > 2 ? zbz_b(reply.p + 2, reply.n - 2) : zbz_bstr("an error without a text");
	memset(&err, 0, sizeof(err));
	zbz_fail(&err, reply.n > 0 ? (zbz_status) - (int)(unsigned char)reply.p[0] : ZBZ_E_UNAVAILABLE, "%.*s",
	         (int)(text.n < 255 ? text.n : 255), text.p);
	err.retryable = reply.n > 1 && reply.p[1] != 0;
	zbz_push_error(L, &err, &at);
}

static zbz_status push_replies(lua_State *L, size_t count, zbz_bytes in, zbz_err *err) {
	zbz_status s = ZBZ_OK;
	size_t i;
	int list;
	lua_createtable(L, (int)count, 0);
	list = lua_gettop(L);
	for (i = 1; i <= count && s == ZBZ_OK; i++) {
		s = zbz_codec_decode_reply(L, &in, push_reply_error, err);
		if (s == ZBZ_OK) lua_rawseti(L, list, (int)i);
	}
	return s;
}

static void parse_command(lua_State *L, zbz_bind *b, zbz_request *r) {
	pipeline p;
	zbz_cache_check(L, b, 1, "command");
	zbz_ms_arg(L, 3, "command", "deadline", -1);
	zbz_request_room(L, 3);
	measure(L, &p);
	p.argv = zbz_newuserdata(L, p.words * sizeof(*p.argv) + p.count * sizeof(*p.ends));
	p.ends = (size_t *)(void *)(p.argv + p.words);
	r->words = zbz_scratch_second(L);
	r->buf = zbz_scratch_take(L, b);
	memset(&r->c.err, 0, sizeof(r->c.err));
	r->s = gather(L, &p, r->words, &r->c.err);
	if (r->s != ZBZ_OK) return;
	r->keys = p.argv;
	r->count = p.words;
	r->ends = p.ends;
	r->commands = p.count;
	zbz_request_store(L, r, 3);
}
static zbz_status run_command(zbz_request *r) {
	return zbz_store_command(r->store, &r->c, r->keys, r->ends, r->commands, r->buf);
}
static int push_command(lua_State *L, zbz_bind *b, zbz_request *r) {
	r->s = push_replies(L, r->commands, zbz_buf_bytes(r->buf), &r->c.err);
	return 1;
}
static const zbz_verb command_verb = { "command", parse_command, run_command, push_command, ZBZ_CHANGES,
	                                   false,     false,         ZBZ_ALONE,   false };
static int cache_command(lua_State *L) { return zbz_request_call(L, &command_verb); }

/* ---- inspect ---- */

static void parse_inspect(lua_State *L, zbz_bind *b, zbz_request *r) {
	r->key = zbz_key_arg(L, 2, "inspect");
	zbz_cache_check(L, b, 1, "inspect");
	zbz_ms_arg(L, 3, "inspect", "deadline", -1);
	zbz_request_room(L, 3);
	r->buf = zbz_scratch_take(L, b);
	zbz_request_store(L, r, 3);
}
static zbz_status run_inspect(zbz_request *r) { return zbz_store_inspect(r->store, &r->c, r->key, r->buf); }
static int push_inspect(lua_State *L, zbz_bind *b, zbz_request *r) {
	if (r->s == ZBZ_OK) {
		r->s = zbz_codec_decode(L, ZBZ_CODEC_MSGPACK, zbz_buf_bytes(r->buf), &r->c.err);
	} else {
		lua_pushnil(L);
	}
	return 1;
}
static const zbz_verb inspect_verb = { "inspect", parse_inspect, run_inspect, push_inspect, ZBZ_READS,
	                                   false,     false,         ZBZ_ALONE,   false };
static int cache_inspect(lua_State *L) { return zbz_request_call(L, &inspect_verb); }

/* ---- counters of the provider ---- */

static void parse_counters(lua_State *L, zbz_bind *b, zbz_request *r) {
	zbz_cache_check(L, b, 1, "provider_counters");
	zbz_ms_arg(L, 2, "provider_counters", "deadline", -1);
	zbz_request_room(L, 2);
	r->buf = zbz_scratch_take(L, b);
	zbz_request_store(L, r, 2);
}
static zbz_status run_counters(zbz_request *r) { return zbz_store_counters(r->store, &r->c, r->buf); }
static const zbz_verb counters_verb = {
	"provider_counters", parse_counters, run_counters, push_inspect, ZBZ_READS, false, false, ZBZ_ALONE, false
};
static int cache_counters(lua_State *L) { return zbz_request_call(L, &counters_verb); }

static const zbz_verb *const verbs[] = { &command_verb, &inspect_verb, &counters_verb, NULL };
const zbz_verb *const *const zbz_command_verbs = verbs;

const luaL_Reg zbz_cache_native_methods[] = {
	{ "command", cache_command }, { "inspect", cache_inspect }, { "provider_counters", cache_counters }, { NULL, NULL }
};
