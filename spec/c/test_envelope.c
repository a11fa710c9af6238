/* The envelope: what goes in comes out, and no damage does worse than an error. */
#include <zbz/table.h>

#include "check.h"
#include "faults.h"

enum { HEAD = 22 };

static zbz_bytes seal(zbz_buf *out, const zbz_seal *s, zbz_bytes value) {
	zbz_err err;
	out->n = 0;
	CHECK(zbz_envelope_seal(s, value, out, &err) == ZBZ_OK);
	return zbz_buf_bytes(out);
}

static void round_trips(void) {
	static const char binary[] = "a\0b\xC1zbz\xFF";
	const zbz_bytes values[] = { { "", 0 }, { "x", 1 }, { binary, sizeof binary } };
	const int64_t times[] = { 0, 1, 1000, INT64_MAX };
	zbz_buf buf = { 0 };
	zbz_bytes value;
	zbz_entry e;
	zbz_err err;
	size_t i, j;
	for (i = 0; i < 3; i++)
		for (j = 0; j < 4; j++) {
			zbz_seal s = { .expire_at = times[j], .stored_at = times[3 - j] };
			zbz_bytes stored = seal(&buf, &s, values[i]);
			CHECK(stored.n == HEAD + values[i].n);
			CHECK(zbz_envelope_is(stored));
			CHECK(zbz_envelope_open(stored, 500, &value, &e, &err) == ZBZ_OK);
			CHECK(zbz_bytes_eq(value, values[i]));
			CHECK(e.sealed && !e.negative && !e.lease && e.version.n == 0);
			CHECK(e.expire_at == times[j] && e.stored_at == times[3 - j]);
			CHECK(e.stale == (times[j] == 1));
		}
	zbz_buf_clear(&buf);
}

static void layout_is_fixed(void) {
	static const char want[] = "\xC1zbz\x01\x02\x08\x07\x06\x05\x04\x03\x02\x01\x01\0\0\0\0\0\0\0v";
	zbz_seal s = { .expire_at = 0x0102030405060708, .stored_at = 1, .stale = true };
	zbz_buf buf = { 0 };
	CHECK(zbz_bytes_eq(seal(&buf, &s, zbz_bstr("v")), zbz_b(want, sizeof want - 1)));
	zbz_buf_clear(&buf);
}

static void states(void) {
	zbz_buf buf = { 0 };
	zbz_bytes value;
	zbz_entry e;
	zbz_err err;
	zbz_seal negative = { .expire_at = 10, .negative = true }, stale = { .stale = true },
	         lease = { .expire_at = 10, .lease = true };
	CHECK(zbz_envelope_open(seal(&buf, &negative, zbz_bstr("ignored")), 5, &value, &e, &err) == ZBZ_OK);
	CHECK(e.negative && !e.stale && value.n == 0);
	CHECK(zbz_envelope_open(zbz_buf_bytes(&buf), 10, &value, &e, &err) == ZBZ_OK);
	CHECK(e.negative && e.stale);
	CHECK(zbz_envelope_open(seal(&buf, &stale, zbz_bstr("v")), 5, &value, &e, &err) == ZBZ_OK);
	CHECK(e.stale && value.n == 1 && e.expire_at == ZBZ_NO_EXPIRY);
	CHECK(zbz_envelope_open(seal(&buf, &lease, zbz_bstr("0123456789abcdef")), 5, &value, &e, &err) == ZBZ_OK);
	CHECK(e.lease && value.n == 0);
	zbz_buf_clear(&buf);
}

static void plain_bytes_pass(void) {
	static const char *const plain[] = { "", "\xC1", "\xC1zb", "{\"a\":1}", "\xC1zbx............................" };
	zbz_bytes value;
	zbz_entry e;
	zbz_err err;
	size_t i;
	for (i = 0; i < 5; i++) {
		zbz_bytes b = zbz_bstr(plain[i]);
		CHECK(!zbz_envelope_is(b));
		CHECK(zbz_envelope_open(b, 5, &value, &e, &err) == ZBZ_OK);
		CHECK(!e.sealed && !e.stale && e.expire_at == -1 && zbz_bytes_eq(value, b));
	}
}

static void refuses_nonsense(void) {
	zbz_buf buf = { 0 };
	zbz_err err;
	zbz_seal past = { .expire_at = -1 }, before = { .stored_at = -5 }, lease = { .lease = true },
	         both = { .lease = true, .stale = true };
	CHECK(zbz_envelope_seal(&past, zbz_bstr("v"), &buf, &err) == ZBZ_E_ARGUMENT);
	CHECK(zbz_envelope_seal(&before, zbz_bstr("v"), &buf, &err) == ZBZ_E_ARGUMENT);
	CHECK(zbz_envelope_seal(&lease, zbz_bstr("short"), &buf, &err) == ZBZ_E_ARGUMENT);
	CHECK(zbz_envelope_seal(&both, zbz_bstr("0123456789abcdef"), &buf, &err) == ZBZ_E_ARGUMENT);
	CHECK(buf.n == 0);
	buf.max = 30;
	CHECK(zbz_envelope_seal(&(zbz_seal){ 0 }, zbz_bstr("123456789"), &buf, &err) == ZBZ_E_TOO_LARGE);
	CHECK(buf.n == 0);
	zbz_buf_clear(&buf);
}

/* Each damaged copy is a block of its own, so that a read beyond its end is seen by the sanitizers. */
static zbz_status open_copy(zbz_bytes b) {
	char *copy = malloc(b.n + (b.n == 0));
	zbz_bytes value = { NULL, 0 };
	zbz_entry e;
	zbz_err err = { 0 };
	zbz_status s;
	memcpy(copy, b.p, b.n);
	s = zbz_envelope_open(zbz_b(copy, b.n), 1000, &value, &e, &err);
	if (s == ZBZ_OK) {
		CHECK(value.n <= b.n && (value.n == 0 || (value.p >= copy && value.p + value.n <= copy + b.n)));
		CHECK(!(e.negative || e.lease) || value.n == 0);
	} else {
		CHECK(s == ZBZ_E_CORRUPT && err.text[0] != '\0');
	}
	free(copy);
	return s;
}

static void damage(const zbz_seal *s, zbz_bytes payload) {
	zbz_buf buf = { 0 };
	zbz_bytes whole = seal(&buf, s, payload);
	size_t i;
	for (i = 0; i < whole.n; i++) {
		zbz_status status = open_copy(zbz_b(whole.p, i));
		CHECK(i < 4 ? status == ZBZ_OK : i < HEAD ? status == ZBZ_E_CORRUPT : true);
	}
	for (i = 0; i < whole.n * 8; i++) {
		buf.p[i / 8] ^= (char)(1 << i % 8);
		open_copy(whole);
		buf.p[i / 8] ^= (char)(1 << i % 8);
	}
	for (i = 1; i < 256; i++) { /* every other version, every set of flags */
		if (i != 1) {
			buf.p[4] = (char)i;
			CHECK(open_copy(whole) == ZBZ_E_CORRUPT);
			buf.p[4] = 1;
		}
		buf.p[5] ^= (char)i;
		open_copy(whole);
		buf.p[5] ^= (char)i;
	}
	zbz_buf_clear(&buf);
}

static void no_damage_crashes(void) {
	damage(&(zbz_seal){ .expire_at = 5000, .stored_at = 400 }, zbz_bstr("some value"));
	damage(&(zbz_seal){ .expire_at = 5000, .negative = true }, zbz_b(NULL, 0));
	damage(&(zbz_seal){ .expire_at = 5000, .lease = true }, zbz_bstr("0123456789abcdef"));
	damage(&(zbz_seal){ .stale = true }, zbz_bstr(""));
}

static void out_of_memory(void) {
	zbz_buf buf = { 0 };
	zbz_err err;
	long live;
	faults_begin(1);
	CHECK(zbz_envelope_seal(&(zbz_seal){ 0 }, zbz_bstr("v"), &buf, &err) == ZBZ_E_INTERNAL);
	CHECK(buf.n == 0);
	CHECK(faults_end(&live) && live == 0);
}

int main(void) {
	RUN(round_trips);
	RUN(layout_is_fixed);
	RUN(states);
	RUN(plain_bytes_pass);
	RUN(refuses_nonsense);
	RUN(no_damage_crashes);
	RUN(out_of_memory);
	return DONE();
}
