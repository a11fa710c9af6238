/* JSON to Lua values: one pass, recursive descent, every byte looked at once or twice.
 *
 * The size of a table is known only at its end, and growing a Lua table step by step costs more than reading the
 * text. So the first elements wait on the Lua stack and the table is made when they are counted; what comes after
 * those goes straight in. */
#include "codec_internal.h"

enum { SCRATCH = 512 };

/* How much may wait, by depth: LuaJIT gives a C function 8000 slots, and 128 levels have to fit. */
#define DEEP                 8
#define WAITING_ITEMS(depth) ((depth) <= DEEP ? 256 : 16)
#define WAITING_PAIRS(depth) ((depth) <= DEEP ? 64 : 8)

typedef struct decoder {
	lua_State *L;
	const char *start, *p, *end;
	zbz_err *err;
	zbz_status status;
	int depth;
	char *scratch; /* SCRATCH bytes, for strings with escapes, if short */
} decoder;

static bool value(decoder *d);

static bool fail(decoder *d, const char *at, const char *what) {
	d->status = zbz_fail(d->err, ZBZ_E_DECODE, "json: %s at byte %zu", what, (size_t)(at - d->start) + 1);
	return false;
}
/* The same, when the reason may be that the bytes end here. */
static bool fail_here(decoder *d, const char *what) { return fail(d, d->p, d->p < d->end ? what : "unexpected end"); }

static inline void skip_space(decoder *d) {
	const char *p = d->p;
	while (p < d->end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) p++;
	d->p = p;
}

/* ---- strings ----------------------------------------------------------------------------------------------------- */

/* d->p stands after the opening quote; finds the closing one. */
static inline const char *string_end(decoder *d, bool *escaped) {
	const char *p = d->p, *end = d->end, *bad;
	*escaped = false;
	while (p < end) {
		unsigned char c;
		if (end - p >= 8) {
			uint64_t hits = zbz_json_special(zbz_load8(p));
			if (hits == 0) {
				p += 8;
				continue;
			}
			p += zbz_plain_bytes(hits);
		}
		c = (unsigned char)*p;
		if (c == '"') return p;
		if (c == '\\') {
			*escaped = true;
			p += end - p >= 2 ? 2 : 1;
		} else if (c >= 0x80) {
			p = zbz_utf8_run(p, end, &bad);
			if (p == NULL) return fail(d, bad, "invalid UTF-8"), NULL;
		} else if (c < 0x20) {
			return fail(d, p, "a control byte in a string"), NULL;
		} else {
			p++;
		}
	}
	return fail(d, end, "unexpected end in a string"), NULL;
}

/* Four hex digits, or -1. */
static long hex4(const char *p, const char *end) {
	long v = 0;
	int i;
	if (end - p < 4) return -1;
	for (i = 0; i < 4; i++) {
		char c = p[i], lower = (char)(c | 0x20);
		if (c >= '0' && c <= '9')
			v = v * 16 + (c - '0');
		else if (lower >= 'a' && lower <= 'f')
			v = v * 16 + (lower - 'a' + 10);
		else
			return -1;
	}
	return v;
}

static char *put_utf8(char *out, unsigned long c) {
	if (c < 0x80) {
		*out++ = (char)c;
	} else if (c < 0x800) {
		*out++ = (char)(0xC0 | c >> 6);
		*out++ = (char)(0x80 | (c & 0x3F));
	} else {
		if (c < 0x10000) {
			*out++ = (char)(0xE0 | c >> 12);
		} else {
			*out++ = (char)(0xF0 | c >> 18);
			*out++ = (char)(0x80 | (c >> 12 & 0x3F));
		}
		*out++ = (char)(0x80 | (c >> 6 & 0x3F));
		*out++ = (char)(0x80 | (c & 0x3F));
	}
	return out;
}

/* \uXXXX, *at at the backslash; a pair of surrogates is one character. */
static char *unescape_unicode(decoder *d, const char **at, const char *end, char *out) {
	const char *p = *at;
	long c = hex4(p + 2, end), low;
	if (c < 0) return fail(d, p, "\\u without four hexadecimal digits"), NULL;
	p += 6;
	if (c >= 0xD800 && c <= 0xDFFF) {
		low = c <= 0xDBFF && end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? hex4(p + 2, end) : -1;
		if (low < 0xDC00 || low > 0xDFFF) return fail(d, *at, "half of a surrogate pair"), NULL;
		c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
		p += 6;
	}
	*at = p;
	return put_utf8(out, (unsigned long)c);
}

static char *unescape_one(decoder *d, const char **at, const char *end, char *out) {
	char c = (*at)[1];
	switch (c) {
	case '"':
	case '\\':
	case '/': break;
	case 'b': c = '\b'; break;
	case 'f': c = '\f'; break;
	case 'n': c = '\n'; break;
	case 'r': c = '\r'; break;
	case 't': c = '\t'; break;
	case 'u': return unescape_unicode(d, at, end, out);
	default: return fail(d, *at, "an unknown escape"), NULL;
	}
	*at += 2;
	*out++ = c;
	return out;
}

/* Escapes never make a text longer. A long one is put together in a userdata, so that nothing is lost if Lua runs
 * out of memory. */
static bool push_escaped(decoder *d, const char *s, const char *end) {
	size_t n = (size_t)(end - s);
	bool large = n > SCRATCH;
	char *buffer = large ? lua_newuserdata(d->L, n) : d->scratch, *out = buffer;
	while (s < end) {
		const char *next = memchr(s, '\\', (size_t)(end - s));
		size_t run = (size_t)((next != NULL ? next : end) - s);
		memcpy(out, s, run);
		out += run;
		s += run;
		if (next == NULL) break;
		out = unescape_one(d, &s, end, out);
		if (out == NULL) return false;
	}
	lua_pushlstring(d->L, buffer, (size_t)(out - buffer));
	if (large) lua_remove(d->L, -2);
	return true;
}

static inline bool string(decoder *d) {
	bool escaped;
	const char *s = ++d->p, *end = string_end(d, &escaped);
	if (end == NULL) return false;
	d->p = end + 1;
	if (ZBZ_UNLIKELY(escaped)) return push_escaped(d, s, end);
	lua_pushlstring(d->L, s, (size_t)(end - s));
	return true;
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

static bool enter(decoder *d, int slots) {
	if (d->depth == ZBZ_CODEC_DEPTH) return fail(d, d->p, "more than 128 levels");
	d->depth++;
	d->p++;
	if (!lua_checkstack(d->L, slots)) return fail(d, d->p, "the Lua stack is full");
	skip_space(d);
	return true;
}
static bool leave(decoder *d) {
	d->p++;
	d->depth--;
	return true;
}

/* Between elements: 1 at a comma (skipped, with the space after it), 0 at the closing bracket, -1 failed. */
static inline int more(decoder *d, char closing, const char *expected) {
	skip_space(d);
	if (d->p < d->end && *d->p == ',') {
		d->p++;
		skip_space(d);
		return 1;
	}
	if (d->p < d->end && *d->p == closing) return 0;
	return fail_here(d, expected), -1;
}

/* Makes the array in `slot` out of the n values above it. */
static void gather_items(lua_State *L, int slot, int n, int size) {
	lua_createtable(L, size, 0);
	lua_replace(L, slot);
	for (; n > 0; n--) lua_rawseti(L, slot, n);
}

static bool array(decoder *d) {
	lua_State *L = d->L;
	int slot = 0, n = 0, limit = WAITING_ITEMS(d->depth), next;
	if (!enter(d, 24)) return false;
	if (d->p < d->end && *d->p == ']') return zbz_codec_push_empty_array(L), leave(d);
	lua_pushnil(L);
	slot = lua_gettop(L);
	do {
		if (!value(d)) return false;
		n++;
		if (n > limit) {
			lua_rawseti(L, slot, n);
		} else if (n == limit) {
			gather_items(L, slot, n, 2 * n);
		} else if (n % 16 == 0 && !lua_checkstack(L, 24)) {
			return fail(d, d->p, "the Lua stack is full");
		}
		next = more(d, ']', "expected ',' or ']'");
	} while (next > 0);
	if (next < 0) return false;
	if (n < limit) gather_items(L, slot, n, n);
	return leave(d);
}

/* Makes the object in `slot` out of the n pairs above it, in their order: the last of equal keys has to win. */
static void gather_pairs(lua_State *L, int slot, int n, int size) {
	int i;
	lua_createtable(L, 0, size);
	lua_replace(L, slot);
	for (i = 1; i < 2 * n; i += 2) {
		lua_pushvalue(L, slot + i);
		lua_pushvalue(L, slot + i + 1);
		lua_rawset(L, slot);
	}
	lua_settop(L, slot);
}

static bool pair(decoder *d) {
	if (d->p >= d->end || *d->p != '"') return fail_here(d, "expected a key");
	if (!string(d)) return false;
	skip_space(d);
	if (d->p >= d->end || *d->p != ':') return fail_here(d, "expected ':'");
	d->p++;
	skip_space(d);
	return value(d);
}

static bool object(decoder *d) {
	lua_State *L = d->L;
	int slot, n = 0, limit = WAITING_PAIRS(d->depth), next;
	if (!enter(d, 24)) return false;
	if (d->p < d->end && *d->p == '}') return lua_createtable(L, 0, 0), leave(d);
	lua_pushnil(L);
	slot = lua_gettop(L);
	do {
		if (!pair(d)) return false;
		n++;
		if (n > limit) {
			lua_rawset(L, slot);
		} else if (n == limit) {
			gather_pairs(L, slot, n, 2 * n);
		} else if (n % 8 == 0 && !lua_checkstack(L, 24)) {
			return fail(d, d->p, "the Lua stack is full");
		}
		next = more(d, '}', "expected ',' or '}'");
	} while (next > 0);
	if (next < 0) return false;
	if (n < limit) gather_pairs(L, slot, n, n);
	return leave(d);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static bool number(decoder *d) {
	zbz_number n;
	const char *at = d->p, *why = zbz_number_read(&d->p, d->end, &n);
	if (ZBZ_UNLIKELY(why != NULL)) return fail_here(d, why);
	if (!n.is_int)
		lua_pushnumber(d->L, n.d);
	else if (!zbz_push_int(d->L, n.i))
		return fail(d, at, ZBZ_UNFIT_INTEGER);
	return true;
}

static bool word(decoder *d, const char *text, size_t n) {
	if ((size_t)(d->end - d->p) < n || memcmp(d->p, text, n) != 0) return fail(d, d->p, "expected a value");
	d->p += n;
	return true;
}

static bool value(decoder *d) {
	if (d->p >= d->end) return fail_here(d, "");
	switch (*d->p) {
	case '"': return string(d);
	case '{': return object(d);
	case '[': return array(d);
	case 't':
		if (!word(d, "true", 4)) return false;
		lua_pushboolean(d->L, 1);
		return true;
	case 'f':
		if (!word(d, "false", 5)) return false;
		lua_pushboolean(d->L, 0);
		return true;
	case 'n':
		if (!word(d, "null", 4)) return false;
		zbz_codec_push_null(d->L);
		return true;
	case '-':
	case '0':
	case '1':
	case '2':
	case '3':
	case '4':
	case '5':
	case '6':
	case '7':
	case '8':
	case '9': return number(d);
	default: return fail(d, d->p, "expected a value");
	}
}

zbz_status zbz_json_decode(lua_State *L, zbz_bytes in, zbz_err *err) {
	char scratch[SCRATCH];
	decoder d = { .L = L, .start = in.p, .p = in.p, .end = in.p + in.n, .err = err, .scratch = scratch };
	skip_space(&d);
	if (!value(&d)) return d.status;
	skip_space(&d);
	if (d.p != d.end) return fail(&d, d.p, "trailing bytes"), d.status;
	return ZBZ_OK;
}
