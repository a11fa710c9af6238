/* Random bytes from the kernel. */
#include "random.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

/* Old kernels and some sandboxes have no getrandom. */
static zbz_status from_device(unsigned char *p, size_t n, zbz_err *err) {
	zbz_status status = ZBZ_OK;
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	if (fd < 0) return zbz_fail_errno(err, ZBZ_E_INTERNAL, errno, "no source of random bytes");
	while (n > 0) {
		ssize_t got = read(fd, p, n);
		if (got < 0 && errno == EINTR) continue;
		if (got <= 0) {
			status = zbz_fail_errno(err, ZBZ_E_INTERNAL, got < 0 ? errno : EIO, "no source of random bytes");
			break;
		}
		p += got;
		n -= (size_t)got;
	}
	close(fd);
	return status;
}

zbz_status zbz_random(void *out, size_t n, zbz_err *err) {
	unsigned char *p = out;
	while (n > 0) {
		ssize_t got = getrandom(p, n, 0);
		if (got < 0 && errno == EINTR) continue;
		if (got < 0) return from_device(p, n, err);
		p += got;
		n -= (size_t)got;
	}
	return ZBZ_OK;
}
