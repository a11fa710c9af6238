/* Steps through MessagePack. What it reads was written by the binding or by a C program, so bad bytes only have to be harmless. */
#include "line.h"

static uint64_t big(const unsigned char *p, size_t n) {
	uint64_t v = 0;
	for (size_t i = 0; i < n; i++) v = v << 8 | p[i];
	return v;
}

static bool take(zbz_bytes *in, size_t n, uint64_t *v) {
	if (in->n < n) return false;
	*v = big((const unsigned char *)in->p, n);
	in->p += n;
	in->n -= n;
	return true;
}

static bool take_text(zbz_bytes *in, uint64_t n, zbz_item *out) {
	if (in->n < n) return false;
	out->kind = ZBZ_ITEM_TEXT;
	out->v.s = zbz_b(in->p, (size_t)n);
	in->p += n;
	in->n -= (size_t)n;
	return true;
}

static bool container(zbz_item *out, zbz_item_kind kind, uint64_t n, const zbz_bytes *in) {
	out->kind = kind;
	out->n = (size_t)n;
	return n <= in->n; /* each member takes a byte */
}

static bool take_int(zbz_bytes *in, size_t n, bool is_signed, zbz_item *out) {
	uint64_t v;
	if (!take(in, n, &v)) return false;
	if (is_signed) {
		unsigned shift = (unsigned)(64 - 8 * n);
		out->kind = ZBZ_ITEM_INT;
		out->v.i = (int64_t)(v << shift) >> shift;
	} else {
		out->kind = ZBZ_ITEM_UINT;
		out->v.u = v;
	}
	return true;
}

static bool take_double(zbz_bytes *in, size_t n, zbz_item *out) {
	uint64_t v;
	if (!take(in, n, &v)) return false;
	out->kind = ZBZ_ITEM_DOUBLE;
	if (n == 4) {
		uint32_t bits = (uint32_t)v;
		float f;
		memcpy(&f, &bits, 4);
		out->v.d = (double)f;
	} else {
		memcpy(&out->v.d, &v, 8);
	}
	return true;
}

static bool take_long(zbz_bytes *in, unsigned tag, zbz_item *out) {
	uint64_t n;
	switch (tag) {
	case 0xc0: out->kind = ZBZ_ITEM_NIL; return true;
	case 0xc2:
	case 0xc3:
		out->kind = ZBZ_ITEM_BOOL;
		out->v.b = tag == 0xc3;
		return true;
	case 0xc4:
	case 0xd9: return take(in, 1, &n) && take_text(in, n, out);
	case 0xc5:
	case 0xda: return take(in, 2, &n) && take_text(in, n, out);
	case 0xc6:
	case 0xdb: return take(in, 4, &n) && take_text(in, n, out);
	case 0xca: return take_double(in, 4, out);
	case 0xcb: return take_double(in, 8, out);
	case 0xcc: return take_int(in, 1, false, out);
	case 0xcd: return take_int(in, 2, false, out);
	case 0xce: return take_int(in, 4, false, out);
	case 0xcf: return take_int(in, 8, false, out);
	case 0xd0: return take_int(in, 1, true, out);
	case 0xd1: return take_int(in, 2, true, out);
	case 0xd2: return take_int(in, 4, true, out);
	case 0xd3: return take_int(in, 8, true, out);
	case 0xdc: return take(in, 2, &n) && container(out, ZBZ_ITEM_ARRAY, n, in);
	case 0xdd: return take(in, 4, &n) && container(out, ZBZ_ITEM_ARRAY, n, in);
	case 0xde: return take(in, 2, &n) && container(out, ZBZ_ITEM_MAP, n, in);
	case 0xdf: return take(in, 4, &n) && container(out, ZBZ_ITEM_MAP, n, in);
	default: return false;
	}
}

bool zbz_unpack(zbz_bytes *in, zbz_item *out) {
	unsigned tag;
	if (in->n == 0) return false;
	tag = (unsigned char)*in->p++;
	in->n--;
	out->n = 0;
	if (tag < 0x80 || tag >= 0xe0) {
		out->kind = ZBZ_ITEM_INT;
		out->v.i = tag < 0x80 ? (int64_t)tag : (int64_t)tag - 256;
		return true;
	}
	if (tag < 0x90) return container(out, ZBZ_ITEM_MAP, tag & 15, in);
	if (tag < 0xa0) return container(out, ZBZ_ITEM_ARRAY, tag & 15, in);
	if (tag < 0xc0) return take_text(in, tag & 31, out);
	return take_long(in, tag, out);
}

/* Counts what is still to come instead of going down, so that depth costs nothing. */
bool zbz_unpack_skip(zbz_bytes *in) {
	uint64_t left = 1;
	zbz_item item;
	for (; left > 0; left--) {
		if (!zbz_unpack(in, &item)) return false;
		if (item.kind == ZBZ_ITEM_ARRAY) left += item.n;
		if (item.kind == ZBZ_ITEM_MAP) left += 2 * (uint64_t)item.n;
	}
	return true;
}

bool zbz_unpack_text(zbz_bytes map, const char *key, zbz_bytes *out) {
	zbz_item head, name, value;
	if (!zbz_unpack(&map, &head) || head.kind != ZBZ_ITEM_MAP) return false;
	for (size_t i = 0; i < head.n; i++) {
		zbz_bytes rest;
		if (!zbz_unpack(&map, &name)) return false;
		rest = map;
		if (name.kind == ZBZ_ITEM_TEXT && zbz_bytes_eq(name.v.s, zbz_bstr(key)) && zbz_unpack(&rest, &value)) {
			*out = value.v.s;
			return value.kind == ZBZ_ITEM_TEXT;
		}
		if (!zbz_unpack_skip(&map)) return false;
	}
	return false;
}
