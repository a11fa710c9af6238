/* Packs files by zlib's gzip. */
#include "packer.h"

#include <errno.h>
#include <unistd.h>
#include <zlib.h>

enum { CHUNK = 65536, GZIP_WINDOW = 15 + 16, MEMORY_LEVEL = 8 };

typedef struct pass {
	z_stream z;
	unsigned char in[CHUNK], out[CHUNK];
} pass;

static zbz_status put(int to, const unsigned char *p, size_t n, zbz_err *err) {
	while (n > 0) {
		ssize_t k = write(to, p, n);
		if (k < 0 && errno == EINTR) continue;
		if (k < 0) return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "writing a packed log");
		p += k;
		n -= (size_t)k;
	}
	return ZBZ_OK;
}

static zbz_status squeeze(pass *p, int to, int how, zbz_err *err) {
	zbz_status status = ZBZ_OK;
	do {
		p->z.next_out = p->out;
		p->z.avail_out = CHUNK;
		if (deflate(&p->z, how) == Z_STREAM_ERROR) return zbz_fail(err, ZBZ_E_INTERNAL, "zlib has lost its state");
		status = put(to, p->out, CHUNK - p->z.avail_out, err);
	} while (status == ZBZ_OK && p->z.avail_out == 0);
	return status;
}

static zbz_status pack(pass *p, int from, int to, const _Atomic bool *stop, zbz_err *err) {
	for (;;) {
		zbz_status status;
		ssize_t n = read(from, p->in, CHUNK);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "reading a log");
		if (atomic_load(stop)) return zbz_fail(err, ZBZ_E_CLOSED, "the output is being closed");
		p->z.next_in = p->in;
		p->z.avail_in = (uInt)n;
		status = squeeze(p, to, n == 0 ? Z_FINISH : Z_NO_FLUSH, err);
		if (status != ZBZ_OK || n == 0) return status;
	}
}

static zbz_status gzip_file(int from, int to, const _Atomic bool *stop, zbz_err *err) {
	pass *p = zbz_calloc(1, sizeof *p);
	zbz_status status;
	if (p == NULL) return zbz_fail_nomem(err);
	if (deflateInit2(&p->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK) {
		status = pack(p, from, to, stop, err);
		deflateEnd(&p->z);
	} else {
		status = zbz_fail_nomem(err);
	}
	zbz_free(p);
	return status;
}

static zbz_status gzip_bytes(zbz_bytes from, zbz_buf *to, zbz_err *err) {
	z_stream z = { .next_in = (Bytef *)(uintptr_t)from.p, .avail_in = (uInt)from.n };
	zbz_status status;
	if (from.n > UINT32_MAX)
		return zbz_fail(err, ZBZ_E_TOO_LARGE, "%zu bytes are too many to be packed at once", from.n);
	if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
		return zbz_fail_nomem(err);
	status = zbz_buf_reserve(to, deflateBound(&z, (uLong)from.n), err);
	if (status == ZBZ_OK) {
		size_t room = to->cap - to->n;
		z.next_out = (Bytef *)to->p + to->n;
		z.avail_out = room < UINT32_MAX ? (uInt)room : UINT32_MAX;
		if (deflate(&z, Z_FINISH) != Z_STREAM_END) status = zbz_fail(err, ZBZ_E_INTERNAL, "zlib has lost its state");
		to->n += status == ZBZ_OK ? z.total_out : 0;
	}
	deflateEnd(&z);
	return status;
}

static const zbz_packer gzip = { .abi = ZBZ_ABI, .suffix = ".gz", .file = gzip_file, .bytes = gzip_bytes };

ZBZ_API const zbz_packer *zbz_packer_plugin(void);
const zbz_packer *zbz_packer_plugin(void) { return &gzip; }
