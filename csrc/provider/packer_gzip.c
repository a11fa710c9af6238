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

static const zbz_packer gzip = { .abi = ZBZ_ABI, .suffix = ".gz", .file = gzip_file };

ZBZ_API const zbz_packer *zbz_packer_plugin(void);
const zbz_packer *zbz_packer_plugin(void) { return &gzip; }
