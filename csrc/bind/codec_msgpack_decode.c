/* MessagePack (github.com/msgpack/msgpack, spec.md) to Lua values. */
#include "codec_internal.h"

/* Tables larger than this grow while they fill. */
#define PRESIZE_MAX ((size_t)1 << 20)

typedef struct decoder {
	lua_State *L;
	const unsigned char *start, *p, *end;
	size_t skipped;
	size_t owed; /* values that headers have announced and that are yet to come; each takes a byte at least */
	unsigned depth;
	zbz_push_reply_error push_error;
	zbz_err *err;
	zbz_status status;
} decoder;

static bool fail(decoder *d, const unsigned char *at, const char *what) {
	d->status =
	    zbz_fail(d->err, ZBZ_E_DECODE, "msgpack: %s at byte %zu", what, (size_t)(at - d->start) + d->skipped + 1);
	return false;
}

static bool value(decoder *d);

/* The big-endian number of that many bytes that follows; false when they are not there. */
static inline bool take(decoder *d, unsigned bytes, uint64_t *v) {
	unsigned i;
	uint64_t x = 0;
	if ((size_t)(d->end - d->p) < bytes) return fail(d, d->end, "unexpected end");
	for (i = 0; i < bytes; i++) x = x << 8 | d->p[i];
	d->p += bytes;
	*v = x;
	return true;
}

static bool string(decoder *d, uint64_t n) {
	if (n > (uint64_t)(d->end - d->p)) return fail(d, d->end, "unexpected end in a string");
	lua_pushlstring(d->L, (const char *)d->p, (size_t)n);
	d->p += n;
	return true;
}
static bool sized_string(decoder *d, unsigned bytes) {
	uint64_t n;
	return take(d, bytes, &n) && string(d, n);
}

/* A table of n * per values: there have to be as many bytes before anything is allocated for them. */
static bool enter(decoder *d, uint64_t n, unsigned per) {
	uint64_t left = (uint64_t)(d->end - d->p);
	if (n * per + d->owed > left) return fail(d, d->end, "unexpected end in a table");
	if (d->depth == ZBZ_CODEC_DEPTH) return fail(d, d->p, "more than 128 levels");
	if (!lua_checkstack(d->L, 8)) return fail(d, d->p, "the Lua stack is full");
	d->owed += (size_t)(n * per);
	d->depth++;
	return true;
}

static bool array(decoder *d, uint64_t n) {
	uint64_t i;
	if (!enter(d, n, 1)) return false;
	if (n == 0) {
		zbz_codec_push_empty_array(d->L);
	} else {
		lua_createtable(d->L, (int)(n < PRESIZE_MAX ? n : PRESIZE_MAX), 0);
	}
	for (i = 1; i <= n; i++) {
		d->owed--;
		if (!value(d)) return false;
		lua_rawseti(d->L, -2, (int)i);
	}
	d->depth--;
	return true;
}

static bool key(decoder *d) {
	const unsigned char *at = d->p;
	unsigned char c = at < d->end ? *at : 0;
	bool text = (c >= 0xA0 && c <= 0xBF) || (c >= 0xC4 && c <= 0xC6) || (c >= 0xD9 && c <= 0xDB);
	bool whole = c < 0x80 || c >= 0xE0 || (c >= 0xCC && c <= 0xD3);
	int64_t i;
	double x;
	if (!text && !whole) return fail(d, at, "a key that is neither a string nor an integer");
	if (!value(d)) return false;
	/* A float would be another key than the one that was written. */
	return text || zbz_number_at(d->L, -1, &i, &x) || fail(d, at, "an integer key that this Lua has no integer for");
}

static bool map(decoder *d, uint64_t n) {
	uint64_t i;
	if (!enter(d, n, 2)) return false;
	lua_createtable(d->L, 0, (int)(n < PRESIZE_MAX ? n : PRESIZE_MAX));
	for (i = 0; i < n; i++) {
		d->owed--;
		if (!key(d)) return false;
		d->owed--;
		if (!value(d)) return false;
		lua_rawset(d->L, -3);
	}
	d->depth--;
	return true;
}
static bool sized_table(decoder *d, unsigned bytes, bool (*table)(decoder *, uint64_t)) {
	uint64_t n;
	return take(d, bytes, &n) && table(d, n);
}

static bool extension(decoder *d, uint64_t n) {
	const unsigned char *at = d->p;
	uint64_t type;
	if (!take(d, 1, &type)) return false;
	if (n > (uint64_t)(d->end - d->p)) return fail(d, d->end, "unexpected end in an extension");
	if (d->push_error == NULL || type != 1) return fail(d, at, "an extension type that has no Lua value");
	d->push_error(d->L, zbz_b(d->p, (size_t)n));
	d->p += n;
	return true;
}
static bool sized_extension(decoder *d, unsigned bytes) {
	uint64_t n;
	return take(d, bytes, &n) && extension(d, n);
}

static bool floating(decoder *d, unsigned bytes) {
	uint64_t bits;
	uint32_t bits32;
	float f;
	double x;
	if (!take(d, bytes, &bits)) return false;
	if (bytes == 4) {
		bits32 = (uint32_t)bits;
		memcpy(&f, &bits32, sizeof f);
		x = f;
	} else {
		memcpy(&x, &bits, sizeof x);
	}
	lua_pushnumber(d->L, x);
	return true;
}

static bool integer(decoder *d, unsigned bytes, bool is_signed) {
	const unsigned char *at = d->p - 1;
	unsigned unused = 64 - 8 * bytes;
	uint64_t v;
	if (!take(d, bytes, &v)) return false;
	if (is_signed ? zbz_push_int(d->L, (int64_t)(v << unused) >> unused) : zbz_push_uint(d->L, v)) return true;
	return fail(d, at, ZBZ_UNFIT_INTEGER);
}

/* First bytes 0xC0 to 0xDF. */
static bool tagged(decoder *d, unsigned c) {
	switch (c) {
	case 0xC0: return zbz_codec_push_null(d->L), true;
	case 0xC2: return lua_pushboolean(d->L, 0), true;
	case 0xC3: return lua_pushboolean(d->L, 1), true;
	case 0xC4:
	case 0xC5:
	case 0xC6: return sized_string(d, 1u << (c - 0xC4));
	case 0xC7:
	case 0xC8:
	case 0xC9: return sized_extension(d, 1u << (c - 0xC7));
	case 0xCA: return floating(d, 4);
	case 0xCB: return floating(d, 8);
	case 0xCC:
	case 0xCD:
	case 0xCE:
	case 0xCF: return integer(d, 1u << (c - 0xCC), false);
	case 0xD0:
	case 0xD1:
	case 0xD2:
	case 0xD3: return integer(d, 1u << (c - 0xD0), true);
	case 0xD4:
	case 0xD5:
	case 0xD6:
	case 0xD7:
	case 0xD8: return extension(d, (uint64_t)1 << (c - 0xD4));
	case 0xD9:
	case 0xDA:
	case 0xDB: return sized_string(d, 1u << (c - 0xD9));
	case 0xDC:
	case 0xDD: return sized_table(d, 2u << (c - 0xDC), array);
	case 0xDE:
	case 0xDF: return sized_table(d, 2u << (c - 0xDE), map);
	default: return fail(d, d->p - 1, "the byte C1, which MessagePack never uses,");
	}
}

static bool value(decoder *d) {
	unsigned c;
	if (d->p >= d->end) return fail(d, d->end, "unexpected end");
	c = *d->p++;
	if (c < 0x80) return zbz_push_int(d->L, (int64_t)c);
	if (c < 0x90) return map(d, c & 15);
	if (c < 0xA0) return array(d, c & 15);
	if (c < 0xC0) return string(d, c & 31);
	if (c < 0xE0) return tagged(d, c);
	return zbz_push_int(d->L, (int64_t)c - 256);
}

zbz_status zbz_msgpack_decode(lua_State *L, zbz_bytes in, zbz_bytes *rest, size_t skipped,
                              zbz_push_reply_error push_error, zbz_err *err) {
	const unsigned char *start = (const unsigned char *)(in.p != NULL ? in.p : "");
	decoder d = {
		.L = L, .start = start, .p = start, .end = start + in.n, .skipped = skipped, .push_error = push_error
	};
	d.err = err;
	if (!value(&d)) return d.status;
	if (rest != NULL)
		*rest = zbz_b(d.p, (size_t)(d.end - d.p));
	else if (d.p != d.end)
		return fail(&d, d.p, "trailing bytes"), d.status;
	return ZBZ_OK;
}
